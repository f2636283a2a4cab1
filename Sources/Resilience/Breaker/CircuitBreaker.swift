// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// Keeps calls away from an upstream that fails or hangs, and finds out by few probes when it is well again.
///
///                     rate, slow rate, run of failures, saturation
///           ┌────────┐ ────────────────────────────────► ┌──────┐
///           │ closed │                                   │ open │ ◄──┐ a probe too many failed:
///           └────────┘ ◄──── enough probes succeeded ─┐  └──────┘    │ open again, twice as long
///                                                     │     │ first admit at or after `until`
///                                                  ┌───────────┐     │
///                                                  │ half-open │ ────┘
///                                                  └───────────┘
///
/// A pure state machine (semantics, section 1): every event brings its instant, randomness is a `Draw`, and nothing happens
/// between events. What time alone does — a call in flight becomes slow, a half-open permit is lost — is caught up with at
/// the start of the next event, in order and dated with the instant at which it was due. Every call asks the breaker before
/// it is sent, so no call can slip past a trip that was due, and no timer is needed. Instants that run backwards (reactors
/// cache their clocks) count as the latest one seen.
///
/// One call is `admit`, then `requestSent` when its last byte is out, `headArrived`, and `report`; or `discard` if it came to
/// nothing. Each takes a few tens of nanoseconds and does not allocate. Instants lie in 0 … 2^61 ns.
public struct CircuitBreaker: Sendable {
    public enum State: Equatable, Sendable {
        case closed
        case open(until: Instant)
        case halfOpen
    }

    /// What an operator asked for. Force-open wins over everything; the settings' `disabled` yields to both forces.
    public enum Override: String, CaseIterable, Sendable {
        case automatic
        /// Refuses everything.
        case forcedOpen = "forced_open"
        /// Refuses nothing, but goes on measuring and says what it would have done.
        case forcedClosed = "forced_closed"
        /// Neither refuses nor measures.
        case disabled
    }

    /// A call that was let through. Settled once; what comes later finds nothing.
    public struct Call: Equatable, Sendable {
        var slot: Int32
        var serial: UInt32
        /// A call that the breaker does not follow.
        static let unfollowed = Call(slot: -1, serial: 0)
        public var isFollowed: Bool { slot >= 0 }
    }

    public enum Admission: Equatable, Sendable {
        /// `wouldRefuse`: in shadow mode or forced closed, why an enforcing breaker would have refused.
        case admitted(Call, wouldRefuse: Reason?)
        case refused(Refusal)
    }

    var settings: BreakerSettings
    var limits: Limits
    let draw: Draw
    let identity: UInt64

    public internal(set) var state = State.closed
    /// Goes up with each change of state; a report from an older generation changes nothing.
    public internal(set) var generation: UInt64 = 0
    public internal(set) var override = Override.automatic
    /// Consecutive openings, as the next opening's length sees them before time spent closed is taken off.
    public internal(set) var openings = 0
    public internal(set) var transitions = BreakerTransitions()

    /// Nothing before this instant can be admitted: a hint for a lock-free look. `.origin` where each call must be looked at.
    public internal(set) var refusesUntil = Instant.origin
    /// Whether a refusal of the machine is carried out.
    var isEnforcing = true
    var isDisabled = false

    var clock: Int64 = 0
    var closedAt: Int64 = 0
    var rampEnds: Int64 = 0
    var calls: CallTable
    /// Failed among completed.
    var outcomes: SlidingWindow
    /// Slow among those whose slow clock has ended one way or the other.
    var heads: SlidingWindow
    var consecutiveFailures = 0
    /// `nil`: the rule is off.
    var cusum: CUSUM?

    // Saturation: crossings in a row, and whether the bulkhead was full since the first of them.
    var slowRun = 0
    var wasFullInSlowRun = false
    var permitsInUse = 0
    var permits = Int.max

    var probes = ProbeTally()

