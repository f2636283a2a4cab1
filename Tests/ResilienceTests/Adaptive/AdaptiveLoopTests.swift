// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

extension GuardSettings {
    /// No breaker, no queue: the limit alone.
    static func adaptive(_ rule: AdaptiveSettings.Rule, concurrent: Int, latency: Duration? = .milliseconds(100)) -> GuardSettings {
        var settings = GuardSettings()
        settings.breaker.disabled = true
        settings.bulkhead.concurrent = concurrent
        settings.bulkhead.queue = 0
        settings.bulkhead.adaptive = AdaptiveSettings(rule, 4...concurrent, latency: latency)
        return settings
    }
}

/// Semantics, section 6: the limit before a server whose latency depends on it.
@Suite struct AdaptiveLoopTests {
    /// c workers of 50 ms; AIMD's threshold is twice that.
    private func load(workers: Int = 10, _ percent: Int64) -> ModelServer.Load {
        var load = ModelServer.Load()
        load.workers = workers
        load.service = 50_000
        load.percentOfCapacity = percent
        return load
    }

    @Test(arguments: [4, 10])
    func A2_aimdSettlesAtOneToThreeTimesTheCapacity(workers: Int) {
        let loop = ModelServer(.adaptive(.aimd, concurrent: 128), load(workers: workers, 200), seed: .current, stream: 1)
        loop.run(seconds: 60)
        let limits = loop.limits(20..<60)
        #expect(
            limits.allSatisfy { (workers...3 * workers).contains($0) }, "\(Seed.current) \(limits.min() ?? 0)…\(limits.max() ?? 0)")
        let share = loop.goodput(10..<60) / loop.load.capacity
        #expect(share >= 0.9, "\(Seed.current) goodput \(share)")
    }

    /// It needs to have seen the upstream at peace: an overload that is there from the start is what it takes for normal.
    @Test func A2_gradient2SettlesOnceItKnowsBetterTimes() {
        var load = load(50)
        load.changes = [(20_000, 200)]
        let loop = ModelServer(.adaptive(.gradient2, concurrent: 128), load, seed: .current, stream: 1)
        loop.run(seconds: 90)
        let limits = loop.limits(35..<90)
        #expect(limits.allSatisfy { (10...30).contains($0) }, "\(Seed.current) \(limits.min() ?? 0)…\(limits.max() ?? 0)")
        let share = loop.goodput(30..<90) / load.capacity
        #expect(share >= 0.9, "\(Seed.current) goodput \(share)")
    }

    /// One permit a window, and a window takes 100 ms and, for the first sample of its epoch, a round trip.
    @Test func A3_aimdIsBackSoonAfterTheServerIs() {
        var load = load(200)
        load.slowdown = (5, 20_000..<50_000)
        let loop = ModelServer(.adaptive(.aimd, concurrent: 128), load, seed: .current, stream: 2)
        loop.run(seconds: 60)
        let before = loop.limits[150..<200].reduce(0, +) / 50
        #expect(loop.limits[450] == 4, "while it is slow no limit makes it fast, so only the minimum is left")
        let needed = before * 8 / 10
        let back = loop.limits.indices.first { $0 > 500 && loop.limits[$0] >= needed } ?? .max
        #expect(back - 500 <= 2 * (needed - 4) + 2, "\(Seed.current) \(before) permits, back after \(back - 500) tenths")
    }

    @Test(arguments: AdaptiveSettings.Rule.allCases)
    func A5_aHealthyUpstreamIsNeverRefusedItsTraffic(rule: AdaptiveSettings.Rule) {
        for percent in [30, 60, 80] as [Int64] {
            var load = load(percent)
            load.changes = [(20_000, percent / 3), (40_000, percent)]
            let loop = ModelServer(.adaptive(rule, concurrent: 64), load, seed: .current, stream: UInt64(percent))
            loop.run(seconds: 60)
            #expect(loop.refused.isEmpty, "\(Seed.current) \(percent) %: \(loop.refused.count) refused")
        }
    }
}
