// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// How the endpoints of one upstream share its requests (semantics, sections 8 and 9).
public struct BalancerSettings: Equatable, Sendable {
    public var policy = BalancingPolicy.leastRequest
    /// Below this share of available endpoints all are picked from. Default 50 %; zero: never, `lb.no_healthy` is answered instead.
    public var panicThreshold = Share(tenThousandths: 5_000)
    /// How an endpoint that joins or comes back gets to its full share; `nil`: at once. Default: in 30 s.
    public var slowStart: SlowStartSettings? = SlowStartSettings()
    /// For the policy `peakEWMA`.
    public var latencies = PeakEWMASettings()
    /// When an endpoint is set aside for what its answers show; `nil`: never.
    public var outliers: OutlierSettings? = OutlierSettings()

    public init() {}
}

/// Where an upstream's attempts go, and what their ends say of the endpoint: policy, slow start, outlier ejection and panic in one place.
///
///     choose ─► a probe due? ─► that endpoint
///                  │ no
///                  └► the policy's pick among the available, by slow start ─► Choice ─► (attempt) ─► report
///
/// Shared by all threads. A choice takes the watch's lock once, for some 20 ns, where outliers are watched, and none where they are not;
/// neither allocates. A reload makes a new balancer after the old one; ``activate(now:)`` makes it the one that counts.
public final class EndpointBalancer: Sendable {
    public let settings: BalancerSettings
    public let picker: EndpointPicker
    public let slowStart: SlowStart?
    /// With the policy `peakEWMA`.
    public let latencies: PeakEWMA?
    /// With the policy `hash`.
    public let table: MaglevTable?
    /// `nil`: outliers are not watched, or there is but one endpoint, which is the breaker's.
    public let outliers: OutlierWatch?
    private let names: [String]

    /// Where one attempt goes. It must be reported.
    public struct Choice: Sendable {
        public let endpoint: Int
        let attempt: OutlierDetector.Attempt?
        /// Chosen though it was out: too few are available (`lb.panic`).
        public let isPanic: Bool
        /// Sent to an ejected endpoint to see whether it is well again.
        public var isProbe: Bool { attempt?.isProbe ?? false }
    }

    /// - Parameters:
    ///   - names: of the endpoints, each once, such as `10.0.0.1:80`.
    ///   - weights: by index; missing ones are 1.
    ///   - previous: of the same upstream's older configuration. What was measured of endpoints that remain goes on, and those that
    ///     are new start slowly.
    ///   - keepsHealth: whether the health checks' verdicts of the older configuration still hold.
    ///   - identity: tells upstreams with one seed apart in draws.
    public init(
        _ settings: BalancerSettings = BalancerSettings(), names: [String], weights: [Int] = [], draw: Draw, identity: UInt64 = 0,
        after previous: EndpointBalancer? = nil, keepsHealth: Bool = false, now: Instant
    ) {
        self.settings = settings
        self.names = names
        let picker = EndpointPicker(
            settings.policy, count: names.count, weights: weights, panicThreshold: settings.panicThreshold)
        let slowStart = settings.slowStart.map { SlowStart($0, count: names.count) }
        let latencies = settings.policy == .peakEWMA ? PeakEWMA(settings.latencies, count: names.count) : nil
        table = settings.policy == .hash ? MaglevTable(names: names, weights: weights) : nil
        if let outlierSettings = settings.outliers, names.count >= 2 {
            // An older one is bound to this balancer's picker by `activate`.
            outliers =
                previous?.outliers
                ?? OutlierWatch(
                    outlierSettings, names: names, picker: picker, slowStart: slowStart, latencies: latencies, draw: draw,
                    identity: identity, now: now)
        } else {
            outliers = nil
        }
        (self.picker, self.slowStart, self.latencies) = (picker, slowStart, latencies)
        if let previous { inherit(previous, keepsHealth: keepsHealth, now: now) }
    }

