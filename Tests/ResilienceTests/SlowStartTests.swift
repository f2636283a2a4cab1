// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 9: the curve, and what it makes of shares.
@Suite struct SlowStartTests {
    static let draw = Draw(seed: Seed.current.value)
    static let second: Int64 = 1_000_000_000

    private func settings(window: Duration = .seconds(30), aggression: Double = 1, floor: Int = 1_000) -> SlowStartSettings {
        var settings = SlowStartSettings()
        settings.window = window
        settings.aggression = aggression
        settings.floor = Share(tenThousandths: floor)
        return settings
    }

    // MARK: The curve

    @Test(arguments: [
        (1.0, 0 as Int64, 0.1), (1, 1, 0.1), (1, 3, 0.1), (1, 6, 0.2), (1, 15, 0.5), (1, 29, 0.966_667), (1, 30, 1), (1, 31, 1),
        (2, 0, 0.1), (2, 3, 0.316_228), (2, 15, 0.707_107), (0.5, 15, 0.25), (0.5, 6, 0.1),
    ])
    func theCurve(aggression: Double, seconds: Int64, factor: Double) {
        let curve = SlowStartCurve(settings(aggression: aggression))
        #expect(abs(curve.factor(nanosecondsSinceStart: seconds * Self.second) - factor) < 0.000_001)
    }

    @Test(arguments: [0.1, 0.5, 1, 1.5, 2, 10], [1, 1_000, 5_000, 10_000])
    func L4_theWeightNeverFalls(aggression: Double, floor: Int) {
        let curve = SlowStartCurve(settings(aggression: aggression, floor: floor))
        var last = 0.0
        for step in Int64(-5)...1_100 {
            let factor = curve.factor(nanosecondsSinceStart: step * 30_000_000)
            #expect(factor >= last && factor >= Double(floor) / 10_000 && factor <= 1)
            last = factor
        }
        #expect(last == 1)
    }

    @Test func wildSettingsDoNotTrap() {
        for aggression in [Double.nan, .infinity, -.infinity, 0, -1] {
            for window in [Duration.zero, .seconds(-1), .seconds(Int64.max)] {
                for floor in [Int.min, 0, .max] {
                    let start = SlowStart(settings(window: window, aggression: aggression, floor: floor), count: 2)
                    for now in [Instant.origin, .never, Instant(nanoseconds: .min)] {
                        start.begin(0, now: now)
                        for endpoint in -1...2 {
                            let factor = start.factor(of: endpoint, now: now)
                            #expect(factor > 0 && factor <= 1)
                        }
                    }
                }
            }
        }
        #expect(SlowStart(count: -1).count == 0)
    }

    // MARK: Shares

    private func shares(
        _ picker: EndpointPicker, _ slowStart: SlowStart, at now: Instant, picks: Int = 6_000, load: (Int) -> Int = { _ in 0 }
    ) -> [Int] {
        var counts = Array(repeating: 0, count: picker.count)
        for request in 0..<UInt64(picks) {
            let index = picker.pick(
                request: request, attempt: 0, draw: Self.draw, tried: TriedEndpoints(), slowStart: slowStart, now: now, load: load)
            if let index { counts[index] += 1 }
        }
        return counts
    }

