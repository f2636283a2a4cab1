// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// All that a guard's lock protects. Its methods are the locked steps: each is short, runs no foreign code and drops no token.
struct GuardState: ~Copyable, Sendable {
    /// What a step decided; turned into tokens outside the lock.
    enum Step {
        case admitted(CircuitBreaker.Call, SampleClock.Start, isThrottled: Bool, wouldRefuse: Reason?)
        case mustWait
        case refused(Refusal)
    }

    enum Joined {
        case granted
        case waiting(WaitTicket)
        case refused(Refusal)
    }

    var breaker: CircuitBreaker
    var bulkhead: BulkheadState<any PermitWaiter>
    var budget: RetryBudget
    /// `nil`: the permits stay as they are set.
    var adaptive: AdaptiveLimit?
    /// Of the limit, where every attempt finds it; 0 while it does not adapt.
    private var epoch: UInt32 = 0
    var shedder = OccupancyShedder()
    /// `nil`: no client is turned away for what the upstream turns away.
    var throttle: ClientThrottle?
    private let identity: UInt64
    var counters = GuardCounters()
    let draw: Draw
    /// The latest instant seen: what is given back without an instant is dated with it.
    var latest = Instant.origin
    /// Whether some thread is telling waiters; it will also tell those that are decided on meanwhile.
    var isDelivering = false

    init(_ settings: GuardSettings, draw: Draw, identity: UInt64) {
        let concurrent = max(1, settings.bulkhead.concurrent)
        adaptive = settings.bulkhead.adaptive.map { AdaptiveLimit($0, concurrent: concurrent) }
        epoch = adaptive?.epoch ?? 0
        bulkhead = BulkheadState(settings.bulkhead.limited(to: adaptive?.limit))
        breaker = CircuitBreaker(
            settings.breaker, perTry: settings.timeouts.perTry, expectedCalls: min(concurrent, 4_096), draw: draw,
            identity: identity)
        budget = RetryBudget(settings.retries.budget, permits: concurrent)
        throttle = settings.throttle.map { ClientThrottle($0) }
        self.draw = draw
        self.identity = identity
        noteOccupancy()
    }

    // MARK: Steps

    /// Breaker peek, bulkhead permit, breaker reserve: since it is one step, the peek's answer holds for the reserve.
    mutating func admit(now: Instant, request: UInt64, isFirstAttempt: Bool, priority: Priority, client: UInt64) -> Step {
        see(now)
        if let refusal = breaker.peek(now: latest, request: request, isFirstAttempt: isFirstAttempt) { return refuse(refusal) }
        if isFirstAttempt, isThrottled(client) {
            return refuse(Refusal(.shedThrottle, retryAfterNanoseconds: retryAfter(request)))
        }
        switch bulkhead.take(now: latest, priority: priority) {
        case .mustWait: return sheds(priority) ? refuse(shed(request)) : .mustWait
        case .full: return refuse(sheds(priority) ? shed(request) : full(request))
        case .granted:
            noteOccupancy()
            return reserve(request, isFirstAttempt, priority)
        }
    }

    mutating func join(_ waiter: any PermitWaiter, now: Instant, expiry: Instant, priority: Priority) -> Joined {
        see(now)
        switch bulkhead.join(waiter, now: latest, expiry: expiry, priority: priority) {
        case .granted:
            noteOccupancy()
            return .granted
        case .waiting(let ticket):
            counters.queued += 1
            return .waiting(ticket)
        case .full:
            let refusal = full(0)
            counters.count(refusal.reason)
            return .refused(refusal)
        }
    }

    /// The breaker is asked for one who holds a bulkhead permit already, which goes on if it refuses.
    mutating func reserve(now: Instant, request: UInt64, isFirstAttempt: Bool, priority: Priority) -> Step {
        see(now)
        return reserve(request, isFirstAttempt, priority)
    }

    mutating func report(
        _ call: CircuitBreaker.Call, _ outcome: Outcome, retryAfter: Int64?, _ priority: Priority, now: Instant
    ) {
        see(now)
        if call.isFollowed { breaker.report(call, outcome, retryAfterNanoseconds: retryAfter, now: latest) }
        release(priority)
    }

    /// What an attempt says about how many there may be.
    mutating func note(_ sample: LimitSample, now: Instant) {
        see(now)
        guard adaptive?.onSample(sample, at: latest) == true, let limit = adaptive?.limit else { return }
        epoch = adaptive?.epoch ?? 0
        bulkhead.setPermits(limit, now: latest)
        noteOccupancy()
    }

    mutating func noteThrottle(_ outcome: Outcome, now: Instant) {
        see(now)
        throttle?.record(outcome, now: latest)
    }

