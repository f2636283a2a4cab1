// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import TLS
import Testing

@testable import Transport
@testable import Upstream

/// One connection as a scripted upstream sees it.
final class Peer: ConnectionHandler {
    let number: Int
    private(set) var connection: Connection?
    /// What came since the last `say`.
    private(set) var heard = ""
    private(set) var isClosed = false
    var onBytes: (Peer, [UInt8]) -> Void = { _, _ in }

    init(_ number: Int) { self.number = number }

    func adopt(_ connection: Connection) { self.connection = connection }
    override func established(_ connection: Connection) { self.connection = connection }

    override func received(_ input: inout ByteBuffer) {
        let bytes = input.withReadable { span in span.indices.map { span[$0] } }
        input.removeAll()
        heard += String(decoding: bytes, as: UTF8.self)
        onBytes(self, bytes)
    }

    override func receivedEnd(truncated: Bool) { connection?.close() }
    override func peerHungUp() { connection?.close() }
    override func closed() { isClosed = true }

    func say(_ text: String) {
        heard = ""
        connection?.write(Array(text.utf8).span)
    }

    func say(_ bytes: [UInt8]) {
        heard = ""
        connection?.write(bytes.span)
    }

    func close() { connection?.closeAfterFlush() }
    func reset() { connection?.abort() }
}

/// An upstream that does what a test says: `act` is called for each arrival of bytes, `answer` for each request without a body or
/// with all of its body by Content-Length.
final class ScriptedUpstream: Listener {
    private let context: TransportContext
    private(set) var peers: [Peer] = []
    /// When each of them was accepted.
    private(set) var accepted: [Instant] = []
    var tls: ServerTLSContext?
    /// The requests that came whole, in order.
    private(set) var requests: [String] = []
    /// Called with the request's place, from 1.
    var answer: (Peer, Int) -> Void = { peer, _ in peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
    /// Instead of taking requests.
    var act: ((Peer) -> Void)?
    var raw: ((Peer, [UInt8]) -> Void)?

    init(_ address: String, _ context: TransportContext) throws {
        self.context = context
        try super.init(on: #require(SocketAddress.parse(address)), reactor: context.reactor)
    }

    override func accepted(_ descriptor: Descriptor, peer: SocketAddress) {
        let raw = Peer(peers.count)
        raw.onBytes = { [unowned self] in take($0, $1) }
        peers.append(raw)
        accepted.append(context.reactor.now)
        raw.adopt(
            Connection(
                accepted: descriptor, peer: peer, context: context, tls: tls.map { TLSEngine(server: $0) },
                settings: Connection.Settings(), handler: raw))
    }

    private func take(_ peer: Peer, _ bytes: [UInt8]) {
        if let raw { return raw(peer, bytes) }
        if let act { return act(peer) }
        let parts = peer.heard.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return }
        let length =
            parts[0].lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length: ") }
            .flatMap { Int($0.dropFirst("content-length: ".count)) } ?? 0
        guard parts[1].utf8.count >= length else { return }
        requests.append(peer.heard)
        answer(peer, requests.count)
    }
}

/// Asks one request through the guard and writes down what it hears, and when.
final class Asker: GuardedExchangeClient {
    let reactor: Reactor
    let guarded: GuardedExchange
    private(set) var status: Int?
    private(set) var retryAfter: String?
    private(set) var body = ""
    private(set) var failure: GuardedFailure?
    private(set) var endedAt: Instant?
    private(set) var answeredAt: Instant?
    private(set) var interim: [Int] = []
    private(set) var ends = 0
    private(set) var isReady = false
    private(set) var taken = 0
    /// Whether the answer's body is read.
    var reads = true

    init(_ reactor: Reactor, replay: ReplayMemory = ReplayMemory()) {
        self.reactor = reactor
        guarded = GuardedExchange(reactor: reactor, replay: replay)
        guarded.client = self
    }

