// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import HTTP
package import Reactor
import TLS
package import Transport
import DequeModule

/// How connections to an upstream are made and kept.
package struct PoolSettings: Sendable, Equatable {
    /// Connections to one endpoint from one reactor; beyond it an attempt waits. Default: no limit but the bulkhead's.
    package var maximumConnections = Int.max
    /// Idle connections kept, of one endpoint on one reactor. Default 512.
    package var maximumIdle = 512
    /// An idle connection is closed after this. Default 60 s.
    package var idleTimeout: Duration = .seconds(60)
    /// A connection is not used again after this, give or take 10 %. Default 10 min.
    package var maximumAge: Duration? = .seconds(600)
    package var connectTimeout: Duration = .seconds(1)
    package var tlsTimeout: Duration = .seconds(2)

    package init() {}
}

/// Why no connection could be had.
package enum LeaseFailure: Sendable {
    case connection(ConnectionFailure)
    /// This machine is out of descriptors, ports or memory (errno).
    case local(Int32)
}

/// An attempt that waits for a connection.
package protocol PoolWaiter: AnyObject {
    var responseHandler: any ResponseHandler { get }
    /// `reused`: the connection has carried exchanges before.
    func leased(_ exchange: ClientExchange, on connection: ClientConnection, reused: Bool)
    func leaseFailed(_ failure: LeaseFailure)
}

