// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
package import Reactor
import TLS
package import Telemetry
package import Transport
import Upstream

/// What the gateway has on one reactor: its listeners, its pools, its spare exchanges, and the snapshot in force.
///
/// Confined to its reactor; the control thread reaches it only by messages.
package final class GatewayReactor {
    package let reactor: Reactor
    package let context: TransportContext
    let shard: Int
    /// How many reactors share the limits that each keeps for itself.
    private let reactors: Int
    let connections: ConnectionCount
    package private(set) var snapshot: GatewaySnapshot
    private(set) var exchangesUnderWay = 0
    package private(set) var isDraining = false

    /// Where answers of the gateway's own are made: used up within one call.
    let localAnswer = ResponseHead()
    var localBody = ByteBuffer()

    private var pools: [UpstreamPools] = []
    private var listeners: [(plan: ListenerPlan, service: ProxyService, socket: ServerListener)] = []
    /// Closed to new connections, with some still open.
    private var closing: [ServerListener] = []
    private var spare: [ProxyExchange] = []
    /// Of requests of the gateway's own.
    private var spareGuarded: [GuardedExchange] = []
    /// Requests of the gateway's own that are under way.
    var subrequests: Set<Subrequest> = []
    private var redisClients: [RedisClient] = []
    private var requests: UInt64 = 0
    private var date = DateCache()
    private var admin: ServerListener?
    private var drainWatch: DrainWatch?
    private var ticketRotation: TicketRotation?
    private var guardWatch: GuardWatch?
    /// Of the whole process.
    package let overload: Overload
    private var overloadWatch: OverloadWatch?
    private var resourceWatch: ResourceWatch?
    private var filterWatch: FilterWatch?
    /// Where filters say what happens to their keys and files.
    package var filterLog: OperationalLog?
    /// On the first reactor of a server.
    package private(set) var overrides: BreakerOverrides?
    /// There too: what operators do by hand is told here.
    package private(set) var operationalLog: OperationalLog?
    private var names: (monitor: NameMonitor, report: NameReport)?
    private var health: (monitor: HealthMonitor, report: HealthReport)?
    package let explanations: ExplainStore
    let replay: ReplayMemory
    private var explainBudget = ExplainBudget()
    private let accessLane: LogLane?
    private var access: AccessLog?

    init(
        context: TransportContext, shard: Int, of reactors: Int = 1, snapshot: GatewaySnapshot, connections: ConnectionCount,
        accessLane: LogLane?, explanations: ExplainStore? = nil, replay: ReplayMemory? = nil, overload: Overload? = nil
    ) {
        reactor = context.reactor
        self.reactors = reactors
        self.context = context
        self.shard = shard
        self.snapshot = snapshot
        self.connections = connections
        self.accessLane = accessLane
        self.overload = overload ?? Overload()
        self.replay = replay ?? ReplayMemory(limit: snapshot.replayLimit)
        self.explanations = explanations ?? ExplainStore(capacity: snapshot.explain?.keep ?? 0)
        pools = snapshot.upstreams.map { UpstreamPools(cluster: $0.current, context: context) }
        openAccessLog()
        divideLimits()
    }

    private func divideLimits() { context.handshakes.limit = max(1, snapshot.handshakeLimit / reactors) }

    private func openAccessLog() {
        access =
            if let accessLane, let plan = snapshot.accessLog { AccessLog(settings: plan.settings, lane: accessLane) } else { nil }
    }

    /// A number that no other request of this process has: the key of its draws.
    func nextKey() -> UInt64 {
        requests &+= 1
        return UInt64(shard) << 48 | requests
    }

    func appendDate(to out: inout ByteBuffer) {
        date.append(seconds: reactor.unixNanoseconds / 1_000_000_000, to: &out)
    }

    // MARK: Exchanges

    func takeExchange() -> ProxyExchange {
        exchangesUnderWay += 1
        return spare.popLast() ?? ProxyExchange(home: self)
    }

    func recycle(_ exchange: ProxyExchange) {
        exchangesUnderWay -= 1
        if spare.count < 1_024 { spare.append(exchange) }
    }

    func takeGuarded() -> GuardedExchange { spareGuarded.popLast() ?? GuardedExchange(reactor: reactor, replay: replay) }

    func giveBack(_ guarded: GuardedExchange) {
        guarded.client = nil
        if spareGuarded.count < 256 { spareGuarded.append(guarded) }
    }

    /// This reactor's way to the Redis of a plan.
    func redis(_ plan: RedisPlan) -> RedisClient {
        if let client = redisClients.first(where: { $0.plan === plan }) { return client }
        redisClients.removeAll { $0.isOver }
        let client = RedisClient(plan, context, shard: shard)
        redisClients.append(client)
        return client
    }

    /// The pools of an upstream of the snapshot in force, or of an older one by which an exchange still goes.
    func pools(for index: Int, in snapshot: GatewaySnapshot) -> UpstreamPools {
        if snapshot === self.snapshot { return pools[index] }
        let cluster = snapshot.upstreams[index].current
        if let kept = pools.first(where: { $0.cluster.identity == cluster.identity }) { return kept }
        return UpstreamPools(cluster: cluster, context: context)
    }

    // MARK: Listening

    /// Opens what the snapshot lists. All or nothing.
    package func open() throws(NetworkError) {
        for plan in snapshot.listeners where isHome(of: plan) {
            do throws(NetworkError) {
                listeners.append(try listen(plan))
            } catch {
                for listener in listeners { listener.socket.close() }
                listeners = []
                throw error
            }
        }
    }

    /// A port is every reactor's; a Unix socket cannot be opened twice, so that its path says whose it is.
    private func isHome(of plan: ListenerPlan) -> Bool {
        guard plan.address.isUnix else { return true }
        let hash = "\(plan.address)".utf8.reduce(UInt64(0)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return hash % UInt64(reactors) == UInt64(shard)
    }

    private func listen(_ plan: ListenerPlan) throws(NetworkError) -> (
        plan: ListenerPlan, service: ProxyService, socket: ServerListener
    ) {
        let service = ProxyService(home: self, plan: plan)
        let socket = try ServerListener(
            on: plan.openAddress, context: context, tls: plan.tls, settings: plan.settings, connectionSettings: plan.connection,
            service: service)
        plan.opened(at: socket.address)
        return (plan, service, socket)
    }

    /// The addresses that are listened on, with the ports that the kernel chose.
    package var addresses: [(name: String, address: SocketAddress)] { listeners.map { ($0.plan.name, $0.socket.address) } }

    // MARK: Reload

    /// Makes `next` the snapshot in force. What both have goes on; new addresses are opened first, and if one cannot be,
    /// nothing changes.
    package func adopt(_ next: GatewaySnapshot) throws(NetworkError) {
        var opened: [(plan: ListenerPlan, service: ProxyService, socket: ServerListener)] = []
        for plan in next.listeners where isHome(of: plan) && !listeners.contains(where: { $0.plan.isSame(as: plan) }) {
            do throws(NetworkError) {
                opened.append(try listen(plan))
            } catch {
                for listener in opened { listener.socket.close() }
                throw error
            }
        }
        var kept: [(plan: ListenerPlan, service: ProxyService, socket: ServerListener)] = []
        for listener in listeners {
            if let plan = next.listeners.first(where: { $0.isSame(as: listener.plan) }) {
                listener.service.plan = plan
                listener.socket.reconfigure(tls: plan.tls, settings: plan.settings, connectionSettings: plan.connection)
                kept.append((plan, listener.service, listener.socket))
            } else {
                listener.socket.drain()
                closing.append(listener.socket)
            }
        }
        listeners = kept + opened
        closing.removeAll { $0.connectionCount == 0 }

        let before = pools
        snapshot = next
        pools = next.upstreams.map(\.current).map { cluster in
            before.first { $0.cluster.identity == cluster.identity }?.adopting(cluster)
                ?? UpstreamPools(cluster: cluster, context: context)
        }
        for old in before where !old.isSucceeded { old.drain() }
        for client in redisClients where !next.filters.values.contains(where: { ($0 as? RateLimitFilter)?.redis === client.plan }) {
            client.retire()
        }
        names?.monitor.follow(next.upstreams)
        health?.monitor.follow(next.upstreams.map(\.current))
        openAccessLog()
        divideLimits()
    }

    /// Goes by the endpoints that the upstreams' names have now; attempts that wait for a name look again.
    package func takeEndpoints() {
        for (i, cluster) in snapshot.upstreams.map(\.current).enumerated() {
            if pools[i].cluster === cluster { pools[i].wake() } else { pools[i] = pools[i].adopting(cluster) }
        }
        health?.monitor.follow(snapshot.upstreams.map(\.current))
    }

    // MARK: Draining

    /// Accepts no more and lets what is under way end.
    package func drain() {
        isDraining = true
        health?.monitor.stop()
        for listener in listeners { listener.socket.drain() }
    }

    /// Drains and calls `done` once all client connections have ended or `limit` has passed, with the number that had to be cut.
    func drain(within limit: Duration, done: @escaping @Sendable (_ cut: Int) -> Void) {
        drain()
        let watch = DrainWatch(home: self, deadline: reactor.now.advanced(by: limit), done: done)
        drainWatch = watch
        watch.check(now: reactor.now)
    }

    /// Only one reactor sees to breakers: what happens to them goes to `log`, and operators may force them.
    package func lookAfterBreakers(_ log: OperationalLog) {
        guardWatch = GuardWatch(home: self, log: log)
        overrides = BreakerOverrides(reactor: reactor, log: log)
        operationalLog = log
    }

    /// Each reactor probes its own loop.
    func watchOverload(_ log: OperationalLog) { overloadWatch = OverloadWatch(home: self, log: OverloadLog(log: log)) }

    /// Only one reactor reads what the process uses.
    func watchResources(_ log: OperationalLog, _ source: ResourceWatch.Source = ResourceWatch.Source()) {
        resourceWatch = ResourceWatch(home: self, log: OverloadLog(log: log), source: source)
    }

    /// Ends client connections that have had no exchange since `instant`, and lets spare objects go.
    func endConnections(idleSince instant: Instant) {
        for listener in listeners { listener.socket.endConnections(idleSince: instant) }
        spare.removeAll()
        spareGuarded.removeAll()
    }

    /// Only one reactor looks after what filters read from outside.
    package func lookAfterFilters() { filterWatch = FilterWatch(home: self) }

    /// Only one reactor checks endpoints: all read its verdicts. What it finds goes to `log` and `registry`.
    func checkEndpoints(_ log: OperationalLog, _ registry: MetricsRegistry) {
        let monitor = HealthMonitor(context: context)
        let report = HealthReport(log: log, registry: registry)
        monitor.observer = report
        health = (monitor, report)
        monitor.follow(snapshot.upstreams.map(\.current))
    }

    /// Only one reactor looks names up: what changes it takes over itself and then tells the others by `tell`.
    func lookUpNames(
        _ resolver: any Resolver, _ log: OperationalLog, _ registry: MetricsRegistry, tell: @escaping () -> Void = {}
    ) {
        let monitor = NameMonitor(reactor: reactor, resolver: resolver)
        let report = NameReport(log: log, registry: registry) { [unowned self] in
            takeEndpoints()
            tell()
        }
        monitor.observer = report
        names = (monitor, report)
        monitor.follow(snapshot.upstreams)
    }

    func rotateTickets(_ keys: TicketKeys) { ticketRotation = TicketRotation(keys: keys, reactor: reactor) }

    /// Whether every client connection has ended.
    package var isDrained: Bool { exchangesUnderWay == 0 && connectionCount == 0 }

    /// The client connections that are open.
    var connectionCount: Int {
        listeners.reduce(0) { $0 + $1.socket.connectionCount } + closing.reduce(0) { $0 + $1.connectionCount }
    }

    /// Ends what is left at once.
    package func abort() {
        names?.monitor.stop()
        health?.monitor.stop()
        for listener in listeners { listener.socket.abort() }
        for socket in closing { socket.abort() }
        for pool in pools { pool.drain() }
        for client in redisClients { client.close() }
        spare.removeAll()
    }

    /// Keeps the admin listener, which lives as long as the reactor and stays open while it drains.
    package func keepAdmin(_ listener: ServerListener) { admin = listener }

    /// What must be back at its start after all exchanges are over (promise P8).
    package var idleConnections: Int { pools.reduce(0) { $0 + $1.pools.reduce(0) { $0 + $1.idleCount } } }

    // MARK: Counting and logging

    func record(_ exchange: ProxyExchange, _ server: ServerExchange) {
        guard let snapshot = exchange.snapshot else { return }
        let facts = exchange.facts
        let now = reactor.now
        let metrics = snapshot.metrics
        let route = exchange.route?.metrics ?? metrics.unrouted
        route.requests[facts.status >= 100 && facts.status < 600 && server.hasResponded ? facts.status / 100 : 0].add(shard: shard)
        route.duration.record(from: facts.startedAt, to: now, shard: shard)
        metrics.methods[Int(server.head.method.rawValue)].add(shard: shard)
        metrics.protocols[Int(server.head.version.rawValue)].add(shard: shard)
        if server.bodyBytesReceived > 0 { metrics.bodyBytesIn.add(server.bodyBytesReceived, shard: shard) }
        if server.bodyBytesSent > 0 { metrics.bodyBytesOut.add(server.bodyBytesSent, shard: shard) }
        if let reason = facts.reason { metrics.count(reason, shard: shard) }
        if let retry = facts.retryReason { metrics.count(retry, shard: shard) }
        if let index = facts.upstreamIndex {
            let guarded = exchange.guarded
            metrics.upstreams[index].count(attempts: guarded.attempts, shard: shard)
            if guarded.timings.firstByte > 0 { route.firstByte.record(nanoseconds: guarded.timings.firstByte, shard: shard) }
        }
        let line = explain(exchange, server, now: now)
        if let access, let plan = snapshot.accessLog {
            let sampled = plan.sampling >= 10_000 || reactor.draw.below(10_000, request: facts.key, .logSample) < plan.sampling
            if sampled || facts.status >= 500 {
                AccessRecord.write(exchange, server, explained: line, to: access, now: now, unix: reactor.unixNanoseconds)
            }
        }
    }

    // MARK: Explaining

    /// How closely the guard is to note what it decides about a request.
    func explainDetail(_ key: UInt64, asked: Bool, _ snapshot: GatewaySnapshot) -> DecisionTrail.Detail {
        if asked { return .all }
        guard let plan = snapshot.explain else { return .steps }
        if plan.sampling > 0 && reactor.draw.below(10_000, request: key, .explainSample) < plan.sampling { return .all }
        return explainBudget.hasRoom(reactor.now, rate: max(min(plan.rate, 1), plan.rate / reactors)) ? .unusual : .steps
    }

    /// Keeps the decision record of a request that is to have one; the line is for the access log.
    private func explain(_ exchange: ProxyExchange, _ server: ServerExchange, now: Instant) -> [UInt8]? {
        let facts = exchange.facts
        guard exchange.isUpstream, exchange.snapshot?.explain != nil, !facts.id.isEmpty else { return nil }
        let trail = exchange.guarded.trail
        switch trail.detail {
        case .steps: return nil
        case .unusual:
            guard trail.isUnusual else { return nil }
            explainBudget.spend()
        case .all: break
        }
        let explanation = Explanation(trail: trail, endpoints: exchange.guarded.lastEndpoints)
        var text = ByteBuffer()
        text.append("{\"request_id\":\"")
        server.head.withBytes(facts.id) { text.append(escaping: $0, as: .json) }
        text.append("\",\"route\":\"")
        text.append(escaping: Array((exchange.route?.name ?? "").utf8).span, as: .json)
        text.append("\",\"upstream\":\"")
        text.append(escaping: Array((exchange.guarded.lastClusterName ?? "").utf8).span, as: .json)
        text.append("\",\"status\":")
        text.append(decimal: max(0, facts.status))
        if let reason = facts.reason {
            text.append(",\"reason\":\"")
            text.append(utf8: reason.rawValue)
            text.append("\"")
        }
        text.append(",\"total_us\":")
        text.append(decimal: UInt64(max(0, now.nanoseconds(since: facts.startedAt) / 1_000)))
        text.append(",\"decisions\":[")
        explanation.writeJSON(into: &text)
        text.append("\n]}\n")
        let json = text.withReadable { span in span.indices.map { span[$0] } }
        explanations.keep(server.head.withBytes(facts.id) { span in span.indices.map { span[$0] } }, json)
        text.removeAll()
        explanation.writeLine(into: &text)
        return text.withReadable { span in span.indices.map { span[$0] } }
    }
}
