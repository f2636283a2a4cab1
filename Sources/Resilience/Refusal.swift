// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// Why the guard did not let an attempt through, and when asking again may help.
public struct Refusal: Equatable, Sendable {
    public var reason: Reason
    /// How long from now the cause is known to last at least; `nil` where nobody knows.
    public var retryAfterNanoseconds: Int64?

    public init(_ reason: Reason, retryAfterNanoseconds: Int64? = nil) {
        self.reason = reason
        self.retryAfterNanoseconds = retryAfterNanoseconds
    }

    /// Whole seconds for a `Retry-After` field, rounded up, at least 1 (RFC 9110 §10.2.3).
    public var retryAfterSeconds: Int64? {
        retryAfterNanoseconds.map { max(1, $0 / 1_000_000_000 + ($0 % 1_000_000_000 > 0 ? 1 : 0)) }
    }
}
