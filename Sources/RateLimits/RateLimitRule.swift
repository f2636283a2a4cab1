// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// How much one key may do: so many in a period, by one of two ways of counting.
package struct RateLimitRule: Equatable, Sendable {
    package enum Algorithm: String, Equatable, Sendable {
        /// A bucket of `burst` tokens that fills by `amount` in each period: in no time t does a key get more than burst + amount · t / period.
        case tokenBucket = "token_bucket"
        /// In no stretch of time that is one period long does a key get more than `amount`.
        case slidingWindow = "sliding_window"
    }

    package let algorithm: Algorithm
    /// 1 or more.
    package let amount: Int
    /// In nanoseconds, 1 or more.
    package let period: Int64
    /// The tokens of a full bucket, 1 or more. A window does not use it.
    package let burst: Int

    /// The largest bucket in its own units, with room for sums: 2^62.
    package static let largestCapacity: Int64 = 1 << 62

    /// `nil` where numbers are not positive or so large that the arithmetic could not be exact.
    package init?(algorithm: Algorithm, amount: Int, period: Int64, burst: Int) {
        guard amount >= 1, amount <= Int(UInt32.max), period >= 1, burst >= 1 else { return nil }
        let (capacity, overflow) = Int64(burst).multipliedReportingOverflow(by: period)
        guard !overflow, capacity <= RateLimitRule.largestCapacity else { return nil }
        guard period <= RateLimitRule.largestCapacity / Int64(SlidingWindow.slots) else { return nil }
        self.algorithm = algorithm
        self.amount = amount
        self.period = period
        self.burst = burst
    }

    /// What a key can use at once: the quota that clients are told.
    package var quota: Int { algorithm == .tokenBucket ? burst : amount }

    /// The time in which a whole quota comes back.
    package var quotaNanoseconds: Int64 {
        switch algorithm {
        case .tokenBucket: (Int64(burst) * period).dividedRoundingUp(by: Int64(amount))
        case .slidingWindow: period
        }
    }
}

/// What a limit says of one request.
package struct RateLimitVerdict: Equatable, Sendable {
    package var isAdmitted: Bool
    /// What the key can still use at once, after this request where it was admitted.
    package var remaining: Int
    /// Until all of the quota is there again.
    package var resetNanoseconds: Int64
    /// Refused: until one more is admitted, if nobody else comes.
    package var retryNanoseconds: Int64

    package init(isAdmitted: Bool, remaining: Int, resetNanoseconds: Int64, retryNanoseconds: Int64) {
        self.isAdmitted = isAdmitted
        self.remaining = remaining
        self.resetNanoseconds = resetNanoseconds
        self.retryNanoseconds = retryNanoseconds
    }
}

extension Int64 {
    /// For values that are not negative and a positive divisor.
    func dividedRoundingUp(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder > 0 ? quotient + 1 : quotient
    }
}
