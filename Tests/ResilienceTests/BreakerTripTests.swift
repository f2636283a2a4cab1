// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// When a closed breaker opens (semantics, section 1).
@Suite struct BreakerTripTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let settings: BreakerSettings
        let script: String
        let states: String
        let why: String
        init(_ settings: BreakerSettings, _ script: String, _ states: String, _ why: String) {
            self.settings = settings
            self.script = script
            self.states = states
            self.why = why
        }
        var testDescription: String { why }
    }

    static let slow = BreakerSettings.plain(8, minimum: 4).with { $0.slowCall = .seconds(1) }

    @Test(arguments: [
        Row(.plain(8, minimum: 8), "....xxxx", "CCCCCCCO", "opens once half of eight calls failed"),
        Row(.plain(8, minimum: 8), "xxx.....", "CCCCCCCC", "a bad start below the minimum does not open"),
        Row(.plain(8, minimum: 4), "xxxx", "CCCO", "B3: the minimum is the least"),
        Row(.plain(4, minimum: 4), "xx....xx", "CCCOOOOO", "the window is what counts"),
        Row(.plain(8, minimum: 4), "nnnnbbbbllll", "CCCCCCCCCCCC", "what is no evidence opens nothing"),
        Row(.plain(8, minimum: 4), "..nbl.x", "CCCCCCC", "neutral calls do not fill the minimum"),
        Row(.plain(8, minimum: 4, rate: 10_000), "xxxx", "CCCO", "B10: threshold 100 % trips on all-failure"),
        Row(.plain(8, minimum: 4, rate: 10_000), "xxx.xxxx", "CCCCCCCC", "B10: and on nothing less"),
        Row(
            .plain(4, minimum: 4).with { $0.consecutiveFailures = 3 }, "x.xxx", "CCCOO", "half of four comes before three in a row"),
        Row(
            .plain(100, minimum: 100).with { $0.consecutiveFailures = 3 }, "xx.xxnx", "CCCCCCO",
            "a run of failures; a neutral one neither ends nor lengthens it"),
        Row(slow, "ssss", "CCCO", "slow calls that succeed"),
        Row(slow, "sss.", "CCCC", "three of four is under 80 %"),
        Row(slow, "....ssssss", "CCCCCCCCCC", "six of eight, the window keeps two fast"),
        Row(slow, "....sssssss", "CCCCCCCCCCO", "seven of eight"),
        Row(
            .plain(8, minimum: 4).with { $0.window = .hybrid(calls: 8, time: .seconds(10)) }, "xxx=-....x", "CCCCCCCCCC",
            "hybrid forgets what is older than its time"),
        Row(
            .plain(8, minimum: 4).with { $0.window = .time(.seconds(10)) }, "xxx=....", "CCCCCCCC", "time forgets too"),
        Row(.plain(8, minimum: 4).with { $0.window = .time(.seconds(10)) }, "xxx-----x", "CCCCCCCCO", "time remembers within it"),
    ])
    func opens(row: Row) {
        let bench = BreakerBench(row.settings)
        let states = bench.states(after: row.script)
        #expect(states == row.states)
    }

    @Test func B3_neverBelowMinimum() {
        let seed = Seed.current
        for trial in 0..<300 {
            var random = seed.random(UInt64(trial))
            let minimum = 1 + random.below(30)
            let settings = BreakerSettings.plain(minimum + random.below(50), minimum: minimum, rate: 1 + random.below(10_000))
            let bench = BreakerBench(settings)
            var completed = 0
            for _ in 0..<minimum - 1 {
                let outcome = [Outcome.success, failure, neutral, backpressure, local][random.below(5)]
                bench.run(outcome)
                if outcome.outcomeClass == .success || outcome.outcomeClass == .failure { completed += 1 }
                #expect(bench.letter == "C", "\(seed) trial \(trial) after \(completed)")
            }
        }
    }

    /// Calls that hang or are slow are no more evidence than failures are: one less than the minimum opens nothing, in any window, unless the
    /// rule of failures in a row is set.
    @Test func B3_neverBelowMinimumByRateNorBySlowness() {
        let seed = Seed.current
        var byRun = 0
        for trial in 0..<300 {
            var random = seed.random(UInt64(2_000 + trial))
            let minimum = 2 + random.below(20)
            let run = random.chance(50) ? 1 + random.below(minimum) : nil
            let settings = BreakerSettings.plain(minimum + random.below(50), minimum: minimum, rate: 1 + random.below(10_000)).with
            {
                $0.window =
                    [.count(calls: minimum + 5), .time(.seconds(10)), .hybrid(calls: minimum, time: .seconds(10))][random.below(3)]
                $0.slowCall = .milliseconds(100)
                $0.slowRate = Share(tenThousandths: 1 + random.below(10_000))
                $0.saturation = false
                $0.consecutiveFailures = run
            }
            let bench = BreakerBench(settings)
            var failuresInARow = 0
            for _ in 0..<minimum - 1 {
                guard let call = bench.call() else { break }
                bench.send(call)
                bench.now += Int64(random.below(200))
                bench.breaker.advance(to: bench.instant)
                // Some never end, and only their slowness is known.
                if random.chance(70) {
                    let fails = random.chance(60)
                    bench.report(call, fails ? failure : .success)
                    failuresInARow = fails ? failuresInARow + 1 : 0
                }
                let evidence = bench.breaker.evidence
                #expect(bench.letter == "O" || evidence.completed < minimum && evidence.headsKnown < minimum)
                #expect((bench.letter == "O") == (run.map { failuresInARow >= $0 } ?? false), "\(seed) trial \(trial)")
                if bench.letter == "O" { byRun += 1 }
            }
        }
        #expect(byRun > 20)
    }

    @Test(arguments: [(100, 5_000), (100, 5_500), (7, 3_333), (20, 10_000), (128, 1), (1_000, 2_345)])
    func B4_tripsAfterExactlyTheThresholdOfAFullWindow(n: Int, rate: Int) {
        let bench = BreakerBench(.plain(n, minimum: 1, rate: rate))
        for _ in 0..<n { bench.run(.success) }
        var failures = 0
        while bench.letter == "C" && failures <= n {
            bench.run(failure)
            failures += 1
        }
        #expect(failures == (rate * n + 9_999) / 10_000)
    }

    @Test func B10_neverBelowTheThreshold() {
        // At each record, from the window's own counts: open if and only if the share is reached, in exact arithmetic.
        let seed = Seed.current
        for trial in 0..<100 {
            var random = seed.random(UInt64(1_000 + trial))
            let rate = 1 + random.below(10_000)
            let n = 1 + random.below(60)
            let bench = BreakerBench(.plain(n, minimum: 1, rate: rate))
            var recent: [Bool] = []
            for _ in 0..<200 {
                let fails = random.chance(rate / 100)
                bench.run(fails ? failure : .success)
                recent.append(fails)
                if recent.count > n { recent.removeFirst() }
                let marked = recent.count { $0 }
                let due = marked * 10_000 >= rate * recent.count
                #expect((bench.letter == "O") == due, "\(seed) trial \(trial)")
                if due { break }
            }
        }
    }

    // MARK: Hangs

    /// Calls at a steady rate that were fast until `hangAt` and are never answered after it. The instant of the trip in ms.
    private func hang(_ settings: BreakerSettings, gapMs: Int64, permits: Int? = nil, perTryMs: Int64 = 60_000) -> Int64? {
        let bench = BreakerBench(settings, perTry: .milliseconds(perTryMs))
        let hangAt: Int64 = 20_000
        var hung: [(call: CircuitBreaker.Call, at: Int64)] = []
        while bench.now < hangAt + 60_000 {
            while let first = hung.first, first.at + perTryMs <= bench.now {
                hung.removeFirst()
                bench.breaker.bulkheadChanged(permitsInUse: hung.count, permits: permits ?? .max)
                bench.report(first.call, Outcome(.failure, reason: .timeoutPerTry, processed: .maybe))
            }
            bench.breaker.advance(to: bench.instant)
            if let until = bench.openUntil { return until / 1_000_000 - 5_000 - hangAt }
            if hung.count < permits ?? .max, let call = bench.call() {
                if bench.now >= hangAt {
                    hung.append((call, bench.now))
                    bench.breaker.bulkheadChanged(permitsInUse: hung.count, permits: permits ?? .max)
                    bench.send(call)
                } else {
                    bench.send(call)
                    bench.report(call, .success)
                }
            }
            bench.now += gapMs
        }
        return nil
    }

    static let hangSettings = BreakerSettings().with {
        $0.ramp = .zero
        $0.openJitter = Share(tenThousandths: 0)
        $0.saturation = false
    }

    @Test(arguments: [1, 5, 10, 50] as [Int64])
    func B5_hangTripsACountWindow(gapMs: Int64) throws {
        let settings = Self.hangSettings.with { $0.window = .count(calls: 100) }
        let tripped = try #require(hang(settings, gapMs: gapMs))
        #expect(tripped <= 1_000 + 80 * gapMs && tripped >= 1_000)
    }

    @Test(arguments: [1, 10, 50] as [Int64])
    func B5_hangTripsATimeWindow(gapMs: Int64) throws {
        let settings = Self.hangSettings.with { $0.window = .time(.seconds(10)) }
        let tripped = try #require(hang(settings, gapMs: gapMs))
        #expect(tripped <= 1_000 + 7_200 + 1_000 + gapMs)
    }

    @Test(arguments: [1, 10, 90] as [Int64])
    func B5_hangTripsAHybridWindow(gapMs: Int64) throws {
        let tripped = try #require(hang(Self.hangSettings, gapMs: gapMs))
        #expect(tripped <= max(1_000 + 80 * gapMs, 1_000 + 7_200 + 1_000) + gapMs)
    }

    @Test func B5_saturationTripsWhereTheBulkheadBinds() throws {
        let settings = Self.hangSettings.with { $0.window = .count(calls: 100) }
        #expect(hang(settings, gapMs: 10, permits: 16) == nil, "16 permits can never show 80 slow calls")
        let tripped = try #require(hang(settings.with { $0.saturation = true }, gapMs: 10, permits: 16))
        #expect(tripped <= 1_000 + 16 * 10 + 1)
        // λ 40/s, C 64, per try 2 s: timeouts keep freeing permits, and all 64 are never slow at one instant.
        let freed = try #require(hang(settings.with { $0.saturation = true }, gapMs: 25, permits: 64, perTryMs: 2_000))
        #expect(freed <= 1_000 + 64 * 25 + 1)
    }

    @Test func B5_saturationNeedsFullnessAndNoFastHead() {
        func crossings(_ n: Int, inUse: Int, fastAfter: Int?) -> Character {
            let bench = BreakerBench(
                Self.hangSettings.with {
                    $0.saturation = true
                    $0.minimumCalls = 100
                })
            bench.breaker.bulkheadChanged(permitsInUse: inUse, permits: 4)
            for i in 0..<n {
                if i == fastAfter { bench.run(.success) }
                if let call = bench.call() { bench.send(call) }
                bench.now += 1_001
                bench.breaker.advance(to: bench.instant)
            }
            return bench.letter
        }
        #expect(crossings(4, inUse: 4, fastAfter: nil) == "O")
        #expect(crossings(3, inUse: 4, fastAfter: nil) == "C")
        #expect(crossings(4, inUse: 3, fastAfter: nil) == "C")
        #expect(crossings(5, inUse: 4, fastAfter: 2) == "C")
        #expect(crossings(6, inUse: 4, fastAfter: 2) == "O")
    }

    // MARK: The slow clock

    @Test func slowCountsAtTheCrossingAndOnce() {
        let bench = BreakerBench(Self.slow)
        guard let call = bench.call() else { return }
        bench.send(call)
        bench.now = 1_000
        bench.breaker.advance(to: bench.instant)
        #expect(bench.breaker.evidence.slow == 0, "the threshold itself is still fast")
        bench.breaker.advance(to: Instant(nanoseconds: 1_000_000_001))
        #expect(bench.breaker.evidence == BreakerEvidence(completed: 0, failed: 0, headsKnown: 1, slow: 1))
        bench.now = 5_000
        bench.breaker.headArrived(call, now: bench.instant)
        bench.report(call, failure)
        #expect(bench.breaker.evidence == BreakerEvidence(completed: 1, failed: 1, headsKnown: 1, slow: 1))
        bench.report(call, failure)
        #expect(bench.breaker.evidence.completed == 1, "settled once")
    }

    @Test func aNeutralCallLeavesItsSlowEvidence() {
        let bench = BreakerBench(Self.slow)
        guard let call = bench.call() else { return }
        bench.send(call)
        bench.now = 2_000
        bench.report(call, neutral)
        #expect(bench.breaker.evidence == BreakerEvidence(completed: 0, failed: 0, headsKnown: 1, slow: 1))
    }

    @Test func O3_cancelledBeforeTheThresholdLeavesNothing() {
        let bench = BreakerBench(Self.slow)
        for _ in 0..<50 {
            if let call = bench.call() {
                bench.send(call)
                bench.now += 900
                bench.report(call, neutral)
            }
        }
        #expect(bench.breaker.evidence == BreakerEvidence())
        #expect(bench.breaker.callsUnderWay == 0)
    }

    @Test func theClockStandsStillWhileTheClientSends() {
        let bench = BreakerBench(Self.slow)
        guard let call = bench.call() else { return }
        bench.send(call)
        bench.now += 600
        bench.breaker.requestWaits(call, now: bench.instant)
        bench.now += 60_000
        bench.send(call)
        bench.now += 400
        bench.breaker.advance(to: bench.instant)
        #expect(bench.breaker.evidence.slow == 0)
        bench.now += 1
        bench.breaker.advance(to: bench.instant)
        #expect(bench.breaker.evidence.slow == 1)
    }

    @Test func aFastHeadIsFastHoweverLongTheBody() {
        let bench = BreakerBench(Self.slow)
        guard let call = bench.call() else { return }
        bench.send(call)
        bench.now += 10
        bench.breaker.headArrived(call, outcome: .success, now: bench.instant)
        bench.now += 100_000
        #expect(bench.breaker.evidence.completed == 0, "a success is booked at the end")
        bench.report(call, .success)
        #expect(bench.breaker.evidence == BreakerEvidence(completed: 1, failed: 0, headsKnown: 1, slow: 0))
    }

    @Test func crossingsAreDatedWhenTheyWereDue() {
        let bench = BreakerBench(Self.slow)
        for _ in 0..<4 {
            if let call = bench.call() { bench.send(call) }
        }
        // Nothing happens for an hour; the next admit finds a breaker that opened at 1 s and is due for probes.
        bench.now = 3_600_000
        #expect(bench.call() != nil)
        #expect(bench.letter == "H")
        #expect(bench.breaker.transitions == BreakerTransitions(opened: 1, halfOpened: 1, closed: 0))
    }

    @Test func slowClocksRunOutInOrderWhateverTheirStart() {
        // Clocks that stood still rejoin in the middle; the list is compared with a sorted model.
        let seed = Seed.current
        var random = seed.random(77)
        var table = CallTable(capacity: 2)
        var model: [(Int, Int64)] = []
        var now: Int64 = 0
        for step in 0..<5_000 {
            now += Int64(random.below(5))
            switch random.below(4) {
            case 0, 1:
                let call = table.insert(generation: 0)
                let threshold = Int64(random.below(50))
                table.startClock(Int(call.slot), now: now, threshold: threshold)
                model.append((Int(call.slot), now + threshold))
            case 2 where !model.isEmpty:
                let (index, _) = model.remove(at: random.below(model.count))
                table.remove(index)
            default:
                let least = model.map(\.1).min() ?? .max
                #expect(table.nextCrossing == least, "\(seed) step \(step)")
                if let index = table.popCrossing() {
                    let position = model.firstIndex { $0.0 == index && $0.1 == least }
                    if let position { model.remove(at: position) } else { Issue.record("\(seed) step \(step)") }
                    table.remove(index)
                }
            }
            #expect(table.count == model.count)
        }
    }
}
