// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import Testing

@testable import RateLimits

@Suite(.serialized) struct TableTests {
    private func rule(_ algorithm: RateLimitRule.Algorithm, _ amount: Int, period: Int64 = second, burst: Int? = nil)
        -> RateLimitRule
    {
        guard let rule = RateLimitRule(algorithm: algorithm, amount: amount, period: period, burst: burst ?? amount) else {
            fatalError("no rule")
        }
        return rule
    }

    /// P27: whatever is tried, no key is admitted more often than its limit says: many keys at once, a table that is much too small for them,
    /// a clock that jumps back, and a model that remembers everything.
    @Test(arguments: [RateLimitRule.Algorithm.tokenBucket, .slidingWindow])
    func P27_rateLimitsCannotBeSidestepped(algorithm: RateLimitRule.Algorithm) throws {
        for seed in 1...40 as ClosedRange<UInt64> {
            var random = Random(seed)
            let rule = self.rule(algorithm, 1 + random.below(6), period: second, burst: 1 + random.below(6))
            let limiter = RateLimiter(rule, capacity: 1 + random.below(20), now: at(0))
            var admitted: [Int: [Int64]] = [:]
            var now: Int64 = 10 * second
            var latest = now
            for _ in 0..<5_000 {
                now += Int64(random.below(30_000_000))
                if random.below(500) == 0 { now -= Int64(random.below(Int(3 * second))) }
                latest = max(latest, now)
                let n = random.below(3) == 0 ? 0 : random.below(60)
                if limiter.take(n, now: at(now)).isAdmitted { admitted[n, default: []].append(latest) }
            }
            for (n, times) in admitted {
                for (i, start) in times.enumerated() {
                    // Every stretch of time that begins with an admission; the clock's latest is what counts as time.
                    for (j, end) in times.enumerated().dropFirst(i) {
                        let count = j - i + 1
                        switch algorithm {
                        case .tokenBucket:
                            let most = rule.burst + Int((end - start) * Int64(rule.amount) / rule.period)
                            #expect(count <= most, "seed \(seed), key \(n)")
                        case .slidingWindow:
                            if end - start < rule.period { #expect(count <= rule.amount, "seed \(seed), key \(n)") }
                        }
                        if end - start > 3 * second { break }
                    }
                }
            }
        }
    }

    /// P27, case E15: a key in steady use stays, and one that was pushed out does not come back with a full bucket.
    @Test func P27_E15_thrashingRefillsNothing() {
        let limiter = RateLimiter(rule(.tokenBucket, 1, period: 1_000 * second, burst: 10), capacity: 100, now: at(0))
        for i in 0..<10 { #expect(limiter.take(0, now: at(Int64(i))).isAdmitted) }
        var admitted = 0
        for n in 1...200_000 {
            if limiter.take(n, now: at(10)).isAdmitted { admitted += 1 }
            if n % 50 == 0, limiter.take(0, now: at(10)).isAdmitted { Issue.record("the hot key was refilled") }
        }
        // The first 99 have their own bucket; after that all share one.
        #expect(admitted < 99 + 10, "\(admitted)")
        for n in 1...1_000 { _ = limiter.take(n, now: at(10)) }
        #expect(!limiter.take(0, now: at(11)).isAdmitted)
        #expect(limiter.usage.keys == 100)
        // In time everything is as before.
        #expect(limiter.take(5_000_000, now: at(20_000 * second)).remaining == 9)
    }

    /// Keys that did nothing lately leave nothing behind: a table may turn over slowly for ever.
    @Test func keysThatAreRestedGoWithoutATrace() {
        let limiter = RateLimiter(rule(.tokenBucket, 10, burst: 10), capacity: 10, now: at(0))
        for n in 0..<10_000 { #expect(limiter.take(n, now: at(Int64(n) * second)).remaining == 9) }
    }

    /// P27: 10^6 keys within 64 MiB, for both ways of counting.
    @Test func P27_E15_aMillionKeysFitIn64MiB() {
        #expect(RateLimiter.bytes(.slidingWindow, capacity: 1_000_000) <= 64 << 20)
        #expect(RateLimiter.bytes(.tokenBucket, capacity: 1_000_000) <= 48 << 20)
        let limiter = RateLimiter(rule(.slidingWindow, 5), capacity: 1_000_000, now: at(0))
        for n in 0..<1_050_000 { _ = limiter.take(n, now: at(Int64(n))) }
        // What the arrays took, not what they should have: other tests run in this process, so that its size would say nothing.
        #expect(limiter.allocatedBytes <= 64 << 20, "\(limiter.allocatedBytes)")
        #expect(limiter.usage.keys <= 1_000_064 && limiter.usage.keys > 990_000)
    }

    @Test(arguments: [RateLimitRule.Algorithm.tokenBucket, .slidingWindow])
    func eightThreadsAreAdmittedExactlyAsOneWouldBe(algorithm: RateLimitRule.Algorithm) {
        let limiter = RateLimiter(rule(algorithm, 10_000, period: 3_600 * second), capacity: 1_000, now: at(0))
        let admitted = Atomic<Int>(0)
        onThreads(8) { thread in
            for i in 0..<5_000 where limiter.take(7, now: at(Int64(i))).isAdmitted { admitted.add(1, ordering: .relaxed) }
        }
        #expect(admitted.load(ordering: .relaxed) == 10_000)
    }

    /// Eight threads, three limits each time, in any order of being written: what refuses takes nothing from the others, and nobody waits for ever.
    @Test func severalLimitsAreAllOrNothing() {
        let wide = RateLimiter(rule(.tokenBucket, 3_000, period: 3_600 * second), capacity: 10, now: at(0))
        let narrow = RateLimiter(rule(.slidingWindow, 400, period: 3_600 * second), capacity: 10, now: at(0))
        let shadow = RateLimiter(rule(.tokenBucket, 1, period: 3_600 * second), capacity: 10, now: at(0))
        let admitted = Atomic<Int>(0)
        onThreads(8) { thread in
            for i in 0..<1_000 {
                var claims = [
                    RateLimiter.Claim(wide, key(0)), RateLimiter.Claim(narrow, key((thread + i) % 4)),
                    RateLimiter.Claim(shadow, key(0), isShadow: true),
                ]
                if thread % 2 == 0 { claims.reverse() }
                if RateLimiter.decide(claims, now: at(1)).isAdmitted { admitted.add(1, ordering: .relaxed) }
            }
        }
        // Four narrow keys of 400 each; the wide one has lost no more than that.
        #expect(admitted.load(ordering: .relaxed) == 1_600)
        #expect(wide.take(0, now: at(1)).remaining == 3_000 - 1_600 - 1)
    }
}
