// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Foundation
import HTTP
import Reactor
import Resilience
import TLS
import Telemetry
import Testing
import Upstream

@testable import Gateway
@testable import Transport

/// The whole way in memory and on virtual time: client → TLS → HTTP/2 → gateway → HTTP/1 upstream, over links that delay and cut
/// their bytes, twice from one seed with equal logs (issue 3; design, section 2).
@Suite struct SimulatedGatewayTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func O4_oneSeedGivesOneLog(seed: UInt64) throws {
        let first = try Run(seed: seed)
        let second = try Run(seed: seed)
        #expect(first.answers == second.answers, "HOLDFAST_SEED=\(seed)")
        #expect(first.log == second.log, "HOLDFAST_SEED=\(seed)")
        #expect(first.log.count > 1_000)
    }

    @Test func anotherSeedGivesAnotherLog() throws {
        #expect(try Run(seed: 1).log != Run(seed: 2).log)
    }

    @Test func everyRequestIsAnsweredAndNothingStays() throws {
        let run = try Run(seed: 7)
        #expect(run.answers.count == Run.requests)
        let wanted = (0..<Run.requests).map { n in
            n % 10 == 9 ? "\(n): 404 route.none" : "\(n): 200 \(n * 997 % 70_000) bytes for /users/\(n)"
        }
        #expect(run.answers.sorted() == wanted.sorted())
        #expect(run.clientProtocol == .http2)
        #expect(run.permitsInUse == 0)
        #expect(run.channelsLeft == 0, "sockets are left")
    }
}

/// One run of the world: what every client heard, and what happened on the network.
private struct Run {
    static let requests = 40

    var answers: [String] = []
    var log: [UInt8] = []
    var clientProtocol = ApplicationProtocol.none
    var permitsInUse = -1
    var channelsLeft = -1

    /// OpenSSL draws from the seed too: what it writes then is the same each time, record lengths included.
    init(seed: UInt64) throws { self = try TLSRandom.withSeed(seed) { try Run(seeded: seed) } }

    private init(seeded seed: UInt64) throws {
        let world = SimulatedWorld(seed: seed)
        var conditions = LinkConditions()
        conditions.latency = .milliseconds(3)
        conditions.jitter = .milliseconds(2)
        conditions.segment = 500...1_460
        conditions.sendLimit = 1_000...40_000
        conditions.loss = 0.01
        world.conditions = conditions

        // The configuration names files, so there are some.
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-simulated-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let authority = try CertificateAuthority(notBefore: 1_600_000_000, notAfter: 4_000_000_000)
        let issued = try authority.issue(.init(names: ["edge.example"], notBefore: 1_600_000_000, notAfter: 4_000_000_000))
        try issued.chain.write(to: folder.appendingPathComponent("edge.pem"), atomically: true, encoding: .utf8)
        try issued.key.write(to: folder.appendingPathComponent("edge.key"), atomically: true, encoding: .utf8)
        let configuration = try Configuration.parse(
            text: """
                listeners:
                  - { name: public, address: 10.0.0.1:443, tls: { certificates: [{ chain: edge.pem, key: edge.key }] } }
                upstreams: { users: { endpoints: [10.0.0.9:9001] } }
                routes: [{ match: { path: "/users/*" }, to: users }]
                """, file: folder.appendingPathComponent("holdfast.yaml").path
        ).configuration
        let registry = MetricsRegistry(shards: 1)
        var compiler = SnapshotCompiler(
            configuration, registry: registry, ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw, previous: nil)
        let snapshot = try compiler.compile()

        let edge = world.makeReactor(host: "10.0.0.1")
        let gateway = GatewayReactor(
            context: TransportContext(reactor: edge), shard: 0, snapshot: snapshot, connections: ConnectionCount(), accessLane: nil)
        try gateway.open()
        let origin = world.makeReactor(host: "10.0.0.9")
        let service = Origin()
        let upstream = try ServerListener(
            on: #require(SocketAddress.parse("10.0.0.9:9001")), context: TransportContext(reactor: origin), tls: nil,
            settings: ServerSettings(), connectionSettings: Connection.Settings(), service: service)

        let clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.2"))
        let client = try Client(
            to: #require(SocketAddress.parse("10.0.0.1:443")), clients, authority: authority.rootPEM, world: world)
        let isDone = world.run(while: { client.answers.count < Run.requests }, limit: .seconds(60))
        #expect(isDone, "only \(client.answers.count) answers in a virtual minute")
        world.run(for: .seconds(1))

        answers = client.answers
        clientProtocol = client.negotiated
        permitsInUse = snapshot.upstreams[0].guardian.snapshot().permitsInUse
        client.close()
        gateway.drain()
        world.run(for: .seconds(120))
        gateway.abort()
        upstream.abort()
        world.run(for: .seconds(1))
        channelsLeft = edge.channelCount + origin.channelCount + clients.reactor.channelCount
        log = world.log
    }
}

/// Answers `/users/n` with n · 997 mod 70,000 bytes.
private final class Origin: RequestService {
    func handle(_ exchange: ServerExchange) {
        let number = Int(exchange.head.string(exchange.head.path).split(separator: "/").last ?? "") ?? 0
        let body = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: number * 997 % 70_000)
        let answer = ResponseHead()
        answer.status = 200
        answer.framing = .length(UInt64(body.count))
        answer.fields.append("x-path", exchange.head.string(exchange.head.path))
        exchange.respond(answer, endStream: body.isEmpty)
        if !body.isEmpty { exchange.write(body.span) }
        exchange.finish()
    }

    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) { exchange.abort(reason) }
}