    @Test(arguments: BalancingPolicy.allCases, [[1, 1, 1, 1], [4, 2, 1, 1]])
    func aShareIsThePolicysTimesTheFactor(policy: BalancingPolicy, weights: [Int]) {
        let picker = EndpointPicker(policy, count: 4, weights: weights)
        let start = SlowStart(count: 4)
        start.begin(0, now: .origin)
        for (seconds, factor) in [(0, 0.1), (9, 0.3), (15, 0.5), (24, 0.8), (30, 1)] as [(Int64, Double)] {
            let counts = shares(picker, start, at: Instant(nanoseconds: seconds * Self.second))
            let weight = Double(weights[0]) * factor
            let expected = 6_000 * weight / (weight + Double(weights.dropFirst().reduce(0, +)))
            let bound = 5 * (expected * (1 - expected / 6_000)).squareRoot()
            #expect(
                abs(Double(counts[0]) - expected) <= bound, "\(Seed.current) after \(seconds) s: \(counts), expected \(expected)")
            #expect(counts.reduce(0, +) == 6_000)
        }
    }

    @Test func L4_theShareGrowsAndTheOthersKeepTheirs() {
        let picker = EndpointPicker(.leastRequest, count: 3)
        let start = SlowStart(settings(aggression: 2), count: 3)
        start.begin(2, now: .origin)
        var last = 0
        for seconds in stride(from: 0 as Int64, through: 32, by: 4) {
            let counts = shares(picker, start, at: Instant(nanoseconds: seconds * Self.second))
            #expect(counts[2] >= last, "the same draws, and a greater factor: \(Seed.current)")
            #expect(abs(counts[0] - counts[1]) < 5 * 78, "\(Seed.current) \(counts)")
            last = counts[2]
        }
    }

    @Test func idleAndStartingIsNoReasonForAFlood() {
        let picker = EndpointPicker(.leastRequest, count: 4)
        let start = SlowStart(count: 4)
        start.begin(0, now: .origin)
        // Least requests alone would give it half of all: it is drawn so often and wins each time.
        let counts = shares(picker, start, at: .origin) { $0 == 0 ? 0 : 50 }
        #expect(counts[0] < 6_000 / 4 / 2, "\(Seed.current) \(counts)")
    }

    @Test func onlyWhatStartsIsSlowAndOnlyForTheWindow() {
        let start = SlowStart(count: 3)
        #expect(!start.isUnderWay(now: .origin) && start.factor(of: 0, now: .origin) == 1)
        start.begin(1, now: .milliseconds(1_000))
        #expect(start.factor(of: 0, now: .milliseconds(1_000)) == 1)
        #expect(start.factor(of: 1, now: .milliseconds(1_000)) == 0.1 && start.isUnderWay(now: .milliseconds(30_999)))
        #expect(start.factor(of: 1, now: .milliseconds(31_000)) == 1 && !start.isUnderWay(now: .milliseconds(31_000)))
        start.begin(1, now: .milliseconds(40_000))
        #expect(start.factor(of: 1, now: .milliseconds(40_000)) == 0.1, "each readmission anew")
        start.begin(2, now: .milliseconds(35_000))
        #expect(start.isUnderWay(now: .milliseconds(69_999)), "the later end stands")
        let off = SlowStart(settings(window: .zero), count: 1)
        off.begin(0, now: .milliseconds(5))
        #expect(!off.isUnderWay(now: .milliseconds(5)))
    }

    @Test func withoutAnotherTheStartingOneTakesAll() {
        let start = SlowStart(count: 2)
        start.begin(0, now: .origin)
        #expect(shares(EndpointPicker(.leastRequest, count: 1), SlowStart(count: 1), at: .origin, picks: 50) == [50])
        let picker = EndpointPicker(.roundRobin, count: 2, panicThreshold: Share(tenThousandths: 0))
        picker.setEjected(true, 1)
        #expect(shares(picker, start, at: .origin, picks: 50) == [50, 0])
        picker.setEjected(true, 0)
        #expect(shares(picker, start, at: .origin, picks: 50) == [0, 0], "lb.no_healthy")
        picker.setEjected(false, 0)
        picker.setEjected(false, 1)
        start.begin(1, now: .origin)
        #expect(shares(picker, start, at: .origin, picks: 1_000).allSatisfy { $0 > 300 }, "all start: all alike")
    }

    @Test func theSameRequestIsAnsweredAlike() {
        let picker = EndpointPicker(.leastRequest, count: 5)
        let start = SlowStart(count: 5)
        start.begin(3, now: .origin)
        func picks() -> [Int?] {
            (0..<200).map {
                picker.pick(
                    request: $0, attempt: 1, draw: Self.draw, tried: TriedEndpoints(), slowStart: start, now: .milliseconds(9_000),
                    load: { _ in 0 })
            }
        }
        #expect(picks() == picks())
    }
}
