// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Keeps what it was told, and the permit until it is taken.
final class RecordingWaiter: PermitWaiter {
    struct State: ~Copyable {
        var permit: BulkheadPermit?
        var refusal: Refusal?
        var grants = 0
        var hasGivenUp = false
    }
    let state = GuardLock(State())

    func granted(_ permit: consuming BulkheadPermit) {
        var given: BulkheadPermit? = consume permit
        state.withLock { state in
            state.grants += 1
            if !state.hasGivenUp { state.permit = given.take() }
        }
        given = nil
    }

    func refused(_ refusal: Refusal) { state.withLock { $0.refusal = refusal } }

    func take() -> BulkheadPermit? { state.withLock { $0.permit.take() } }
    var isGranted: Bool { state.withLock { $0.permit != nil } }
    var refusal: Refusal? { state.withLock { $0.refusal } }
}

/// A place for a token in an array. One thread at a time touches it.
final class Held: @unchecked Sendable {
    var permit: AttemptPermit?
    init(_ permit: consuming AttemptPermit? = nil) { self.permit = permit }
}

/// What an admission came to, in a form that can be kept and compared.
enum Told: Equatable { case admitted, mustWait, refused(Refusal) }

extension Guard {
    /// Asks, and keeps the permit in `kept`.
    func ask(_ ms: Int64, request: UInt64 = 1, first: Bool = true, keep kept: inout AttemptPermit?) -> Told {
        switch admit(now: .milliseconds(ms), request: request, isFirstAttempt: first) {
        case .admitted(let permit):
            kept = consume permit
            return .admitted
        case .mustWait: return .mustWait
        case .refused(let refusal): return .refused(refusal)
        }
    }

    /// One whole attempt at one instant.
    @discardableResult
    func run(_ ms: Int64, _ outcome: Outcome, request: UInt64 = 1) -> Told {
        var kept: AttemptPermit?
        let told = ask(ms, request: request, keep: &kept)
        if var permit = kept.take() {
            permit.requestSent(now: .milliseconds(ms))
            permit.report(outcome, now: .milliseconds(ms))
        }
        return told
    }

    func join(_ waiter: RecordingWaiter, _ ms: Int64, until: Int64) -> WaitTicket? {
        switch wait(waiter, now: .milliseconds(ms), expiry: .milliseconds(until)) {
        case .granted(let permit):
            waiter.granted(permit)
            return nil
        case .waiting(let ticket): return ticket
        case .refused(let refusal):
            waiter.refused(refusal)
            return nil
        }
    }

    var inUse: Int { snapshot().permitsInUse }
}

extension GuardSettings {
    static func small(permits: Int = 2, places: Int = 2) -> GuardSettings {
        var settings = GuardSettings()
        settings.bulkhead.concurrent = permits
        settings.bulkhead.queue = places
        settings.bulkhead.congestionInterval = nil
        settings.breaker = .plain(10, minimum: 4)
        return settings
    }
}

@Suite struct GuardTests {
    private func make(_ settings: GuardSettings = .small()) -> Guard { Guard(settings, draw: Draw(seed: 7)) }

    @Test func aPermitIsHeldToTheEndOfTheResponse() {
        let guardian = make()
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        guard var permit = kept.take() else { return }
        permit.requestSent(now: .milliseconds(1))
        permit.headArrived(.success, now: .milliseconds(2))
        #expect(guardian.inUse == 1)
        permit.settle(.success, now: .milliseconds(3))
        #expect(guardian.inUse == 1 && guardian.snapshot().evidence.completed == 1)
        permit.report(failure, now: .milliseconds(4))
        let snapshot = guardian.snapshot()
        #expect(snapshot.permitsInUse == 0)
        #expect(snapshot.evidence == BreakerEvidence(completed: 1, failed: 0, headsKnown: 0, slow: 0), "settled once")
        #expect(snapshot.counters.admitted == 1)
    }

    @Test func aTokenLetGoLeavesNothing() {
        let guardian = make()
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        #expect(guardian.inUse == 1)
        kept = nil
        let snapshot = guardian.snapshot()
        #expect(snapshot.permitsInUse == 0 && snapshot.evidence == BreakerEvidence())
    }

