// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Open, half-open and back (semantics, section 1).
@Suite struct BreakerRecoveryTests {
    /// Trips at the first failure, opens for 5 s, five probes: F 3, Fs 4, three fast successes close.
    static let settings = BreakerSettings.plain(10, minimum: 1).with { $0.slowCall = .seconds(1) }

    /// A breaker that is half-open and has granted `probes` permits.
    private func halfOpen(_ probes: Int, _ settings: BreakerSettings = settings) -> (BreakerBench, [CircuitBreaker.Call]) {
        let bench = BreakerBench(settings)
        bench.run(failure)
        bench.now = 5_000
        var calls: [CircuitBreaker.Call] = []
        for _ in 0..<probes {
            if let call = bench.call() { calls.append(call) }
        }
        #expect(calls.count == probes)
        return (bench, calls)
    }

    @Test(arguments: [
        ("x-----...", "OOOOOOHHC", "three fast successes close"),
        ("x-----..x.", "OOOOOOHHHC", "a failure between them does not hinder"),
        ("x-----xxx", "OOOOOOHHO", "three failures open again"),
        ("x-----.x.xx", "OOOOOOHHHHO", "three of five failed"),
        ("x-----nbl...", "OOOOOOHHHHHC", "E03: what does not count gives its permit back"),
        ("x-----..ss.", "OOOOOOHHHHC", "slow successes are neither failures nor fast"),
        ("x-----ssss", "OOOOOOHHHO", "four slow ones open again"),
        ("x----.-.", "OOOOOOOH", "nothing passes before the time is up"),
    ])
    func recovers(script: String, states: String, why: String) {
        let bench = BreakerBench(Self.settings)
        #expect(bench.states(after: script) == states, "\(why)")
    }

    @Test func B1_nothingBeforeUntil() throws {
        let bench = BreakerBench(Self.settings)
        bench.run(failure)
        let until = try #require(bench.openUntil)
        #expect(until == 5_000_000_000)
        for (at, left) in [(0, 5_000_000_000), (1, 4_999_999_999), (until - 1, 1)] as [(Int64, Int64)] {
            let answer = bench.breaker.admit(now: Instant(nanoseconds: at), request: 1, isFirstAttempt: true)
            #expect(answer == .refused(Refusal(.breakerOpen, retryAfterNanoseconds: left)))
        }
        let answer = bench.breaker.admit(now: Instant(nanoseconds: until), request: 1, isFirstAttempt: true)
        #expect(answer != .refused(Refusal(.breakerOpen, retryAfterNanoseconds: 0)))
        #expect(bench.letter == "H")
        #expect(Refusal(.breakerOpen, retryAfterNanoseconds: 4_000_000_001).retryAfterSeconds == 5)
        #expect(Refusal(.breakerOpen, retryAfterNanoseconds: 1).retryAfterSeconds == 1)
    }

    @Test func onlyFirstAttemptsProbe() {
        let bench = BreakerBench(Self.settings)
        bench.run(failure)
        bench.now = 5_000
        #expect(bench.refusal(first: false)?.reason == .breakerHalfOpen)
        #expect(bench.letter == "O", "a retry does not even begin the probing")
        #expect(!bench.isClosed)
        #expect(bench.call() != nil)
        #expect(bench.refusal(first: false)?.reason == .breakerHalfOpen)
    }

    @Test func B2_permitsInAllNotAtATime() {
        let (bench, calls) = halfOpen(5, Self.settings.with { $0.failureRate = Share(tenThousandths: 10_000) })
        #expect(bench.refusal() == Refusal(.breakerHalfOpen, retryAfterNanoseconds: 10_000_000_000))
        bench.report(calls[0], failure)
        #expect(bench.refusal()?.reason == .breakerHalfOpen, "a reported permit is used up")
        bench.report(calls[1], neutral)
        #expect(bench.call() != nil, "one given back is not")
        #expect(bench.refusal() != nil)
    }