    private func inherit(_ previous: EndpointBalancer, keepsHealth: Bool, now: Instant) {
        let places = Dictionary(previous.names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        for (index, name) in names.enumerated() {
            guard let old = places[name] else {
                // Nothing to start slowly beside if all are new.
                if !previous.names.isEmpty { slowStart?.begin(index, now: now) }
                continue
            }
            if keepsHealth { picker.setAvailable(previous.picker.isWell(old), index) }
            if outliers != nil { picker.setEjected(previous.picker.isEjected(old), index) }
            if let before = previous.slowStart { slowStart?.inherit(before, old, as: index) }
            if let before = previous.latencies { latencies?.inherit(before, old, as: index) }
        }
    }

    /// This balancer's configuration is in force: what the watch finds is done to its picker from now on.
    public func activate(now: Instant) {
        guard let outliers, let settings = settings.outliers else { return }
        outliers.bind(picker, names: names, settings: settings, slowStart: slowStart, latencies: latencies, now: now)
    }

    // MARK: Attempts

    /// Where an attempt goes; `nil`: nowhere (`lb.no_healthy`).
    ///
    /// - Parameters:
    ///   - request: the key of the request's draws.
    ///   - attempt: how many attempts the request has made.
    ///   - key: by which the policy `hash` chooses; `nil`: the request has none.
    ///   - mayProbe: whether the request can be tried again if the endpoint fails it, so that an ejected one may be tried with it;
    ///     asked only where a probe is due.
    ///   - load: exchanges under way at an endpoint.
    public func choose(
        request: UInt64, attempt: Int, draw: Draw, tried: TriedEndpoints, key: UInt64? = nil, now: Instant, mayProbe: () -> Bool,
        load: (Int) -> Int
    ) -> Choice? {
        if let outliers, outliers.isProbeDue(now: now), mayProbe(),
            let probe = outliers.probe(for: picker, now: now, where: { self.picker.isWell($0) && !tried.contains($0) })
        {
            return Choice(endpoint: probe.endpoint, attempt: probe, isPanic: false)
        }
        guard let endpoint = pick(request, attempt, draw, tried, key, now, load) else { return nil }
        return Choice(
            endpoint: endpoint, attempt: outliers?.attempt(at: endpoint, for: picker), isPanic: !picker.isAvailable(endpoint))
    }

    private func pick(
        _ request: UInt64, _ attempt: Int, _ draw: Draw, _ tried: TriedEndpoints, _ key: UInt64?, _ now: Instant,
        _ load: (Int) -> Int
    ) -> Int? {
        if let table, let key { return picker.pick(key: key, table: table, tried: tried, load: load) }
        if let latencies {
            return pick(request, attempt, draw, tried, now) { latencies.cost(of: $0, inFlight: load($0), now: now) }
        }
        return pick(request, attempt, draw, tried, now, load)
    }

    private func pick(
        _ request: UInt64, _ attempt: Int, _ draw: Draw, _ tried: TriedEndpoints, _ now: Instant, _ load: (Int) -> Int
    ) -> Int? {
        guard let slowStart else { return picker.pick(request: request, attempt: attempt, draw: draw, tried: tried, load: load) }
        return picker.pick(
            request: request, attempt: attempt, draw: draw, tried: tried, slowStart: slowStart, now: now, load: load)
    }

    /// An attempt ended.
    ///
    /// - Parameter latencyNanoseconds: from its dispatch to the response head, or to the failure.
    public func report(_ choice: Choice, _ outcome: Outcome, latencyNanoseconds: Int64, now: Instant) {
        latencies?.report(choice.endpoint, outcome, latencyNanoseconds: latencyNanoseconds, now: now)
        if let attempt = choice.attempt {
            outliers?.report(attempt, outcome, latencyNanoseconds: latencyNanoseconds, now: now)
        }
    }

    // MARK: Health

    /// What active checks say of an endpoint. One that comes back starts slowly, and nothing that was measured before holds.
    public func setAvailable(_ isAvailable: Bool, _ endpoint: Int, now: Instant) {
        let wasWell = picker.isWell(endpoint)
        picker.setAvailable(isAvailable, endpoint)
        guard isAvailable && !wasWell else { return }
        slowStart?.begin(endpoint, now: now)
        latencies?.forget(endpoint)
    }
}
