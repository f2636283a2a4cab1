// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core
import Synchronization

/// What happened to an endpoint, for the log.
public struct OutlierEvent: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// Out of rotation; from `until` on one request may go there to see whether it is well again.
        case ejected(until: Instant, detector: OutlierDetector.Detector)
        /// Found bad and left in: findings are not enforced, or as many are out as may be.
        case detected(OutlierDetector.Detector)
        /// Back, by a probe that succeeded or because fewer may be out now.
        case readmitted
    }

    public var endpoint: String
    public var kind: Kind
}

/// One upstream's ``OutlierDetector`` as all threads share it, and what it does to the upstream's picker.
///
/// It outlives the pickers: a reload makes new ones, and ``bind(_:names:settings:slowStart:latencies:now:)`` moves what is known of
/// the endpoints that remain to the newest. Every call is one short locked step; the picker's own lock is taken inside it, never
/// the other way round.
public final class OutlierWatch: Sendable {
    private struct State {
        var detector: OutlierDetector
        var names: [String]
        var picker: EndpointPicker
        var slowStart: SlowStart?
        var latencies: PeakEWMA?
        var events: [OutlierEvent] = []
        var dropped = 0
        var ejections: [OutlierDetector.Detector: UInt64] = [:]
    }

    private let lock: GuardLock<State>
    /// Before this instant no probe is due: read without the lock.
    private let nextProbe = Atomic<Int64>(.max)

    /// Events beyond these that nobody has taken are counted, not kept.
    static let mostEvents = 256

    init(
        _ settings: OutlierSettings, names: [String], picker: EndpointPicker, slowStart: SlowStart?, latencies: PeakEWMA?,
        draw: Draw, identity: UInt64, now: Instant
    ) {
        lock = GuardLock(
            State(
                detector: OutlierDetector(settings, endpoints: names.count, draw: draw, identity: identity, now: now),
                names: names, picker: picker, slowStart: slowStart, latencies: latencies))
    }

    // MARK: Attempts

    /// Whether `probe` might have something to give.
    func isProbeDue(now: Instant) -> Bool { now.nanoseconds >= nextProbe.load(ordering: .relaxed) }

    /// The ejected endpoint that a request should be sent to now, if there is one that `isEligible`. Only for the picker that is bound.
    func probe(for picker: EndpointPicker, now: Instant, where isEligible: (Int) -> Bool) -> OutlierDetector.Attempt? {
        step { state in
            guard state.picker === picker else { return nil }
            return state.detector.admitProbe(now: now, where: isEligible)
        }
    }

    /// An attempt that is sent now; `nil` for a picker of an older configuration, of whose endpoints nothing is noted.
    func attempt(at endpoint: Int, for picker: EndpointPicker) -> OutlierDetector.Attempt? {
        lock.withLock { $0.picker === picker ? $0.detector.attempt(at: endpoint) : nil }
    }

    func report(_ attempt: OutlierDetector.Attempt, _ outcome: Outcome, latencyNanoseconds: Int64?, now: Instant) {
        // What says nothing of the endpoint takes no lock, but a probe always reports: else its endpoint waits for nothing.
        if !attempt.isProbe && outcome.outcomeClass != .success && outcome.outcomeClass != .failure { return }
        step { state in
            if let action = state.detector.report(attempt, outcome, latencyNanoseconds: latencyNanoseconds, now: now) {
                perform(action, &state, now: now)
            }
        }
    }

    // MARK: From time to time

    /// Judges the interval that has ended, if one has. Cheap to call too often.
    public func evaluate(now: Instant) {
        step { state in
            guard now >= state.detector.nextEvaluation else { return }
            for action in state.detector.evaluate(now: now) { perform(action, &state, now: now) }
        }
    }

    /// What has happened since the last call, in order, and how many events beyond were not kept.
    public func takeEvents() -> (events: [OutlierEvent], dropped: Int) {
        lock.withLock { state in
            let taken = (state.events, state.dropped)
            state.events = []
            state.dropped = 0
            return taken
        }
    }

    public func ejections(by detector: OutlierDetector.Detector) -> UInt64 { lock.withLock { $0.ejections[detector] ?? 0 } }

    /// Endpoints that are out now, and how many may be.
    public var ejected: (count: Int, cap: Int) { lock.withLock { ($0.detector.ejectedCount, $0.detector.ejectionCap) } }

    // MARK: Reload

    /// From now on this watch speaks for `picker`, whose endpoints are `names`. What is known of an endpoint that was there before
    /// under the same name goes on.
    func bind(
        _ picker: EndpointPicker, names: [String], settings: OutlierSettings, slowStart: SlowStart?, latencies: PeakEWMA?,
        now: Instant
    ) {
        step { state in
            if state.picker === picker { return }
            let places = Dictionary(state.names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
            state.picker = picker
            state.slowStart = slowStart
            state.latencies = latencies
            let previous = names.map { places[$0] }
            state.names = names
            let freed = state.detector.replaceEndpoints(previous, now: now) + state.detector.apply(settings, now: now)
            for index in names.indices { picker.setEjected(state.detector.isEjected(index), index) }
            for action in freed { perform(action, &state, now: now) }
        }
    }

    // MARK: Inside

    private func perform(_ action: OutlierDetector.Action, _ state: inout State, now: Instant) {
        switch action {
        case .eject(let endpoint, let until, let detector):
            state.picker.setEjected(true, endpoint)
            state.ejections[detector, default: 0] += 1
            note(OutlierEvent(endpoint: state.names[endpoint], kind: .ejected(until: until, detector: detector)), &state)
        case .readmit(let endpoint):
            state.picker.setEjected(false, endpoint)
            state.slowStart?.begin(endpoint, now: now)
            state.latencies?.forget(endpoint)
            note(OutlierEvent(endpoint: state.names[endpoint], kind: .readmitted), &state)
        case .detected(let endpoint, let detector):
            note(OutlierEvent(endpoint: state.names[endpoint], kind: .detected(detector)), &state)
        }
    }

    private func note(_ event: OutlierEvent, _ state: inout State) {
        if state.events.count < Self.mostEvents { state.events.append(event) } else { state.dropped += 1 }
    }

    private func step<Result>(_ body: (inout State) -> Result) -> Result {
        lock.withLock { state in
            let result = body(&state)
            nextProbe.store(state.detector.nextProbe.nanoseconds, ordering: .relaxed)
            return result
        }
    }
}