    mutating func apply(_ settings: GuardSettings, now: Instant) {
        see(now)
        let concurrent = max(1, settings.bulkhead.concurrent)
        if let wanted = settings.bulkhead.adaptive {
            if adaptive == nil { adaptive = AdaptiveLimit(wanted, concurrent: concurrent) }
            adaptive?.apply(wanted, concurrent: concurrent)
        } else {
            adaptive = nil
        }
        epoch = adaptive?.epoch ?? 0
        bulkhead.apply(settings.bulkhead.limited(to: adaptive?.limit), now: latest)
        breaker.apply(settings.breaker, perTry: settings.timeouts.perTry, now: latest)
        budget.apply(settings.retries.budget, permits: concurrent, now: latest)
        if let wanted = settings.throttle {
            if throttle == nil { throttle = ClientThrottle(wanted) }
            throttle?.apply(wanted)
        } else {
            throttle = nil
        }
        noteOccupancy()
    }

    mutating func discard(_ call: CircuitBreaker.Call, _ priority: Priority) {
        if call.isFollowed { breaker.discard(call, now: latest) }
        release(priority)
    }

    mutating func release(_ priority: Priority) {
        bulkhead.release(now: latest, priority: priority)
        noteOccupancy()
    }

    mutating func see(_ now: Instant) {
        if now > latest { latest = now }
    }

    /// The next waiter to tell, for the thread that took on telling. Nobody left: it is done.
    mutating func nextDelivery() -> BulkheadState<any PermitWaiter>.Delivery? {
        guard let delivery = bulkhead.nextDelivery() else {
            isDelivering = false
            return nil
        }
        if let reason = delivery.refusal { counters.count(reason) } else { counters.grantedFromQueue += 1 }
        return delivery
    }

    /// Whether the caller has to tell waiters now. At most one thread does at a time, so that a waiter that gives its
    /// permit back at once makes a loop and not a recursion as deep as the queue.
    mutating func takesOnDelivery() -> Bool {
        guard bulkhead.hasDeliveries && !isDelivering else { return false }
        isDelivering = true
        return true
    }

    // MARK: Inside

    private mutating func reserve(_ request: UInt64, _ isFirstAttempt: Bool, _ priority: Priority) -> Step {
        switch breaker.admit(now: latest, request: request, isFirstAttempt: isFirstAttempt) {
        case .admitted(let call, let wouldRefuse):
            counters.admitted += 1
            if wouldRefuse != nil { counters.wouldRefuse += 1 }
            let start = epoch == 0 ? .off : SampleClock.Start(inflight: Int32(clamping: bulkhead.inUse), epoch: epoch)
            return .admitted(call, start, isThrottled: throttle != nil, wouldRefuse: wouldRefuse)
        case .refused(let refusal):
            release(priority)
            return refuse(refusal)
        }
    }

    /// Looked at only here, where there is no permit at once.
    private mutating func sheds(_ priority: Priority) -> Bool {
        let isShed = shedder.sheds(
            priority, used: bulkhead.inUse + bulkhead.queued, capacity: bulkhead.permits + bulkhead.places, now: latest)
        // What it was promised is not taken back by the level.
        return isShed && !bulkhead.isOwedShare(priority)
    }

    /// A breaker that is not closed decides alone, so that its probes get through.
    private mutating func isThrottled(_ client: UInt64) -> Bool {
        guard throttle != nil, breaker.isClosed(now: latest) else { return false }
        return throttle?.sheds(client: client ^ identity, draw: draw, now: latest) ?? false
    }

    private func shed(_ request: UInt64) -> Refusal { Refusal(.shedOccupancy, retryAfterNanoseconds: retryAfter(request)) }

    private mutating func refuse(_ refusal: Refusal) -> Step {
        counters.count(refusal.reason)
        return .refused(refusal)
    }

    /// Retry-After of one to two seconds: enough for the crowd to disperse, drawn so that it does not come back together.
    func full(_ request: UInt64) -> Refusal { Refusal(.bulkheadFull, retryAfterNanoseconds: retryAfter(request)) }

    func retryAfter(_ request: UInt64) -> Int64 {
        1_000_000_000 + Int64(draw.below(1_000_000_000, request: request, .retryAfterJitter))
    }

    mutating func noteOccupancy() {
        breaker.bulkheadChanged(permitsInUse: bulkhead.inUse, permits: bulkhead.permits)
    }
}

extension BulkheadSettings {
    /// These settings with the permits that adapt; the waiting places stay as they are.
    fileprivate func limited(to limit: Int?) -> BulkheadSettings {
        guard let limit else { return self }
        var limited = self
        limited.queue = queuePlaces
        limited.concurrent = limit
        return limited
    }
}
