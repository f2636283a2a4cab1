// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
package import Reactor
package import Resilience
package import TLS
package import Transport

/// One upstream as all reactors share it: its endpoints, its guard and how it is spoken to. Immutable but for the guard's and
/// the endpoints' own state, so that a reload makes a new one around the same guard.
package final class UpstreamCluster: Sendable {
    package let name: String
    package let endpoints: [Endpoint]
    package let bulkhead: Bulkhead
    package let settings: GuardSettings
    /// The limits of time of requests whose route has none of its own.
    package let limits: AttemptLimits
    package let balancer: EndpointBalancer
    /// With the policy `hash`.
    package let balancingKey: BalancingKey?
    package let pool: PoolSettings
    package let client: ClientConnection.Settings
    package let connectOptions: ConnectOptions
    package let tls: ClientTLSContext?
    package let serverName: String
    package let hostField: HostField
    /// Whether the upstream is told of each attempt's number and time.
    package let attemptFields: Bool
    /// `nil`: endpoints are not checked.
    package let health: HealthSettings?
    /// By position of the endpoint, where the upstream sees its own name.
    let authorities: [[UInt8]]?
    /// What makes a connection of one cluster usable by another after a reload.
    package let identity: String
    /// Where its endpoints come from, if not from the configuration. Owned by the cluster that the configuration made, which outlives its
    /// successors' use: the name holds the latest of those.
    private let ownName: UpstreamName?
    private weak let sharedName: UpstreamName?

    /// What an upstream sees in Host or `:authority`.
    package enum HostField: Sendable {
        /// What the client sent.
        case preserve
        /// The name that TLS asks for, else the endpoint's address.
        case upstream
    }

    package var guardian: Guard { bulkhead.guardian }
    package var picker: EndpointPicker { balancer.picker }

    /// - Parameter balancer: of these endpoints, by their labels, in their order.
    package init(
        name: String, endpoints: [Endpoint], guardian: Guard, settings: GuardSettings, balancer: EndpointBalancer,
        balancingKey: BalancingKey? = nil, pool: PoolSettings, client: ClientConnection.Settings, connectOptions: ConnectOptions,
        tls: ClientTLSContext?, serverName: String, hostField: HostField, attemptFields: Bool = true, health: HealthSettings? = nil,
        identity: String, naming: UpstreamName? = nil, succeeding: UpstreamName? = nil
    ) {
        self.name = name
        self.endpoints = endpoints
        bulkhead = Bulkhead(guardian)
        self.settings = settings
        limits = AttemptLimits(settings.timeouts, queueTimeout: settings.bulkhead.queueTimeout)
        self.balancer = balancer
        self.balancingKey = balancingKey
        self.pool = pool
        self.client = client
        self.connectOptions = connectOptions
        self.tls = tls
        self.serverName = serverName
        self.hostField = hostField
        self.attemptFields = attemptFields
        self.health = health
        authorities =
            switch hostField {
            case .preserve: nil
            case .upstream: endpoints.map { serverName.isEmpty ? $0.authority : Array(serverName.utf8) }
            }
        self.identity = identity
        ownName = naming
        sharedName = naming ?? succeeding
    }

    /// What the upstream calls itself: for requests of the gateway's own, which have no client whose host could be kept.
    package var ownAuthority: [UInt8] {
        if !serverName.isEmpty { return Array(serverName.utf8) }
        if let upstreamName { return Array(upstreamName.settings.name.utf8) }
        return endpoints.first?.authority ?? Array(name.utf8)
    }

    /// `nil`: its endpoints are the configuration's.
    package var upstreamName: UpstreamName? { ownName ?? sharedName }

    /// This upstream with the endpoints that its name has now.
    package var current: UpstreamCluster { upstreamName?.latest ?? self }

    /// The same upstream, with the same guard, with other endpoints. What was measured of those that remain goes on.
    func with(_ endpoints: [Endpoint], draw: Draw, identity number: UInt64, now: Instant) -> UpstreamCluster {
        let balancer = EndpointBalancer(
            balancer.settings, names: endpoints.map(\.label), weights: endpoints.map(\.weight), draw: draw, identity: number,
            after: balancer, keepsHealth: true, now: now)
        return UpstreamCluster(
            name: name, endpoints: endpoints, guardian: guardian, settings: settings, balancer: balancer,
            balancingKey: balancingKey,
            pool: pool, client: client, connectOptions: connectOptions, tls: tls, serverName: serverName, hostField: hostField,
            attemptFields: attemptFields, health: health, identity: identity, succeeding: upstreamName)
    }
}

/// One reactor's pools for one upstream.
package final class UpstreamPools {
    package let cluster: UpstreamCluster
    package let pools: [EndpointPool]
    private let context: TransportContext
    /// What has taken the place of these.
    private var successor: UpstreamPools?
    /// Attempts that wait for the upstream's name to have an address.
    private var waiting: [GuardedExchange] = []

    private init(cluster: UpstreamCluster, pools: [EndpointPool], context: TransportContext) {
        self.cluster = cluster
        self.pools = pools
        self.context = context
    }

    package convenience init(cluster: UpstreamCluster, context: TransportContext) {
        self.init(
            cluster: cluster, pools: cluster.endpoints.map { EndpointPool(endpoint: $0, of: cluster, context: context) },
            context: context)
    }

    /// The same connections under an upstream's newer settings or endpoints: those to an endpoint that remains stay, those to one
    /// that has left close when their exchanges are over.
    package func adopting(_ cluster: UpstreamCluster) -> UpstreamPools {
        var left = pools
        let next = UpstreamPools(
            cluster: cluster,
            pools: cluster.endpoints.map { endpoint in
                guard let place = left.firstIndex(where: { $0.connects(to: endpoint) }) else {
                    return EndpointPool(endpoint: endpoint, of: cluster, context: context)
                }
                let pool = left.remove(at: place)
                pool.adopt(cluster, endpoint)
                return pool
            }, context: context)
        for pool in left { pool.drain() }
        successor = next
        next.waiting = waiting
        waiting = []
        next.wake()
        return next
    }

    /// Whether others have taken the place of these.
    package var isSucceeded: Bool { successor != nil }

    package func drain() { for pool in pools { pool.drain() } }

    // MARK: Names

    /// The pools of the same upstream, in the same configuration, with the endpoints that its name has now.
    var latest: UpstreamPools {
        var latest = self
        while let next = latest.successor, let name = next.cluster.upstreamName, name === latest.cluster.upstreamName {
            latest = next
        }
        return latest
    }

    func wait(_ exchange: GuardedExchange) { waiting.append(exchange) }

    func stopWaiting(_ exchange: GuardedExchange) { waiting.removeAll { $0 === exchange } }

    /// The name has an answer, or will have none for now: those who wait look again.
    package func wake() {
        if waiting.isEmpty { return }
        let woken = waiting
        waiting = []
        for exchange in woken { exchange.nameSettled(over: self) }
    }
}
