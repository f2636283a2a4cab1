// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Reactor
import Resilience
import TLS
import Telemetry
import Testing
import Upstream

@testable import Gateway
@testable import Transport

/// A gateway between one client and scripted services, in memory and on virtual time.
final class BodiesLab {
    let world: SimulatedWorld
    let gateway: GatewayReactor
    let snapshot: GatewaySnapshot
    private let clients: TransportContext
    private var services: [Service] = []
    private var listeners: [ServerListener] = []
    /// Their connections outlive their answers.
    private var sent: [BodiesClient] = []
    let registry = MetricsRegistry(shards: 1)

    /// - Parameter services: by address; each gets method, target and body, and says what is answered.
    init(_ yaml: String, services scripts: [String: @Sendable (Service.Asked) -> Service.Reply], seed: UInt64 = 1) throws {
        world = SimulatedWorld(seed: seed)
        let configuration = try Configuration.parse(text: yaml, file: "lab.yaml").configuration
        var compiler = SnapshotCompiler(
            configuration, registry: registry, ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw, previous: nil)
        snapshot = try compiler.compile()
        gateway = GatewayReactor(
            context: TransportContext(reactor: world.makeReactor(host: "10.0.0.1")), shard: 0, snapshot: snapshot,
            connections: ConnectionCount(), accessLane: nil)
        clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.2"))
        try gateway.open()
        for (address, script) in scripts.sorted(by: { $0.key < $1.key }) {
            let host = address.split(separator: ":").first.map(String.init) ?? address
            let service = Service(world: world, script: script)
            services.append(service)
            listeners.append(
                try ServerListener(
                    on: #require(SocketAddress.parse(address)), context: TransportContext(reactor: world.makeReactor(host: host)),
                    tls: nil,
                    settings: ServerSettings(), connectionSettings: Connection.Settings(), service: service))
        }
    }

    /// What the services were asked, in their addresses' order.
    var asked: [[Service.Asked]] { services.map(\.asked) }
    var given: [Int] { services.map(\.given) }
    var permitsInUse: [Int] { snapshot.upstreams.map { $0.guardian.snapshot().permitsInUse } }

    func send(_ method: String, _ target: String, _ fields: [(String, String)] = [], body: String? = nil) throws -> BodiesClient {
        let client = BodiesClient(method, target, fields, body: body.map { Array($0.utf8) })
        sent.append(client)
        client.connection = ClientConnection(
            connecting: try clients.reactor.network.connect(to: try #require(SocketAddress.parse("10.0.0.1:80"))),
            peer: try #require(SocketAddress.parse("10.0.0.1:80")), context: clients, tls: nil, timeouts: Connection.Settings(),
            settings: ClientConnection.Settings(wanted: .http1), owner: client)
        return client
    }

    /// Sends and runs the world until the answer is whole.
    func ask(_ method: String, _ target: String, _ fields: [(String, String)] = [], body: String? = nil) throws -> BodiesClient {
        let client = try send(method, target, fields, body: body)
        _ = world.run(while: { !client.isOver }, limit: .seconds(120))
        return client
    }
}

/// A service whose answers a script gives, each after its time.
final class Service: RequestService {
    struct Asked: Sendable {
        var method = ""
        var target = ""
        var fields: [String: String] = [:]
        var body = ""
    }

    struct Reply: Sendable {
        var status = 200
        var fields: [(String, String)] = [("content-type", "application/json")]
        var body = ""
        var after = Duration.zero
        /// No length is announced.
        var isStream = false
    }

    private let world: SimulatedWorld
    private let script: @Sendable (Asked) -> Reply
    private(set) var asked: [Asked] = []
    /// Requests whose askers went away before the answer.
    fileprivate(set) var given = 0
    private var conversations: [Conversation] = []

    init(world: SimulatedWorld, script: @escaping @Sendable (Asked) -> Reply) {
        self.world = world
        self.script = script
    }

    func handle(_ exchange: ServerExchange) {
        let conversation = Conversation(exchange, service: self)
        conversations.append(conversation)
        exchange.handler = conversation
    }

    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) { exchange.abort(reason) }

    fileprivate func answer(_ conversation: Conversation) {
        asked.append(conversation.asked)
        let reply = script(conversation.asked)
        world.after(reply.after) { conversation.reply(reply) }
    }
}

private final class Conversation: RequestHandler {
    var exchange: ServerExchange?
    let service: Service
    var asked = Service.Asked()
    private var bytes: [UInt8] = []

