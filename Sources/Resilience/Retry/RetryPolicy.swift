// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// What a request's method promises about being sent twice (RFC 9110 §9.2).
public enum MethodClass: UInt8, CaseIterable, Sendable {
    /// GET, HEAD, OPTIONS, TRACE.
    case safe
    /// PUT, DELETE, or the route says so, or an accepted Idempotency-Key.
    case idempotent
    /// POST, PATCH and all others.
    case other
}

/// What an answer says about coming back.
public enum RetryPushback: Equatable, Sendable {
    case none
    /// Do not retry: a trusted hop's marker, or `grpc-retry-pushback-ms` negative or unparsable.
    case never
    /// Not earlier than this: Retry-After, or `grpc-retry-pushback-ms`.
    case after(nanoseconds: Int64)
}

/// An attempt that failed, and all that decides whether another one follows.
public struct RetryQuestion: Sendable {
    public var outcome: Outcome
    /// The upstream's status, where a complete response head decided.
    public var status: Int?
    public var method: MethodClass
    /// Attempts made so far, the failed one included; 1 or more. What was free of charge does not count.
    public var attemptsUsed: Int
    /// Whether a response head has been forwarded to the client.
    public var isCommitted: Bool
    /// Whether the body can be sent once more from its first byte.
    public var isBodyReplayable: Bool
    public var pushback: RetryPushback
    public var isBreakerClosed: Bool
    public var hasEndpoint: Bool
    /// Whether the next attempt can go to an endpoint that has not been tried.
    public var hasUntriedEndpoint: Bool
    public var remainingNanoseconds: Int64
    public var minimumTryNanoseconds: Int64

    public init(
        outcome: Outcome, status: Int?, method: MethodClass, attemptsUsed: Int, isCommitted: Bool, isBodyReplayable: Bool,
        pushback: RetryPushback, isBreakerClosed: Bool, hasEndpoint: Bool, hasUntriedEndpoint: Bool = false,
        remainingNanoseconds: Int64, minimumTryNanoseconds: Int64
    ) {
        self.outcome = outcome
        self.status = status
        self.method = method
        self.attemptsUsed = attemptsUsed
        self.isCommitted = isCommitted
        self.isBodyReplayable = isBodyReplayable
        self.pushback = pushback
        self.isBreakerClosed = isBreakerClosed
        self.hasEndpoint = hasEndpoint
        self.hasUntriedEndpoint = hasUntriedEndpoint
        self.remainingNanoseconds = remainingNanoseconds
        self.minimumTryNanoseconds = minimumTryNanoseconds
    }
}

public enum RetryDecision: Equatable, Sendable {
    /// Try again after this long, if the budget grants it (it is asked last, so that a refusal here costs nothing).
    case retry(delayNanoseconds: Int64)
    /// One of the `retry.*` words.
    case no(Reason)
}

/// Decides whether a failed attempt is tried again (semantics, section 3): the first "no" in a fixed order ends it.
///
/// A pure function; the eighth and last question, the budget's, is `RetryBudget.withdraw`.
public enum RetryPolicy {
    /// gRPC A6 caps attempts at 5, whatever is configured.
    public static let greatestAttempts = 5

    public static func decide(_ question: RetryQuestion, settings: RetrySettings, draw: Draw, request: UInt64) -> RetryDecision {
        if question.isCommitted { return .no(.retryCommitted) }
        if question.attemptsUsed >= min(settings.attempts, greatestAttempts) { return .no(.retryMax) }
        let asked: Int64
        switch question.pushback {
        case .none: asked = 0
        case .never: return .no(.retryPushback)
        case .after(let nanoseconds):
            // Longer than we would wait: the answer is passed on, Retry-After and all.
            if nanoseconds > settings.maximumRetryAfter.wholeNanoseconds { return .no(.retryPushback) }
            asked = max(0, nanoseconds)
        }
        let condition = RetryCondition(question.outcome, status: question.status)
        let isListed = settings.retryOn.map { Self.names(question, in: $0) }
        if !condition.allows(question.method, isListed: isListed) { return .no(.retryNotRetryable) }
        if !question.isBodyReplayable { return .no(.retryBody) }
        if !question.isBreakerClosed || !question.hasEndpoint { return .no(.retryBreaker) }
        let delay = Self.delay(question, condition, asked: asked, settings: settings, draw: draw, request: request)
        let (needed, overflow) = delay.addingReportingOverflow(max(0, question.minimumTryNanoseconds))
        if overflow || needed > question.remainingNanoseconds { return .no(.retryDeadline) }
        return .retry(delayNanoseconds: delay)
    }

    /// Full jitter, U[0, min(cap, base · 2^(n−1))] before extra n. What the upstream asked for is a lower bound, lengthened by up
    /// to a tenth so that the refused do not all come back at once.
    static func delay(
        _ question: RetryQuestion, _ condition: RetryCondition, asked: Int64, settings: RetrySettings, draw: Draw, request: UInt64
    ) -> Int64 {
        let extra = max(1, question.attemptsUsed)
        let base = max(0, settings.backoffBase.wholeNanoseconds)
        let cap = max(0, settings.backoffCap.wholeNanoseconds)
        let doubled = base.multipliedReportingOverflow(by: 1 << Int64(min(extra - 1, 62)))
        let ceiling = doubled.overflow ? cap : min(cap, doubled.partialValue)
        var backoff = uniform(upTo: ceiling, draw, request, .backoff, UInt64(extra))
        if asked > 0 {
            let least = max(backoff, asked)
            let (sum, overflow) = least.addingReportingOverflow(
                uniform(upTo: least / 10, draw, request, .retryAfterJitter, UInt64(extra)))
            return overflow ? .max : sum
        }
        if condition == .neverSent && extra == 1 && question.hasUntriedEndpoint { return 0 }
        if question.outcome.reason == .http2EnhanceYourCalm { backoff = max(backoff, min(base, cap)) }
        return backoff
    }

    private static func uniform(upTo bound: Int64, _ draw: Draw, _ request: UInt64, _ purpose: Draw.Purpose, _ n: UInt64) -> Int64 {
        bound <= 0 ? 0 : Int64(draw.below(Int(bound == .max ? bound : bound + 1), request: request, purpose, n))
    }

    private static func names(_ question: RetryQuestion, in list: [RetrySettings.Condition]) -> Bool {
        for entry in list {
            switch entry {
            case .status(let status):
                if question.status == status { return true }
            case .reason(let word):
                guard let reason = question.outcome.reason?.rawValue else { continue }
                if reason == word || (reason.hasPrefix(word) && reason.utf8.dropFirst(word.utf8.count).first == UInt8(ascii: ".")) {
                    return true
                }
            }
        }
        return false
    }
}
