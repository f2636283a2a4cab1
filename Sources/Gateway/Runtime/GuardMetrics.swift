// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience
import Telemetry
import Upstream

/// Shows the guards' states to a scrape: read when asked, so that a request pays nothing for it.
enum GuardMetrics {
    static func register(_ cluster: UpstreamCluster, in registry: MetricsRegistry) {
        let guardian = cluster.guardian
        let labels = [("upstream", cluster.name)]
        func gauge(_ name: String, _ help: String, _ read: @escaping @Sendable (GuardSnapshot) -> Double) {
            registry.gauge(name, help: help, labels: labels) { read(guardian.snapshot()) }
        }
        func counter(_ name: String, _ help: String, _ read: @escaping @Sendable (GuardSnapshot) -> UInt64) {
            registry.counter(name, help: help, labels: labels) { read(guardian.snapshot()) }
        }
        gauge("holdfast_breaker_state", "0 closed, 1 open, 2 half-open, 3 forced open, 4 forced closed, 5 disabled.") {
            $0.stateNumber
        }
        gauge("holdfast_breaker_cusum", "Evidence of the CUSUM rule, against its threshold; 0 while it is off.") {
            Double($0.evidence.cusumThousandths) / 1_000
        }
        gauge("holdfast_bulkhead_permits", "Permits there are.") { Double($0.permits) }
        gauge(
            "holdfast_adaptive_limit", "Permits that the upstream was found to take; while they do not adapt, those that there are."
        ) { Double($0.adaptiveLimit ?? $0.permits) }
        gauge("holdfast_shed_level", "Classes of priority that are turned away, least important first, 0 to 3.") {
            Double($0.shedLevel)
        }
        gauge("holdfast_throttle_probability", "Share of the requests that the client throttle turns away; 0 while it is off.") {
            $0.throttle ?? 0
        }
        gauge("holdfast_bulkhead_permits_in_use", "Permits in use.") { Double($0.permitsInUse) }
        for priority in Priority.allCases {
            registry.gauge(
                "holdfast_bulkhead_permits_in_use_by_priority", help: "Permits in use, by class of priority.",
                labels: labels + [("priority", priority.rawValue)]
            ) { Double(guardian.snapshot().permitsInUse(by: priority)) }
        }
        gauge("holdfast_bulkhead_queue", "Requests that wait for a permit.") { Double($0.queued) }
        gauge("holdfast_retry_tokens_outstanding", "Extra attempts under way or in back-off.") { Double($0.retriesOutstanding) }
        for (result, read) in [
            ("launched", { @Sendable in guardian.hedging.launched }), ("won", { @Sendable in guardian.hedging.won }),
            ("refused", { @Sendable in guardian.hedging.unpaid }),
        ] {
            registry.counter(
                "holdfast_hedges_total",
                help: "Second attempts beside slow ones: launched, won (their answer counted), refused by the guard.",
                labels: labels + [("result", result)], read: read)
        }
        // Looked up at each scrape, since endpoints by name come and go in between.
        @Sendable func of(_ label: String, _ read: (EndpointPicker, Int) -> Bool) -> Double {
            let current = cluster.current
            guard let index = current.endpoints.firstIndex(where: { $0.label == label }) else { return .nan }
            return read(current.picker, index) ? 1 : 0
        }
        for label in cluster.endpoints.map(\.label) {
            registry.gauge(
                "holdfast_endpoint_available", help: "1, or 0 while the endpoint is kept out, as by its health checks.",
                labels: [("upstream", cluster.name), ("endpoint", label)]
            ) { of(label) { $0.isAvailable($1) } }
            registry.gauge(
                "holdfast_endpoint_ejected", help: "1 while the outlier detector keeps the endpoint out.",
                labels: [("upstream", cluster.name), ("endpoint", label)]
            ) { of(label) { $0.isEjected($1) } }
        }
        registry.gauge(
            "holdfast_lb_panic", help: "1 while so few endpoints are available that requests go to all.", labels: labels
        ) { cluster.current.picker.isPanicking ? 1 : 0 }
        if cluster.balancer.outliers != nil || cluster.upstreamName != nil {
            for detector in OutlierDetector.Detector.allCases {
                registry.counter(
                    "holdfast_outlier_ejections_total", help: "Endpoints set aside, by what found them bad.",
                    labels: labels + [("detector", detector.rawValue)]
                ) { cluster.current.balancer.outliers?.ejections(by: detector) ?? 0 }
            }
        }
        if let name = cluster.upstreamName { registerName(labels, in: registry) { name.status } }
        counter("holdfast_breaker_openings_total", "Times the breaker has opened.") { UInt64($0.transitions.opened) }
    }

    private static func registerName(
        _ labels: [(String, String)], in registry: MetricsRegistry, _ read: @escaping @Sendable () -> UpstreamName.Status?
    ) {
        registry.gauge(
            "holdfast_dns_state", help: "0 not yet answered, 1 answered, 2 failing and by the last answer, 3 failing without one.",
            labels: labels
        ) { read().map { Double(NameRefresh.State.allCases.firstIndex(of: $0.state) ?? 0) } ?? .nan }
        registry.gauge("holdfast_dns_endpoints", help: "Endpoints that the upstream's name has.", labels: labels) {
            read().map { Double($0.targets.count) } ?? .nan
        }
    }

    /// Series of upstreams and endpoints that a reload, or DNS, took away leave the scrape, which would else show them as they were for ever.
    static func retire(_ old: [UpstreamCluster], now fresh: [UpstreamCluster], in registry: MetricsRegistry) {
        for cluster in old {
            guard let next = fresh.first(where: { $0.name == cluster.name }) else {
                registry.retire(labels: [("upstream", cluster.name)])
                continue
            }
            if cluster.upstreamName != nil && next.upstreamName == nil {
                registerName([("upstream", cluster.name)], in: registry) { nil }
            }
            let labels = Set(next.endpoints.map(\.label))
            for endpoint in cluster.endpoints where !labels.contains(endpoint.label) {
                registry.retire(labels: [("upstream", cluster.name), ("endpoint", endpoint.label)])
            }
        }
    }
}

extension GuardSnapshot {
    /// The breaker's state as a number that a plot can show.
    fileprivate var stateNumber: Double {
        switch override {
        case .forcedOpen: return 3
        case .forcedClosed: return 4
        case .disabled: return 5
        case .automatic: break
        }
        switch breaker {
        case .closed: return 0
        case .open: return 1
        case .halfOpen: return 2
        }
    }
}
