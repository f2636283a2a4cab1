// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Resilience
import Synchronization

/// A place for a token, so that it can wait in an array. One thread touches it.
final class HeldPermit {
    var permit: AttemptPermit?
    init(_ permit: consuming AttemptPermit) { self.permit = consume permit }
}

/// A waiter that notes whether it was told once.
final class StressWaiter: PermitWaiter {
    private struct State: ~Copyable {
        var permit: BulkheadPermit?
        var isTold = false
        var hasGivenUp = false
        var isCancelled = false
    }

    private let world: World
    private let state = GuardLock(State())

    init(_ world: World) { self.world = world }

    func granted(_ permit: consuming BulkheadPermit) {
        var given: BulkheadPermit? = consume permit
        state.withLock { state in
            note(&state)
            if !state.hasGivenUp { state.permit = given.take() }
        }
        world.granted.wrappingAdd(1, ordering: .relaxed)
        // Let go outside the lock; it goes to the next waiter.
        given = nil
    }

    func refused(_ refusal: Refusal) {
        state.withLock { note(&$0) }
        world.refusedWaiting.wrappingAdd(1, ordering: .relaxed)
    }

    private func note(_ state: inout State) {
        if state.isTold { world.toldTwice.wrappingAdd(1, ordering: .relaxed) }
        if state.isCancelled { world.toldAfterCancel.wrappingAdd(1, ordering: .relaxed) }
        state.isTold = true
    }

    var isTold: Bool { state.withLock { $0.isTold } }
    var holdsPermit: Bool { state.withLock { $0.permit != nil } }
    func take() -> BulkheadPermit? { state.withLock { $0.permit.take() } }
    func giveUp() { state.withLock { $0.hasGivenUp = true } }
    func noteCancelled() { state.withLock { $0.isCancelled = true } }
}

/// One thread's part.
struct Worker {
    private let world: World
    private let guardian: Guard
    private let index: Int
    private var random: Random
    private var now: Int64 = 1
    private var request: UInt64
    private var held: [HeldPermit] = []
    private var waiters: [(waiter: StressWaiter, ticket: WaitTicket)] = []
    /// The breaker's generation while the last look showed it not closed: from then on an admission in the next half-open
    /// generation is a probe.
    private var watched: GuardSnapshot?

    init(_ world: World, _ index: Int, seed: UInt64) {
        self.world = world
        guardian = world.guardian
        self.index = index
        random = Random(seed: seed, stream: UInt64(1_000 + index))
        request = UInt64(index) << 40
    }

    private var instant: Instant { Instant(nanoseconds: now) }
    /// One in ten stretches of 200 µs of virtual time is bad.
    private var failurePercent: Int { now / 200_000 % 10 == 0 ? 90 : 2 }

    // MARK: Free running

    mutating func run(operations: Int) {
        for operation in 0..<operations {
            now += 200 + Int64(random.below(800))
            request += 1
            attempt(isFirst: true)
            if operation % 512 == index { operate() }
        }
        world.operations.wrappingAdd(operations, ordering: .relaxed)
    }

    private mutating func attempt(isFirst: Bool) {
        switch guardian.admit(now: instant, request: request, isFirstAttempt: isFirst) {
        case .admitted(let permit): work(permit, isFirst: isFirst)
        case .refused(let refusal):
            // A thread that had no processor for a while comes from the past; it must not spend its turn there.
            if refusal.reason == .breakerOpen { now += (refusal.retryAfterNanoseconds ?? 0) / 8 }
            if refusal.reason == .breakerHalfOpen || (refusal.reason == .breakerOpen && random.chance(5)) {
                let snapshot = guardian.snapshot()
                watched = snapshot.breaker == .closed ? nil : snapshot
            }
        case .mustWait: wait(isFirst: isFirst)
        }
    }

