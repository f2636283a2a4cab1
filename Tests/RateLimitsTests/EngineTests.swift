// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import RateLimits

@Suite struct EngineTests {
    @Test func aBucketGivesItsBurstAndThenItsRate() throws {
        let rule = try #require(RateLimitRule(algorithm: .tokenBucket, amount: 10, period: second, burst: 5))
        var bucket = TokenBucket(rule, now: at(0))
        var given = 0
        while bucket.admits(rule) {
            bucket.take(rule)
            given += 1
        }
        #expect(given == 5)
        #expect(bucket.verdict(rule, isAdmitted: false, now: at(0)).retryNanoseconds == 100_000_000)
        bucket.advance(to: at(99_999_999), rule)
        #expect(!bucket.admits(rule))
        bucket.advance(to: at(100_000_000), rule)
        #expect(bucket.admits(rule))
        bucket.take(rule)
        bucket.advance(to: at(10 * second), rule)
        #expect(bucket.isFresh(rule))
        #expect(bucket.verdict(rule, isAdmitted: true, now: at(10 * second)).remaining == 5)
    }

    /// Thirds of a second do not come out even: nothing is lost or won in 10^5 steps.
    @Test func aBucketRoundsNothing() throws {
        let rule = try #require(RateLimitRule(algorithm: .tokenBucket, amount: 3, period: second, burst: 1))
        var bucket = TokenBucket(rule, now: at(0))
        var given = 0
        for step in 1...100_000 {
            bucket.advance(to: at(Int64(step) * 10_000_019), rule)
            if bucket.admits(rule) {
                bucket.take(rule)
                given += 1
            }
        }
        // The bucket is small and each step short, so that it is never full for long: what it loses while full is below one in a step.
        let most = 1 + 3 * 100_000 * 10_000_019 / Int(second)
        #expect(given <= most && given > most * 96 / 100, "\(given) of \(most)")
    }

    @Test(arguments: [RateLimitRule.Algorithm.tokenBucket, .slidingWindow])
    func E16_aClockThatGoesBackGivesNothing(algorithm: RateLimitRule.Algorithm) throws {
        let rule = try #require(RateLimitRule(algorithm: algorithm, amount: 4, period: second, burst: 4))
        let limiter = RateLimiter(rule, capacity: 10, now: at(3_600 * second))
        var admitted = 0
        for step in 0..<1_000 {
            let now = at(3_600 * second - Int64(step) * 3_600_000_000)
            if limiter.take(1, now: now).isAdmitted { admitted += 1 }
        }
        #expect(admitted == 4)
    }

    @Test func aWindowNeverAdmitsMoreThanItsAmountInAnyPeriod() throws {
        for seed in 1...200 as ClosedRange<UInt64> {
            var random = Random(seed)
            let amount = 1 + random.below(30)
            let rule = try #require(RateLimitRule(algorithm: .slidingWindow, amount: amount, period: second, burst: 1))
            var window = SlidingWindow(rule, now: at(0))
            var admitted: [Int64] = []
            var now: Int64 = 0
            for _ in 0..<2_000 {
                now += random.below(10) == 0 ? Int64(random.below(400_000_000)) : Int64(random.below(20_000_000))
                window.advance(to: at(now), rule)
                if window.admits(rule) {
                    window.take(rule)
                    admitted.append(now)
                }
                // All that were admitted in the period that ends now, itself excluded at its far end.
                let inPeriod = admitted.reversed().prefix { $0 > now - second }.count
                #expect(inPeriod <= amount, "seed \(seed)")
                // One that was refused would have been one too many in a period and a slot.
                if !window.admits(rule) {
                    let inLonger = admitted.reversed().prefix { $0 >= now - second - second / 6 - 1 }.count
                    #expect(inLonger >= amount, "seed \(seed): refused for nothing")
                }
            }
        }
    }

    @Test func aWindowSaysWhenToComeAgain() throws {
        let rule = try #require(RateLimitRule(algorithm: .slidingWindow, amount: 2, period: 6 * second, burst: 1))
        let limiter = RateLimiter(rule, capacity: 10, now: at(0))
        _ = limiter.take(1, now: at(500_000_000))
        _ = limiter.take(1, now: at(2 * second))
        let refused = limiter.take(1, now: at(2_500_000_000))
        #expect(!refused.isAdmitted && refused.retryNanoseconds == 4_500_000_000 && refused.remaining == 0)
        #expect(refused.resetNanoseconds == 6_500_000_000)
        #expect(!limiter.take(1, now: at(7 * second - 1)).isAdmitted)
        #expect(limiter.take(1, now: at(7 * second)).isAdmitted)
    }

