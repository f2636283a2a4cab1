// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// A limit that is fed window by window. A class, because `#expect` cannot call what mutates a value.
final class LimitBench {
    var adaptive: AdaptiveLimit
    var now: Int64 = 0

    init(_ settings: AdaptiveSettings, concurrent: Int) { adaptive = AdaptiveLimit(settings, concurrent: concurrent) }

    var limit: Int { adaptive.limit }

    func sample(_ ms: Int64?, inflight: Int, epoch: UInt32? = nil) -> Bool {
        adaptive.onSample(
            LimitSample(rtt: ms.map { $0 * 1_000_000 }, inflightAtStart: inflight, epoch: epoch ?? adaptive.epoch),
            at: .milliseconds(now))
    }

    /// Ten samples over 100 ms, `drops` of them dropped.
    @discardableResult
    func window(_ ms: Int64, inflight: Int, drops: Int = 0) -> Int {
        for n in 0..<10 {
            now += n == 9 ? 100 : 0
            _ = sample(n < drops ? nil : ms, inflight: inflight)
        }
        return limit
    }

    /// A drop in each window until nothing is left to take.
    func takeDown() { for _ in 0..<200 { window(1, inflight: 1, drops: 10) } }
}

extension AdaptiveSettings {
    init(_ rule: Rule, _ bounds: ClosedRange<Int>, latency: Duration? = .milliseconds(100)) {
        self.init()
        self.rule = rule
        minimum = bounds.lowerBound
        maximum = bounds.upperBound
        self.latency = latency
    }
}

/// Semantics, section 6: the engine alone.
@Suite struct AdaptiveLimitTests {
    @Test func boundsLieBelowTheFixedLimit() {
        var settings = AdaptiveSettings()
        #expect(settings.bounds(concurrent: 256) == 10...256)
        #expect(settings.bounds(concurrent: 4) == 4...4, "the fixed limit always applies")
        settings.maximum = 300
        #expect(settings.bounds(concurrent: 256) == 10...256)
        settings.maximum = 100
        settings.minimum = 0
        #expect(settings.bounds(concurrent: 256) == 1...100)
        #expect(LimitBench(settings, concurrent: 256).limit == 100, "it begins where a fixed limit would be")
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var from: Int
        var rtt: Int64
        var inflight: Int
        var drops = 0
        var to: Int
        var why: String
        var testDescription: String { why }
    }

    @Test(arguments: [
        Row(from: 50, rtt: 100, inflight: 25, to: 51, why: "at the threshold, half used: one more"),
        Row(from: 50, rtt: 1, inflight: 24, to: 50, why: "fast, but less than half used: no growth"),
        Row(from: 50, rtt: 101, inflight: 1, to: 45, why: "slow: a tenth fewer, however little was used"),
        Row(from: 50, rtt: 1, inflight: 50, drops: 1, to: 45, why: "a drop: a tenth fewer"),
        Row(from: 50, rtt: 1, inflight: 50, drops: 10, to: 45, why: "nothing but drops: a tenth fewer"),
        Row(from: 5, rtt: 101, inflight: 1, to: 4, why: "at least one fewer"),
        Row(from: 100, rtt: 1, inflight: 100, to: 100, why: "never above the maximum"),
        Row(from: 2, rtt: 101, inflight: 2, to: 2, why: "never below the minimum"),
    ])
    func aimd(row: Row) {
        let bench = LimitBench(AdaptiveSettings(.aimd, 2...100), concurrent: 100)
        while bench.limit > row.from { bench.window(1, inflight: 1, drops: 10) }
        while bench.limit < row.from { bench.window(1, inflight: bench.limit) }
        #expect(bench.window(row.rtt, inflight: row.inflight, drops: row.drops) == row.to)
    }

    @Test func withoutAThresholdOnlyDropsTakeAway() {
        let bench = LimitBench(AdaptiveSettings(.aimd, 1...100, latency: nil), concurrent: 100)
        #expect(bench.window(1_000_000, inflight: 1) == 100)
        #expect(bench.window(1, inflight: 1, drops: 1) == 90)
    }