    @Test func B2_property() {
        let seed = Seed.current
        for trial in 0..<200 {
            var random = seed.random(UInt64(trial))
            let permits = 1 + random.below(8)
            let bench = BreakerBench(
                Self.settings.with {
                    $0.halfOpenCalls = permits
                    $0.failureRate = Share(tenThousandths: 1 + random.below(10_000))
                    $0.slowRate = Share(tenThousandths: 1 + random.below(10_000))
                })
            bench.run(failure)
            var out: [CircuitBreaker.Call] = []
            var generation = bench.breaker.generation
            var taken = 0
            for step in 0..<300 {
                bench.now += Int64(random.below(800))
                bench.breaker.advance(to: bench.instant)
                if bench.breaker.generation != generation {
                    generation = bench.breaker.generation
                    out = []
                    taken = 0
                }
                if bench.letter == "O" && random.chance(20) { bench.now += 70_000 }
                if random.chance(60) {
                    let before = bench.breaker.generation
                    if let call = bench.call() {
                        if bench.breaker.generation != before {
                            generation = bench.breaker.generation
                            out = []
                            taken = 0
                        }
                        if bench.letter == "H" {
                            taken += 1
                            out.append(call)
                            if random.chance(70) { bench.send(call) }
                        } else {
                            bench.report(call, .success)
                        }
                    } else if bench.letter == "H" {
                        #expect(bench.breaker.probes.out.count > 0, "B7 \(seed) trial \(trial) step \(step)")
                    }
                } else if !out.isEmpty && bench.letter == "H" {
                    let call = out.remove(at: random.below(out.count))
                    let isOut = bench.breaker.probes.out.contains(call.slot)
                    let outcome = [Outcome.success, failure, neutral, backpressure][random.below(4)]
                    bench.report(call, outcome)
                    if isOut && (outcome == neutral || outcome == backpressure) { taken -= 1 }
                }
                #expect(taken <= permits, "\(seed) trial \(trial) step \(step)")
                if bench.breaker.generation == generation && bench.letter == "H" {
                    #expect(bench.breaker.probes.taken == taken, "\(seed) trial \(trial) step \(step)")
                }
            }
        }
    }

    @Test func B6_E04_stragglersChangeNothing() {
        // E04: started when closed, reported in every later state.
        let bench = BreakerBench(Self.settings)
        var old: [CircuitBreaker.Call] = []
        for _ in 0..<6 {
            if let call = bench.call() {
                bench.send(call)
                old.append(call)
            }
        }
        bench.run(failure)
        bench.report(old[0], .success)
        #expect(bench.letter == "O")
        bench.now = 5_000
        #expect(bench.call() != nil)
        for straggler in old[1...3] { bench.report(straggler, .success) }
        #expect(bench.letter == "H" && bench.breaker.probes.taken == 1 && bench.breaker.probes.reported == 0)
        for _ in 0..<3 { bench.run(.success) }
        #expect(bench.letter == "C")
        bench.report(old[4], failure)
        bench.now = 20_000
        bench.report(old[5], failure)
        #expect(bench.letter == "C")
        #expect(bench.breaker.evidence == BreakerEvidence())
    }

