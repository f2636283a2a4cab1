// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import TLS
import Transport

/// Checks one endpoint again and again, each time over a connection of its own that is closed after it: a kept one would go on answering
/// from a process that accepts no more, through a listener, a firewall or a balancer that has gone.
///
/// Over TLS it uses the upstream's context, with sessions of its own, so that checks take no tickets from requests. To an HTTP/2 upstream it
/// is a stream on a fresh HTTP/2 connection; with `auto` what ALPN says, as for requests.
///
/// Checks pass by the guard: they take no permit and are no evidence for the breaker, and a check that passes clears nothing that requests
/// have shown (semantics, section 8).
final class EndpointCheck: TimerOwner, ClientConnectionOwner, ResponseHandler {
    private let context: TransportContext
    private weak var monitor: HealthMonitor?
    private(set) var cluster: UpstreamCluster
    private var index: Int
    let settings: HealthSettings
    private var health: EndpointHealth

    private let timer = Timer()
    /// Of the check under way, or of the last one until it is closed.
    private var connection: ClientConnection?
    private var exchange: ClientExchange?
    private var status: Int?
    private var bodyBytes = 0

    /// An answer is read to its end, so that one that never ends fails, but no further than this: then its status says enough.
    private static let bodyLimitBytes = 64 * 1024

    init(_ cluster: UpstreamCluster, _ index: Int, settings: HealthSettings, context: TransportContext, monitor: HealthMonitor) {
        self.cluster = cluster
        self.index = index
        self.settings = settings
        self.context = context
        self.monitor = monitor
        let name = "\(cluster.name) \(cluster.endpoints[index].label)"
        // FNV-1a: the same in every process, so that a seed means the same draws everywhere.
        let key = name.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        // The picker knows what a check that was stopped for a moment, by a reload that failed, has found.
        health = EndpointHealth(settings, key: key, isAvailable: cluster.picker.isWell(index))
        timer.owner = self
        perform(health.start(now: now, draw: draw))
    }

    var endpoint: Endpoint { cluster.endpoints[index] }
    var verdict: EndpointHealth.Verdict { health.verdict }
    private var now: Instant { context.reactor.now }
    private var draw: Draw { context.reactor.draw }

    /// The same endpoint in a newer configuration.
    func adopt(_ cluster: UpstreamCluster, _ index: Int) {
        self.cluster = cluster
        self.index = index
        cluster.balancer.setAvailable(health.isAvailable, index, now: now)
    }

    func stop() {
        health.stop()
        timer.cancel()
        cut()
    }

    // MARK: Actions

    func timerFired(_ timer: Timer, now: Instant) {
        let finding = overdue
        if health.isChecking { cut() }
        perform(health.timerFired(now: now, draw: draw), finding)
    }

    private func perform(_ action: EndpointHealth.Action, _ finding: HealthFinding? = nil) {
        switch action {
        case .none: break
        case .wait(let instant): context.reactor.schedule(timer, at: instant)
        case .check(let instant):
            context.reactor.schedule(timer, at: instant)
            connect()
        case .settle(let result, let next, let becomes):
            context.reactor.schedule(timer, at: next)
            if let becomes { cluster.balancer.setAvailable(becomes, index, now: now) }
            guard let observer = monitor?.observer else { return }
            observer.endpointChecked(cluster, endpoint, result)
            if let becomes, let finding { observer.endpointChanged(cluster, endpoint, isAvailable: becomes, finding) }
        }
    }

    /// The check's result. What is left of its exchange is given up; the connection then closes in its own time, which matters since this
    /// may be called from within it.
    private func conclude(_ result: EndpointHealth.Result, _ finding: HealthFinding) {
        guard health.isChecking else { return }
        let left = exchange.take()
        perform(health.checked(result, now: now, draw: draw), finding)
        left?.cancel()
    }

    /// Ends at once what is still there of a check. Not from within its connection.
    private func cut() {
        let connection = self.connection.take()
        let exchange = self.exchange.take()
        exchange?.cancel()
        connection?.close()
    }

    /// What a check that is not over yet lacks.
    private var overdue: HealthFinding {
        guard let connection, connection.isEstablished else {
            return connection?.connection?.connectedAt == nil
                ? HealthFinding(.connectTimeout, "no connection within the timeout")
                : HealthFinding(.tlsTimeout, "no TLS handshake within the timeout")
        }
        return HealthFinding(
            .timeoutPerTry, status == nil ? "no answer within the timeout" : "the answer did not end within the timeout")
    }

