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
                help: "Second attempts beside slow ones: launched, those whose answer counted, and those that the guard did not grant.",
                labels: labels + [("result", result)], read: read)
        }
        let picker = cluster.picker
        for (index, endpoint) in cluster.endpoints.enumerated() {
            registry.gauge(
                "holdfast_endpoint_available", help: "1, or 0 while the endpoint is kept out, as by its health checks.",
                labels: [("upstream", cluster.name), ("endpoint", endpoint.label)]
            ) { picker.isAvailable(index) ? 1 : 0 }
            registry.gauge(
                "holdfast_endpoint_ejected", help: "1 while the outlier detector keeps the endpoint out.",
                labels: [("upstream", cluster.name), ("endpoint", endpoint.label)]
            ) { picker.isEjected(index) ? 1 : 0 }
        }
        registry.gauge(
            "holdfast_lb_panic", help: "1 while so few endpoints are available that requests go to all.", labels: labels
        ) { picker.isPanicking ? 1 : 0 }
        if let outliers = cluster.balancer.outliers {
            for detector in OutlierDetector.Detector.allCases {
                registry.counter(
                    "holdfast_outlier_ejections_total", help: "Endpoints set aside, by what found them bad.",
                    labels: labels + [("detector", detector.rawValue)]
                ) { outliers.ejections(by: detector) }
            }
        }
        counter("holdfast_breaker_openings_total", "Times the breaker has opened.") { UInt64($0.transitions.opened) }
    }

    /// Series of upstreams and endpoints that a reload took away leave the scrape, which would else show them as they were for ever.
    static func retire(_ old: [UpstreamCluster], now fresh: [UpstreamCluster], in registry: MetricsRegistry) {
        for cluster in old {
            guard let next = fresh.first(where: { $0.name == cluster.name }) else {
                registry.retire(labels: [("upstream", cluster.name)])
                continue
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
