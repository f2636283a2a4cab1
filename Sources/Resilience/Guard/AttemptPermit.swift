// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// One attempt that the guard let through: a bulkhead permit, and the breaker's interest in how it goes.
///
/// The permit is held until the response is fully relayed; what the breaker wants to know is known earlier. So the events
/// come one by one — `requestSent`, `headArrived`, then `report` — and only `report` (or letting the token go) frees the bulkhead.
/// Letting it go without a report leaves no evidence but slowness that had already shown, and is dated with the latest
/// instant that the guard has seen.
public struct AttemptPermit: ~Copyable, Sendable {
    let owner: Guard
    private var call: CircuitBreaker.Call
    private var sampleClock: SampleClock
    private let priority: Priority
    /// Whether the throttle is still to be told of the outcome.
    private var isThrottled: Bool
    /// Why an enforcing breaker would have refused this attempt (shadow mode, forced closed).
    public let wouldRefuse: Reason?
    private var holdsPermit = true

    init(
        _ owner: Guard, _ call: CircuitBreaker.Call, _ start: SampleClock.Start, _ priority: Priority, isThrottled: Bool,
        wouldRefuse: Reason?
    ) {
        self.owner = owner
        self.priority = priority
        self.isThrottled = isThrottled
        self.call = call
        sampleClock = SampleClock(start)
        self.wouldRefuse = wouldRefuse
    }

    /// The request is fully sent, or, where it streams, its head is: the slow clock starts, or goes on.
    public mutating func requestSent(now: Instant) {
        sampleClock.requestSent(now)
        if call.isFollowed { owner.requestSent(call, now: now) }
    }

    /// We wait for the client's body: the slow clock stands still until `requestSent`.
    public mutating func requestWaits(now: Instant) {
        sampleClock.requestWaits()
        if call.isFollowed { owner.requestWaits(call, now: now) }
    }

    /// The response head came: the call was fast or slow, and a half-open permit is settled by `outcome`; a failure counts at
    /// once. `nil`: the head does not decide (gRPC with its status in trailers).
    public mutating func headArrived(_ outcome: Outcome? = nil, retryAfterNanoseconds: Int64? = nil, now: Instant) {
        if !sampleClock.isOff {
            sampleClock.headArrived(now)
            if let outcome { note(outcome, now: now) }
        }
        if isThrottled, let outcome { tellThrottle(outcome, now: now) }
        if call.isFollowed { owner.headArrived(call, outcome, retryAfter: retryAfterNanoseconds, now: now) }
    }

    /// The outcome is known, but the connection is not free yet: the breaker is told, and the bulkhead permit stays.
    public mutating func settle(_ outcome: Outcome, retryAfterNanoseconds: Int64? = nil, now: Instant) {
        if !sampleClock.isOff { note(outcome, now: now) }
        if isThrottled { tellThrottle(outcome, now: now) }
        if call.isFollowed { owner.settle(call, outcome, retryAfter: retryAfterNanoseconds, now: now) }
        call = .unfollowed
    }

    /// The attempt is over: the breaker is told, the permit goes to the next waiter.
    public consuming func report(_ outcome: Outcome, retryAfterNanoseconds: Int64? = nil, now: Instant) {
        holdsPermit = false
        if !sampleClock.isOff { note(outcome, now: now) }
        if isThrottled { tellThrottle(outcome, now: now) }
        owner.report(call, outcome, retryAfter: retryAfterNanoseconds, priority, now: now)
    }

    /// Tells the limit, in a locked step of its own: where it does not adapt, the others carry nothing for it.
    private mutating func note(_ outcome: Outcome, now: Instant) {
        if let sample = sampleClock.sample(outcome, now: now) { owner.note(sample, now: now) }
    }

    private mutating func tellThrottle(_ outcome: Outcome, now: Instant) {
        isThrottled = false
        owner.noteThrottle(outcome, now: now)
    }

    deinit { if holdsPermit { owner.discard(call, priority) } }
}

/// The guard's answer to an attempt.
public enum Admission: ~Copyable, Sendable {
    case admitted(AttemptPermit)
    /// The bulkhead is full and its queue has room: call `Guard.wait`.
    case mustWait
    case refused(Refusal)
}
