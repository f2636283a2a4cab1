// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Caching
import Core
import HTTP
import Reactor
import Resilience
import TLS
import Telemetry
import Transport
package import Upstream

/// A configuration made ready to serve: what every reactor reads and none writes. A reload makes a new one; exchanges under
/// way keep the one they began with (case E26).
package final class GatewaySnapshot: Sendable {
    let listeners: [ListenerPlan]
    let table: RouteTable
    let routes: [RoutePlan]
    package let upstreams: [UpstreamCluster]
    /// By position of the upstream: what is done with every request that goes there, after the route's filters.
    let upstreamChains: [FilterChain?]
    /// Whether some route answers CORS preflights.
    let answersPreflights: Bool
    let via: ViaField
    let requestID: RequestIDPlan
    /// By scope, kind and number: what the next configuration's filters take over from.
    package let filters: [String: any Filter]
    /// What no client may send, on any route; `nil`: no filter tells upstreams who somebody is.
    let identityFields: IdentityFields?
    /// The store of all `cache` filters, and its bound; nil where there never was one.
    package let cacheStore: CacheStore?
    let cacheBytes: Int
    let emptySegments: RequestPath.EmptySegments
    let bodyLimit: UInt64
    let bodyLimits: BodyLimits
    let writeTimeout: Duration
    let connectionLimit: Int
    let overload: OverloadPlan
    /// Of all reactors together.
    let handshakeLimit: Int
    /// Bytes of bodies kept for replay, of all requests together.
    let replayLimit: Int
    let metrics: RequestMetrics
    /// `nil`: no access log.
    let accessLog: AccessLogPlan?
    /// `nil`: no decision records.
    let explain: ExplainPlan?
    /// What changes through the admin listener must show; `nil`: there are none.
    package let adminToken: [UInt8]?

    init(
        listeners: [ListenerPlan], table: RouteTable, routes: [RoutePlan], upstreams: [UpstreamCluster],
        upstreamChains: [FilterChain?], via: ViaField, requestID: RequestIDPlan, filters: [String: any Filter],
        identityFields: IdentityFields?, cacheStore: CacheStore?, cacheBytes: Int, emptySegments: RequestPath.EmptySegments,
        bodyLimit: UInt64, bodyLimits: BodyLimits,
        writeTimeout: Duration, connectionLimit: Int, overload: OverloadPlan, handshakeLimit: Int, replayLimit: Int,
        metrics: RequestMetrics,
        accessLog: AccessLogPlan?, explain: ExplainPlan?, adminToken: [UInt8]?
    ) {
        self.listeners = listeners
        self.table = table
        self.routes = routes
        self.upstreams = upstreams
        self.upstreamChains = upstreamChains
        answersPreflights = routes.contains { $0.answersPreflights }
        self.via = via
        self.requestID = requestID
        self.filters = filters
        self.identityFields = identityFields
        self.cacheStore = cacheStore
        self.cacheBytes = cacheBytes
        self.emptySegments = emptySegments
        self.bodyLimit = bodyLimit
        self.bodyLimits = bodyLimits
        self.writeTimeout = writeTimeout
        self.connectionLimit = connectionLimit
        self.overload = overload
        self.handshakeLimit = handshakeLimit
        self.replayLimit = replayLimit
        self.metrics = metrics
        self.accessLog = accessLog
        self.explain = explain
        self.adminToken = adminToken
    }
}

extension GatewaySnapshot {
    /// What deserves a line in the log although it prevents nothing, at a wall time in seconds since 1970.
    func warnings(at wallTime: Int64) -> [String] {
        let certificates = listeners.flatMap { listener in
            listener.tls?.warnings(at: wallTime).map { "listener \(listener.name): \($0)" } ?? []
        }
        let dead = table.shadowed.map { pair in
            "route \(routes[pair.rule].name): never taken, since \(routes[pair.by].name) takes all of its requests"
        }
        return certificates + dead
    }

    /// Gives the guards that were kept from an older snapshot this one's settings; their state stays. On the reactor that looks names up,
    /// so that no other endpoints come in between.
    func applyGuardSettings(now: Instant) {
        for cluster in upstreams {
            cluster.guardian.apply(cluster.settings, now: now)
            cluster.current.balancer.activate(now: now)
        }
        cacheStore?.setLimit(bytes: cacheBytes)
    }
}

