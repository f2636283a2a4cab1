// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Transport

/// Checks the endpoints of all upstreams that are to be checked. On one reactor: all others read its verdicts in the upstreams' pickers.
package final class HealthMonitor {
    private struct Key: Hashable {
        var upstream: String
        var endpoint: String
    }

    private let context: TransportContext
    /// Who is told; held by its own owner.
    package weak var observer: (any HealthObserver)?
    private var checks: [EndpointCheck] = []
    private var isStopped = false

    package init(context: TransportContext) { self.context = context }

    /// Checks these from now on. An endpoint of the same address that was checked in the same way keeps its verdict, its run of results
    /// and its rhythm, with a check under way; it is asked with the newer certificates and limits from the next check on.
    package func follow(_ clusters: [UpstreamCluster]) {
        if isStopped { return }
        var before: [Key: EndpointCheck] = [:]
        for check in checks { before[Key(upstream: check.cluster.name, endpoint: check.endpoint.label)] = check }
        var next: [EndpointCheck] = []
        for cluster in clusters {
            guard let settings = cluster.health else { continue }
            for (index, endpoint) in cluster.endpoints.enumerated() {
                let key = Key(upstream: cluster.name, endpoint: endpoint.label)
                if let check = before[key], check.settings == settings {
                    before[key] = nil
                    check.adopt(cluster, index)
                    next.append(check)
                } else {
                    next.append(EndpointCheck(cluster, index, settings: settings, context: context, monitor: self))
                }
            }
        }
        // In their own order, not the dictionary's, so that a seed means one course of events.
        let kept = Set(next.map { ObjectIdentifier($0) })
        for check in checks where !kept.contains(ObjectIdentifier(check)) { check.stop() }
        checks = next
    }

    /// Ends all checks for good, those under way too. What they have found stays in the pickers.
    package func stop() {
        isStopped = true
        for check in checks { check.stop() }
        checks = []
    }

    /// What is known of the endpoints that are checked, in the order of the configuration.
    package var verdicts: [EndpointHealth.Verdict] { checks.map(\.verdict) }
}