    @Test(arguments: [RateLimitRule.Algorithm.tokenBucket, .slidingWindow])
    func whoComesWhenToldIsAdmitted(algorithm: RateLimitRule.Algorithm) throws {
        for seed in 1...50 as ClosedRange<UInt64> {
            var random = Random(seed)
            let rule = try #require(
                RateLimitRule(
                    algorithm: algorithm, amount: 1 + random.below(9), period: second * Int64(1 + random.below(60)),
                    burst: 1 + random.below(9)))
            let limiter = RateLimiter(rule, capacity: 10, now: at(0))
            var now: Int64 = 0
            for _ in 0..<200 {
                now += Int64(random.below(Int(rule.period)))
                let verdict = limiter.take(1, now: at(now))
                guard !verdict.isAdmitted else { continue }
                #expect(verdict.retryNanoseconds > 0)
                now += verdict.retryNanoseconds
                #expect(limiter.take(1, now: at(now)).isAdmitted, "seed \(seed)")
            }
        }
    }

    /// A rule that changes applies at once, and what has been used stays used.
    @Test(arguments: [RateLimitRule.Algorithm.tokenBucket, .slidingWindow])
    func anotherRuleForgivesNothing(algorithm: RateLimitRule.Algorithm) throws {
        let small = try #require(RateLimitRule(algorithm: algorithm, amount: 10, period: 60 * second, burst: 10))
        let large = try #require(RateLimitRule(algorithm: algorithm, amount: 15, period: 90 * second, burst: 15))
        let limiter = RateLimiter(small, capacity: 10, now: at(0))
        for _ in 0..<8 { #expect(limiter.take(1, now: at(0)).isAdmitted) }
        limiter.adopt(large, now: at(1))
        for i in 0..<9 { #expect(limiter.take(1, now: at(2)).isAdmitted == (i < 7), "\(i)") }
        limiter.adopt(small, now: at(3))
        #expect(!limiter.take(1, now: at(4)).isAdmitted)
        #expect(limiter.take(2, now: at(4)).isAdmitted)
    }

    @Test func fieldsAreAsTheDraftHasThem() throws {
        let rule = try #require(RateLimitRule(algorithm: .tokenBucket, amount: 5, period: second, burst: 20))
        var out = ByteBuffer()
        RateLimitFields.appendPolicy(name: "per \"client\"", rule, to: &out)
        out.append(", ")
        RateLimitFields.appendState(
            name: "b", RateLimitVerdict(isAdmitted: true, remaining: 7, resetNanoseconds: 2_000_000_001, retryNanoseconds: 0),
            to: &out)
        #expect(text(out) == #""per \"client\"";q=20;w=4, "b";r=7;t=3"#)
    }

    @Test func rulesThatCouldNotBeCountedExactlyAreNone() {
        #expect(RateLimitRule(algorithm: .tokenBucket, amount: 0, period: 1, burst: 1) == nil)
        #expect(RateLimitRule(algorithm: .tokenBucket, amount: 1, period: 86_400 * second, burst: 1 << 40) == nil)
        #expect(RateLimitRule(algorithm: .slidingWindow, amount: 1 << 33, period: 1, burst: 1) == nil)
    }
}

@Suite struct KeyTests {
    /// The first rows of the authors' `vectors_sip128`: the key is 00 … 0f, the input its first octets.
    @Test func hashesAsTheReferenceDoes() {
        let hasher = KeyHasher(key0: 0x0706_0504_0302_0100, key1: 0x0f0e_0d0c_0b0a_0908)
        let none: [UInt8] = []
        #expect(hasher.hash(none.span) == LimitKey(high: 0xe6a8_25ba_047f_81a3, low: 0x9302_55c7_1472_f66d))
        let one: [UInt8] = [0]
        #expect(hasher.hash(one.span) == LimitKey(high: 0x44af_996b_d8c1_87da, low: 0x45fc_229b_1159_7634))
    }

    @Test func E14_P27_aWholeIPv6NetworkIsOneClientAndAMappedAddressIsIPv4() {
        let fold = AddressFold()
        let base: UInt128 = 0x2001_0db8_0000_0001 << 64
        #expect(Set((0..<100_000).map { fold.fold(base | $0 &* 0x1_0000_0001) }).count == 1)
        #expect(fold.fold(base) != fold.fold(base + (1 << 64)))
        let mapped: UInt128 = 0xFFFF_0102_0304
        #expect(fold.fold(mapped) == mapped && fold.fold(mapped + 1) != mapped)
        #expect(AddressFold(ipv6Prefix: 128).fold(base | 7) == base | 7)
        #expect(AddressFold(ipv6Prefix: 56).fold(base | 0xFF << 64) == AddressFold(ipv6Prefix: 56).fold(base))
        #expect(AddressFold(ipv4Prefix: 24).fold(mapped) == 0xFFFF_0102_0300)
    }
}
