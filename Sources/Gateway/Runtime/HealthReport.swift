// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Telemetry
import Upstream

/// Says in the log which endpoints went and came back, and counts checks. Checks are rare, so a counter is looked up each time.
final class HealthReport: HealthObserver {
    private let log: OperationalLog
    private let registry: MetricsRegistry

    init(log: OperationalLog, registry: MetricsRegistry) {
        self.log = log
        self.registry = registry
    }

    func endpointChecked(_ cluster: UpstreamCluster, _ endpoint: Endpoint, _ result: EndpointHealth.Result) {
        registry.counter(
            "holdfast_health_checks_total", help: "Health checks by their result.",
            labels: [("upstream", cluster.name), ("endpoint", endpoint.label), ("result", result.rawValue)]
        ).add(shard: 0)
    }

    func endpointChanged(_ cluster: UpstreamCluster, _ endpoint: Endpoint, isAvailable: Bool, _ finding: HealthFinding) {
        var values = [("upstream", cluster.name), ("endpoint", endpoint.label)]
        if let reason = finding.reason { values.append(("reason", reason.rawValue)) }
        values.append(("detail", finding.detail))
        if isAvailable { log.info("health", "endpoint is back", values) } else { log.warning("health", "endpoint is out", values) }
    }
}