    @Test func aWindowIsTenSamplesAndATenthOfASecond() {
        let bench = LimitBench(AdaptiveSettings(.aimd, 1...100), concurrent: 100)
        for _ in 0..<1_000 { #expect(!bench.sample(nil, inflight: 1), "not before 100 ms") }
        bench.now = 99
        #expect(!bench.sample(nil, inflight: 1))
        bench.now = 100
        #expect(bench.sample(nil, inflight: 1) && bench.limit == 90)
        for n in 1...9 {
            bench.now += 1_000
            #expect(!bench.sample(nil, inflight: 1), "\(n) samples")
        }
        #expect(bench.sample(nil, inflight: 1) && bench.limit == 81)
    }

    @Test func fewDropsAmongManySamplesAreNoOverload() {
        let bench = LimitBench(AdaptiveSettings(.aimd, 1...100), concurrent: 100)
        for n in 0..<100 {
            bench.now = n == 99 ? 100 : 0
            _ = bench.sample(n < 4 ? nil : 1, inflight: 1)
        }
        #expect(bench.limit == 100)
        for n in 0..<100 {
            bench.now = n == 99 ? 200 : 100
            _ = bench.sample(n < 5 ? nil : 1, inflight: 1)
        }
        #expect(bench.limit == 90, "one in twenty")
    }

    @Test func whatBeganUnderAnotherLimitIsNoSample() {
        let bench = LimitBench(AdaptiveSettings(.aimd, 1...100), concurrent: 100)
        let first = bench.adaptive.epoch
        #expect(bench.window(1, inflight: 1, drops: 10) == 90)
        // The ninety others that stood in the same queue.
        for _ in 0..<90 {
            bench.now += 10
            #expect(!bench.sample(nil, inflight: 100, epoch: first))
        }
        #expect(bench.limit == 90, "one queue, one punishment")
        #expect(bench.window(1, inflight: 1, drops: 10) == 81)
    }

    @Test func gradient2FollowsTheRatioOfNowToTheLastMinutes() {
        let bench = LimitBench(AdaptiveSettings(.gradient2, 1...1_000), concurrent: 1_000)
        for _ in 0..<10 { bench.window(10, inflight: bench.limit) }
        #expect(bench.limit == 1_000)
        // 10 against 20, of which the average learns 2/601: g = 0.501, and a fifth of the way to 501 + 4.
        #expect(bench.window(20, inflight: bench.limit) == 901)
        #expect(bench.window(20, inflight: bench.limit / 2 - 1) == 901, "less than half used: nothing to learn from it")
        #expect(bench.window(20, inflight: bench.limit, drops: 1) == 810, "a tenth less")
    }

    @Test func gradient2ForgetsBadTimesSoon() {
        let bench = LimitBench(AdaptiveSettings(.gradient2, 10...100), concurrent: 100)
        for _ in 0..<2_000 { bench.window(1_000, inflight: bench.limit) }
        // Fast again: the average falls by a tenth a window until it is twice the latency of now, and the limit is not held back.
        for _ in 0..<40 { bench.window(10, inflight: bench.limit) }
        #expect(bench.limit == 100)
        for _ in 0..<20 { bench.window(60, inflight: bench.limit) }
        #expect(bench.limit < 60, "after 2000 windows of a second 60 ms would look like peace")
    }

    @Test func settingsChangeLive() {
        let bench = LimitBench(AdaptiveSettings(.aimd, 1...100), concurrent: 100)
        bench.window(1, inflight: 1, drops: 10)
        let epoch = bench.adaptive.epoch
        bench.adaptive.apply(AdaptiveSettings(.aimd, 1...100), concurrent: 95)
        #expect(bench.limit == 90 && bench.adaptive.epoch == epoch)
        bench.adaptive.apply(AdaptiveSettings(.gradient2, 1...100), concurrent: 80)
        #expect(bench.limit == 80 && bench.adaptive.bounds == 1...80 && bench.adaptive.epoch != epoch)
    }

    @Test(arguments: AdaptiveSettings.Rule.allCases)
    func A1_theLimitStaysInItsBoundsAndGrowsOnlyWhereItIsUsed(rule: AdaptiveSettings.Rule) {
        let seed = Seed.current
        for trial in 0..<60 {
            var random = seed.random(UInt64(trial))
            let least = 1 + random.below(50)
            let most = least + random.below(500)
            let bench = LimitBench(
                AdaptiveSettings(rule, least...most, latency: .milliseconds(Int64(random.below(200)))), concurrent: 600)
            for step in 0..<400 {
                let before = bench.limit
                let usesHalf = random.chance(50)
                // Under half: 2 · inflight < limit.
                let inflight = usesHalf ? (before + 1) / 2 + random.below(before) : random.below((before + 1) / 2)
                let drops = random.chance(20) ? random.below(10) : 0
                bench.window(Int64(random.below(random.chance(5) ? 10_000_000 : 300)), inflight: inflight, drops: drops)
                #expect(least <= bench.limit && bench.limit <= most, "\(seed) trial \(trial) step \(step)")
                if !usesHalf { #expect(bench.limit <= before, "\(seed) trial \(trial) step \(step): grew unused") }
                let silent = bench.limit
                bench.now += Int64(random.below(1_000_000))
                #expect(bench.limit == silent, "without traffic")
            }
        }
    }
}
