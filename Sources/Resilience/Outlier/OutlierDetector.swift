// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// Sets an endpoint aside that fares worse than its peers, and takes it back by one probe (semantics, section 8).
///
///                    a row of failures, at once; a share or percentile, each interval
///     ┌─────────────┐ ───────────────────────────────────────────────► ┌─────────┐
///     │ in rotation │                                                  │ ejected │ ◄──┐ the probe failed: out again, longer
///     └─────────────┘ ◄─────────── the probe succeeded ────┐           └─────────┘    │
///                      (to slow start)                   ┌─────────┐ ◄─────┘          │
///                                                        │ probing │ ─────────────────┘
///                                                        └─────────┘  its time is over and a request comes: `admitProbe`
///
/// Rule: five detectors, see ``Detector``. An endpoint is out for min(maximum, base · n) and up to a fifth more, n counting
/// its ejections and falling by one with each healthy interval; while it is not healed no ejection is shorter than the one
/// before (E4). At most a third of the endpoints is out, worst first, and never the last: that one is the breaker's.
/// Statistic: counts of one interval and latencies in buckets; median and MAD over the endpoints in rotation that have the
/// volume. Cold start: nothing is judged by comparison until three endpoints have it. Recovery: one probe, then a clean slate;
/// what was sent before an ejection says nothing after it (generations). A successful active health check changes nothing
/// here, since it is another request than the clients' (envoy#31070): keep the two apart with ``EndpointPicker/setEjected(_:_:)``.
/// Source: Envoy's outlier detection without its mean and deviation, linkerd's probe, envoy#288 for latency.
///
/// Pure: every event brings its instant, and what must be done comes back as an action. An endpoint is its index. Instants
/// that run backwards count as the latest one seen. A report is a few counters and does not allocate; `evaluate` sorts.
public struct OutlierDetector: Sendable {
    /// What found an endpoint bad.
    public enum Detector: String, CaseIterable, Sendable {
        /// Failures in a row.
        case consecutive
        /// Connections in a row that could not be made or broke.
        case localOrigin = "local_origin"
        /// The share of failures in an interval, while the others together fare better, and by more than luck.
        case failureShare = "failure_percentage"
        /// rate < median − max(3 · 1.4826 · MAD, 5 %), and no mere bad luck.
        case successRate = "success_rate"
        /// 90th percentile > max(3 · median of the others', that + 50 ms), in two intervals in a row.
        case latency
        /// The probe after an ejection failed.
        case probe
    }

    public enum Action: Equatable, Sendable {
        /// No requests to this endpoint; from `until` on `admitProbe` may name it.
        case eject(endpoint: Int, until: Instant, detector: Detector)
        /// Back into rotation, by slow start.
        case readmit(endpoint: Int)
        /// Found bad but left in: not enforcing, or as many are out as may be.
        case detected(endpoint: Int, detector: Detector)
    }

    /// One attempt at an endpoint, by which its report is known.
    public struct Attempt: Equatable, Sendable {
        /// When it was made; endpoints may have moved since (`replaceEndpoints`).
        public let endpoint: Int
        public let isProbe: Bool
        let generation: UInt64
    }

    enum Standing: Equatable, Sendable {
        case inRotation
        case ejected(until: Int64)
        case probing(reclaimAt: Int64)
    }

    struct Host: Sendable {
        var standing = Standing.inRotation
        /// Of this endpoint's present standing, unlike every other in this detector.
        var generation: UInt64
        var inRotationSince: Int64
        var failureRun = 0
        var localRun = 0
        var ejections = 0
        /// Since the last healthy interval.
        var longestEjection: Int64 = 0
        /// Of this interval.
        var successes = 0
        var failures = 0
        var latencies = LatencyHistogram()
        /// Intervals in a row in which the latency rule held.
        var slowIntervals = 0

        var completed: Int { successes + failures }

        mutating func clearInterval() {
            successes = 0
            failures = 0
            latencies.clear()
        }

        mutating func clearEvidence() {
            failureRun = 0
            localRun = 0
            slowIntervals = 0
            clearInterval()
        }
    }

    var limits: Limits
    let draw: Draw
    let identity: UInt64
    var hosts: [Host]
    var clock: Int64
    var intervalStart: Int64
    private var newestGeneration: UInt64 = 0

    /// When `evaluate` has something to do.
    public internal(set) var nextEvaluation: Instant
    /// Before this instant `admitProbe` has nothing to give: a hint for a lock-free look.
    public internal(set) var nextProbe = Instant.never
    /// Endpoints that are out, the probed ones included.
    public internal(set) var ejectedCount = 0