/// One TLS connection on which forty requests are sent as streams allow, each told to the world's log.
private final class Client: ClientConnectionOwner {
    private(set) var answers: [String] = []
    private(set) var negotiated = ApplicationProtocol.none
    private let world: SimulatedWorld
    private var connection: ClientConnection?
    private var calls: [Call] = []
    private var sent = 0

    init(to address: SocketAddress, _ context: TransportContext, authority: String, world: SimulatedWorld) throws {
        self.world = world
        var settings = ClientTLSSettings()
        settings.authorities = .text(authority)
        settings.applicationProtocols = ["h2"]
        let tls = TLSEngine(client: try ClientTLSContext(settings: settings), serverName: "edge.example")
        connection = ClientConnection(
            connecting: try context.reactor.network.connect(to: address), peer: address, context: context, tls: tls,
            timeouts: Connection.Settings(), settings: ClientConnection.Settings(wanted: .http2), owner: self)
    }

    func close() { connection?.close() }

    func connectionEstablished(_ connection: ClientConnection) {
        negotiated = connection.connection?.tls?.negotiatedProtocol ?? .none
        sendMore(connection)
    }

    func connectionAvailable(_ connection: ClientConnection) { sendMore(connection) }

    private func sendMore(_ connection: ClientConnection) {
        while sent < Run.requests && sent - answers.count < 8 {
            let call = Call(number: sent, owner: self)
            guard let exchange = connection.begin(call) else { return }
            calls.append(call)
            let head = RequestHead()
            head.version = .http2
            head.methodText = head.fields.store("GET")
            head.schemeIsHTTPS = true
            head.authority = head.fields.store("edge.example")
            let path = sent % 10 == 9 ? "/nobody/\(sent)" : "/users/\(sent)"
            head.path = head.fields.store(Array(path.utf8).span)
            call.exchange = exchange
            exchange.send(head, endStream: true)
            sent += 1
        }
    }

    func ended(_ call: Call, _ text: String) {
        answers.append(text)
        world.log("answer \(text)")
        if let connection { sendMore(connection) }
    }

    func connectionFailed(_ connection: ClientConnection, _ failure: ConnectionFailure) { world.log("client failed \(failure)") }
    func connectionClosed(_ connection: ClientConnection) { self.connection = nil }
}

private final class Call: ResponseHandler {
    let number: Int
    private unowned let owner: Client
    var exchange: ClientExchange?
    private(set) var isOver = false
    private var status = 0
    private var path = ""
    private var reason = ""
    private var count = 0
    private var isRight = true

    init(number: Int, owner: Client) {
        self.number = number
        self.owner = owner
    }

    func informational(_ head: ResponseHead) {}

    func responseHead(_ head: ResponseHead, endStream: Bool) {
        status = head.status
        path = head.fields.string("x-path") ?? ""
        reason = head.fields.string("x-holdfast-reason") ?? ""
    }

    func responseBody(_ bytes: Span<UInt8>) {
        count += bytes.count
        if status == 200 { for i in bytes.indices where bytes[i] != UInt8(truncatingIfNeeded: number) { isRight = false } }
        exchange?.consumed(bytes.count)
    }

    func responseEnded(trailers: borrowing FieldSection) {
        finish(
            status == 200
                ? "\(number): 200 \(count) bytes for \(path)\(isRight ? "" : ", wrong")" : "\(number): \(status) \(reason)")
    }

    func exchangeFailed(_ failure: ExchangeFailure) { finish("\(number): failed \(failure.reason.rawValue)") }

    private func finish(_ text: String) {
        guard !isOver else { return }
        isOver = true
        exchange = nil
        owner.ended(self, text)
    }

    func requestDrained() {}
    func requestFlushed() {}
}