    var isOver: Bool { ends > 0 }
    /// "200 ok", or the reason.
    var said: String { failure.map { "\($0.reason.rawValue)" } ?? "\(status ?? 0) \(body)" }

    func upstreamInformed(_ head: ResponseHead) { interim.append(head.status) }

    func upstreamAnswered(_ head: ResponseHead, endStream: Bool) {
        status = head.status
        answeredAt = reactor.now
        retryAfter = head.fields.string("retry-after")
    }

    func upstreamBody(_ bytes: Span<UInt8>) {
        body += String(copying: bytes)
        if reads { guarded.responseConsumed(bytes.count) }
    }

    /// The `grpc-status` of the trailers.
    private(set) var lastTrailer: String?

    func upstreamEnded(trailers: borrowing FieldSection) {
        lastTrailer = trailers.string("grpc-status")
        end()
    }

    /// Where it goes instead; asked once.
    var fallback: UpstreamPools?
    private(set) var fellBackFor: Reason?

    func upstreamFallback(for reason: Reason) -> (pools: UpstreamPools, limits: AttemptLimits)? {
        guard let pools = fallback.take() else { return nil }
        fellBackFor = reason
        return (pools, pools.cluster.limits)
    }

    func upstreamFailed(_ failure: GuardedFailure) {
        self.failure = failure
        end()
    }

    func upstreamReady() { isReady = true }
    func upstreamTookBody(_ n: Int) { taken += n }

    private func end() {
        ends += 1
        endedAt = reactor.now
    }
}

/// One edge reactor with one upstream of any number of endpoints, in memory on virtual time.
final class UpstreamLab {
    let world: SimulatedWorld
    let edge: TransportContext
    let upstreams: [ScriptedUpstream]
    let cluster: UpstreamCluster
    let pools: UpstreamPools
    private var keys: UInt64 = 0

