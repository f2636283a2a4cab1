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
        tls: ClientTLSContext?,
        serverName: String, hostField: HostField, attemptFields: Bool = true, health: HealthSettings? = nil, identity: String
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
    }
}

/// One reactor's pools for one upstream.
package final class UpstreamPools {
    package let cluster: UpstreamCluster
    package let pools: [EndpointPool]

    private init(cluster: UpstreamCluster, pools: [EndpointPool]) {
        self.cluster = cluster
        self.pools = pools
    }

    /// The same connections under an upstream's newer settings.
    package func adopting(_ cluster: UpstreamCluster) -> UpstreamPools {
        for pool in pools { pool.adopt(cluster) }
        return UpstreamPools(cluster: cluster, pools: pools)
    }

    /// Whether the connections are the same as `other`'s.
    package func shares(_ other: UpstreamPools) -> Bool { pools.first === other.pools.first }

    package init(cluster: UpstreamCluster, context: TransportContext) {
        self.cluster = cluster
        pools = cluster.endpoints.map { endpoint in
            EndpointPool(
                endpoint: endpoint, context: context, settings: cluster.pool, client: cluster.client, tls: cluster.tls,
                serverName: cluster.serverName.isEmpty ? endpoint.hostName : cluster.serverName,
                connectOptions: cluster.connectOptions)
        }
    }

    package func drain() { for pool in pools { pool.drain() } }
}
