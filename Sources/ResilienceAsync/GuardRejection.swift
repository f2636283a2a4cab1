// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core
import Resilience

/// What the guard answers in place of the operation: it was not run, or it ran out of time.
///
/// An operation's own error is never wrapped in it.
public struct GuardRejection: Error, Equatable, Sendable, CustomStringConvertible {
    /// `breaker.*`, `bulkhead.*`, `deadline`, `deadline.insufficient` or `timeout.per_try`.
    public var reason: Reason
    /// How long the cause is known to last at least, or a drawn time after which a full queue may be asked again; `nil` where nobody knows.
    public var retryAfter: Duration?
    /// How often the operation was run; 0: nothing was sent, so trying elsewhere is safe.
    public var attempts: Int

    public init(_ reason: Reason, retryAfter: Duration? = nil, attempts: Int = 0) {
        self.reason = reason
        self.retryAfter = retryAfter
        self.attempts = attempts
    }

    init(_ refusal: Refusal, attempts: Int) {
        self.init(refusal.reason, retryAfter: refusal.retryAfterNanoseconds.map { .nanoseconds($0) }, attempts: attempts)
    }

    public var description: String {
        let wait = retryAfter.map { ", retry after \($0)" } ?? ""
        return "\(reason.rawValue) (attempts made: \(attempts)\(wait))"
    }
}
