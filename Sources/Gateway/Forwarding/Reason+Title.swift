// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

extension Reason {
    /// What a person reads in an answer for this reason: RFC 9457's `title`, the same for each occurrence. It tells a client
    /// what it can do something about and nothing of what is behind the gateway.
    package var title: StaticString {
        switch self {
        case .requestMalformed: "The request is malformed"
        case .requestFraming: "The length of the request's body is ambiguous"
        case .requestTarget: "The request's path is malformed or ambiguous"
        case .requestHost: "The request's host is missing or malformed"
        case .requestLoop: "The request came through this gateway before"
        case .requestHeaderTooLarge: "The request's header fields are too large"
        case .requestBodyTooLarge: "The request's body is too large"
        case .requestURITooLong: "The request's target is too long"
        case .requestCoding: "The request uses a transfer coding that is not implemented"
        case .requestContentCoding: "The request uses a content coding that is not accepted"
        case .requestExpectation: "The request's expectation cannot be met"
        case .requestMethod: "The method is not allowed here"
        case .requestBodyType: "The request's body is of a type that is not taken here"
        case .requestBodyMalformed: "The request's body is malformed"
        case .requestBodyMapping: "The request's body lacks what is needed here"
        case .clientTLSTimeout: "The TLS handshake took too long"
        case .clientTLSFailed: "The TLS handshake failed"
        case .clientHeaderTimeout: "The request's header took too long to arrive"
        case .clientSlow: "The request arrives too slowly"
        case .clientCancelled: "The client gave the request up"
        case .clientFlood: "The client asks for too much at once"
        case .routeNone: "Nothing is served here"
        case .routeMisdirected: "This connection does not serve the request's host"
        case .authMissing: "Credentials are required"
        case .authInvalid: "The credentials are not valid"
        case .authForbidden: "The credentials do not allow this"
        case .authUnavailable: "Credentials cannot be checked at the moment"
        case .rateLimitExceeded: "The rate limit is exceeded"
        case .rateLimitUnavailable: "The rate limit cannot be checked"
        case .limitConnections: "Too many connections"
        case .cacheOnlyIfCached: "No stored answer can be served"
        case .breakerOpen: "The service is failing and is given time to recover"
        case .breakerHalfOpen: "The service is being tried after a failure"
        case .breakerRamp: "The service is recovering and takes part of its traffic"
        case .breakerForced: "The service is switched off"
        case .bulkheadFull: "The service is at its limit of concurrent requests"
        case .bulkheadQueueTimeout: "The request waited too long for its turn"
        case .bulkheadCoDel: "The queue for the service moves too slowly"
        case .shedOccupancy, .shedLag, .shedMemory, .shedDescriptors, .shedThrottle: "The gateway is overloaded"
        case .loadBalancerNoHealthy: "No healthy instance of the service is left"
        case .deadline: "The request took too long"
        case .deadlineInsufficient: "Too little of the request's time is left"
        case .timeoutPerTry, .timeoutFirstByte, .timeoutIdle: "The service took too long to answer"
        case .dns: "The service's address was not found"
        case .connectRefused, .connectFailed: "The service cannot be reached"
        case .connectTimeout: "The service took too long to reach"
        case .tlsHandshake, .tlsVerify: "No trusted connection to the service could be made"
        case .tlsTimeout: "The TLS handshake with the service took too long"
        case .resetBeforeHeaders, .resetAfterHeaders, .connectionStale: "The service closed the connection"
        case .protocolError: "The service gave a malformed answer"
        case .bodyTruncated: "The service's answer ended early"
        case .responseTooLarge: "The service's answer is too large"
        case .responseUnusable: "The service's answer cannot be used"
        case .aggregateDependency: "What one service is asked for comes from another that did not say it"
        case .http2RefusedStream, .http2GoAwayUnprocessed, .http2EnhanceYourCalm: "The service refused the request"
        case .statusFailure, .grpcFailure: "The service failed"
        case .statusBackpressure: "The service asks for less traffic"
        case .localResources: "The gateway is out of resources"
        case .hedgeLost: "Another try was faster"
        case .retryCommitted, .retryMax, .retryPushback, .retryNotRetryable, .retryBody, .retryBreaker, .retryDeadline,
            .retryBudget, .retryExhausted:
            "The service failed and the request was not tried again"
        case .drain: "The gateway is shutting down"
        case .maintenance: "The service is under maintenance"
        case .shutdown: "The gateway was stopped"
        case .internal: "The gateway failed"
        }
    }
}