/// One listener, ready to be opened.
final class ListenerPlan: Sendable {
    let name: String
    let nameBytes: [UInt8]
    let address: SocketAddress
    let tls: ServerTLSContext?
    let settings: ServerSettings
    let connection: Connection.Settings
    let forwarding: ForwardingPolicy
    let connectionLimit: Int
    /// By position of the route: its filters and this listener's together; empty where the listener has none.
    let chains: [FilterChain?]
    /// This listener's filters, for requests that no route takes.
    let unroutedChain: FilterChain?
    let metrics: ListenerMetrics
    private let taken = GuardLock<SocketAddress?>(nil)

    /// Where to open it: its address, and for a port of 0 the one that the first reactor got.
    var openAddress: SocketAddress { taken.withLock { $0 } ?? address }

    func opened(at address: SocketAddress) { taken.withLock { $0 = address } }

    /// Whether a socket of one can go on as the other's.
    func isSame(as other: ListenerPlan) -> Bool {
        address == other.address && (address.isUnix || address.port != 0 || name == other.name)
    }

    init(
        name: String, address: SocketAddress, tls: ServerTLSContext?, settings: ServerSettings, connection: Connection.Settings,
        forwarding: ForwardingPolicy, connectionLimit: Int, chains: [FilterChain?], unroutedChain: FilterChain?,
        metrics: ListenerMetrics
    ) {
        self.chains = chains
        self.unroutedChain = unroutedChain
        self.name = name
        nameBytes = Array(name.utf8)
        self.address = address
        self.tls = tls
        self.settings = settings
        self.connection = connection
        self.forwarding = forwarding
        self.connectionLimit = connectionLimit
        self.metrics = metrics
    }
}

/// One route's action, ready to be taken.
package final class RoutePlan: Sendable {
    enum Action: Sendable {
        /// Position among the snapshot's upstreams.
        case upstream(Int)
        case split(WeightedChoice, [Int])
        case redirect(Redirect)
        case answer(FixedAnswer)
    }

    package let name: String
    /// Its name and what it matches: stays over reloads that do not touch it, and is no other route's.
    let identity: [UInt8]
    let action: Action
    let rewrite: PathRewrite
    let isIdempotent: Bool
    let priority: Priority
    let fallback: FallbackPlan?
    /// By position of the upstream; the route's overrides are applied.
    let limits: [Int: AttemptLimits]
    /// `nil`: it has no filters, nor has an upstream that it leads to.
    let chain: FilterChain?
    /// Whether it has a filter for CORS, on some listener.
    let answersPreflights: Bool
    let parameterNames: [String]
    let metrics: RouteMetrics

    static func identity(_ name: String, _ match: String) -> [UInt8] {
        Array("\(name) \(StableHash.key(match.utf8))".utf8)
    }

    init(
        name: String, identity: [UInt8], action: Action, rewrite: PathRewrite, isIdempotent: Bool, priority: Priority,
        fallback: FallbackPlan?,
        limits: [Int: AttemptLimits], chain: FilterChain?, answersPreflights: Bool, parameterNames: [String],
        metrics: RouteMetrics
    ) {
        self.chain = chain
        self.answersPreflights = answersPreflights
        self.parameterNames = parameterNames
        self.name = name
        self.identity = identity
        self.action = action
        self.rewrite = rewrite
        self.isIdempotent = isIdempotent
        self.priority = priority
        self.fallback = fallback
        self.limits = limits
        self.metrics = metrics
    }
}

/// An answer that the configuration wrote out.
final class FixedAnswer: Sendable {
    let status: Int
    /// Names in lower case.
    let fields: [(name: [UInt8], value: [UInt8])]
    let body: [UInt8]

    init(status: Int, fields: [(name: [UInt8], value: [UInt8])], body: [UInt8]) {
        self.status = status
        self.fields = fields
        self.body = body
    }
}

/// What is done about request ids.
struct RequestIDPlan: Sendable {
    enum Keep: Sendable { case always, trusted, never }
    var keep = Keep.always
    var answers = true
}

/// Where and which requests are logged.
struct AccessLogPlan: Sendable {
    var settings: AccessLog.Settings
    /// In ten-thousandths; answers of 500 and above are always written.
    var sampling: Int
}