    /// Whatever an earlier generation reports, at whatever moment: the state, the windows and the permits of the present one are what they were.
    @Test func B6_property() {
        let seed = Seed.current
        var late: [String: Int] = [:]
        for trial in 0..<200 {
            var random = seed.random(UInt64(3_000 + trial))
            let bench = BreakerBench(
                Self.settings.with {
                    $0.minimumCalls = 3
                    $0.halfOpenCalls = 1 + random.below(5)
                    $0.saturation = false
                })
            var out: [(call: CircuitBreaker.Call, generation: UInt64)] = []
            for step in 0..<300 {
                bench.now += Int64(random.below(random.chance(10) ? 6_000 : 50))
                if random.chance(50) {
                    if let call = bench.call() { out.append((call, bench.breaker.generation)) }
                } else if random.chance(2) {
                    bench.breaker.force(.forcedClosed, now: bench.instant)
                    bench.breaker.force(.automatic, now: bench.instant)
                } else if !out.isEmpty {
                    let place = random.below(out.count)
                    let (call, generation) = out[place]
                    bench.breaker.advance(to: bench.instant)
                    let before = bench.breaker
                    let kind = random.below(5)
                    switch kind {
                    case 0: bench.send(call)
                    case 1: bench.breaker.headArrived(call, outcome: random.chance(50) ? failure : .success, now: bench.instant)
                    case 2: bench.breaker.requestWaits(call, now: bench.instant)
                    default: bench.report(call, [.success, failure, failure, neutral][random.below(4)])
                    }
                    if kind > 2 { out.remove(at: place) }
                    guard generation != before.generation else { continue }
                    let after = bench.breaker
                    late["\(bench.letter)", default: 0] += 1
                    #expect(
                        after.state == before.state && after.generation == before.generation && after.evidence == before.evidence
                            && after.openings == before.openings && after.consecutiveFailures == before.consecutiveFailures
                            && after.slowRun == before.slowRun && after.probes.taken == before.probes.taken
                            && after.probes.reported == before.probes.reported && after.probes.out == before.probes.out,
                        "\(seed) trial \(trial) step \(step)")
                }
            }
        }
        #expect(["C", "O", "H"].allSatisfy { late[$0, default: 0] > 50 }, "late in every state: \(late)")
    }

    /// E03: a probe that a client gives up, that the upstream puts off or that never left says nothing; a 404 is an answer.
    @Test(arguments: [neutral, backpressure, local])
    func E03_aProbeThatSaysNothingNeitherClosesNorOpens(outcome: Outcome) {
        let (bench, calls) = halfOpen(1, Self.settings.with { $0.halfOpenCalls = 1 })
        var call = calls[0]
        for _ in 0..<50 {
            #expect(bench.refusal()?.reason == .breakerHalfOpen)
            bench.send(call)
            bench.report(call, outcome)
            #expect(bench.letter == "H" && bench.breaker.probes.taken == 0)
            guard let next = bench.call() else {
                Issue.record("the place is lost")
                return
            }
            call = next
        }
        bench.report(call, .success)
        #expect(bench.letter == "C")
    }

    @Test func B7_aLostPermitCountsAsFailedInTime() {
        let (bench, calls) = halfOpen(5)
        bench.now = 14_999
        bench.breaker.advance(to: bench.instant)
        #expect(bench.letter == "H")
        bench.now = 15_000
        bench.breaker.advance(to: bench.instant)
        #expect(bench.letter == "O", "five lost permits are three failures")
        bench.report(calls[0], .success)
        #expect(bench.letter == "O")
    }

    @Test func B7_waitIsAtLeastFiveSecondsAndTwiceThePerTry() {
        #expect(CircuitBreaker.Limits(Self.settings, perTry: .seconds(1)).probeWait == 5_000_000_000)
        #expect(CircuitBreaker.Limits(Self.settings, perTry: .seconds(20)).probeWait == 40_000_000_000)
        #expect(CircuitBreaker.Limits(Self.settings, perTry: nil).probeWait == 5_000_000_000)
        #expect(CircuitBreaker.Limits(Self.settings.with { $0.halfOpenWait = .seconds(1) }, perTry: nil).probeWait == 1_000_000_000)
    }

    @Test func E01_theOnlyProbeCancelledComesBack() {
        let (bench, calls) = halfOpen(1, Self.settings.with { $0.halfOpenCalls = 1 })
        #expect(bench.refusal()?.reason == .breakerHalfOpen)
        bench.breaker.discard(calls[0], now: bench.instant)
        #expect(bench.call() != nil)
    }

    @Test func aGoodHeadSettlesAStreamsPermit() {
        let (bench, calls) = halfOpen(3)
        for call in calls { bench.breaker.headArrived(call, outcome: .success, now: bench.instant) }
        #expect(bench.letter == "C")
        bench.now = 100_000
        bench.report(calls[0], failure)
        #expect(bench.breaker.evidence == BreakerEvidence(), "B6: its generation is over")
    }

    @Test func aStreamThatFailsBeforeTheVerdictIsRevised() {
        let (bench, calls) = halfOpen(5)
        bench.breaker.headArrived(calls[0], outcome: .success, now: bench.instant)
        bench.breaker.headArrived(calls[1], outcome: .success, now: bench.instant)
        bench.report(calls[0], failure)
        bench.report(calls[1], failure)
        #expect(bench.letter == "H")
        bench.report(calls[2], .success)
        #expect(bench.letter == "H", "two of the three successes were taken back")
        bench.report(calls[3], failure)
        #expect(bench.letter == "O")
    }

    @Test func anUndecidedHeadIsGoodEnoughWhenTheTimeIsUp() {
        let (bench, calls) = halfOpen(3)
        for call in calls { bench.breaker.headArrived(call, now: bench.instant) }
        #expect(bench.letter == "H")
        bench.now = 15_000
        bench.breaker.advance(to: bench.instant)
        #expect(bench.letter == "C")
    }

    // MARK: Length of an opening

    /// The lengths of `n` openings in a row, every probe failing.
    private func lengths(_ n: Int, _ settings: BreakerSettings, seed: UInt64, retryAfter: Int64? = nil) -> [Int64] {
        let bench = BreakerBench(settings, seed: seed)
        bench.run(failure, retryAfter: retryAfter)
        var result: [Int64] = []
        for _ in 0..<n {
            guard let until = bench.openUntil else { return result }
            result.append(until - bench.now * 1_000_000)
            bench.now = until / 1_000_000 + 1
            while bench.letter != "O" || bench.openUntil == until {
                if !bench.run(failure, retryAfter: retryAfter) { return result }
            }
        }
        return result
    }

    @Test func B8_openingsDoubleToTheMaximum() {
        let seconds = lengths(8, Self.settings, seed: 1).map { $0 / 1_000_000_000 }
        #expect(seconds == [5, 10, 20, 40, 60, 60, 60, 60])
    }

    @Test func B8_jitterLengthensWithinItsShare() {
        let jittered = Self.settings.with { $0.openJitter = Share(tenThousandths: 2_000) }
        var seen: Set<Int64> = []
        for seed in 0..<50 as Range<UInt64> {
            for (length, plain) in zip(lengths(7, jittered, seed: seed), [5, 10, 20, 40, 60, 60, 60] as [Int64]) {
                #expect(length >= plain * 1_000_000_000 && length <= plain * 1_200_000_000, "seed \(seed)")
                seen.insert(length)
            }
        }
        #expect(seen.count > 300, "draws differ")
    }

    @Test(arguments: [(1, 5), (7, 7), (59, 59), (600, 60)] as [(Int64, Int64)])
    func B8_retryAfterIsALowerBound(asked: Int64, seconds: Int64) {
        #expect(lengths(1, Self.settings, seed: 1, retryAfter: asked * 1_000_000_000) == [seconds * 1_000_000_000])
    }

    /// With jitter and an upstream that asks for more time now and then: each length is within its share, none is shorter than the one
    /// before until the longest is reached, and none is longer than the longest with all its jitter.
    @Test func B8_property() {
        let seed = Seed.current
        for trial in 0..<200 {
            var random = seed.random(UInt64(4_000 + trial))
            let base = Int64(1 + random.below(10))
            let most = base * Int64(1 + random.below(40))
            let jitter = random.below(10_001)
            let asked: Int64? = random.chance(50) ? Int64(random.below(200)) : nil
            let settings = Self.settings.with {
                $0.openFor = .seconds(base)
                $0.openMax = .seconds(most)
                $0.openJitter = Share(tenThousandths: jitter)
            }
            let ceiling = most * 1_000_000_000 + most * 100_000 * Int64(jitter)
            let found = lengths(10, settings, seed: random.next(), retryAfter: asked.map { $0 * 1_000_000_000 })
            #expect(found.count == 10)
            var plain = base
            for (n, length) in found.enumerated() {
                let least = max(min(plain, most) * 1_000_000_000, min(ceiling, (asked ?? 0) * 1_000_000_000))
                let highest = min(
                    ceiling, max((asked ?? 0) * 1_000_000_000, min(plain, most) * (1_000_000_000 + 100_000 * Int64(jitter))))
                #expect(length >= least && length <= highest, "\(seed) trial \(trial): opening \(n + 1)")
                if n > 0, plain <= most { #expect(length >= found[n - 1], "\(seed) trial \(trial): \(found)") }
                plain = min(plain * 2, most * 2)
            }
        }
    }

    @Test func openingsAreForgottenOneABaseClosed() {
        let bench = BreakerBench(Self.settings)
        #expect(bench.states(after: "x-----...").last == "C")
        bench.now += 4_999
        bench.run(failure)
        #expect(bench.openUntil == (bench.now + 10_000) * 1_000_000)
        bench.now += 10_000
        for _ in 0..<3 { bench.run(.success) }
        #expect(bench.letter == "C")
        bench.now += 5_000
        bench.run(failure)
        #expect(bench.openUntil == (bench.now + 10_000) * 1_000_000, "one of two forgotten, and one added")
        bench.now += 10_000
        for _ in 0..<3 { bench.run(.success) }
        bench.now += 3_600_000
        bench.run(failure)
        #expect(bench.openUntil == (bench.now + 5_000) * 1_000_000)
    }

    // MARK: Ramp

    @Test func theRampAdmitsAGrowingShare() {
        let bench = BreakerBench(
            Self.settings.with {
                $0.ramp = .seconds(10)
                $0.minimumCalls = 1_000_000
                $0.consecutiveFailures = 1
            })
        #expect(bench.states(after: "x-----...").last == "C")
        let closed = bench.now
        #expect(bench.refusal() == Refusal(.breakerRamp, retryAfterNanoseconds: 10_000_000_000))
        for tenth in 1...9 as ClosedRange<Int64> {
            bench.now = closed + tenth * 1_000
            var admitted = 0
            for _ in 0..<1_000 where bench.run(.success) { admitted += 1 }
            #expect(abs(admitted - Int(tenth) * 100) < 80, "at \(tenth) s")
        }
        bench.now = closed + 10_000
        for _ in 0..<1_000 { #expect(bench.run(.success)) }
    }

    @Test func aTripInTheRampCountsAsConsecutive() {
        let bench = BreakerBench(Self.settings.with { $0.ramp = .seconds(60) })
        #expect(bench.states(after: "x-----...").last == "C")
        bench.now += 50_000
        while bench.letter == "C" { bench.run(failure) }
        #expect(bench.openUntil == (bench.now + 10_000) * 1_000_000, "50 s closed would have forgotten it")
    }

    // MARK: Overrides, shadow, settings

    @Test func B9_shadowNeverRefusesAndSaysWhatItWouldDo() {
        let bench = BreakerBench(Self.settings.with { $0.mode = .shadow })
        bench.run(failure)
        #expect(bench.letter == "O")
        #expect(bench.isClosed)
        #expect(bench.breaker.refusesUntil == .origin)
        guard case .admitted(let call, .breakerOpen) = bench.admit() else {
            Issue.record("not admitted with a mark")
            return
        }
        bench.report(call, .success)
        bench.now = 5_000
        var marks = 0
        for _ in 0..<8 {
            if case .admitted(_, .breakerHalfOpen) = bench.admit() { marks += 1 }
        }
        #expect(marks == 3, "five probes, three beyond them")
    }

    @Test func B9_overrides() {
        let bench = BreakerBench(Self.settings)
        bench.breaker.force(.forcedClosed, now: bench.instant)
        for _ in 0..<20 {
            guard case .admitted(let call, _) = bench.admit() else {
                Issue.record("forced closed refused")
                return
            }
            bench.report(call, failure)
        }
        #expect(bench.letter == "O", "the machine goes on in show")
        bench.breaker.force(.forcedOpen, now: bench.instant)
        bench.now += 1_000_000
        #expect(bench.refusal() == Refusal(.breakerForced))
        let peek = bench.breaker.peek(now: bench.instant, request: 1, isFirstAttempt: true)
        #expect(peek?.reason == .breakerForced)
        #expect(bench.breaker.refusesUntil == .never && !bench.isClosed)
        bench.breaker.force(.disabled, now: bench.instant)
        for _ in 0..<20 {
            guard case .admitted(let call, nil) = bench.admit() else { break }
            #expect(!call.isFollowed)
            bench.send(call)
            bench.report(call, failure)
        }
        #expect(bench.letter == "C" && bench.breaker.evidence == BreakerEvidence())
        bench.breaker.force(.automatic, now: bench.instant)
        #expect(bench.breaker.openings == 0)
        bench.run(failure)
        #expect(bench.openUntil == (bench.now + 5_000) * 1_000_000, "a manual close forgets earlier openings")
    }

    @Test func B9_forcesWinOverDisabledSettings() {
        let bench = BreakerBench(Self.settings.with { $0.disabled = true })
        for _ in 0..<5 { bench.run(failure) }
        #expect(bench.letter == "C" && bench.breaker.evidence == BreakerEvidence())
        bench.breaker.force(.forcedOpen, now: bench.instant)
        #expect(bench.refusal()?.reason == .breakerForced)
        bench.breaker.force(.forcedClosed, now: bench.instant)
        if case .admitted(let call, nil) = bench.admit() { bench.report(call, failure) }
        #expect(bench.letter == "O", "forced closed measures")
    }

    @Test func B6_aCallFromBeforeAnOverrideChangesNothing() {
        let bench = BreakerBench(Self.settings)
        guard let call = bench.call() else { return }
        bench.breaker.force(.forcedClosed, now: bench.instant)
        bench.breaker.force(.automatic, now: bench.instant)
        bench.report(call, failure)
        #expect(bench.letter == "C")
    }

    @Test func settingsChangeInPlace() {
        let bench = BreakerBench(.plain(10, minimum: 10))
        for _ in 0..<4 { bench.run(failure) }
        bench.breaker.apply(.plain(6, minimum: 6), perTry: nil, now: bench.instant)
        #expect(bench.breaker.evidence == BreakerEvidence(completed: 4, failed: 4, headsKnown: 0, slow: 0))
        #expect(bench.states(after: "..") == "CO")
        bench.breaker.apply(.plain(6, minimum: 3).with { $0.halfOpenCalls = 1 }, perTry: nil, now: bench.instant)
        #expect(bench.letter == "O")
        bench.now += 5_000
        bench.run(.success)
        #expect(bench.letter == "C", "the one probe of the new settings")
    }

    @Test func fewerProbesMayBeAVerdict() {
        let (bench, calls) = halfOpen(5)
        bench.report(calls[0], .success)
        bench.report(calls[1], .success)
        #expect(bench.letter == "H")
        bench.breaker.apply(Self.settings.with { $0.halfOpenCalls = 2 }, perTry: nil, now: bench.instant)
        #expect(bench.letter == "C")
    }

    @Test func O4_sameSeedSameDecisions() {
        func trace(_ seed: UInt64) -> [CircuitBreaker.Admission] {
            var random = SeededRandom(draw: Draw(seed: 5), stream: 5)
            let bench = BreakerBench(Self.settings.with { $0.ramp = .seconds(5) }, seed: seed)
            var log: [CircuitBreaker.Admission] = []
            for _ in 0..<2_000 {
                bench.now += Int64(random.below(100))
                let answer = bench.admit()
                log.append(answer)
                if case .admitted(let call, _) = answer {
                    bench.send(call)
                    bench.report(call, random.chance(10) ? failure : .success)
                }
            }
            return log
        }
        #expect(trace(1) == trace(1))
        #expect(trace(1) != trace(2))
    }

    @Test func instantsThatRunBackwardsOrTooFarDoNoHarm() {
        let bench = BreakerBench(Self.settings)
        bench.now = 10_000
        bench.run(.success)
        bench.now = 1
        bench.run(.success)
        #expect(bench.breaker.evidence.completed == 2)
        let late = bench.breaker.admit(now: .never, request: 1, isFirstAttempt: true)
        if case .admitted(let call, _) = late {
            bench.breaker.requestSent(call, now: .never)
            bench.breaker.report(call, failure, retryAfterNanoseconds: .max, now: .never)
            bench.breaker.advance(to: Instant(nanoseconds: .min))
        }
        let extreme = BreakerSettings().with {
            $0.openFor = .seconds(Int64.max)
            $0.openMax = .seconds(Int64.max)
            $0.openJitter = Share(tenThousandths: .max)
            $0.halfOpenWait = .seconds(Int64.max)
            $0.ramp = .seconds(Int64.max)
            $0.slowCall = .seconds(Int64.max)
            $0.window = .hybrid(calls: .max, time: .seconds(Int64.max))
            $0.minimumCalls = 0
            $0.halfOpenCalls = -3
            $0.consecutiveFailures = 0
            $0.failureRate = Share(tenThousandths: 0)
            $0.slowRate = Share(tenThousandths: .max)
        }
        let odd = BreakerBench(extreme, perTry: .seconds(Int64.max))
        if let call = odd.call() {
            odd.send(call)
            odd.report(call, failure)
        }
        #expect(odd.letter == "O")
    }
}