    /// - Parameters:
    ///   - endpoints: how many there are.
    ///   - identity: tells detectors with one seed apart in draws.
    public init(_ settings: OutlierSettings = OutlierSettings(), endpoints: Int, draw: Draw, identity: UInt64 = 0, now: Instant) {
        limits = Limits(settings)
        self.draw = draw
        self.identity = identity
        clock = now.nanoseconds
        intervalStart = now.nanoseconds
        nextEvaluation = now.advanced(byNanoseconds: limits.interval)
        hosts = []
        for _ in 0..<max(0, endpoints) { hosts.append(freshHost()) }
    }

    // MARK: Attempts

    /// How many may be out at once among as many endpoints as there are.
    public var ejectionCap: Int { limits.cap(hosts.count) }
    public var endpointCount: Int { hosts.count }
    public func isEjected(_ endpoint: Int) -> Bool { hosts.indices.contains(endpoint) && hosts[endpoint].standing != .inRotation }

    /// An attempt that is sent to an endpoint now.
    public func attempt(at endpoint: Int) -> Attempt {
        Attempt(endpoint: endpoint, isProbe: false, generation: hosts.indices.contains(endpoint) ? hosts[endpoint].generation : 0)
    }

    /// The endpoint to which a request should be sent to see whether it is well again, or `nil` where none is due. Ask with a
    /// request that may be tried again, before the balancer. The request must be reported with this attempt.
    ///
    /// - Parameter isEligible: which endpoints the request could be sent to.
    public mutating func admitProbe(now: Instant, where isEligible: (Int) -> Bool = { _ in true }) -> Attempt? {
        advance(to: now)
        guard clock >= nextProbe.nanoseconds else { return nil }
        var chosen: Int?
        var longestDue = Int64.max
        for (index, host) in hosts.enumerated() {
            if let due = host.probeDue, due <= clock, due < longestDue, isEligible(index) {
                chosen = index
                longestDue = due
            }
        }
        guard let chosen else { return nil }
        hosts[chosen].standing = .probing(reclaimAt: later(limits.probeWait))
        hosts[chosen].generation = freshGeneration()
        refreshNextProbe()
        return Attempt(endpoint: chosen, isProbe: true, generation: hosts[chosen].generation)
    }

    /// An attempt ended. Of what was sent before the endpoint's last ejection or readmission nothing is taken.
    ///
    /// - Parameter latencyNanoseconds: from dispatch to the response head, or to the failure. `nil`: not known.
    public mutating func report(
        _ attempt: Attempt, _ outcome: Outcome, latencyNanoseconds: Int64? = nil, now: Instant
    ) -> Action? {
        advance(to: now)
        guard let index = position(of: attempt) else { return nil }
        switch hosts[index].standing {
        case .inRotation:
            switch outcome.outcomeClass {
            case .success: hosts[index].succeeded()
            case .failure: hosts[index].failed(isLocalOrigin: outcome.isLocalOrigin)
            case .backpressure, .neutral, .local: return nil
            }
            if let latencyNanoseconds { hosts[index].latencies.record(max(0, latencyNanoseconds)) }
            return outcome.outcomeClass == .failure ? judgeRuns(index) : nil
        case .probing where attempt.isProbe:
            switch outcome.outcomeClass {
            case .success: return readmit(index)
            case .failure: return eject(index, .probe)
            case .backpressure, .neutral, .local:
                // It says nothing: the next request is the probe.
                hosts[index].standing = .ejected(until: clock)
                hosts[index].generation = freshGeneration()
                refreshNextProbe()
                return nil
            }
        case .probing, .ejected: return nil  // sent in panic
        }
    }

    /// The report of an attempt that nobody kept: it counts for the endpoint's present standing.
    public mutating func report(endpoint: Int, outcome: Outcome, latencyNanoseconds: Int64? = nil, now: Instant) -> Action? {
        report(attempt(at: endpoint), outcome, latencyNanoseconds: latencyNanoseconds, now: now)
    }

    // MARK: Changes

    /// Endpoints came, left or moved: for each one now, its index before, or `nil` if it is new. If more are out than may be
    /// of so many, those whose time ends first are readmitted. Attempts under way keep their endpoint.
    public mutating func replaceEndpoints(_ previous: [Int?], now: Instant) -> [Action] {
        advance(to: now)
        var replaced: [Host] = []
        var taken = Set<Int>()
        for old in previous {
            if let old, hosts.indices.contains(old), taken.insert(old).inserted {
                replaced.append(hosts[old])
            } else {
                replaced.append(freshHost())
            }
        }
        hosts = replaced
        ejectedCount = hosts.count { $0.standing != .inRotation }
        return releaseExcess()
    }

