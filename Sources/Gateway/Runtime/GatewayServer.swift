// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Configuration
import Core
package import Reactor
package import Telemetry
import TLS
import Transport
import Upstream

/// A running gateway on the kernel's network: one reactor a core, reloaded and drained from a control thread.
///
///     let server = try GatewayServer(configuration: try Configuration.load(path: "edge.yaml").configuration)
///     try server.start()
///     …
///     server.drain { … }
public final class GatewayServer {
    package let registry: MetricsRegistry
    package let log: OperationalLog
    package private(set) var gateways: [Confined<GatewayReactor>] = []
    package private(set) var snapshot: GatewaySnapshot
    /// The configuration in force.
    public private(set) var configuration: Configuration

    private let customFilters: CustomFilters
    private let group: ReactorGroup
    private let draw: Draw
    private let connections = ConnectionCount()
    private let ticketKeys: TicketKeys
    private let explanations: ExplainStore
    private let replay: ReplayMemory
    private let overload = Overload()
    private let accessSink: LogSink?
    private let accessDestination: Configuration.AccessLog.Destination?

    /// Compiles the configuration; nothing is opened yet. Throws one error with all that is wrong with it.
    ///
    /// - Parameter filters: what `custom` filters of the configuration are made of, by name.
    public init(configuration: Configuration, log: GatewayLog, filters: CustomFilters = CustomFilters()) throws {
        customFilters = filters
        self.configuration = configuration
        self.log = log.operational
        let threads = configuration.threads ?? Processors.available
        registry = MetricsRegistry(shards: threads)
        draw = configuration.seed.map { Draw(seed: $0) } ?? .seededByKernel()
        ticketKeys = TicketKeys(now: .origin, interval: GatewayServer.ticketInterval(configuration))
        accessDestination = configuration.accessLog?.destination
        accessSink = try configuration.accessLog.map { try LogSink(LogSink.Target($0.destination)) }
        var compiler = SnapshotCompiler(
            configuration, registry: registry, ticketKeys: ticketKeys, now: .origin, wallTime: nil, draw: draw, previous: nil,
            customFilters: filters)
        snapshot = try compiler.compile()
        explanations = ExplainStore(capacity: snapshot.explain?.keep ?? 0)
        replay = ReplayMemory(limit: snapshot.replayLimit)
        group = try ReactorGroup(count: threads, draw: draw)
        overload.apply(snapshot.overload, memoryLimit: ProcessResources.memoryLimit)
        registerMetrics()
        warnAboutCertificates(snapshot)
    }

    /// Listeners share their keys, so that the shortest interval is the one that all can live with.
    private static func ticketInterval(_ configuration: Configuration) -> Duration {
        configuration.listeners.compactMap { $0.tls?.ticketRotation }.min() ?? TicketKeys.defaultInterval
    }

    private func warnAboutCertificates(_ snapshot: GatewaySnapshot) {
        for warning in snapshot.warnings(at: WallClock.nanoseconds / 1_000_000_000) {
            log.warning("certificate", warning)
        }
    }

    /// Throws what is wrong with a configuration that reads well: certificates and keys that do not match, routes that say
    /// nothing. Returns what is allowed and will not hold, such as a certificate that expires. Opens nothing.
    public static func validate(_ configuration: Configuration, filters: CustomFilters = CustomFilters()) throws -> [String] {
        var compiler = SnapshotCompiler(
            configuration, registry: MetricsRegistry(shards: 1), ticketKeys: nil, now: .origin, wallTime: nil, draw: Draw(seed: 0),
            previous: nil, customFilters: filters)
        return try compiler.compile().warnings(at: WallClock.nanoseconds / 1_000_000_000)
    }