    @Test func B11_anOpenBreakerRefusesAtTheGateAndHoldsNothing() {
        let guardian = make()
        for _ in 0..<4 { guardian.run(0, failure) }
        #expect(guardian.run(1, .success) == .refused(Refusal(.breakerOpen, retryAfterNanoseconds: 4_999_000_000)))
        let snapshot = guardian.snapshot()
        #expect(snapshot.permitsInUse == 0 && snapshot.counters.refusedOpen == 1 && snapshot.counters.admitted == 4)
        #expect(!guardian.isClosed(now: .milliseconds(1)))
        // The gate is lifted with the time.
        #expect(guardian.run(5_000, .success) == .admitted)
        let state = guardian.snapshot().breaker
        #expect(state == .halfOpen)
    }

    @Test func O2_localRefusalsAreNoEvidence() {
        let guardian = make(.small(permits: 1, places: 0))
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        for request in 0..<100 as Range<UInt64> {
            guard case .refused(let refusal) = guardian.run(0, failure, request: request) else {
                Issue.record("admitted")
                return
            }
            #expect(refusal.reason == .bulkheadFull)
            let after = refusal.retryAfterNanoseconds ?? 0
            #expect(after >= 1_000_000_000 && after < 2_000_000_000)
        }
        kept = nil
        let snapshot = guardian.snapshot()
        #expect(snapshot.evidence == BreakerEvidence() && snapshot.generation == 0)
        #expect(snapshot.counters.refusals.filter { $0.count > 0 }.map(\.reason) == [.bulkheadFull])
    }

    /// Every kind of refusal there is, by the thousand, and attempts that this machine could not make: the breaker, the budget and the
    /// detector of outliers have seen nothing.
    @Test func O2_aRunOfLocalRejectionsChangesNothing() {
        var settings = GuardSettings.small(permits: 1, places: 2)
        settings.bulkhead.congestionInterval = .milliseconds(20)
        settings.breaker = .plain(4, minimum: 1, rate: 1).with {
            $0.slowCall = .milliseconds(1)
            $0.consecutiveFailures = 1
        }
        let guardian = make(settings)
        var detector = OutlierDetector(endpoints: 3, draw: Draw(seed: 7), now: .origin)
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        let before = guardian.snapshot()
        var seen: Set<Reason> = []
        for step in 0..<2_000 as Range<Int64> {
            // Someone waits, someone is refused for want of room, someone's time is up.
            let waiter = RecordingWaiter()
            _ = guardian.join(waiter, step, until: step + 30)
            if case .refused(let refusal) = guardian.run(step, failure) { seen.insert(refusal.reason) }
            guardian.expireWaiters(now: .milliseconds(step))
            if let reason = waiter.refusal?.reason { seen.insert(reason) }
            if let action = detector.report(endpoint: 0, outcome: local, now: .milliseconds(step)) { Issue.record("\(action)") }
        }
        kept = nil
        guardian.expireWaiters(now: .milliseconds(3_000))
        for step in 0..<1_000 as Range<Int64> { guardian.run(3_000 + step, local) }
        var after = guardian.snapshot(now: .milliseconds(4_000))
        #expect(seen.isSuperset(of: [.bulkheadFull]) && after.counters.refusedQueueTimeout + after.counters.refusedCongestion > 100)
        after.counters = before.counters
        after.permitsInUse = before.permitsInUse
        after.permitsInUseByRank = before.permitsInUseByRank
        after.isCongested = before.isCongested
        after.shedLevel = before.shedLevel
        #expect(after == before)
        #expect(detector.ejectedCount == 0 && detector.evaluate(now: .milliseconds(10_000)).isEmpty)
    }

