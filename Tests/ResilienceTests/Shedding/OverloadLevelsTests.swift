// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

private final class LevelsBench {
    var levels = OverloadLevels()

    func note(_ signal: OverloadSignal, _ percent: Int, at ms: Int64) -> OverloadLevels.Change? {
        levels.note(signal, percent, of: 100, now: .milliseconds(ms))
    }
}

/// Semantics, section 10: the signals of a whole process.
@Suite struct OverloadLevelsTests {
    @Test(arguments: [(0, 0), (49, 0), (50, 1), (74, 1), (75, 2), (90, 3), (99, 3), (100, 4), (300, 4)])
    func criticalIsShedOnlyAtTheWhole(percent: Int, level: Int) {
        var state = ShedLevel()
        state.look(percent, of: 100, now: .origin)
        #expect(state.level == level)
        let shed = Priority.allCases.filter { state.sheds($0) }
        #expect(shed == Array(Priority.allCases.suffix(level)), "whoever is shed, all the less important are (S1)")
    }

    @Test func S4_afterTheLoadIsGoneOneClassASecondComesBack() {
        let bench = LevelsBench()
        #expect(bench.note(.memory, 100, at: 0) == .init(signal: .memory, from: 0, to: 4))
        #expect(bench.note(.memory, 10, at: 999) == nil)
        #expect(bench.note(.memory, 10, at: 1_000) == .init(signal: .memory, from: 4, to: 3))
        #expect(bench.note(.memory, 10, at: 4_000) == .init(signal: .memory, from: 3, to: 0))
        #expect(bench.levels.highest == nil)
    }

    @Test func theHighestSignalGivesTheReasonAndMemoryGoesBeforeLag() {
        let bench = LevelsBench()
        _ = bench.note(.lag, 60, at: 0)
        #expect(bench.levels.highest?.signal == .lag)
        _ = bench.note(.descriptors, 60, at: 0)
        #expect(bench.levels.highest?.signal == .descriptors)
        _ = bench.note(.memory, 60, at: 0)
        #expect(bench.levels.highest?.signal == .memory)
        _ = bench.note(.lag, 95, at: 1)
        #expect(bench.levels.highest?.signal == .lag && bench.levels.highest?.level == 3)
        bench.levels.forget(.lag)
        #expect(bench.levels.highest?.signal == .memory && bench.levels.level(of: .lag) == 0)
    }

    @Test func readingsBeyondAllBoundsTrapNowhere() {
        var levels = OverloadLevels()
        #expect(levels.note(.memory, .max, of: 1, now: .origin)?.to == 4)
        _ = levels.note(.lag, .min, of: 0, now: .never)
        #expect(levels.level(of: .lag) == 0 && levels.reading(of: .lag).tenThousandths == 0)
    }
}

@Suite struct LagReadingTests {
    /// Probes every 20 ms, each late by so many milliseconds; what was read.
    private func readings(_ late: [Int64]) -> [Int64] {
        var lag = LagReading()
        var now: Int64 = 0
        var found: [Int64] = []
        for ms in late {
            let due = now + 20
            now = due + ms
            if let reading = lag.probed(due: .milliseconds(due), now: .milliseconds(now)) { found.append(reading / 1_000_000) }
        }
        return found
    }

    @Test func oneStallShedsNobody() {
        let found = readings([0, 0, 0, 0, 0, 0, 900] + [Int64](repeating: 1, count: 30))
        #expect(found.count > 3 && found.allSatisfy { $0 <= 1 }, "\(found)")
    }

    @Test func aLoopThatStaysLateIsKnownAfterTwoWindows() {
        let found = readings([0, 0, 0, 0, 0, 0, 300, 300, 300, 300])
        #expect(found == [0, 0, 300, 300, 300], "\(found)")
    }

    @Test func aProbeThatIsEarlyIsNotLate() {
        var lag = LagReading()
        #expect(lag.probed(due: .seconds(5), now: .seconds(1)) == nil)
        #expect(lag.probed(due: .seconds(9), now: .seconds(2)) == 0)
    }
}