    /// Opens the listeners on every reactor. Throws if an address cannot be had.
    public func start() throws {
        for reactor in group.reactors {
            let gateway = GatewayReactor(
                context: TransportContext(reactor: reactor), shard: reactor.index, of: group.reactors.count, snapshot: snapshot,
                connections: connections, accessLane: accessSink?.lane(shard: reactor.index), explanations: explanations,
                replay: replay, overload: overload)
            gateway.filterLog = log
            gateways.append(Confined(gateway, to: reactor))
        }
        do { try checkFree(snapshot.listeners.map(\.address)) } catch {
            stop()
            throw error
        }
        // One after the other, so that a port of 0 becomes one number and a taken address one complaint.
        for gateway in gateways {
            if let error = run(
                on: gateway,
                { gateway -> NetworkError? in
                    do throws(NetworkError) {
                        try gateway.open()
                        return nil
                    } catch { return error }
                })
            {
                stop()
                throw GatewayError("\(error)")
            }
        }
        let keys = ticketKeys
        let log = log
        let registry = registry
        let others = gateways.dropFirst()
        for gateway in gateways { post(to: gateway) { $0.watchOverload(log) } }
        run(on: gateways[0]) { gateway in
            gateway.lookUpNames(AresResolver(reactor: gateway.reactor), log, registry) {
                for other in others { other.reactor.post { other.value.takeEndpoints() } }
            }
            gateway.rotateTickets(keys)
            gateway.lookAfterBreakers(log)
            gateway.lookAfterFilters()
            gateway.watchResources(log)
            gateway.checkEndpoints(log, registry)
        }
    }

    /// The listeners' names and addresses, with the ports that the kernel chose.
    public var addresses: [(name: String, address: String)] {
        var found: [String: String] = [:]
        for gateway in gateways {
            for (name, address) in run(on: gateway, { $0.addresses }) where found[name] == nil { found[name] = "\(address)" }
        }
        return snapshot.listeners.compactMap { listener in found[listener.name].map { (listener.name, $0) } }
    }

    /// Serves by another configuration from now on. Exchanges under way keep the old one, guards keep their state. If anything
    /// is wrong with it nothing changes and the error says what.
    public func reload(_ next: Configuration) throws {
        if (next.threads ?? Processors.available) != group.reactors.count {
            log.warning("reload", "the number of threads changes only at a restart", [("threads", "\(group.reactors.count)")])
        }
        if let log = next.accessLog, log.destination != accessDestination {
            self.log.warning("reload", "the access log's destination changes only at a restart")
        }
        if next.seed != configuration.seed { log.warning("reload", "the seed changes only at a restart") }
        if next.admin != configuration.admin { log.warning("reload", "the admin address changes only at a restart") }
        var compiler = SnapshotCompiler(
            next, registry: registry, ticketKeys: ticketKeys, now: run(on: gateways[0]) { $0.reactor.now }, wallTime: nil,
            draw: draw,
            previous: snapshot, customFilters: customFilters)
        let fresh = try compiler.compile()
        let old = snapshot
        try checkFree(fresh.listeners.map(\.address).filter { address in !old.listeners.contains { $0.address == address } })
        for (position, gateway) in gateways.enumerated() {
            let error = run(on: gateway) { gateway -> NetworkError? in
                do throws(NetworkError) {
                    try gateway.adopt(fresh)
                    return nil
                } catch { return error }
            }
            if let error {
                for gateway in gateways[..<position] { run(on: gateway) { try? $0.adopt(old) } }
                throw GatewayError("\(error)")
            }
        }
        run(on: gateways[0]) { fresh.applyGuardSettings(now: $0.reactor.now) }
        explanations.setCapacity(fresh.explain?.keep ?? 0)
        replay.setLimit(fresh.replayLimit)
        overload.apply(fresh.overload, memoryLimit: ProcessResources.memoryLimit)
        GuardMetrics.retire(old.upstreams.map(\.current), now: fresh.upstreams.map(\.current), in: registry)
        snapshot = fresh
        configuration = next
        ticketKeys.setInterval(GatewayServer.ticketInterval(next))
        registerGuards()
        warnAboutCertificates(fresh)
    }

    /// Reactors share their ports, so that the kernel would let another process of this user share them too, silently.
    private func checkFree(_ addresses: [SocketAddress]) throws {
        for address in addresses {
            let error = run(on: gateways[0]) { gateway -> NetworkError? in
                do throws(NetworkError) {
                    try gateway.reactor.network.checkFree(address)
                    return nil
                } catch { return error }
            }
            if let error { throw GatewayError("\(error)") }
        }
    }

    /// Opens log files anew, after they were moved away.
    public func reopenLogs() {
        do throws(LogSink.OpenError) { try accessSink?.reopen() } catch { log.error("log", "\(error)") }
    }