    private mutating func work(_ admitted: consuming AttemptPermit, isFirst: Bool) {
        var permit = admitted
        world.admitted.wrappingAdd(1, ordering: .relaxed)
        let inside = world.inside.wrappingAdd(1, ordering: .relaxed).newValue
        if inside > world.mostInside.load(ordering: .relaxed) { world.mostInside.max(inside, ordering: .relaxed) }
        let probeOf = generationProbed()
        if isFirst {
            world.firsts.wrappingAdd(1, ordering: .relaxed)
            guardian.depositFirst(now: instant)
        }
        permit.requestSent(now: instant)
        if random.chance(5) { sched_yield() }
        now += 500
        let fails = random.chance(failurePercent)
        let outcome = fails ? Outcome(.failure, reason: .statusFailure, processed: .yes) : .success
        switch random.below(100) {
        case 0..<70:
            permit.headArrived(fails ? nil : outcome, now: instant)
            world.inside.wrappingSubtract(1, ordering: .relaxed)
            permit.report(outcome, now: instant)
        case 70..<90:
            world.inside.wrappingSubtract(1, ordering: .relaxed)
            permit.report(outcome, now: instant)
        case 90..<95:
            // Settled, and the permit kept for a while longer.
            permit.settle(outcome, now: instant)
            if random.chance(20) { sched_yield() }
            world.inside.wrappingSubtract(1, ordering: .relaxed)
            _ = consume permit
        default:
            // Given back without a word: a probe returned unused, taken off the count before it can be granted again.
            if let probeOf { world.countProbe(probeOf, by: -1) }
            world.inside.wrappingSubtract(1, ordering: .relaxed)
            _ = consume permit
            return
        }
        if fails && isFirst { retry() }
    }

    /// The half-open generation that the attempt just admitted is surely a probe of.
    private mutating func generationProbed() -> UInt64? {
        guard let before = watched else { return nil }
        watched = nil
        let after = guardian.snapshot()
        guard after.breaker == .halfOpen else { return nil }
        let expected = before.breaker == .halfOpen ? before.generation : before.generation + 1
        guard after.generation == expected else { return nil }
        world.countProbe(after.generation, by: 1)
        return after.generation
    }

    private mutating func wait(isFirst: Bool) {
        let waiter = StressWaiter(world)
        switch guardian.wait(waiter, now: instant, expiry: instant.advanced(byNanoseconds: Int64(20_000 + random.below(200_000)))) {
        case .refused: break
        case .granted(let permit): reserve(permit, isFirst: isFirst)
        case .waiting(let ticket):
            world.waited.wrappingAdd(1, ordering: .relaxed)
            for _ in 0..<random.below(8) where !waiter.isTold { sched_yield() }
            now += Int64(random.below(20_000))
            if let permit = waiter.take() { return reserve(permit, isFirst: isFirst) }
            waiter.giveUp()
            if guardian.cancelWait(ticket) {
                waiter.noteCancelled()
                world.cancelled.wrappingAdd(1, ordering: .relaxed)
            } else if let permit = waiter.take() {
                // Granted between the look and the giving up.
                reserve(permit, isFirst: isFirst)
            }
        }
    }

    private mutating func reserve(_ permit: consuming BulkheadPermit, isFirst: Bool) {
        switch guardian.reserve(permit, now: instant, request: request, isFirstAttempt: isFirst) {
        case .admitted(let permit): work(permit, isFirst: isFirst)
        case .refused: break
        case .mustWait: break
        }
    }

    private mutating func retry() {
        guard var token = guardian.withdrawRetry(now: instant) else { return }
        world.withdrawn.wrappingAdd(1, ordering: .relaxed)
        let out = world.tokens.wrappingAdd(1, ordering: .relaxed).newValue
        world.mostTokens.max(out, ordering: .relaxed)
        now += Int64(random.below(2_000))
        if random.chance(2) { sched_yield() }
        if random.chance(30) {
            world.tokens.wrappingSubtract(1, ordering: .relaxed)
            world.refunded.wrappingAdd(1, ordering: .relaxed)
            _ = consume token
            return
        }
        token.sent()
        request += 1
        attempt(isFirst: false)
        world.tokens.wrappingSubtract(1, ordering: .relaxed)
        world.finished.wrappingAdd(1, ordering: .relaxed)
        if random.chance(50) { token.finished(now: instant) } else { _ = consume token }
    }

