// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import Synchronization

/// One limit and all its keys, shared exactly by all threads.
///
///     decide ─► lock the shards of all keys, in order ─► look ─► all admit? ─► take from all ─► unlock
///
/// To look and to take is one step under the locks of the keys' shards, so that no two requests are given one token and nothing is taken where
/// one of several limits refuses. The locks are taken in the order of the limits' making, so that no two requests wait for each other.
package final class RateLimiter: Sendable {
    private enum Shards: Sendable {
        case bucket([GuardLock<KeyTable<TokenBucket>>])
        case window([GuardLock<KeyTable<SlidingWindow>>])
    }

    private static let made = Atomic<UInt64>(0)

    package let algorithm: RateLimitRule.Algorithm
    /// How many keys it remembers.
    package let capacity: Int
    private let order: UInt64
    private let shards: Shards
    private let mask: UInt64

    /// - Parameter capacity: keys that are remembered, in all; rounded up to a multiple of the number of shards.
    package init(_ rule: RateLimitRule, capacity: Int, shards wanted: Int = 64, now: Instant) {
        algorithm = rule.algorithm
        self.capacity = max(1, capacity)
        order = RateLimiter.made.wrappingAdd(1, ordering: .relaxed).newValue
        // A small table has few shards, so that chance does not fill one of them long before the others.
        var count = 1
        while count < wanted && count * 2 * 512 <= capacity { count *= 2 }
        mask = UInt64(count - 1)
        let each = (max(1, capacity) + count - 1) / count
        switch rule.algorithm {
        case .tokenBucket:
            shards = .bucket((0..<count).map { _ in GuardLock(KeyTable(rule, capacity: each, now: now)) })
        case .slidingWindow:
            shards = .window((0..<count).map { _ in GuardLock(KeyTable(rule, capacity: each, now: now)) })
        }
    }

    /// Memory of a limit all of whose keys are in use, in bytes.
    package static func bytes(_ algorithm: RateLimitRule.Algorithm, capacity: Int) -> Int {
        let each = (capacity + 63) / 64
        return 64
            * (algorithm == .tokenBucket
                ? KeyTable<TokenBucket>.bytes(capacity: each) : KeyTable<SlidingWindow>.bytes(capacity: each))
    }

    /// Address space that its tables have taken, in bytes; what was never used of it is no memory.
    package var allocatedBytes: Int {
        switch shards {
        case .bucket(let shards): shards.reduce(0) { $0 + $1.withLock { $0.allocatedBytes } }
        case .window(let shards): shards.reduce(0) { $0 + $1.withLock { $0.allocatedBytes } }
        }
    }

    /// Keys that are remembered, and how often one had to go for another.
    package var usage: (keys: Int, evictions: UInt64) {
        switch shards {
        case .bucket(let shards): RateLimiter.usage(shards)
        case .window(let shards): RateLimiter.usage(shards)
        }
    }

    private static func usage<State>(_ shards: [GuardLock<KeyTable<State>>]) -> (keys: Int, evictions: UInt64) {
        var keys = 0
        var evictions: UInt64 = 0
        for shard in shards {
            let (n, e) = shard.withLock { ($0.count, $0.evictions) }
            keys += n
            evictions &+= e
        }
        return (keys, evictions)
    }

    /// Goes by another rule of the same algorithm from now on; what keys have used stays used.
    package func adopt(_ rule: RateLimitRule, now: Instant) {
        precondition(rule.algorithm == algorithm, "a rule of another algorithm")
        switch shards {
        case .bucket(let shards): for shard in shards { shard.withLock { $0.adopt(rule, now: now) } }
        case .window(let shards): for shard in shards { shard.withLock { $0.adopt(rule, now: now) } }
        }
    }

    /// One key of one limit, for a decision.
    package struct Claim: Sendable {
        package let limiter: RateLimiter
        package let key: LimitKey
        /// It is counted and told, and stands in nobody's way.
        package let isShadow: Bool

        package init(_ limiter: RateLimiter, _ key: LimitKey, isShadow: Bool = false) {
            self.limiter = limiter
            self.key = key
            self.isShadow = isShadow
        }

        fileprivate func precedes(_ other: Claim) -> Bool {
            limiter.order != other.limiter.order
                ? limiter.order < other.limiter.order : limiter.shard(key) < other.limiter.shard(other.key)
        }
    }

    /// Takes one from each limit, or from none if one that is no shadow refuses. The verdicts are in the order of the claims.
    ///
    /// A shadow that would refuse does not keep the others from being taken from. No two claims may be of one limit.
    package static func decide(_ claims: [Claim], now: Instant) -> (isAdmitted: Bool, verdicts: [RateLimitVerdict]) {
        if claims.count == 1 {
            let verdict = claims[0].limiter.decideAlone(claims[0].key, now: now)
            return (verdict.isAdmitted || claims[0].isShadow, [verdict])
        }
        let sorted = claims.indices.sorted { claims[$0].precedes(claims[$1]) }
        var verdicts = [RateLimitVerdict](
            repeating: RateLimitVerdict(isAdmitted: true, remaining: 0, resetNanoseconds: 0, retryNanoseconds: 0),
            count: claims.count)
        let isAdmitted = step(claims, sorted[...], true, now, &verdicts)
        return (isAdmitted, verdicts)
    }

    private func shard(_ key: LimitKey) -> Int { Int(truncatingIfNeeded: key.high & mask) }

    private func decideAlone(_ key: LimitKey, now: Instant) -> RateLimitVerdict {
        switch shards {
        case .bucket(let shards): shards[shard(key)].withLock { $0.decide(key, now: now) }
        case .window(let shards): shards[shard(key)].withLock { $0.decide(key, now: now) }
        }
    }

    /// Holds the lock of the first claim's shard while the others are looked at, and takes once all have said yes.
    private static func step(
        _ claims: [Claim], _ rest: ArraySlice<Int>, _ soFar: Bool, _ now: Instant, _ verdicts: inout [RateLimitVerdict]
    ) -> Bool {
        guard let i = rest.first else { return soFar }
        let claim = claims[i]
        switch claim.limiter.shards {
        case .bucket(let shards): return step(shards[claim.limiter.shard(claim.key)], i, claims, rest, soFar, now, &verdicts)
        case .window(let shards): return step(shards[claim.limiter.shard(claim.key)], i, claims, rest, soFar, now, &verdicts)
        }
    }

    private static func step<State>(
        _ shard: GuardLock<KeyTable<State>>, _ i: Int, _ claims: [Claim], _ rest: ArraySlice<Int>, _ soFar: Bool, _ now: Instant,
        _ verdicts: inout [RateLimitVerdict]
    ) -> Bool {
        shard.withLock { table in
            let place = table.place(of: claims[i].key, now: now)
            let admits = table[place].admits(table.rule)
            let all = step(claims, rest.dropFirst(), soFar && (admits || claims[i].isShadow), now, &verdicts)
            if all && admits { table.take(place) }
            verdicts[i] = table[place].verdict(table.rule, isAdmitted: admits, now: now)
            return all
        }
    }
}

extension KeyTable {
    mutating func decide(_ key: LimitKey, now: Instant) -> RateLimitVerdict {
        let i = place(of: key, now: now)
        let admits = self[i].admits(rule)
        if admits { take(i) }
        return self[i].verdict(rule, isAdmitted: admits, now: now)
    }
}