    init(_ exchange: ServerExchange, service: Service) {
        self.exchange = exchange
        self.service = service
        let head = exchange.head
        asked.method = head.method == .other ? head.string(head.methodText) : "\(head.method.text)"
        asked.target = head.string(head.path) + (head.hasQuery ? "?" + head.string(head.query) : "")
        for i in 0..<head.fields.count where head.fields.isLive(i) { asked.fields[head.fields.name(i)] = head.fields.string(i) }
        if case .length(let n) = head.framing { asked.fields["content-length"] = "\(n)" }
        if head.framing == .none { service.answer(self) }
    }

    func requestBody(_ span: Span<UInt8>) {
        bytes += [UInt8](copying: span)
        exchange?.consumed(span.count)
    }

    func requestEnded() {
        asked.body = String(decoding: bytes, as: UTF8.self)
        if exchange?.head.framing != BodyFraming.none { service.answer(self) }
    }

    func requestAborted(_ reason: Reason, detail: StaticString) {
        exchange = nil
        service.given += 1
    }

    func requestWithdrawn() {
        exchange = nil
        service.given += 1
    }

    func responseDrained() {}

    func reply(_ reply: Service.Reply) {
        guard let exchange else { return }
        let head = ResponseHead()
        head.status = reply.status
        for (name, value) in reply.fields { head.fields.append(name, value) }
        let body = Array(reply.body.utf8)
        head.framing = reply.isStream ? .stream : .length(UInt64(body.count))
        self.exchange = nil
        let hasBody = exchange.head.method != .head && ![204, 304].contains(reply.status)
        exchange.respond(head, endStream: !hasBody || body.isEmpty)
        if hasBody { if !body.isEmpty { exchange.write(body.span) } }
        exchange.finish()
    }
}

/// One request and its answer.
final class BodiesClient: ClientConnectionOwner, ResponseHandler {
    private let method: String
    private let target: String
    private let requestFields: [(String, String)]
    private let requestBody: [UInt8]?
    var connection: ClientConnection?
    private var exchange: ClientExchange?
    private(set) var status = 0
    private(set) var fields: [String: String] = [:]
    private var bytes: [UInt8] = []
    private(set) var isOver = false
    private(set) var failure: Reason?

    init(_ method: String, _ target: String, _ fields: [(String, String)], body: [UInt8]?) {
        (self.method, self.target, requestFields, requestBody) = (method, target, fields, body)
    }

    var body: String { String(decoding: bytes, as: UTF8.self) }

    /// Goes away in the middle.
    func abandon() {
        connection?.close()
        isOver = true
    }

    func connectionEstablished(_ connection: ClientConnection) {
        guard let exchange = connection.begin(self) else { return }
        self.exchange = exchange
        let head = RequestHead()
        head.method = Array(method.utf8).span.withMethod
        head.methodText = head.fields.store(Array(method.utf8).span)
        head.authority = head.fields.store("edge.example")
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        head.path = head.fields.store(Array(parts[0].utf8).span)
        if parts.count > 1 {
            head.hasQuery = true
            head.query = head.fields.store(Array(parts[1].utf8).span)
        }
        for (name, value) in requestFields { head.fields.append(name, value) }
        if let requestBody { head.framing = .length(UInt64(requestBody.count)) }
        exchange.send(head, endStream: requestBody == nil)
        if let requestBody {
            exchange.write(requestBody.span)
            exchange.finish(trailers: FieldSection())
        }
    }

    func connectionAvailable(_ connection: ClientConnection) {}
    func connectionFailed(_ connection: ClientConnection, _ failure: ConnectionFailure) { isOver = true }
    func connectionClosed(_ connection: ClientConnection) { self.connection = nil }

    func informational(_ head: ResponseHead) {}
    func responseHead(_ head: ResponseHead, endStream: Bool) {
        status = head.status
        for i in 0..<head.fields.count where head.fields.isLive(i) { fields[head.fields.name(i)] = head.fields.string(i) }
        if case .length(let n) = head.framing { fields["content-length"] = "\(n)" }
    }
    func responseBody(_ span: Span<UInt8>) {
        bytes += [UInt8](copying: span)
        exchange?.consumed(span.count)
    }
    func responseEnded(trailers: borrowing FieldSection) {
        isOver = true
        connection?.close()
    }
    func exchangeFailed(_ failure: ExchangeFailure) {
        self.failure = failure.reason
        isOver = true
    }
    func requestDrained() {}
    func requestFlushed() {}
}

extension Span<UInt8> {
    fileprivate var withMethod: HTTP.Method { HTTP.Method.recognise(self) }
}