    /// What timers and operators do.
    private mutating func operate() {
        guardian.expireWaiters(now: instant)
        if random.chance(3) {
            // Other waiting places and intervals, the same permits: K1 stays exact.
            var settings = GuardStress.settings()
            settings.bulkhead.queue = random.chance(50) ? GuardStress.places : 3
            settings.bulkhead.congestionInterval = random.chance(50) ? nil : .microseconds(300)
            guardian.apply(settings, now: instant)
        }
        if random.chance(1) { guardian.reset(now: instant) }
    }

    // MARK: Standstill

    mutating func standStill() {
        // Closed, or there would be nobody to stand still.
        world.barrier.meet { guardian.reset(now: instant) }
        // Everybody takes up to two permits, or stands in the queue for them, if there is room.
        for _ in 0..<random.below(4) {
            request += 1
            switch guardian.admit(now: instant, request: request, isFirstAttempt: true) {
            case .admitted(let permit):
                world.admitted.wrappingAdd(1, ordering: .relaxed)
                held.append(HeldPermit(permit))
            case .refused: break
            case .mustWait: joinAndStay()
            }
        }
        world.barrier.meet()
        // Then some let go and nobody joins any more: a wake-up that is lost now stays lost.
        while let permit = held.last, random.chance(60) {
            permit.permit = nil
            held.removeLast()
        }
        world.barrier.meet()
        // Whoever was granted meanwhile keeps it; all tellings are over, since all threads have returned.
        world.held.wrappingAdd(held.count + waiters.count { $0.waiter.holdsPermit }, ordering: .relaxed)
        world.waiting.wrappingAdd(waiters.count { !$0.waiter.isTold }, ordering: .relaxed)
        let reached = now
        world.clock.max(reached, ordering: .relaxed)
        world.barrier.meet { world.compareAtStandstill() }
        for permit in held { permit.permit = nil }
        held.removeAll()
        for (waiter, ticket) in waiters {
            waiter.giveUp()
            if guardian.cancelWait(ticket) {
                waiter.noteCancelled()
                world.cancelled.wrappingAdd(1, ordering: .relaxed)
            } else {
                _ = waiter.take()
            }
        }
        waiters.removeAll()
        world.barrier.meet { world.compareWhenEmpty() }
        now = world.clock.load(ordering: .relaxed)
    }

    private mutating func joinAndStay() {
        let waiter = StressWaiter(world)
        switch guardian.wait(waiter, now: instant, expiry: .never) {
        case .refused: break
        case .granted(let permit):
            switch guardian.reserve(permit, now: instant, request: request, isFirstAttempt: true) {
            case .admitted(let permit):
                world.admitted.wrappingAdd(1, ordering: .relaxed)
                held.append(HeldPermit(permit))
            case .refused: break
            case .mustWait: break
            }
        case .waiting(let ticket):
            world.waited.wrappingAdd(1, ordering: .relaxed)
            waiters.append((waiter, ticket))
        }
    }

    // MARK: Half-opening

    /// All threads ask at the instant of half-opening, some give back unused, and no more than P are ever held or reported.
    mutating func halfOpen() {
        world.barrier.meet { world.openBreaker(at: now) }
        now = world.clock.load(ordering: .relaxed)
        for _ in 0..<6 {
            request += 1
            switch guardian.admit(now: instant, request: request, isFirstAttempt: true) {
            case .refused: break
            case .mustWait: break
            case .admitted(let permit):
                world.admitted.wrappingAdd(1, ordering: .relaxed)
                world.probesHeld.wrappingAdd(1, ordering: .relaxed)
                if random.chance(30) {
                    world.probesHeld.wrappingSubtract(1, ordering: .relaxed)
                    _ = consume permit
                } else {
                    held.append(HeldPermit(permit))
                }
            }
        }
        world.barrier.meet { world.compareProbes() }
        for permit in held { permit.permit = nil }
        held.removeAll()
        world.barrier.meet { guardian.reset(now: instant) }
    }
}
