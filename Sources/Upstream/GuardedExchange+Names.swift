// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import Resilience

/// What a guarded exchange has to do with an upstream whose endpoints a name has: they may change between its attempts, and before the
/// name's first answer there are none.
extension GuardedExchange {
    /// Goes by the endpoints that the upstream's name has now. Between attempts only: an attempt is reported to those that it was chosen by.
    func moveToLatestEndpoints() {
        guard let pools else { return }
        let latest = pools.latest
        if latest === pools { return }
        let before = pools.cluster.endpoints
        let after = latest.cluster.endpoints
        func position(_ old: Int) -> Int? {
            guard before.indices.contains(old) else { return nil }
            return after.firstIndex { $0.address == before[old].address && $0.hostName == before[old].hostName }
        }
        var moved = TriedEndpoints()
        for index in before.indices where tried.contains(index) {
            if let index = position(index) { moved.insert(index) }
        }
        tried = moved
        trail.renumber(position)
        endpointIndex = position(endpointIndex) ?? -1
        self.pools = latest
        lastCluster = latest.cluster
    }

    /// Whether a further attempt could go elsewhere, by the endpoints that it would go by.
    func hasUntriedEndpoint(_ pools: UpstreamPools) -> Bool {
        let latest = pools.latest.cluster.endpoints
        let before = pools.cluster.endpoints
        if pools.latest === pools { return tried.count < latest.count }
        return latest.contains { endpoint in
            !before.indices.contains { tried.contains($0) && before[$0].address == endpoint.address }
        }
    }

    /// Waits with its permit for the name's first answer, as it would for a connection and no longer; if there is none to be had now, the
    /// request is refused.
    func awaitEndpoints(of name: UpstreamName, _ pools: UpstreamPools) {
        let status = name.status
        if status.state == .failing {
            refuseForName(status, detail: "the upstream's name has no address: \(status.failure?.rawValue ?? "")")
            return
        }
        if phase != .naming {
            namingSince = reactor.now
            stageDeadline = reactor.now.advanced(by: pools.cluster.pool.connectTimeout)
        }
        phase = .naming
        armTimer()
        pools.wait(self)
    }

    /// Its pools are those of the newest endpoints, if there are any now.
    func nameSettled(over pools: UpstreamPools) {
        guard phase == .naming else { return }
        self.pools = pools
        lastCluster = pools.cluster
        dispatch()
        if phase != .naming { timings.lease += reactor.now.nanoseconds(since: namingSince) }
    }

    func namingExpired(now: Instant) {
        pools?.stopWaiting(self)
        if now >= totalDeadline {
            permit = nil
            note(.refused, .deadline)
            fail(.deadline, detail: "the upstream's name had no answer before the deadline")
        } else {
            refuseForName(
                pools?.cluster.upstreamName?.status, detail: "the upstream's name had no answer within the connect timeout")
        }
    }

    private func refuseForName(_ status: UpstreamName.Status?, detail: String) {
        // Nothing was sent, and the upstream is not to blame: the permit goes back unrecorded.
        permit = nil
        retryToken = nil
        phase = .idle
        note(.refused, .dns)
        fail(.dns, retryAfter: status?.next.map { max(0, $0.nanoseconds(since: reactor.now)) }, detail: detail)
    }
}
