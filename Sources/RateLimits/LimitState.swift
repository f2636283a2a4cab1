// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// What a limit remembers of one key: a few words, so that a million keys have room.
///
/// A pure value. Time comes in and may lag behind between reactors: an instant before the latest one seen counts as that one, so that
/// nothing is given twice.
protocol LimitState: BitwiseCopyable, Sendable {
    /// Of a key that was never seen.
    init(_ rule: RateLimitRule, now: Instant)
    mutating func advance(to now: Instant, _ rule: RateLimitRule)
    /// Whether one more is admitted, after `advance`.
    func admits(_ rule: RateLimitRule) -> Bool
    /// Only where `admits`.
    mutating func take(_ rule: RateLimitRule)
    /// Whether forgetting the key would give it nothing, after `advance`.
    func isFresh(_ rule: RateLimitRule) -> Bool
    /// A state that admits no more than either, now or later; both are advanced to one instant.
    func strictest(_ other: Self) -> Self
    /// What has been used stays used under another rule. Advanced to `now`.
    func converted(from old: RateLimitRule, to new: RateLimitRule, now: Instant) -> Self
    func verdict(_ rule: RateLimitRule, isAdmitted: Bool, now: Instant) -> RateLimitVerdict
}

/// A token bucket in whole numbers: a token is `period` units, and each nanosecond brings `amount` of them, so that nothing is ever rounded.
struct TokenBucket: LimitState {
    private var level: Int64
    /// The latest instant seen, in nanoseconds.
    private var stamp: Int64

    init(_ rule: RateLimitRule, now: Instant) {
        level = TokenBucket.capacity(rule)
        stamp = now.nanoseconds
    }

    private static func capacity(_ rule: RateLimitRule) -> Int64 { Int64(rule.burst) * rule.period }

    mutating func advance(to now: Instant, _ rule: RateLimitRule) {
        guard now.nanoseconds > stamp else { return }
        let elapsed = now.nanoseconds(since: Instant(nanoseconds: stamp))
        stamp = now.nanoseconds
        let missing = TokenBucket.capacity(rule) - level
        let (gain, overflow) = elapsed.multipliedReportingOverflow(by: Int64(rule.amount))
        level += overflow ? missing : min(gain, missing)
    }

    func admits(_ rule: RateLimitRule) -> Bool { level >= rule.period }

    mutating func take(_ rule: RateLimitRule) { level -= rule.period }

    func isFresh(_ rule: RateLimitRule) -> Bool { level == TokenBucket.capacity(rule) }

    func strictest(_ other: TokenBucket) -> TokenBucket {
        var result = self
        result.level = min(level, other.level)
        result.stamp = max(stamp, other.stamp)
        return result
    }

    func converted(from old: RateLimitRule, to new: RateLimitRule, now: Instant) -> TokenBucket {
        let used = (TokenBucket.capacity(old) - level).dividedRoundingUp(by: old.period)
        var result = TokenBucket(new, now: max(now, Instant(nanoseconds: stamp)))
        result.level -= min(used, Int64(new.burst)) * new.period
        return result
    }

    func verdict(_ rule: RateLimitRule, isAdmitted: Bool, now: Instant) -> RateLimitVerdict {
        RateLimitVerdict(
            isAdmitted: isAdmitted, remaining: Int(level / rule.period),
            resetNanoseconds: (TokenBucket.capacity(rule) - level).dividedRoundingUp(by: Int64(rule.amount)),
            retryNanoseconds: isAdmitted ? 0 : max(0, rule.period - level).dividedRoundingUp(by: Int64(rule.amount)))
    }
}

/// A sliding window in seven counters: the slot that now is in and the six before it.
///
///     ├ 0 ┼ 1 ┼ 2 ┼ 3 ┼ 4 ┼ 5 ┼ 6 ┤     six slots are a period, and the seventh is there so that what is
///           └──── one period ────▲       admitted at ▲ may be counted with all of the oldest slot it reaches into
///
/// It errs to one side only: what has been admitted counts for one period at least, and for one slot more at most. A window of two
/// counters and an estimate between them (Cloudflare, 2017) admits up to twice the amount where requests come in bursts.
struct SlidingWindow: LimitState {
    static let slots = 6

    private var counts = InlineArray<7, UInt32>(repeating: 0)
    /// The number of the latest slot, modulo 2^32.
    private var slot: UInt32

    init(_ rule: RateLimitRule, now: Instant) { slot = SlidingWindow.slot(at: now, rule) }

    private static func width(_ rule: RateLimitRule) -> Int64 { rule.period.dividedRoundingUp(by: Int64(slots)) }

    private static func slot(at now: Instant, _ rule: RateLimitRule) -> UInt32 {
        UInt32(truncatingIfNeeded: max(0, now.nanoseconds) / width(rule))
    }

    /// `counts[0]` is the latest slot's.
    mutating func advance(to now: Instant, _ rule: RateLimitRule) {
        let steps = Int32(truncatingIfNeeded: SlidingWindow.slot(at: now, rule) &- slot)
        guard steps > 0 else { return }
        slot &+= UInt32(steps)
        for i in stride(from: 6, through: 0, by: -1) { counts[i] = i >= Int(steps) ? counts[i - Int(steps)] : 0 }
    }

    private var used: Int {
        var sum = 0
        for i in 0..<7 { sum += Int(counts[i]) }
        return sum
    }

    func admits(_ rule: RateLimitRule) -> Bool { used < rule.amount }

    mutating func take(_ rule: RateLimitRule) { counts[0] += 1 }

    func isFresh(_ rule: RateLimitRule) -> Bool { used == 0 }

    func strictest(_ other: SlidingWindow) -> SlidingWindow {
        // Both were advanced to one instant, but one may have seen a later one before.
        let ahead = Int32(truncatingIfNeeded: slot &- other.slot)
        var result = ahead >= 0 ? self : other
        let older = ahead >= 0 ? other : self
        let shift = Int(ahead.magnitude)
        for i in 0..<7 {
            let j = min(i + shift, 6)
            if i + shift <= 6 { result.counts[j] = max(result.counts[j], older.counts[i]) }
        }
        return result
    }

    func converted(from old: RateLimitRule, to new: RateLimitRule, now: Instant) -> SlidingWindow {
        if old.period == new.period { return self }
        var result = SlidingWindow(new, now: now)
        result.counts[0] = UInt32(clamping: used)
        return result
    }

    func verdict(_ rule: RateLimitRule, isAdmitted: Bool, now: Instant) -> RateLimitVerdict {
        let width = SlidingWindow.width(rule)
        // Where in its slot the latest instant is; a lagging clock is at the slot's beginning.
        let isCurrent = SlidingWindow.slot(at: now, rule) == slot
        let into = isCurrent ? max(0, now.nanoseconds) % width : 0
        var reset: Int64 = 0
        for i in 0..<7 where counts[i] > 0 {
            reset = Int64(7 - i) * width - into
            break
        }
        var retry: Int64 = 0
        if !isAdmitted {
            var left = used
            for i in stride(from: 6, through: 0, by: -1) {
                left -= Int(counts[i])
                if left < rule.amount {
                    retry = Int64(7 - i) * width - into
                    break
                }
            }
        }
        return RateLimitVerdict(
            isAdmitted: isAdmitted, remaining: max(0, rule.amount - used), resetNanoseconds: reset, retryNanoseconds: retry)
    }
}
