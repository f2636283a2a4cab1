// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// A class, because `#expect` cannot call what mutates a value.
private final class ShedBench {
    var shedder = OccupancyShedder()

    /// Who is shed at an occupancy of so many per cent: "hnb".
    func look(_ percent: Int, at ms: Int64) -> String {
        zip("chnb", Priority.allCases).filter {
            shedder.sheds($0.1, used: percent, capacity: 100, now: .milliseconds(ms))
        }.map { String($0.0) }.joined()
    }
}

/// Semantics, section 10.
@Suite struct OccupancyShedderTests {
    @Test(arguments: [
        (0, ""), (49, ""), (50, "b"), (74, "b"), (75, "nb"), (89, "nb"), (90, "hnb"), (100, "hnb"), (150, "hnb"),
    ])
    func capsByClass(percent: Int, shed: String) {
        #expect(ShedBench().look(percent, at: 0) == shed)
    }

    @Test func S4_risesAtOnceAndFallsByOneClassASecond() {
        let bench = ShedBench()
        #expect(bench.look(60, at: 0) == "b")
        #expect(bench.look(95, at: 1) == "hnb", "at once")
        #expect(bench.look(40, at: 1_000) == "hnb", "a dwell of one second")
        #expect(bench.look(40, at: 1_001) == "nb")
        #expect(bench.look(40, at: 2_000) == "nb")
        #expect(bench.look(40, at: 2_001) == "b", "the most important class first")
        #expect(bench.look(60, at: 2_002) == "b")
        #expect(bench.look(40, at: 3_001) == "b", "60 % is no time under bulk's cap")
        #expect(bench.look(40, at: 3_002) == "")
    }

    @Test func staysWithinFivePointsOfTheCap() {
        let bench = ShedBench()
        #expect(bench.look(50, at: 0) == "b")
        for second in 1...10 as ClosedRange<Int64> { #expect(bench.look(45, at: second * 900) == "b") }
        #expect(bench.look(44, at: 9_500) == "b")
        #expect(bench.look(44, at: 10_000) == "", "a second after the last 45 %")
    }

    @Test func whereNobodyLooksEverybodyFoundAPermit() {
        let bench = ShedBench()
        #expect(bench.look(100, at: 0) == "hnb")
        #expect(bench.look(72, at: 2_000) == "b", "two classes in two seconds")
        #expect(bench.look(72, at: 60_000) == "b", "it had fallen to nothing, and rose again")
        #expect(bench.look(100, at: 60_001) == "hnb")
        #expect(bench.look(0, at: 59_000) == "hnb", "an instant from the past is the latest one seen")
    }

    @Test func S1_whoIsShedIsInTheCompanyOfAllTheLessImportant() {
        let seed = Seed.current
        for trial in 0..<50 {
            var random = seed.random(UInt64(trial))
            let bench = ShedBench()
            var now: Int64 = 0
            for step in 0..<500 {
                now += Int64(random.below(700))
                let percent = random.below(120)
                let shed = bench.look(percent, at: now)
                #expect("hnb".hasSuffix(shed), "\(seed) trial \(trial) step \(step)")
                // And whoever is at the cap of its class is shed, whatever was before.
                #expect(shed.count >= (percent >= 90 ? 3 : percent >= 75 ? 2 : percent >= 50 ? 1 : 0), "\(seed) \(trial) \(step)")
            }
        }
    }

    @Test func prioritiesHaveAnOrder() {
        #expect(Priority.allCases.map(\.rank) == [0, 1, 2, 3])
        #expect(Priority.allCases.sorted().map(\.rawValue) == ["critical", "high", "normal", "bulk"])
    }

    // MARK: In the guard

    private func ask(_ guardian: Guard, _ priority: Priority, _ ms: Int64, keep held: Held = Held()) -> Reason? {
        switch guardian.admit(now: .milliseconds(ms), request: 1, isFirstAttempt: true, priority: priority) {
        case .admitted(let permit): held.permit = consume permit
        case .mustWait: break
        case .refused(let refusal):
            let after = refusal.retryAfterNanoseconds ?? 0
            #expect(after >= 1_000_000_000 && after < 2_000_000_000)
            return refusal.reason
        }
        return nil
    }

    @Test func whatFindsAPermitIsNeverShed() {
        let guardian = Guard(.small(permits: 2, places: 2), draw: Draw(seed: 7))
        let held = [Held(), Held()]
        let waiters = [RecordingWaiter(), RecordingWaiter()]
        #expect(ask(guardian, .bulk, 0, keep: held[0]) == nil && ask(guardian, .bulk, 0, keep: held[1]) == nil)
        #expect(held.allSatisfy { $0.permit != nil })
        // Two of four: half full.
        #expect(ask(guardian, .bulk, 0) == .shedOccupancy && ask(guardian, .normal, 0) == nil)
        _ = guardian.join(waiters[0], 0, until: 10_000)
        #expect(ask(guardian, .normal, 0) == .shedOccupancy && ask(guardian, .high, 0) == nil)
        _ = guardian.join(waiters[1], 0, until: 10_000)
        #expect(ask(guardian, .high, 0) == .shedOccupancy && ask(guardian, .critical, 0) == .bulkheadFull)
        #expect(guardian.snapshot().shedLevel == 3)
        for one in held { one.permit = nil }
        #expect(ask(guardian, .bulk, 10, keep: held[0]) == .shedOccupancy, "the two that waited have the permits")
        guardian.expireWaiters(now: .milliseconds(10_000))
        let snapshot = guardian.snapshot()
        #expect(snapshot.shedLevel == 0 && snapshot.counters.refusedShed == 4 && snapshot.counters.refusedFull == 1)
        #expect(snapshot.counters.refusals.first { $0.reason == .shedOccupancy }?.count == 4)
    }

    @Test func nothingIsShedUnlessSomebodyAsks() {
        let guardian = Guard(.small(permits: 1, places: 1), draw: Draw(seed: 7))
        let held = Held()
        #expect(ask(guardian, .critical, 0, keep: held) == nil)
        _ = guardian.join(RecordingWaiter(), 0, until: 10_000)
        var kept: AttemptPermit?
        guard case .refused(let refusal) = guardian.ask(0, keep: &kept) else {
            Issue.record("admitted")
            return
        }
        #expect(refusal.reason == .bulkheadFull)
    }
}