    /// Changes the settings in place. Ejections keep their end, but those beyond the new cap are readmitted, and all of them
    /// where findings are no longer enforced.
    public mutating func apply(_ settings: OutlierSettings, now: Instant) -> [Action] {
        advance(to: now)
        limits = Limits(settings)
        nextEvaluation = Instant(nanoseconds: intervalStart).advanced(byNanoseconds: limits.interval)
        return releaseExcess()
    }

    // MARK: Inside

    mutating func advance(to now: Instant) { if now.nanoseconds > clock { clock = now.nanoseconds } }

    /// Rows of failures are judged at once. A finding that cannot eject is told once a row, not with each failure.
    private mutating func judgeRuns(_ index: Int) -> Action? {
        guard let detector = limits.runDetector(hosts[index]) else { return nil }
        if limits.enforce && ejectedCount < ejectionCap { return eject(index, detector) }
        let isNews = hosts[index].failureRun == limits.consecutive || hosts[index].localRun == limits.localOrigin
        return isNews ? .detected(endpoint: index, detector: detector) : nil
    }

    mutating func eject(_ index: Int, _ detector: Detector) -> Action {
        if hosts[index].standing == .inRotation { ejectedCount += 1 }
        hosts[index].ejections += 1
        hosts[index].generation = freshGeneration()
        let plain = limits.ejectionTime(hosts[index].ejections)
        let jitter = draw.below(
            Int(limits.longestJitter(of: plain)) + 1, request: identity, .ejectionJitter, hosts[index].generation)
        hosts[index].longestEjection = max(hosts[index].longestEjection, plain + Int64(jitter))
        let until = later(hosts[index].longestEjection)
        hosts[index].standing = .ejected(until: until)
        hosts[index].clearEvidence()
        refreshNextProbe()
        return .eject(endpoint: index, until: Instant(nanoseconds: until), detector: detector)
    }

    private mutating func readmit(_ index: Int) -> Action {
        ejectedCount -= 1
        hosts[index].standing = .inRotation
        hosts[index].generation = freshGeneration()
        hosts[index].inRotationSince = clock
        hosts[index].clearEvidence()
        refreshNextProbe()
        return .readmit(endpoint: index)
    }

    private mutating func releaseExcess() -> [Action] {
        var actions: [Action] = []
        while ejectedCount > (limits.enforce ? ejectionCap : 0) {
            let out = hosts.indices.filter { hosts[$0].standing != .inRotation }
            guard let next = out.min(by: { hosts[$0].endOfEjection < hosts[$1].endOfEjection }) else { break }
            actions.append(readmit(next))
        }
        refreshNextProbe()
        return actions
    }

    private mutating func freshGeneration() -> UInt64 {
        newestGeneration += 1
        return newestGeneration
    }

    private mutating func freshHost() -> Host { Host(generation: freshGeneration(), inRotationSince: clock) }

    /// Where the endpoint of an attempt is now, if its standing is still the same.
    private func position(of attempt: Attempt) -> Int? {
        if hosts.indices.contains(attempt.endpoint) && hosts[attempt.endpoint].generation == attempt.generation {
            return attempt.endpoint
        }
        return hosts.firstIndex { $0.generation == attempt.generation }
    }

    private mutating func refreshNextProbe() {
        var next = Int64.max
        for host in hosts { next = min(next, host.probeDue ?? .max) }
        nextProbe = Instant(nanoseconds: next)
    }

    private func later(_ duration: Int64) -> Int64 {
        Instant(nanoseconds: clock).advanced(byNanoseconds: duration).nanoseconds
    }
}

extension OutlierDetector.Host {
    /// When a probe may go, the first or, where one has been lost, another.
    var probeDue: Int64? {
        switch standing {
        case .inRotation: nil
        case .ejected(let until): until
        case .probing(let reclaimAt): reclaimAt
        }
    }

    /// A probed one's time is over.
    var endOfEjection: Int64 {
        if case .ejected(let until) = standing { until } else { .min }
    }

    mutating func succeeded() {
        successes += 1
        failureRun = 0
        localRun = 0
    }

    mutating func failed(isLocalOrigin: Bool) {
        failures += 1
        failureRun += 1
        localRun = isLocalOrigin ? localRun + 1 : 0
    }
}

extension OutlierDetector.Limits {
    /// The row that is full, if one is; the narrower one first.
    func runDetector(_ host: OutlierDetector.Host) -> OutlierDetector.Detector? {
        if host.localRun >= localOrigin { return .localOrigin }
        return host.failureRun >= consecutive ? .consecutive : nil
    }
}

extension Outcome {
    /// Whether the connection is to blame and not an answer.
    var isLocalOrigin: Bool {
        switch reason {
        case .connectRefused, .connectTimeout, .connectFailed, .tlsHandshake, .tlsVerify, .tlsTimeout, .resetBeforeHeaders,
            .resetAfterHeaders:
            true
        default: false
        }
    }
}