    /// `missing` endpoints are addresses on which nobody listens.
    init(
        seed: UInt64 = 1, endpoints: Int = 1, missing: Int = 0, wanted: UpstreamProtocol = .http1, maximumExchanges: UInt64 = .max,
        tls: ClientTLSContext? = nil, pool: PoolSettings = PoolSettings(), balancing: BalancerSettings = .lab(.roundRobin),
        balancingKey: BalancingKey? = nil,
        attemptFields: Bool = true, health: HealthSettings? = nil,
        _ adjust: (inout GuardSettings) -> Void = { _ in }
    ) throws {
        world = SimulatedWorld(seed: seed)
        edge = TransportContext(reactor: world.makeReactor(host: "10.0.0.1"))
        var all: [Endpoint] = []
        for i in 0..<missing {
            let text = "10.0.1.\(i + 1):9001"
            _ = world.host("10.0.1.\(i + 1)")
            all.append(Endpoint(address: try #require(SocketAddress.parse(text)), label: text, weight: 1))
        }
        var upstreams: [ScriptedUpstream] = []
        for i in 0..<endpoints {
            let host = "10.0.0.\(10 + i)"
            let text = "\(host):9001"
            upstreams.append(try ScriptedUpstream(text, TransportContext(reactor: world.makeReactor(host: host))))
            all.append(Endpoint(address: try #require(SocketAddress.parse(text)), label: text, weight: 1))
        }
        self.upstreams = upstreams
        var settings = GuardSettings()
        adjust(&settings)
        var pool = pool
        pool.connectTimeout = settings.timeouts.connect
        pool.tlsTimeout = settings.timeouts.tls
        var client = ClientConnection.Settings(wanted: wanted, maximumExchanges: maximumExchanges)
        client.heads.interimResponses = 5
        cluster = UpstreamCluster(
            name: "lab", endpoints: all, guardian: Guard(settings, draw: world.draw), settings: settings,
            balancer: EndpointBalancer(balancing, names: all.map(\.label), draw: world.draw, now: .origin),
            balancingKey: balancingKey,
            pool: pool, client: client, connectOptions: ConnectOptions(), tls: tls, serverName: "edge.example",
            hostField: .preserve, attemptFields: attemptFields, health: health, identity: "lab")
        pools = UpstreamPools(cluster: cluster, context: edge)
    }

    /// The same upstream as a reload makes it, with some of its endpoints or all.
    func again(health: HealthSettings?, endpoints: [Endpoint]? = nil) -> UpstreamCluster {
        let endpoints = endpoints ?? cluster.endpoints
        return UpstreamCluster(
            name: cluster.name, endpoints: endpoints, guardian: cluster.guardian, settings: cluster.settings,
            balancer: EndpointBalancer(
                cluster.balancer.settings, names: endpoints.map(\.label), draw: world.draw, after: cluster.balancer,
                keepsHealth: health != nil && health == cluster.health, now: world.now),
            pool: cluster.pool, client: cluster.client, connectOptions: cluster.connectOptions,
            tls: cluster.tls, serverName: cluster.serverName, hostField: .preserve, health: health, identity: "another lab")
    }

    var upstream: ScriptedUpstream { upstreams[0] }
    var guardState: GuardSnapshot { cluster.guardian.snapshot(now: world.now) }
    var requestsSeen: Int { upstreams.reduce(0) { $0 + $1.requests.count } }

    func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

    static func head(_ method: Method, _ path: String, length: Int?) -> RequestHead {
        let head = RequestHead()
        head.method = method
        head.methodText = head.fields.store(method.text)
        head.authority = head.fields.store("shop.example".utf8Bytes.span)
        head.path = head.fields.store(path.utf8Bytes.span)
        if let length { head.framing = .length(UInt64(length)) }
        return head
    }

    /// Of the requests' route; `nil`: it has none of its own.
    var limits: AttemptLimits?

    /// Starts a request; a body is written whole unless `sendsBody` is false.
    func ask(
        _ method: Method = .get, _ path: String = "/", body: String? = nil, idempotent: Bool = false, sendsBody: Bool = true
    ) -> Asker {
        let asker = Asker(edge.reactor)
        keys += 1
        asker.guarded.start(
            UpstreamLab.head(method, path, length: body?.utf8.count), hasBody: body != nil, key: keys, isIdempotent: idempotent,
            limits: limits ?? cluster.limits, over: pools)
        if let body, sendsBody { send(body, asker) }
        return asker
    }

    func ask(_ head: RequestHead) -> Asker {
        let asker = Asker(edge.reactor)
        keys += 1
        asker.guarded.start(head, hasBody: false, key: keys, isIdempotent: false, limits: cluster.limits, over: pools)
        return asker
    }

    func send(_ body: String, _ asker: Asker) {
        asker.guarded.write(body.utf8Bytes.span)
        asker.guarded.finishRequest(trailers: FieldSection())
    }

    /// Runs until the request is over.
    func finish(_ asker: Asker, limit: Duration = .seconds(120)) { world.run(while: { !asker.isOver }, limit: limit) }

    /// Nothing may be left: permits, half-open slots, retry tokens, exchanges at endpoints.
    func expectNothingHeld(_ note: String = "") {
        let state = guardState
        #expect(state.permitsInUse == 0 && state.queued == 0 && state.retriesOutstanding == 0, "\(note)")
        #expect(cluster.endpoints.allSatisfy { $0.exchangesUnderWay == 0 }, "\(note)")
    }

    func end() {
        pools.drain()
        for upstream in upstreams { upstream.close() }
    }
}

extension String {
    var utf8Bytes: [UInt8] { Array(utf8) }
}

extension BalancerSettings {
    /// A policy alone.
    static func lab(_ policy: BalancingPolicy) -> BalancerSettings {
        var settings = BalancerSettings()
        settings.policy = policy
        settings.slowStart = nil
        settings.outliers = nil
        return settings
    }
}