    // MARK: The connection

    private func connect() {
        cut()
        status = nil
        bodyBytes = 0
        do throws(NetworkError) {
            let descriptor = try context.reactor.network.connect(to: endpoint.address, options: cluster.connectOptions)
            let name = cluster.serverName.isEmpty ? endpoint.hostName : cluster.serverName
            let engine = cluster.tls.map { TLSEngine(client: $0, serverName: name, sessionKey: "check \(endpoint.label)") }
            var client = cluster.client
            client.maximumExchanges = 1  // the connection closes itself behind it
            // The check's own timeout ends these two stages as well, so theirs must not come first.
            var timeouts = Connection.Settings()
            timeouts.connectTimeout = settings.timeout + .seconds(1)
            timeouts.handshakeTimeout = settings.timeout + .seconds(1)
            connection = ClientConnection(
                connecting: descriptor, peer: endpoint.address, context: context, tls: engine, timeouts: timeouts, settings: client,
                owner: self)
        } catch {
            let failure = AttemptEnd(error.isLocal ? .local(error.errno) : .connection(.connect(error.errno)))
            conclude(error.isLocal ? .skipped : .failed, HealthFinding(failure.answerReason, failure.detail))
        }
    }

    package func connectionEstablished(_ connection: ClientConnection) {
        guard connection === self.connection else { return }
        switch settings.probe {
        case .tcp:
            conclude(.passed, HealthFinding(nil, "connected"))
            connection.drain()
        case .http(let path, let host, _):
            guard let exchange = connection.begin(self) else {
                conclude(.failed, HealthFinding(.protocolError, "the upstream spoke, or closed, before it was asked"))
                return
            }
            self.exchange = exchange
            exchange.send(request(path, host: host), endStream: true)
        }
    }

    private func request(_ path: String, host: String?) -> RequestHead {
        let head = RequestHead()
        head.method = .get
        head.methodText = head.fields.store(head.method.text)
        let authority =
            host.map { Array($0.utf8) } ?? (cluster.serverName.isEmpty ? endpoint.authority : Array(cluster.serverName.utf8))
        head.authority = head.fields.store(authority.span)
        let target = Array(path.utf8)
        if let mark = target.firstIndex(of: UInt8(ascii: "?")) {
            head.path = head.fields.store(target.span.extracting(0..<mark))
            head.query = head.fields.store(target.span.extracting((mark + 1)..<target.count))
            head.hasQuery = true
        } else {
            head.path = head.fields.store(target.span)
        }
        head.schemeIsHTTPS = cluster.tls != nil
        head.fields.append(.userAgent, "holdfast-health-check")
        return head
    }

    package func connectionFailed(_ connection: ClientConnection, _ failure: ConnectionFailure) {
        guard connection === self.connection else { return }
        let end = AttemptEnd(.connection(failure))
        conclude(.failed, HealthFinding(end.answerReason, end.detail))
    }

    package func connectionAvailable(_ connection: ClientConnection) {}

    package func connectionClosed(_ connection: ClientConnection) {
        guard connection === self.connection else { return }
        self.connection = nil
        conclude(.failed, HealthFinding(.resetBeforeHeaders, "the connection was closed"))
    }

    // MARK: The answer

    package func informational(_ head: ResponseHead) {}

    package func responseHead(_ head: ResponseHead, endStream: Bool) {
        guard case .http(_, _, let statuses) = settings.probe else { return }
        status = head.status
        if !statuses.contains(where: { $0.contains(head.status) }) {
            conclude(.failed, HealthFinding(.statusFailure, "status \(head.status)"))
        }
    }

    package func responseBody(_ bytes: Span<UInt8>) {
        bodyBytes += bytes.count
        if bodyBytes > EndpointCheck.bodyLimitBytes { passed() } else { exchange?.consumed(bytes.count) }
    }

    package func responseEnded(trailers: borrowing FieldSection) {
        exchange = nil
        passed()
    }

    /// A status that does not pass has ended the check when it came.
    private func passed() { conclude(.passed, HealthFinding(nil, "status \(status ?? 0)")) }

    package func exchangeFailed(_ failure: ExchangeFailure) {
        exchange = nil
        conclude(.failed, HealthFinding(failure.reason, failure.detail))
    }

    package func requestDrained() {}
    package func requestFlushed() {}
}