    /// Accepts no more, lets what is under way end for at most the configuration's `drain`, and calls `done`, from some
    /// thread, when all is over. What is left then is cut.
    public func drain(done: @escaping @Sendable () -> Void) {
        let log = log
        let latch = DrainCount(gateways.count) { cut in
            if cut > 0 { log.warning("drain", "cut what was left at the limit", [("connections", "\(cut)")]) }
            done()
        }
        let limit = configuration.drain
        for gateway in gateways { post(to: gateway) { $0.drain(within: limit) { latch.report(cut: $0) } } }
    }

    /// Ends everything at once and waits for the threads. Logs are flushed within a second.
    public func stop() {
        for gateway in gateways { run(on: gateway) { $0.abort() } }
        group.stop()
        group.join()
        accessSink?.close(within: .seconds(1))
    }

    // MARK: Reaching reactors

    package func post(to gateway: Confined<GatewayReactor>, _ body: @escaping @Sendable (GatewayReactor) -> Void) {
        gateway.reactor.post { body(gateway.value) }
    }

    /// Runs `body` on the gateway's reactor and waits for it. Not from a reactor.
    @discardableResult
    package func run<Result>(on gateway: Confined<GatewayReactor>, _ body: @escaping @Sendable (GatewayReactor) -> Result) -> Result
    {
        let latch = Latch()
        let slot = ResultSlot<Result>()
        gateway.reactor.post {
            slot.value = body(gateway.value)
            latch.report()
        }
        latch.wait(for: 1)
        guard let result = slot.value else { preconditionFailure("the reactor reported without a result") }
        return result
    }

    // MARK: Metrics

    private func registerMetrics() {
        registry.registerBuild(version: HoldfastVersion.text, revision: "")
        registry.registerProcess()
        if let accessSink {
            registry.counter("holdfast_access_log_dropped_total", help: "Access log lines dropped.") { accessSink.droppedLines }
        }
        let replay = replay
        registry.gauge("holdfast_replay_bytes", help: "Bytes of request bodies kept for another attempt.") { Double(replay.bytes) }
        for (scope, read) in [
            ("request", { @Sendable in replay.abandonedOverOwn }), ("gateway", { @Sendable in replay.abandonedOverShared }),
        ] {
            registry.counter(
                "holdfast_replay_abandoned_total", help: "Request bodies not kept because a cap was reached.",
                labels: [("scope", scope)], read: read)
        }
        OverloadMetrics.register(overload, in: registry)
        registerGuards()
    }

    private func registerGuards() {
        for cluster in snapshot.upstreams.map(\.current) { GuardMetrics.register(cluster, in: registry) }
    }
}

/// Where one reactor leaves what the control thread waits for; the latch orders the two.
private final class ResultSlot<Value>: @unchecked Sendable {
    var value: Value?
}

/// Calls `done` when the last reactor has drained, with the connections that were cut on all of them.
private final class DrainCount: Sendable {
    private let state: GuardLock<(left: Int, cut: Int)>
    private let done: @Sendable (_ cut: Int) -> Void

    init(_ count: Int, done: @escaping @Sendable (_ cut: Int) -> Void) {
        state = GuardLock((left: count, cut: 0))
        self.done = done
    }

    func report(cut: Int) {
        let total = state.withLock { state -> Int? in
            state.left -= 1
            state.cut += cut
            return state.left == 0 ? state.cut : nil
        }
        if let total { done(total) }
    }
}

/// The operational log, for those who start a gateway.
public struct GatewayLog: Sendable {
    package let operational: OperationalLog

    package init(_ operational: OperationalLog) { self.operational = operational }

    public func info(_ component: String, _ message: String, _ values: [(String, String)] = []) {
        operational.info(component, message, values)
    }

    public func warning(_ component: String, _ message: String, _ values: [(String, String)] = []) {
        operational.warning(component, message, values)
    }

    public func error(_ component: String, _ message: String, _ values: [(String, String)] = []) {
        operational.error(component, message, values)
    }

    /// Waits until what was said is written, for at most a second.
    public func flush() { operational.flush(within: .seconds(1)) }

    /// Lines on standard error.
    public static func standardError() throws -> GatewayLog {
        GatewayLog(OperationalLog(sink: try LogSink(.standardError), wallNanoseconds: { WallClock.nanoseconds }))
    }
}

extension LogSink.Target {
    init(_ destination: Configuration.AccessLog.Destination) {
        self =
            switch destination {
            case .standardOutput: .standardOutput
            case .standardError: .standardError
            case .file(let path): .file(path)
            }
    }
}

/// The version of this program.
public enum HoldfastVersion {
    public static let text = "0.1.0"
}
