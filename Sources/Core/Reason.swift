// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Why a request or an attempt ended as it did: one word, the same in the answer's `reason`, the access log, the metric's
/// label, a chaos assertion and the tuner. An API: words are added, never renamed (semantics, section 0.2).
public enum Reason: String, CaseIterable, Sendable {
    // What a client did wrong.
    case requestMalformed = "request.malformed"
    case requestFraming = "request.framing"
    case requestTarget = "request.target"
    case requestHost = "request.host"
    case requestLoop = "request.loop"
    case requestHeaderTooLarge = "request.header_too_large"
    case requestBodyTooLarge = "request.body_too_large"
    case requestURITooLong = "request.uri_too_long"
    case requestCoding = "request.coding"
    case requestContentCoding = "request.content_coding"
    case requestExpectation = "request.expectation"
    case requestMethod = "request.method"
    case requestBodyType = "request.body_type"
    case requestBodyMalformed = "request.body_malformed"
    case requestBodyMapping = "request.body_mapping"
    case clientTLSTimeout = "client.tls_timeout"
    case clientTLSFailed = "client.tls_failed"
    case clientHeaderTimeout = "client.header_timeout"
    case clientSlow = "client.slow"
    case clientCancelled = "client.cancelled"
    case clientFlood = "client.flood"

    // What the gateway decided before any upstream.
    case routeNone = "route.none"
    case routeMisdirected = "route.misdirected"
    case authMissing = "auth.missing"
    case authInvalid = "auth.invalid"
    case authForbidden = "auth.forbidden"
    case authUnavailable = "auth.unavailable"
    case rateLimitExceeded = "rate_limit.exceeded"
    case rateLimitUnavailable = "rate_limit.unavailable"
    case limitConnections = "limit.connections"
    case cacheOnlyIfCached = "cache.only_if_cached"

    // What the guard decided.
    case breakerOpen = "breaker.open"
    case breakerHalfOpen = "breaker.half_open"
    case breakerRamp = "breaker.ramp"
    case breakerForced = "breaker.forced"
    case bulkheadFull = "bulkhead.full"
    case bulkheadQueueTimeout = "bulkhead.queue_timeout"
    case bulkheadCoDel = "bulkhead.codel"
    case shedOccupancy = "shed.occupancy"
    case shedLag = "shed.lag"
    case shedMemory = "shed.memory"
    case shedDescriptors = "shed.descriptors"
    case shedThrottle = "shed.throttle"
    case loadBalancerNoHealthy = "lb.no_healthy"
    case deadline
    case deadlineInsufficient = "deadline.insufficient"

    // How an attempt failed.
    case timeoutPerTry = "timeout.per_try"
    case timeoutFirstByte = "timeout.first_byte"
    case timeoutIdle = "timeout.idle"
    case dns
    case connectRefused = "connect.refused"
    case connectTimeout = "connect.timeout"
    case connectFailed = "connect.failed"
    case tlsHandshake = "tls.handshake"
    case tlsVerify = "tls.verify"
    case tlsTimeout = "tls.timeout"
    case resetBeforeHeaders = "reset.before_headers"
    case resetAfterHeaders = "reset.after_headers"
    case protocolError = "protocol"
    case bodyTruncated = "body.truncated"
    case responseTooLarge = "response.too_large"
    case responseUnusable = "response.unusable"
    case aggregateDependency = "aggregate.dependency"
    case http2RefusedStream = "h2.refused_stream"
    case http2GoAwayUnprocessed = "h2.goaway_unprocessed"
    case http2EnhanceYourCalm = "h2.enhance_your_calm"
    case connectionStale = "conn.stale"
    case localResources = "local.resources"
    case statusFailure = "status.failure"
    case statusBackpressure = "status.backpressure"
    case grpcFailure = "grpc.failure"
    case hedgeLost = "hedge.lost"

    // Why no further try was made: beside an answer, never one.
    case retryCommitted = "retry.committed"
    case retryMax = "retry.max"
    case retryPushback = "retry.pushback"
    case retryNotRetryable = "retry.not_retryable"
    case retryBody = "retry.body"
    case retryBreaker = "retry.breaker"
    case retryDeadline = "retry.deadline"
    case retryBudget = "retry.budget"
    case retryExhausted = "retry.exhausted"

    // The gateway itself.
    case drain
    case maintenance
    case shutdown
    case `internal`
}
