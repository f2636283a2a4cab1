// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Foundation
import HTTP
import Reactor
import Resilience
import Telemetry
import Testing
import Upstream

@testable import Gateway
@testable import Transport

/// A gateway in memory and on virtual time, with filters: clients say bytes, upstreams answer what a test makes them answer.
final class FilterLab {
    let world = SimulatedWorld(seed: 1)
    let gateway: GatewayReactor
    let snapshot: GatewaySnapshot
    let registry = MetricsRegistry(shards: 1)
    /// At 10.0.0.9, ports 9001 and up: upstreams `a`, `b`, `c`.
    private(set) var upstreams: [LabUpstream] = []
    private let clients: TransportContext

    /// - Parameters:
    ///   - filters: of the one route `/items/{id}` to `a`, in YAML's flow form.
    ///   - routes: further routes, in YAML's flow form.
    init(
        filters: String, listener: String = "", upstream: String = "", routes: String = "", top: String = "",
        inner: [String: any Filter] = [:], custom: CustomFilters = CustomFilters()
    ) throws {
        let text = """
            \(top)
            listeners: [{ name: l, address: 10.0.0.1:80\(listener) }]
            upstreams:
              a: { endpoints: [10.0.0.9:9001]\(upstream) }
              b: { endpoints: [10.0.0.9:9002] }
              c: { endpoints: [10.0.0.9:9003] }
            routes:
              - { match: { path: "/items/{id}" }, to: a, filters: [\(filters)] }
              - { match: { path: "/plain/*" }, split: [{ to: b, weight: 1 }, { to: c, weight: 1 }] }
            \(routes)
            """
        let configuration = try Configuration.parse(text: text, file: "x.yaml").configuration
        var filters = custom
        filters.inner = inner
        var compiler = SnapshotCompiler(
            configuration, registry: registry, ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw, previous: nil,
            customFilters: filters)
        snapshot = try compiler.compile()
        let context = TransportContext(reactor: world.makeReactor(host: "10.0.0.1"))
        gateway = GatewayReactor(
            context: context, shard: 0, snapshot: snapshot, connections: ConnectionCount(), accessLane: nil)
        try gateway.open()
        gateway.lookAfterFilters()
        let host = TransportContext(reactor: world.makeReactor(host: "10.0.0.9"))
        clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.2"))
        for port in 9_001...9_003 { upstreams.append(try LabUpstream("10.0.0.9:\(port)", host)) }
    }

    /// A client of its own connection.
    func connect() throws -> LabPeer {
        let address = try #require(SocketAddress.parse("10.0.0.1:80"))
        let peer = LabPeer()
        peer.adopt(
            Connection(
                connecting: try clients.reactor.network.connect(to: address), peer: address, context: clients, tls: nil,
                settings: Connection.Settings(), handler: peer))
        world.run(for: .milliseconds(10))
        return peer
    }

    /// What a client hears within a second.
    func ask(_ request: String, of peer: LabPeer? = nil) throws -> String {
        let peer = try peer ?? connect()
        let before = peer.heard.count
        peer.say(request)
        world.run(for: .seconds(1))
        return String(peer.heard.dropFirst(before))
    }

    func get(_ path: String = "/items/1", fields: String = "") throws -> String {
        try ask("GET \(path) HTTP/1.1\r\nHost: shop.example\r\n\(fields)\r\n")
    }

    func post(_ body: String, to path: String = "/items/1", fields: String = "") throws -> String {
        try ask("POST \(path) HTTP/1.1\r\nHost: shop.example\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)")
    }

    /// Nothing is held for anybody.
    var isAtRest: Bool {
        gateway.exchangesUnderWay == 0 && gateway.subrequests.isEmpty
            && snapshot.upstreams.allSatisfy { $0.guardian.snapshot().permitsInUse == 0 }
    }

    func end() {
        gateway.abort()
        for upstream in upstreams { upstream.close() }
    }
}

/// One end of a connection that says what a test makes it say.
final class LabPeer: ConnectionHandler {
    private(set) var connection: Connection?
    private(set) var heard = ""
    private(set) var isClosed = false
    var answer: (String) -> String? = { _ in nil }
    private var answered = 0

    func adopt(_ connection: Connection) { self.connection = connection }

    override func established(_ connection: Connection) { self.connection = connection }

    override func received(_ input: inout ByteBuffer) {
        input.withReadable { heard += String(copying: $0) }
        input.removeAll()
        let request = String(heard.dropFirst(answered))
        guard let head = request.range(of: "\r\n\r\n") else { return }
        let length =
            request[..<head.lowerBound].lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
            .flatMap { Int($0.dropFirst(15).trimmingPrefix(" ")) } ?? 0
        guard request[head.upperBound...].utf8.count >= length, let text = answer(request) else { return }
        answered = heard.count
        say(text)
    }

    override func closed() { isClosed = true }

    func say(_ text: String) { connection?.write(Array(text.utf8).span) }
    func hangUp() { connection?.abort() }
}

final class LabUpstream: Listener {
    private let context: TransportContext
    private(set) var peers: [LabPeer] = []
    /// Given a whole request; `nil`: it says nothing.
    var answer: (String) -> String? = { _ in "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" }

    init(_ address: String, _ context: TransportContext) throws {
        self.context = context
        try super.init(on: #require(SocketAddress.parse(address)), reactor: context.reactor)
    }

    /// All that was ever heard.
    var heard: String { peers.map(\.heard).joined() }

    override func accepted(_ descriptor: Descriptor, peer: SocketAddress) {
        let raw = LabPeer()
        raw.answer = { [unowned self] in answer($0) }
        peers.append(raw)
        raw.adopt(
            Connection(accepted: descriptor, peer: peer, context: context, tls: nil, settings: Connection.Settings(), handler: raw))
    }
}
