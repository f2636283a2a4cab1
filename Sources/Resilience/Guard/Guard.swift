// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core
import Synchronization

/// One upstream's breaker, bulkhead and retry budget, shared exactly by all threads.
///
///     admit ─► breaker would refuse? ─► bulkhead permit? ─► breaker reserves ─► AttemptPermit ─► requestSent ─► headArrived ─► report
///                                            │ full, but the queue has room
///                                            └► wait ─► PermitWaiter.granted ─► reserve ─► AttemptPermit
///
/// Every call is one short locked step; an open breaker refuses by one atomic load, without the lock. What a call takes is a
/// `~Copyable` token that gives itself back if it is let go, so no way out can forget it. No token dies under
/// the lock and no waiter is called under it. Instants come in and may lag behind each other across threads; the latest counts.
///
///     switch guardian.admit(now: now, request: id, isFirstAttempt: true) {
///     case .admitted(var permit):
///         …; permit.requestSent(now: now)
///         …; permit.headArrived(.success, now: now)
///         …; permit.report(.success, now: now)
///     case .mustWait: …
///     case .refused(let refusal): answer(503, refusal.reason, retryAfter: refusal.retryAfterSeconds)
///     }
public final class Guard: Sendable {
    /// Until this instant, in nanoseconds, every call is refused; 0 while each has to be looked at. Written under the lock.
    /// It decides alone only towards refusing, so a stale value costs a locked look or a refusal that was true a moment ago.
    private let gate = Atomic<Int64>(0)
    private let refusedAtGate = Atomic<UInt64>(0)
    private let forcedAtGate = Atomic<UInt64>(0)
    private let lock: GuardLock<GuardState>
    /// What is known of the time to a response head; kept as long as the guard.
    public let hedging = Hedging()

    /// - Parameter identity: tells guards with one seed apart in draws; a hash of the upstream's name, say.
    public init(_ settings: GuardSettings = GuardSettings(), draw: Draw, identity: UInt64 = 0) {
        lock = GuardLock(GuardState(settings, draw: draw, identity: identity))
    }

    // MARK: Attempts

    /// Asks for one attempt. `request` is the key of the request's draws; retries and hedges are not first attempts. `priority`
    /// decides who is turned away first when there is no permit at once. `client` is who is throttled as a whole, a hash of its
    /// address, say; `nil`: each request by itself.
    public func admit(
        now: Instant, request: UInt64, isFirstAttempt: Bool, priority: Priority = .critical, client: UInt64? = nil
    ) -> Admission {
        let closedUntil = gate.load(ordering: .acquiring)
        if now.nanoseconds < closedUntil { return .refused(refuseAtGate(until: closedUntil, now: now)) }
        return admission(
            step {
                $0.admit(
                    now: now, request: request, isFirstAttempt: isFirstAttempt, priority: priority, client: client ?? request)
            }, priority)
    }

    /// Asks the breaker again after a wait. Refused: the permit goes to the next waiter.
    public func reserve(
        _ permit: consuming BulkheadPermit, now: Instant, request: UInt64, isFirstAttempt: Bool
    ) -> Admission {
        precondition(permit.owner === self, "a permit of another guard")
        let priority = permit.priority
        permit.handOver()
        return admission(
            step { $0.reserve(now: now, request: request, isFirstAttempt: isFirstAttempt, priority: priority) }, priority)
    }

    /// Whether the breaker stands in no retry's way.
    public func isClosed(now: Instant) -> Bool {
        step {
            $0.see(now)
            return $0.breaker.isClosed(now: $0.latest)
        }
    }

    // MARK: Waiting

    /// Joins the bulkhead's queue until `expiry` (`Deadline.queueExpiry`). Whoever waits and sees the expiry pass calls
    /// `cancelWait`; or one timer for all calls `expireWaiters` at `nextExpiry`.
    public func wait(
        _ waiter: any PermitWaiter, now: Instant, expiry: Instant, priority: Priority = .critical
    ) -> WaitOutcome {
        switch step({ $0.join(waiter, now: now, expiry: expiry, priority: priority) }) {
        case .granted: .granted(BulkheadPermit(self, priority))
        case .waiting(let ticket): .waiting(ticket)
        case .refused(let refusal): .refused(refusal)
        }
    }

