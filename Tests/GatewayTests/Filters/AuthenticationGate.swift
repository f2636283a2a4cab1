// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Foundation
import HTTP
import Reactor
import TLS
import Telemetry
import Testing
import Upstream

@testable import Gateway
@testable import Transport

/// A gateway in memory, with services behind it that answer as a test says, and clients that send what a test says.
final class AuthenticationGate {
    let world: SimulatedWorld
    let folder: URL
    private(set) var gateways: [GatewayReactor] = []
    private var services: [String: AskedService] = [:]
    private let clients: TransportContext

    /// - Parameter services: host and port to what is answered to a whole request head; `nil`: nothing ever.
    /// - Parameter files: what the configuration names, by name.
    init(
        _ configuration: String, files: [String: String] = [:], reactors: Int = 1,
        services: [String: (String) -> String?] = [:]
    ) throws {
        world = SimulatedWorld(seed: 1)
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-auth-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for (name, text) in files { try text.write(to: folder.appendingPathComponent(name), atomically: true, encoding: .utf8) }
        let parsed = try Configuration.parse(text: configuration, file: folder.appendingPathComponent("holdfast.yaml").path)
            .configuration
        var compiler = SnapshotCompiler(
            parsed, registry: MetricsRegistry(shards: reactors), ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw,
            previous: nil)
        let snapshot = try compiler.compile()
        clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.2"))
        for shard in 0..<reactors {
            let gateway = GatewayReactor(
                context: TransportContext(reactor: world.makeReactor(host: "10.0.0.1")), shard: shard, of: reactors,
                snapshot: snapshot,
                connections: ConnectionCount(), accessLane: nil)
            try gateway.open()
            if shard == 0 { gateway.lookAfterFilters() }
            gateways.append(gateway)
        }
        for (address, answer) in services {
            let host = String(address.split(separator: ":")[0])
            self.services[address] = try AskedService(address, TransportContext(reactor: world.makeReactor(host: host)), answer)
        }
        world.run(for: .milliseconds(100))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func end() {
        for gateway in gateways { gateway.abort() }
        for service in services.values { service.close() }
    }

    /// The wall clock of this world in seconds.
    var unixSeconds: Int64 { gateways[0].reactor.unixNanoseconds / 1_000_000_000 }

    /// What services were asked, by address.
    func requests(_ address: String) -> [String] { services[address]?.requests ?? [] }

    func change(_ address: String, _ answer: @escaping (String) -> String?) { services[address]?.answer = answer }

    func write(_ name: String, _ text: String) throws {
        try text.write(to: folder.appendingPathComponent(name), atomically: true, encoding: .utf8)
    }

    /// A connection of its own, with nothing said yet.
    func connect() throws -> AuthenticationPeer {
        let address = try #require(SocketAddress.parse("10.0.0.1:80"))
        let peer = AuthenticationPeer()
        peer.adopt(
            Connection(
                connecting: try clients.reactor.network.connect(to: address), peer: address, context: clients, tls: nil,
                settings: Connection.Settings(), handler: peer))
        _ = world.run(while: { !peer.isEstablished && !peer.isClosed }, limit: .seconds(1))
        return peer
    }

    static func request(_ fields: [String] = [], target: String = "/", method: String = "GET", body: String = "") -> String {
        (["\(method) \(target) HTTP/1.1", "host: shop.example", "connection: close"] + fields).joined(separator: "\r\n")
            + "\r\n\r\n" + body
    }

    /// Sends a request on a connection of its own.
    func send(_ fields: [String] = [], target: String = "/", method: String = "GET", body: String = "") throws -> AuthenticationPeer
    {
        let peer = try connect()
        peer.say(AuthenticationGate.request(fields, target: target, method: method, body: body))
        return peer
    }

    /// The whole answer to a request, as far as it came within `limit`.
    func ask(
        _ fields: [String] = [], target: String = "/", method: String = "GET", within limit: Duration = .seconds(30)
    ) throws -> String {
        let peer = try send(fields, target: target, method: method)
        _ = world.run(while: { !peer.isOver }, limit: limit)
        peer.connection?.abort()
        world.run(for: .milliseconds(1))
        return peer.heard
    }

    /// Its status and reason: `401 auth.missing`, or `200`.
    func verdict(_ fields: [String] = [], target: String = "/", method: String = "GET") throws -> String {
        AuthenticationGate.verdict(try ask(fields, target: target, method: method))
    }

    static func verdict(_ answer: String) -> String {
        let lines = answer.split(separator: "\r\n")
        let status = lines.first.map { $0.split(separator: " ").dropFirst().first.map(String.init) ?? "?" } ?? "none"
        let reason = lines.first { $0.hasPrefix("x-holdfast-reason: ") }?.dropFirst("x-holdfast-reason: ".count)
        return reason.map { "\(status) \($0)" } ?? status
    }

    static let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
}

/// One end of a connection that says what a test makes it say.
final class AuthenticationPeer: ConnectionHandler {
    private(set) var connection: Connection?
    private(set) var heard = ""
    private(set) var isClosed = false
    private(set) var isEstablished = false

    /// Whether the answer is complete, or nothing more can come.
    var isOver: Bool {
        guard !isClosed, let head = heard.firstRange(of: "\r\n\r\n") else { return isClosed }
        let length =
            heard.split(separator: "\r\n").first { $0.hasPrefix("content-length: ") }.flatMap { Int($0.dropFirst(16)) } ?? 0
        return heard[head.upperBound...].utf8.count >= length
    }

    func adopt(_ connection: Connection) { self.connection = connection }
    override func established(_ connection: Connection) {
        self.connection = connection
        isEstablished = true
    }

    override func received(_ input: inout ByteBuffer) {
        input.withReadable { heard += String(copying: $0) }
        input.removeAll()
        answered()
    }

    override func closed() { isClosed = true }
    func forget() { heard = "" }
    func say(_ text: String) { connection?.write(Array(text.utf8).span) }

    /// A service's end answers each head that is complete.
    var answer: ((String) -> String?)?
    private func answered() {
        guard let answer, heard.hasSuffix("\r\n\r\n") else { return }
        let request = heard
        heard = ""
        if let text = answer(request) { say(text) }
    }
}

private final class AskedService: Listener {
    private let context: TransportContext
    private var peers: [AuthenticationPeer] = []
    private(set) var requests: [String] = []
    var answer: (String) -> String?

    init(_ address: String, _ context: TransportContext, _ answer: @escaping (String) -> String?) throws {
        self.context = context
        self.answer = answer
        try super.init(on: #require(SocketAddress.parse(address)), reactor: context.reactor)
    }

    override func accepted(_ descriptor: Descriptor, peer: SocketAddress) {
        let raw = AuthenticationPeer()
        raw.answer = { [unowned self] request in
            requests.append(request)
            return answer(request)
        }
        peers.append(raw)
        raw.adopt(
            Connection(accepted: descriptor, peer: peer, context: context, tls: nil, settings: Connection.Settings(), handler: raw))
    }
}
