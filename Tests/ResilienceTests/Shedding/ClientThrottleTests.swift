// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

private final class ThrottleBench {
    var throttle: ClientThrottle
    let draw = Draw(seed: 11)

    init(_ change: (inout ThrottleSettings) -> Void = { _ in }) {
        var settings = ThrottleSettings()
        change(&settings)
        throttle = ClientThrottle(settings)
    }

    func record(_ count: Int, _ outcome: Outcome, at ms: Int64 = 0) {
        for _ in 0..<count { throttle.record(outcome, now: .milliseconds(ms)) }
    }

    func probability(at ms: Int64 = 0) -> Double { throttle.probability(now: .milliseconds(ms)) }
    func sheds(_ client: UInt64, at ms: Int64) -> Bool { throttle.sheds(client: client, draw: draw, now: .milliseconds(ms)) }
}

/// Semantics, section 10: p = max(0, (requests − K·accepts) / (requests + 1)).
@Suite struct ClientThrottleTests {
    @Test func halfMayComeToNothing() {
        let bench = ThrottleBench()
        bench.record(50, .success)
        bench.record(50, failure)
        #expect(bench.probability() == 0)
        bench.record(49, backpressure)
        #expect(abs(bench.probability() - 49.0 / 150) < 1e-12)
    }

    @Test func aFewRequestsSayNothing() {
        let bench = ThrottleBench()
        bench.record(19, failure)
        #expect(bench.probability() == 0)
        bench.record(1, failure)
        #expect(bench.probability() == 0.8, "at most 80 %: 20 / 21 would be 95 %")
    }

    @Test func neutralAndLocalOutcomesAreNoEvidence() {
        let bench = ThrottleBench()
        bench.record(1_000, neutral)
        bench.record(1_000, local)
        #expect(bench.probability() == 0)
    }

    @Test func theMultiplierAndTheCapAreSettings() {
        let bench = ThrottleBench {
            $0.multiplierThousandths = 1_500
            $0.maximum = Share(tenThousandths: 10_000)
        }
        bench.record(40, .success)
        bench.record(60, failure)
        #expect(abs(bench.probability() - 40.0 / 101) < 1e-12)
    }

    @Test func withinASecondAClientIsServedOrShedAsAWhole() {
        let bench = ThrottleBench()
        bench.record(1_000, failure)
        var changed = 0
        var before: [Bool]?
        for second in 0..<20 as Range<Int64> {
            let first = (0..<100 as Range<UInt64>).map { bench.sheds($0, at: second * 1_000) }
            let last = (0..<100 as Range<UInt64>).map { bench.sheds($0, at: second * 1_000 + 999) }
            #expect(first == last, "second \(second)")
            let shed = first.filter { $0 }.count
            #expect(shed > 60 && shed < 97, "\(shed) of 100 at 80 %")
            if let before, before != first { changed += 1 }
            before = first
        }
        #expect(changed == 19, "another second, other clients")
    }

    @Test func whatWasTurnedAwayAgesOut() {
        let bench = ThrottleBench()
        bench.record(100, failure, at: 1_000)
        #expect(bench.probability(at: 29_999) == 0.8)
        #expect(bench.probability(at: 31_000) == 0, "ten slots of three seconds")
        bench.record(100, failure, at: 600_000)
        #expect(bench.probability(at: 500_000) == 0.8, "an instant from the past is the latest one seen")
    }

    @Test func anUpstreamThatIsWellAgainIsFoundOut() {
        let bench = ThrottleBench()
        bench.record(500, failure)
        var shedLate = 0
        // Ten clients a tenth of a second, for a minute; whoever is let through is served.
        for step in 0..<600 as Range<Int64> {
            for client in 0..<10 as Range<UInt64> {
                if bench.sheds(client, at: step * 100) {
                    if step > 400 { shedLate += 1 }
                } else {
                    bench.record(1, .success, at: step * 100)
                }
            }
        }
        #expect(shedLate == 0, "\(shedLate) are still turned away after 40 s")
        #expect(bench.probability(at: 60_000) == 0)
    }

    // MARK: In the guard

    private func ask(_ guardian: Guard, client: UInt64, at ms: Int64, isFirst: Bool = true, _ outcome: Outcome?) -> Reason? {
        switch guardian.admit(
            now: .milliseconds(ms), request: client, isFirstAttempt: isFirst, priority: .critical, client: client)
        {
        case .admitted(let permit):
            if let outcome { permit.report(outcome, now: .milliseconds(ms)) }
            return nil
        case .mustWait: return .bulkheadFull
        case .refused(let refusal):
            let after = refusal.retryAfterNanoseconds ?? 0
            #expect(after >= 1_000_000_000 && after < 2_000_000_000)
            return refusal.reason
        }
    }

    @Test func theGuardThrottlesFirstAttemptsOnly() {
        var settings = GuardSettings()
        settings.breaker.disabled = true
        settings.throttle = ThrottleSettings()
        let guardian = Guard(settings, draw: Draw(seed: 3))
        for client in 0..<30 as Range<UInt64> { _ = ask(guardian, client: client, at: 0, failure) }
        #expect(guardian.snapshot().throttle == 0.8)
        let before = guardian.snapshot().counters.refusedThrottle
        let reasons = (0..<100 as Range<UInt64>).map { ask(guardian, client: $0, at: 5, failure) }
        #expect(reasons.contains(.shedThrottle) && reasons.contains(nil))
        #expect((0..<100 as Range<UInt64>).allSatisfy { ask(guardian, client: $0, at: 5, isFirst: false, nil) == nil })
        let snapshot = guardian.snapshot()
        #expect(snapshot.counters.refusedThrottle - before == UInt64(reasons.filter { $0 == .shedThrottle }.count))
        #expect(snapshot.permitsInUse == 0)
        settings.throttle = nil
        guardian.apply(settings, now: .milliseconds(6))
        #expect(ask(guardian, client: 1, at: 6, failure) == nil && guardian.snapshot().throttle == nil)
    }

    @Test func anAttemptCountsOnceHoweverOftenItsOutcomeIsTold() {
        var settings = GuardSettings()
        settings.breaker.disabled = true
        settings.throttle = ThrottleSettings()
        settings.throttle?.minimumRequests = 3
        let guardian = Guard(settings, draw: Draw(seed: 3))
        for request in 0..<2 as Range<UInt64> {
            guard case .admitted(var permit) = guardian.admit(now: .origin, request: request, isFirstAttempt: true) else {
                Issue.record("refused")
                return
            }
            permit.headArrived(failure, now: .origin)
            permit.settle(failure, now: .origin)
            permit.report(failure, now: .origin)
        }
        #expect(guardian.snapshot().throttle == 0, "two requests, of three that must be known")
    }

    @Test func withoutASettingNobodyIsThrottled() {
        var settings = GuardSettings()
        settings.breaker.disabled = true
        let guardian = Guard(settings, draw: Draw(seed: 3))
        #expect((0..<500 as Range<UInt64>).allSatisfy { ask(guardian, client: $0, at: 0, failure) == nil })
    }
}