/// One reactor's connections to one endpoint.
///
/// Idle HTTP/1 connections are taken newest first, so that the surplus of a peak grows old and is closed. An HTTP/2 connection
/// carries as many exchanges as its peer allows. A connection with a waiter before it goes to the waiter in order of arrival.
package final class EndpointPool: ClientConnectionOwner, TimerOwner {
    package private(set) var endpoint: Endpoint
    private let context: TransportContext
    private let settings: PoolSettings
    private var clientSettings: ClientConnection.Settings
    private var tls: ClientTLSContext?
    private let serverName: String
    private let connectOptions: ConnectOptions

    private var idle: [ClientConnection] = []
    private var multiplexed: [ClientConnection] = []
    private var connecting: [ClientConnection] = []
    private var waiters = Deque<any PoolWaiter>()
    /// Every connection that is not closed: what keeps them alive.
    private var all: [ObjectIdentifier: ClientConnection] = [:]
    private var speaksHTTP2: Bool
    private var isDraining = false
    private let timer = Timer()

    package init(endpoint: Endpoint, of cluster: UpstreamCluster, context: TransportContext) {
        self.endpoint = endpoint
        self.context = context
        settings = cluster.pool
        clientSettings = cluster.client
        tls = cluster.tls
        serverName = EndpointPool.serverName(endpoint, cluster)
        connectOptions = cluster.connectOptions
        speaksHTTP2 = cluster.client.wanted == .http2
        timer.owner = self
    }

    private static func serverName(_ endpoint: Endpoint, _ cluster: UpstreamCluster) -> String {
        cluster.serverName.isEmpty ? endpoint.hostName : cluster.serverName
    }

    /// Whether its connections are what one to `other` would be.
    func connects(to other: Endpoint) -> Bool {
        endpoint.address == other.address && endpoint.hostName == other.hostName && !isDraining
    }

    /// Limits, certificates and weight of a newer configuration, for connections made from now on.
    func adopt(_ cluster: UpstreamCluster, _ endpoint: Endpoint) {
        clientSettings = cluster.client
        tls = cluster.tls
        self.endpoint = endpoint
    }

    package var idleCount: Int { idle.count }
    package var connectionCount: Int { all.count }
    package var waiterCount: Int { waiters.count }

    // MARK: Leasing

    /// Begins an exchange on a connection that is there, or makes the waiter wait for one: then `leased` or `leaseFailed` is
    /// called later, unless `cancel` comes first.
    package func lease(_ waiter: any PoolWaiter) {
        while let client = idle.popLast() {
            client.isPooled = false
            if isTooOld(client) {
                client.drain()
                continue
            }
            let reused = client.exchanges > 0
            if let exchange = client.begin(waiter.responseHandler) {
                waiter.leased(exchange, on: client, reused: reused)
                return
            }
        }
        for client in multiplexed where client.freeExchanges > 0 {
            if isTooOld(client) {
                client.drain()
                continue
            }
            let reused = client.exchanges > 0
            if let exchange = client.begin(waiter.responseHandler) {
                waiter.leased(exchange, on: client, reused: reused)
                return
            }
        }
        waiters.append(waiter)
        connectIfNeeded()
    }

    package func cancel(_ waiter: any PoolWaiter) {
        if let i = waiters.firstIndex(where: { $0 === waiter }) { waiters.remove(at: i) }
    }

    private func isTooOld(_ client: ClientConnection) -> Bool {
        context.reactor.now >= client.expiresAt
    }

    private func connectIfNeeded() {
        let wanted = speaksHTTP2 ? min(waiters.count, 1) : waiters.count
        while connecting.count < wanted && all.count < settings.maximumConnections {
            guard connect() else { return }
        }
    }

    /// Starts one connection. False, and one waiter fails, if not even that could be done.
    private func connect() -> Bool {
        do throws(NetworkError) {
            let descriptor = try context.reactor.network.connect(to: endpoint.address, options: connectOptions)
            let engine = tls.map { TLSEngine(client: $0, serverName: serverName, sessionKey: endpoint.label) }
            var timeouts = Connection.Settings()
            timeouts.connectTimeout = settings.connectTimeout
            timeouts.handshakeTimeout = settings.tlsTimeout
            let client = ClientConnection(
                connecting: descriptor, peer: endpoint.address, context: context, tls: engine, timeouts: timeouts,
                settings: clientSettings, owner: self)
            client.expiresAt = context.expiry(after: settings.maximumAge)
            all[ObjectIdentifier(client)] = client
            connecting.append(client)
            return true
        } catch {
            failFirstWaiter(error.isLocal ? .local(error.errno) : .connection(.connect(error.errno)))
        }
        return false
    }

    private func failFirstWaiter(_ failure: LeaseFailure) {
        if let waiter = waiters.popFirst() { waiter.leaseFailed(failure) }
    }

    // MARK: ClientConnectionOwner

    package func connectionEstablished(_ client: ClientConnection) {
        connecting.removeAll { $0 === client }
        client.idleSince = context.reactor.now
        if client.http2 != nil {
            speaksHTTP2 = true
            multiplexed.append(client)
        }
        serve(with: client)
        connectIfNeeded()
    }

    package func connectionFailed(_ client: ClientConnection, _ failure: ConnectionFailure) {
        guard let i = connecting.firstIndex(where: { $0 === client }) else { return }
        connecting.remove(at: i)
        if speaksHTTP2 {
            // All of them were waiting for this one.
            var failed = Deque<any PoolWaiter>()
            swap(&failed, &waiters)
            for waiter in failed { waiter.leaseFailed(.connection(failure)) }
        } else {
            failFirstWaiter(.connection(failure))
        }
    }

    package func connectionAvailable(_ client: ClientConnection) { serve(with: client) }

    package func connectionClosed(_ client: ClientConnection) {
        all[ObjectIdentifier(client)] = nil
        if client.isPooled { idle.removeAll { $0 === client } }
        multiplexed.removeAll { $0 === client }
        if connecting.contains(where: { $0 === client }) { connectionFailed(client, .reset(0)) }
        if !waiters.isEmpty { connectIfNeeded() }
    }

    private func serve(with client: ClientConnection) {
        while !waiters.isEmpty, client.freeExchanges > 0, !isTooOld(client), let waiter = waiters.popFirst() {
            let reused = client.exchanges > 0
            guard let exchange = client.begin(waiter.responseHandler) else {
                waiters.prepend(waiter)
                return
            }
            waiter.leased(exchange, on: client, reused: reused)
        }
        guard !client.isClosed, client.http1 != nil, client.freeExchanges > 0 else {
            if !client.isClosed && client.exchangesUnderWay == 0 {
                if isDraining || client.isDraining { client.drain() } else if !timer.isArmed { armIdleTimer() }
            }
            return
        }
        if isDraining || idle.count >= settings.maximumIdle || isTooOld(client) {
            client.drain()
            return
        }
        client.idleSince = context.reactor.now
        client.isPooled = true
        idle.append(client)
        if !timer.isArmed { armIdleTimer() }
    }

    // MARK: Idleness and the end

    private func armIdleTimer() {
        var oldest = idle.first?.idleSince ?? .never
        for client in multiplexed where client.exchangesUnderWay == 0 { oldest = min(oldest, client.idleSince) }
        if oldest != .never { context.reactor.schedule(timer, at: oldest.advanced(by: settings.idleTimeout)) }
    }

    package func timerFired(_ timer: Timer, now: Instant) {
        let limit = settings.idleTimeout.wholeNanoseconds
        while let oldest = idle.first, now.nanoseconds(since: oldest.idleSince) >= limit {
            idle.removeFirst()
            oldest.isPooled = false
            oldest.drain()
        }
        for client in multiplexed where client.exchangesUnderWay == 0 && now.nanoseconds(since: client.idleSince) >= limit {
            client.drain()
        }
        armIdleTimer()
    }

    /// Closes what is idle now and everything else when its exchanges are over.
    package func drain() {
        isDraining = true
        timer.cancel()
        let kept = idle
        idle = []
        for client in kept {
            client.isPooled = false
            client.drain()
        }
        for client in multiplexed { client.drain() }
    }
}