    /// Leaves the queue. `false`: the waiter has been granted or refused, and has been or is about to be told.
    public func cancelWait(_ ticket: WaitTicket) -> Bool {
        // The waiter leaves the locked step as its value, so that a last reference does not die under the lock.
        let waiter = step { state in
            let waiter = state.bulkhead.cancel(ticket)
            if waiter != nil { state.counters.cancelledInQueue += 1 }
            return waiter
        }
        return waiter != nil
    }

    /// Refuses all waiters whose time is up.
    public func expireWaiters(now: Instant) {
        step {
            $0.see(now)
            $0.bulkhead.expire(now: $0.latest)
        }
    }

    /// When `expireWaiters` has something to do, at the earliest; `.never` while nobody waits.
    public var nextExpiry: Instant { lock.withLock { $0.bulkhead.nextExpiry } }

    // MARK: Retry budget

    /// A first attempt was handed to the network.
    public func depositFirst(now: Instant) {
        lock.withLock {
            $0.see(now)
            $0.budget.depositFirst(now: $0.latest)
        }
    }

    /// Asks for one extra attempt, when it is scheduled and before its back-off. `nil`: `retry.budget`.
    public func withdrawRetry(now: Instant) -> RetryToken? {
        let grant = lock.withLock { state in
            state.see(now)
            let grant = state.budget.withdraw(now: state.latest)
            if grant == nil { state.counters.count(.retryBudget) }
            return grant
        }
        guard let grant else { return nil }
        return RetryToken(self, grant)
    }

    /// An attempt is made anew free of charge, because the upstream surely did nothing.
    public func noteFreeRetry() { lock.withLock { $0.budget.noteFree() } }

    // MARK: Operators

    /// Changes the settings in place: state, permits in use, waiters and tokens are kept.
    public func apply(_ settings: GuardSettings, now: Instant) {
        step { $0.apply(settings, now: now) }
    }

    /// Forces the breaker open or closed, switches it off, or makes it automatic again.
    public func force(_ override: CircuitBreaker.Override, now: Instant) {
        step {
            $0.see(now)
            $0.breaker.force(override, now: $0.latest)
        }
    }

    /// Closes the breaker by hand; it forgets what it has seen. Permits, waiters and tokens are kept.
    public func reset(now: Instant) {
        step {
            $0.see(now)
            $0.breaker.reset(now: $0.latest)
        }
    }

    /// State and counters, as of `now` or else the latest instant seen.
    public func snapshot(now: Instant? = nil) -> GuardSnapshot {
        var snapshot = step { state in
            if let now { state.see(now) }
            state.breaker.advance(to: state.latest)
            state.shedder.advance(to: state.latest)
            return state.snapshot()
        }
        snapshot.counters.refusedOpen += refusedAtGate.load(ordering: .relaxed)
        snapshot.counters.refusedForced += forcedAtGate.load(ordering: .relaxed)
        return snapshot
    }

    // MARK: Called by tokens

    func requestSent(_ call: CircuitBreaker.Call, now: Instant) {
        step {
            $0.see(now)
            $0.breaker.requestSent(call, now: $0.latest)
        }
    }

    func requestWaits(_ call: CircuitBreaker.Call, now: Instant) {
        step {
            $0.see(now)
            $0.breaker.requestWaits(call, now: $0.latest)
        }
    }

    func headArrived(
        _ call: CircuitBreaker.Call, _ outcome: Outcome?, retryAfter: Int64?, now: Instant
    ) {
        step {
            $0.see(now)
            $0.breaker.headArrived(call, outcome: outcome, retryAfterNanoseconds: retryAfter, now: $0.latest)
        }
    }

