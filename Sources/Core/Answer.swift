// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Reason {
    /// The HTTP status a client is told for this reason (semantics, section 0.2). Words that are never an answer of their
    /// own (`retry.*`, `hedge.lost`, `shutdown`, …) map to 502.
    public var httpStatus: Int {
        switch self {
        case .requestMalformed, .requestFraming, .requestTarget, .requestHost, .requestBodyMalformed: 400
        case .requestHeaderTooLarge: 431
        case .requestBodyTooLarge: 413
        case .requestURITooLong: 414
        case .requestCoding: 501
        case .requestContentCoding: 415
        case .requestExpectation: 417
        case .requestMethod: 405
        case .requestBodyType: 415
        case .requestBodyMapping: 422
        case .requestLoop: 508
        case .clientTLSTimeout, .clientTLSFailed, .clientHeaderTimeout, .clientSlow: 408
        case .clientCancelled: 499
        case .clientFlood: 429
        case .routeNone: 404
        case .routeMisdirected: 421
        case .authMissing, .authInvalid: 401
        case .authForbidden: 403
        case .rateLimitExceeded: 429
        case .authUnavailable, .rateLimitUnavailable, .limitConnections,
            .breakerOpen, .breakerHalfOpen, .breakerRamp, .breakerForced,
            .bulkheadFull, .bulkheadQueueTimeout, .bulkheadCoDel,
            .shedOccupancy, .shedLag, .shedMemory, .shedDescriptors, .shedThrottle,
            .loadBalancerNoHealthy, .dns, .localResources, .drain, .maintenance, .shutdown:
            503
        case .deadline, .deadlineInsufficient, .timeoutPerTry, .timeoutFirstByte, .timeoutIdle, .connectTimeout, .tlsTimeout,
            .cacheOnlyIfCached:
            504
        case .connectRefused, .connectFailed, .tlsHandshake, .tlsVerify, .resetBeforeHeaders, .resetAfterHeaders,
            .protocolError, .bodyTruncated, .responseTooLarge, .responseUnusable, .aggregateDependency, .http2RefusedStream,
            .http2GoAwayUnprocessed, .http2EnhanceYourCalm,
            .connectionStale, .statusFailure, .statusBackpressure, .grpcFailure, .hedgeLost,
            .retryCommitted, .retryMax, .retryPushback, .retryNotRetryable, .retryBody, .retryBreaker, .retryDeadline,
            .retryBudget, .retryExhausted:
            502
        case .internal: 500
        }
    }

    /// The gRPC status for the same reason (semantics, section 0.2; codes of the gRPC specification).
    public var grpcStatus: Int {
        switch self {
        case .requestMalformed, .requestFraming, .requestTarget, .requestHost, .requestLoop, .requestBodyType,
            .requestBodyMalformed,
            .requestBodyMapping:
            3
        case .requestHeaderTooLarge, .requestBodyTooLarge, .requestURITooLong, .rateLimitExceeded, .clientFlood: 8
        case .requestCoding, .requestContentCoding, .requestExpectation, .requestMethod, .routeNone: 12
        case .clientTLSTimeout, .clientTLSFailed, .clientHeaderTimeout, .clientSlow, .clientCancelled: 1
        case .authMissing, .authInvalid: 16
        case .authForbidden: 7
        case .deadline, .deadlineInsufficient, .timeoutPerTry, .timeoutFirstByte, .timeoutIdle: 4
        case .internal: 13
        default: 14
        }
    }
}