    /// - Parameters:
    ///   - perTry: bounds the wait for a half-open permit together with `settings.halfOpenWait`.
    ///   - expectedCalls: calls under way for which memory is taken now.
    ///   - identity: tells breakers with one seed apart in draws.
    public init(
        _ settings: BreakerSettings = BreakerSettings(), perTry: Duration? = TimeoutSettings().perTry, expectedCalls: Int = 64,
        draw: Draw, identity: UInt64 = 0
    ) {
        self.settings = settings
        limits = Limits(settings, perTry: perTry)
        self.draw = draw
        self.identity = identity
        outcomes = SlidingWindow(settings.window)
        heads = SlidingWindow(settings.window)
        cusum = settings.cusum.map { CUSUM($0) }
        calls = CallTable(capacity: expectedCalls)
        probes.reserve(limits.probes)
        refreshFlags()
    }

    // MARK: Asking

    /// Whether a call would be refused now; takes nothing. `nil`: it would be let through.
    public mutating func peek(now: Instant, request: UInt64, isFirstAttempt: Bool) -> Refusal? {
        advance(to: now)
        if !isEnforcing && override != .forcedOpen { return nil }
        return refusal(request: request, isFirstAttempt: isFirstAttempt)
    }

    /// Lets a call through and follows it, or refuses it. `request` keys the ramp's draw.
    public mutating func admit(now: Instant, request: UInt64, isFirstAttempt: Bool) -> Admission {
        advance(to: now)
        if isDisabled { return .admitted(.unfollowed, wouldRefuse: nil) }
        if let refusal = refusal(request: request, isFirstAttempt: isFirstAttempt) {
            if isEnforcing || override == .forcedOpen { return .refused(refusal) }
            return .admitted(calls.insert(generation: generation), wouldRefuse: refusal.reason)
        }
        if case .open = state { enterHalfOpen() }
        let call = calls.insert(generation: generation)
        if state == .halfOpen {
            let (sum, overflow) = clock.addingReportingOverflow(limits.probeWait)
            let reclaimAt = overflow ? .max : sum
            calls.makeProbe(Int(call.slot), reclaimAt: reclaimAt)
            probes.granted(call.slot, reclaimAt: reclaimAt)
        }
        return .admitted(call, wouldRefuse: nil)
    }

    /// Whether the breaker is closed to the eyes of the retry policy. One that does not enforce is.
    public mutating func isClosed(now: Instant) -> Bool {
        advance(to: now)
        if override == .forcedOpen { return false }
        return !isEnforcing || state == .closed
    }

    // MARK: The life of a call

    /// The request is out (or, for one that streams, its head): the slow clock starts, or goes on after `requestWaits`.
    public mutating func requestSent(_ call: Call, now: Instant) {
        advance(to: now)
        guard let slow = limits.slowCall, let index = calls.index(call) else { return }
        if calls.slots[index].marks.isDisjoint(with: [.headCame, .wasSlow]) {
            calls.startClock(index, now: clock, threshold: slow)
        }
    }

    /// We wait for the client's body: the slow clock stands still.
    public mutating func requestWaits(_ call: Call, now: Instant) {
        advance(to: now)
        if let index = calls.index(call) { calls.stopClock(index, now: clock) }
    }

    /// The response head came: the call is slow or it is not. With its `outcome`, a half-open permit is settled by it, and a
    /// failure is recorded at once. `nil` where the head does not decide (a gRPC status in the trailers): then the report
    /// settles the permit, or a good head does once the permit's time is up.
    public mutating func headArrived(
        _ call: Call, outcome: Outcome? = nil, retryAfterNanoseconds: Int64? = nil, now: Instant
    ) {
        advance(to: now)
        guard let index = calls.index(call) else { return }
        noteHead(index)
        if let outcome { settle(index, outcome, retryAfter: retryAfterNanoseconds, isFinal: false) }
    }