    @Test func B1_waitersAreAskedAgainAfterTheBreakerOpened() {
        let guardian = make(.small(permits: 1, places: 4))
        for _ in 0..<3 { guardian.run(0, failure) }
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        let waiters = [RecordingWaiter(), RecordingWaiter(), RecordingWaiter()]
        var other: AttemptPermit?
        #expect(guardian.ask(0, keep: &other) == .mustWait)
        for waiter in waiters { #expect(guardian.join(waiter, 0, until: 50) != nil) }
        if let permit = kept.take() { permit.report(failure, now: .milliseconds(1)) }
        #expect(waiters.map(\.isGranted) == [true, false, false])
        // Each is refused in turn, and its permit goes on to the next.
        for (i, waiter) in waiters.enumerated() {
            guard let permit = waiter.take() else {
                Issue.record("no permit for \(i)")
                return
            }
            switch guardian.reserve(permit, now: .milliseconds(2), request: 1, isFirstAttempt: true) {
            case .refused(let refusal): #expect(refusal.reason == .breakerOpen)
            case .admitted: Issue.record("sent while open")
            case .mustWait: Issue.record("asked to wait twice")
            }
        }
        #expect(guardian.inUse == 0)
        let counters = guardian.snapshot().counters
        #expect(counters.queued == 3 && counters.grantedFromQueue == 3 && counters.refusedOpen == 3)
    }

    @Test func E01_theOnlyProbeIsRefusedByTheBulkheadOrTimesOutInItsQueue() {
        var settings = GuardSettings.small(permits: 1, places: 1)
        settings.breaker.halfOpenCalls = 1
        settings.breaker.minimumCalls = 1
        let guardian = make(settings)
        var old: AttemptPermit?
        #expect(guardian.ask(0, keep: &old) == .admitted)
        if var permit = old.take() {
            permit.headArrived(failure, now: .milliseconds(0))
            old = consume permit
        }
        let opened = guardian.snapshot().breaker
        #expect(opened == .open(until: .milliseconds(5_000)))
        // The one permit is still held by the failing response's body.
        let waiter = RecordingWaiter()
        var kept: AttemptPermit?
        #expect(guardian.ask(5_000, keep: &kept) == .mustWait)
        #expect(guardian.join(waiter, 5_000, until: 5_050) != nil)
        if case .refused(let refusal) = guardian.ask(5_001, keep: &kept) { #expect(refusal.reason == .bulkheadFull) }
        guardian.expireWaiters(now: .milliseconds(5_050))
        #expect(waiter.refusal?.reason == .bulkheadQueueTimeout)
        old = nil
        #expect(guardian.ask(5_060, keep: &kept) == .admitted, "no slot was lost")
        kept = nil
        #expect(guardian.ask(5_070, keep: &kept) == .admitted, "a cancelled probe gives its slot back")
        if let permit = kept.take() { permit.report(.success, now: .milliseconds(5_080)) }
        let closed = guardian.snapshot().breaker
        #expect(closed == .closed)
    }

    @Test func K3_whoTimedOutIsToldAndCounted() {
        let guardian = make(.small(permits: 1, places: 2))
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        let waiters = [RecordingWaiter(), RecordingWaiter()]
        _ = guardian.join(waiters[0], 0, until: 50)
        _ = guardian.join(waiters[1], 0, until: 80)
        #expect(guardian.nextExpiry == .milliseconds(50))
        if let permit = kept.take() { permit.report(.success, now: .milliseconds(60)) }
        #expect(waiters[0].refusal?.reason == .bulkheadQueueTimeout && waiters[1].isGranted)
        #expect(guardian.snapshot().counters.refusedQueueTimeout == 1)
    }

    @Test func K2_cancellingBeforeAndAfterTheGrant() {
        let guardian = make(.small(permits: 1, places: 2))
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        let waiters = [RecordingWaiter(), RecordingWaiter()]
        guard let first = guardian.join(waiters[0], 0, until: 50), let second = guardian.join(waiters[1], 0, until: 50) else {
            return
        }
        #expect(guardian.cancelWait(first))
        #expect(!guardian.cancelWait(first))
        kept = nil
        #expect(!guardian.cancelWait(second) && waiters[1].isGranted)
        #expect(guardian.inUse == 1)
        _ = waiters[1].take()
        #expect(guardian.inUse == 0 && guardian.snapshot().counters.cancelledInQueue == 1)
    }

    /// Gives its permit back inside the call that grants it.
    final class Hasty: PermitWaiter {
        let told = GuardLock(0)
        func granted(_ permit: consuming BulkheadPermit) { told.withLock { $0 += 1 } }
        func refused(_ refusal: Refusal) {}
    }

    @Test func aQueueOfHastyWaitersIsALoopAndNoRecursion() {
        let guardian = make(.small(permits: 1, places: 100_000))
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        let waiter = Hasty()
        for _ in 0..<100_000 { _ = guardian.wait(waiter, now: .origin, expiry: .never) }
        kept = nil
        #expect(waiter.told.withLock { $0 } == 100_000)
        #expect(guardian.inUse == 0)
    }

    @Test func K6_raisingTheLimitGrantsAtOnceAndStateIsKept() {
        let guardian = make(.small(permits: 1, places: 3))
        guardian.run(0, failure)
        var kept: AttemptPermit?
        #expect(guardian.ask(0, keep: &kept) == .admitted)
        let waiters = [RecordingWaiter(), RecordingWaiter(), RecordingWaiter()]
        for waiter in waiters { _ = guardian.join(waiter, 0, until: 1_000) }
        guardian.apply(.small(permits: 3, places: 3), now: .milliseconds(1))
        #expect(waiters.map(\.isGranted) == [true, true, false])
        let snapshot = guardian.snapshot()
        #expect(snapshot.permitsInUse == 3 && snapshot.queued == 1 && snapshot.evidence.failed == 1)
        for waiter in waiters { _ = waiter.take() }
    }

    @Test func forcing() {
        let guardian = make()
        guardian.force(.forcedOpen, now: .origin)
        #expect(guardian.run(1, .success) == .refused(Refusal(.breakerForced)))
        guardian.force(.forcedClosed, now: .origin)
        for _ in 0..<10 { #expect(guardian.run(1, failure) == .admitted) }
        #expect(guardian.snapshot().counters.wouldRefuse == 6)
        guardian.force(.disabled, now: .origin)
        for _ in 0..<10 { #expect(guardian.run(1, failure) == .admitted) }
        guardian.force(.automatic, now: .origin)
        let snapshot = guardian.snapshot()
        #expect(snapshot.evidence == BreakerEvidence() && snapshot.permitsInUse == 0 && snapshot.counters.refusedForced == 1)
    }

    @Test func retryTokens() {
        var settings = GuardSettings.small()
        settings.retries.budget.minimumPerSecondThousandths = 0
        let guardian = make(settings)
        for _ in 0..<10 { guardian.depositFirst(now: .origin) }
        var first = guardian.withdrawRetry(now: .origin)
        var second = guardian.withdrawRetry(now: .origin)
        let third = guardian.withdrawRetry(now: .origin) != nil
        let both = first != nil && second != nil
        #expect(both && !third)
        #expect(guardian.snapshot().retriesOutstanding == 2)
        first = nil
        #expect(guardian.snapshot().retriesAvailable == 1, "never sent: refunded")
        if var token = second.take() { token.sent() }
        var snapshot = guardian.snapshot()
        #expect(snapshot.retriesAvailable == 1 && snapshot.retriesOutstanding == 0, "sent: spent, however it ended")
        if let token = guardian.withdrawRetry(now: .origin) { token.finished(now: .origin) }
        guardian.noteFreeRetry()
        snapshot = guardian.snapshot()
        #expect(
            snapshot.retriesAvailable == 0 && snapshot.retriesGranted == 3 && snapshot.retriesRefunded == 1
                && snapshot.retriesFree == 1)
        #expect(snapshot.counters.refusedRetryBudget == 1)
    }

    @Test func theSlowClockRunsThroughTheGuard() {
        var settings = GuardSettings.small(permits: 4)
        settings.breaker.slowCall = .seconds(1)
        let guardian = make(settings)
        var first: AttemptPermit?
        var second: AttemptPermit?
        _ = guardian.ask(0, keep: &first)
        _ = guardian.ask(0, keep: &second)
        first?.requestSent(now: .origin)
        second?.requestSent(now: .origin)
        second?.requestWaits(now: .milliseconds(500))
        let evidence = guardian.snapshot(now: .milliseconds(1_001)).evidence
        #expect(evidence == BreakerEvidence(completed: 0, failed: 0, headsKnown: 1, slow: 1))
        first = nil
        second = nil
        #expect(guardian.inUse == 0)
    }
}
