// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 12.
@Suite struct CUSUMTests {
    private static func settings(_ baseline: Int, _ bad: Int) -> CUSUMSettings {
        var settings = CUSUMSettings()
        settings.baseline = Share(tenThousandths: baseline * 100)
        settings.bad = Share(tenThousandths: bad * 100)
        return settings
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var rule: (baseline: Int, bad: Int)
        /// The share of failures in per cent.
        var failing: Int
        /// Of the table, and half of its last digit.
        var mean: Double
        var rounding: Double
        var runs = 2_000
        var testDescription: String { "\(rule.baseline) % → \(rule.bad) %, \(failing) % failing: \(mean)" }
    }

    /// The table of section 12: 1 % of failures, then a step; the mean number of outcomes until it trips.
    @Test(arguments: [
        Row(rule: (2, 20), failing: 20, mean: 46, rounding: 0.5),
        Row(rule: (2, 20), failing: 50, mean: 14, rounding: 0.5),
        Row(rule: (2, 20), failing: 100, mean: 6, rounding: 0.5),
        Row(rule: (5, 30), failing: 20, mean: 104, rounding: 0.5),
        Row(rule: (5, 30), failing: 50, mean: 19, rounding: 0.5),
        Row(rule: (5, 30), failing: 100, mean: 8, rounding: 0.5),
    ])
    func delaysOfTheTable(row: Row) {
        compare(row, calm: 100)
    }

    /// The same table: the mean number of outcomes between false trips where the ordinary share is higher than the rule was told.
    @Test(arguments: [
        Row(rule: (2, 20), failing: 10, mean: 204, rounding: 0.5),
        Row(rule: (2, 20), failing: 5, mean: 9_500, rounding: 50, runs: 150),
        Row(rule: (5, 30), failing: 10, mean: 8_100, rounding: 50, runs: 150),
    ])
    func falseTripsOfTheTable(row: Row) {
        compare(row, calm: 0)
    }

    /// Within four standard errors of the table.
    private func compare(_ row: Row, calm: Int) {
        var random = Seed.current.random(UInt64(row.rule.baseline * 1_000 + row.failing))
        var sum = 0.0, squares = 0.0
        for _ in 0..<row.runs {
            var cusum = CUSUM(Self.settings(row.rule.baseline, row.rule.bad))
            for _ in 0..<calm { cusum.record(random.next() % 100 < 1) }
            var delay = 0
            while !cusum.isDue {
                cusum.record(random.next() % 100 < UInt64(row.failing))
                delay += 1
            }
            sum += Double(delay)
            squares += Double(delay * delay)
        }
        let count = Double(row.runs)
        let mean = sum / count
        let error = ((squares / count - mean * mean) / count).squareRoot()
        #expect(abs(mean - row.mean) <= row.rounding + 4 * error, "\(Seed.current) mean \(mean) ± \(error)")
    }

    // MARK: In the breaker

    private static func breaker(_ change: (inout BreakerSettings) -> Void = { _ in }) -> BreakerSettings {
        .plain(100, minimum: 100).with {
            $0.cusum = settings(2, 20)
            change(&$0)
        }
    }

    @Test(arguments: [
        (breaker(), "xxxxxx", "CCCCCO", "six failures weigh 13.8, whatever the minimum"),
        (breaker { $0.cusum = nil }, "xxxxxx", "CCCCCC", "off by default"),
        (breaker(), "xxxxx.xx", "CCCCCCCO", "a success takes off a fifth"),
        (breaker(), "xxxxxnblx", "CCCCCCCCO", "what is no evidence weighs nothing"),
        (breaker(), "xxxxxx=...xxxxx", "CCCCCOOHHCCCCCC", "it begins anew"),
        (breaker { $0.cusum = settings(20, 20) }, "xxxxxxxxxx", "CCCCCCCCCC", "bad is no worse than ordinary"),
    ])
    func trips(settings: BreakerSettings, script: String, states: String, why: String) {
        let bench = BreakerBench(settings)
        let seen = bench.states(after: script)
        #expect(seen == states, "\(why)")
    }

    @Test func evidenceIsShownAndSettingsChangeLive() {
        let bench = BreakerBench(Self.breaker())
        _ = bench.states(after: "xxxxx")
        #expect(bench.breaker.evidence.cusumThousandths == 11_512, "5 · ln 10")
        bench.breaker.apply(Self.breaker { $0.cusum?.thresholdThousandths = 12_000 }, perTry: nil, now: bench.instant)
        #expect(bench.breaker.evidence.cusumThousandths == 11_512 && bench.letter == "C")
        let states = bench.states(after: "x")
        #expect(states == "O" && bench.breaker.evidence.cusumThousandths == 0)
        bench.breaker.reset(now: bench.instant)
        _ = bench.states(after: "xx")
        #expect(bench.breaker.evidence.cusumThousandths == 4_605)
        bench.breaker.reset(now: bench.instant)
        #expect(bench.breaker.evidence.cusumThousandths == 0, "closed by hand: it begins anew")
        bench.breaker.apply(Self.breaker { $0.cusum = nil }, perTry: nil, now: bench.instant)
        #expect(bench.breaker.cusum?.value == nil)
    }
}
