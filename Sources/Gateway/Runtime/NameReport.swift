// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import Telemetry
import Upstream

/// Says in the log how names fare and which endpoints they bring, counts looks, and has every reactor go by what changed. Looks are
/// rare, so a counter is looked up each time.
final class NameReport: NameObserver {
    private let log: OperationalLog
    private let registry: MetricsRegistry
    private let spread: () -> Void
    /// Addresses beyond the most that are taken, by upstream: said once for each number.
    private var surplus: [String: Int] = [:]

    init(log: OperationalLog, registry: MetricsRegistry, spread: @escaping () -> Void) {
        self.log = log
        self.registry = registry
        self.spread = spread
    }

    func nameLookedUp(_ cluster: UpstreamCluster, _ settlement: NameRefresh.Settlement, _ status: UpstreamName.Status) {
        registry.counter(
            "holdfast_dns_lookups_total", help: "Looks at an upstream's name by their result.",
            labels: [("upstream", cluster.name), ("result", settlement.failure?.rawValue ?? "answered")]
        ).add(shard: 0)
        let name = [("upstream", cluster.name), ("name", cluster.upstreamName?.settings.name ?? "")]
        if settlement.failure == nil && surplus[cluster.name, default: 0] != settlement.surplus {
            surplus[cluster.name] = settlement.surplus
            if settlement.surplus > 0 {
                log.error(
                    "dns", "name has more addresses than an upstream can have endpoints",
                    name + [("taken", "\(status.targets.count)"), ("left_out", "\(settlement.surplus)")])
            }
        }
        guard settlement.isNews else { return }
        switch settlement.failure {
        case nil: log.info("dns", "name has an answer", name + [("endpoints", "\(status.targets.count)")])
        case let failure? where status.targets.isEmpty:
            log.warning("dns", "name has no answer, so that requests are refused", name + [("result", failure.rawValue)])
            // Those who wait are refused too.
            spread()
        case let failure?:
            log.warning(
                "dns", "name has no answer, so that its last one goes on",
                name + [("result", failure.rawValue), ("endpoints", "\(status.targets.count)")])
        }
    }

    func endpointsChanged(from before: UpstreamCluster, to next: UpstreamCluster) {
        let (old, new) = (before.endpoints.map(\.label), next.endpoints.map(\.label))
        log.info(
            "dns", "endpoints changed",
            [
                ("upstream", next.name), ("came", new.filter { !old.contains($0) }.joined(separator: ",")),
                ("left", old.filter { !new.contains($0) }.joined(separator: ",")), ("endpoints", "\(new.count)"),
            ])
        GuardMetrics.retire([before], now: [next], in: registry)
        GuardMetrics.register(next, in: registry)
        spread()
    }
}