    func settle(_ call: CircuitBreaker.Call, _ outcome: Outcome, retryAfter: Int64?, now: Instant) {
        step {
            $0.see(now)
            $0.breaker.report(call, outcome, retryAfterNanoseconds: retryAfter, now: $0.latest)
        }
    }

    func report(
        _ call: CircuitBreaker.Call, _ outcome: Outcome, retryAfter: Int64?, _ priority: Priority,
        now: Instant
    ) {
        step {
            $0.report(call, outcome, retryAfter: retryAfter, priority, now: now)
        }
    }

    func noteThrottle(_ outcome: Outcome, now: Instant) { step { $0.noteThrottle(outcome, now: now) } }

    func note(_ sample: LimitSample, now: Instant) { step { $0.note(sample, now: now) } }

    func discard(_ call: CircuitBreaker.Call, _ priority: Priority) { step { $0.discard(call, priority) } }

    func returnBulkheadPermit(_ priority: Priority) { step { $0.release(priority) } }

    func finishRetry(_ grant: RetryBudget.Grant) { lock.withLock { $0.budget.finish(grant) } }

    func refundRetry(_ grant: RetryBudget.Grant) { lock.withLock { $0.budget.refund(grant, now: $0.latest) } }

    // MARK: Inside

    /// Runs one locked step, publishes the gate with it, and tells the waiters it decided on.
    @inline(__always)
    private func step<Result>(_ body: (inout GuardState) -> Result) -> Result {
        var mustDeliver = false
        let result = lock.withLock { state in
            let result = body(&state)
            let closedUntil = state.breaker.refusesUntil.nanoseconds
            if gate.load(ordering: .relaxed) != closedUntil { gate.store(closedUntil, ordering: .releasing) }
            mustDeliver = state.takesOnDelivery()
            return result
        }
        if mustDeliver { deliver() }
        return result
    }

    private func deliver() {
        while let delivery = lock.withLock({ $0.nextDelivery() }) {
            if let reason = delivery.refusal {
                delivery.waiter.refused(Refusal(reason, retryAfterNanoseconds: 1_000_000_000))
            } else {
                delivery.waiter.granted(BulkheadPermit(self, delivery.priority))
            }
        }
    }

    private func admission(_ step: GuardState.Step, _ priority: Priority) -> Admission {
        switch step {
        case .admitted(let call, let start, let isThrottled, let wouldRefuse):
            .admitted(AttemptPermit(self, call, start, priority, isThrottled: isThrottled, wouldRefuse: wouldRefuse))
        case .mustWait: .mustWait
        case .refused(let refusal): .refused(refusal)
        }
    }

    private func refuseAtGate(until: Int64, now: Instant) -> Refusal {
        if until == .max {
            forcedAtGate.wrappingAdd(1, ordering: .relaxed)
            return Refusal(.breakerForced)
        }
        refusedAtGate.wrappingAdd(1, ordering: .relaxed)
        return Refusal(.breakerOpen, retryAfterNanoseconds: until - now.nanoseconds)
    }
}

extension GuardState {
    mutating func snapshot() -> GuardSnapshot {
        GuardSnapshot(
            breaker: breaker.state, override: breaker.override, generation: breaker.generation, evidence: breaker.evidence,
            openings: breaker.openings, transitions: breaker.transitions, permits: bulkhead.permits, permitsInUse: bulkhead.inUse,
            permitsInUseByRank: bulkhead.inUseByRank,
            highWater: bulkhead.highWater, queued: bulkhead.queued, places: bulkhead.places, isCongested: bulkhead.isCongested,
            adaptiveLimit: adaptive?.limit, shedLevel: shedder.level,
            throttle: throttle?.probability(now: latest),
            retriesAvailable: budget.available(now: latest), retriesOutstanding: budget.outstanding, retriesGranted: budget.granted,
            retriesRefunded: budget.refunded, retriesFree: budget.free, counters: counters)
    }
}