    /// The call ended. `retryAfterNanoseconds` is what the upstream asked for in its answer, if it did.
    public mutating func report(_ call: Call, _ outcome: Outcome, retryAfterNanoseconds: Int64? = nil, now: Instant) {
        advance(to: now)
        guard let index = calls.index(call) else { return }
        if outcome.outcomeClass == .success { noteHead(index) }
        settle(index, outcome, retryAfter: retryAfterNanoseconds, isFinal: true)
        // The settling may have changed state, never the slot's owner.
        if let index = calls.index(call) { calls.remove(index) }
    }

    /// The call came to nothing that would say anything about the upstream. Evidence of slowness stays.
    public mutating func discard(_ call: Call, now: Instant) {
        report(call, Outcome(.neutral, reason: nil, processed: .maybe), now: now)
    }

    /// How full the bulkhead before this breaker is, for the saturation rule. Without it the rule rests.
    public mutating func bulkheadChanged(permitsInUse: Int, permits: Int) {
        self.permitsInUse = permitsInUse
        self.permits = permits
        if permitsInUse >= permits { wasFullInSlowRun = true }
    }

    // MARK: Operators

    /// Puts an override in force or lifts it. The machine starts anew: closed, empty windows, no ramp, no memory of openings.
    public mutating func force(_ override: Override, now: Instant) {
        advance(to: now)
        guard override != self.override else { return }
        self.override = override
        beginAnew()
    }

    /// Closes by hand and lifts an override: closed, empty windows, no ramp, no memory of openings.
    public mutating func reset(now: Instant) {
        advance(to: now)
        override = .automatic
        beginAnew()
    }

    private mutating func beginAnew() {
        openings = 0
        generation += 1
        state = .closed
        closedAt = clock
        rampEnds = clock
        clearEvidence()
        refreshFlags()
    }

    /// Changes the settings in place: state, permits and as much of the windows as the new shape can hold are kept.
    public mutating func apply(_ settings: BreakerSettings, perTry: Duration?, now: Instant) {
        advance(to: now)
        if state == .closed { forgetOpenings() }
        if settings.window != self.settings.window {
            outcomes = outcomes.reshaped(settings.window)
            heads = heads.reshaped(settings.window)
        }
        if settings.cusum != self.settings.cusum {
            cusum = settings.cusum.map { cusum?.adjusted(to: $0) ?? CUSUM($0) }
        }
        if settings.disabled != self.settings.disabled {
            generation += 1
            state = .closed
            closedAt = clock
            rampEnds = clock
            clearEvidence()
        }
        self.settings = settings
        limits = Limits(settings, perTry: perTry)
        probes.reserve(limits.probes)
        refreshFlags()
        if state == .halfOpen { judgeProbes(at: clock, retryAfter: nil) }
    }

    /// Catches up with what was due until `now`.
    public mutating func advance(to now: Instant) {
        if now.nanoseconds > clock { clock = min(now.nanoseconds, SlidingWindow.latestInstant) }
        if calls.nextCrossing > clock && probes.nextReclaim > clock { return }
        catchUp()
    }

    /// Completed and failed calls, and known and slow heads, in the windows.
    public var evidence: BreakerEvidence {
        BreakerEvidence(
            completed: outcomes.total, failed: outcomes.marked, headsKnown: heads.total, slow: heads.marked,
            cusumThousandths: cusum?.thousandths ?? 0)
    }

    /// Calls let through whose end has not been reported.
    public var callsUnderWay: Int { calls.count }
}

/// What the windows hold.
public struct BreakerEvidence: Equatable, Sendable {
    public var completed = 0
    public var failed = 0
    public var headsKnown = 0
    public var slow = 0
    /// What the CUSUM rule has added up, in thousandths as its threshold; 0 while it is off.
    public var cusumThousandths = 0
}

/// How often each state was entered, since the beginning.
public struct BreakerTransitions: Equatable, Sendable {
    public var opened: UInt64 = 0
    public var halfOpened: UInt64 = 0
    public var closed: UInt64 = 0

    public init(opened: UInt64 = 0, halfOpened: UInt64 = 0, closed: UInt64 = 0) {
        self.opened = opened
        self.halfOpened = halfOpened
        self.closed = closed
    }
}
