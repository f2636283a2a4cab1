// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// When a hedge is due: a quantile of the recent times to the response head, within bounds.
@Suite struct HedgingDelayTests {
    private let settings = HedgeSettings()

    private func record(_ hedging: Hedging, _ milliseconds: Int64, times: Int, at now: Instant = .origin) {
        for _ in 0..<times { hedging.record(nanoseconds: milliseconds * 1_000_000, now: now, settings: settings) }
    }

    private func delay(_ hedging: Hedging, at now: Instant = .origin, perTry: Int64 = .max) -> Double {
        Double(hedging.delay(now: now, settings: settings, perTry: perTry)) / 1_000_000
    }

    @Test func nothingIsKnownBeforeAHundred() {
        let hedging = Hedging()
        record(hedging, 400, times: 99)
        #expect(delay(hedging) == 100)
        record(hedging, 400, times: 1)
        #expect(abs(delay(hedging) - 400) < 400 / 16)
    }

    @Test func theQuantileOfWhatWasSeen() {
        let hedging = Hedging()
        record(hedging, 20, times: 470)
        record(hedging, 300, times: 30)
        #expect(abs(delay(hedging) - 300) < 300 / 16, "95 % is among the slow 6 %")
        record(hedging, 20, times: 500)
        #expect(abs(delay(hedging) - 20) < 20 / 16, "and no longer once they are 3 %")
    }

    @Test func withinItsBounds() {
        let hedging = Hedging()
        record(hedging, 2, times: 200)
        #expect(delay(hedging) == 10, "the minimum")
        #expect(delay(hedging, perTry: 7_000_000) == 7, "never after the try's own limit")
        #expect(hedging.delay(now: .origin, settings: settings, perTry: -1) == 0)
    }

    /// However they are spread over two intervals.
    @Test func aHundredOverTheTurnOfAnIntervalAreEnough() {
        let hedging = Hedging()
        record(hedging, 400, times: 99, at: .milliseconds(9_900))
        record(hedging, 400, times: 1, at: .milliseconds(10_100))
        #expect(abs(delay(hedging, at: .milliseconds(10_200)) - 400) < 25)
    }

    @Test func oldTimesAreForgotten() {
        let hedging = Hedging()
        record(hedging, 400, times: 200, at: .milliseconds(9_000))
        #expect(abs(delay(hedging, at: .milliseconds(19_000)) - 400) < 25, "the interval before still counts")
        record(hedging, 20, times: 10_000, at: .milliseconds(19_500))
        #expect(abs(delay(hedging, at: .milliseconds(19_600)) - 20) < 2)
        #expect(abs(delay(hedging, at: .milliseconds(29_000)) - 20) < 2)
        #expect(delay(hedging, at: .milliseconds(60_000)) == 100, "nothing is known any more")
    }

    /// From eight threads no time is lost but at the turn of an interval, and nothing traps.
    @Test func manyThreads() async {
        let hedging = Hedging()
        await withTaskGroup { group in
            for thread in 0..<8 {
                group.addTask {
                    for i in 0..<20_000 {
                        let now = Instant(nanoseconds: Int64(i) * 3_000_000)
                        hedging.record(nanoseconds: Int64(thread + 1) * 10_000_000, now: now, settings: HedgeSettings())
                        _ = hedging.delay(now: now, settings: HedgeSettings(), perTry: .max)
                    }
                }
            }
        }
        let delay = delay(hedging, at: .milliseconds(59_900))
        #expect(delay > 60 && delay < 90, "\(delay)")
    }
}
