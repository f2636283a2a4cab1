// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Reactor
import TLS
import Telemetry
import Testing
import Upstream

@testable import Gateway
@testable import Transport

/// One end of a connection that says what a test makes it say.
class RawPeer: ConnectionHandler {
    private(set) var connection: Connection?
    private(set) var heard = ""
    private(set) var isClosed = false
    var answer: String?

    func adopt(_ connection: Connection) { self.connection = connection }

    override func established(_ connection: Connection) { self.connection = connection }

    override func received(_ input: inout ByteBuffer) {
        input.withReadable { heard += String(copying: $0) }
        input.removeAll()
        if let answer, heard.hasSuffix("\r\n\r\n") { say(answer) }
    }

    override func closed() { isClosed = true }

    func say(_ text: String) { connection?.write(Array(text.utf8).span) }
}

final class RawUpstream: Listener {
    private let context: TransportContext
    private(set) var peers: [RawPeer] = []
    var answer: String?

    init(_ address: String, _ context: TransportContext) throws {
        self.context = context
        try super.init(on: #require(SocketAddress.parse(address)), reactor: context.reactor)
    }

    override func accepted(_ descriptor: Descriptor, peer: SocketAddress) {
        let raw = RawPeer()
        raw.answer = answer
        peers.append(raw)
        raw.adopt(
            Connection(
                accepted: descriptor, peer: peer, context: context, tls: nil, settings: Connection.Settings(), handler: raw))
    }
}

/// Takes connections and asks for nothing.
private final class SilentService: RequestService {
    var accepted = 0
    func handle(_ exchange: ServerExchange) {}
    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) {}
    func connectionOpened(_ connection: Connection) { accepted += 1 }
}

@Suite struct LimitsAtWorkTests {
    private static func connect(to address: SocketAddress, _ context: TransportContext) throws -> RawPeer {
        let peer = RawPeer()
        peer.adopt(
            Connection(
                connecting: try context.reactor.network.connect(to: address), peer: address, context: context, tls: nil,
                settings: Connection.Settings(), handler: peer))
        return peer
    }

    // MARK: limits.handshakes

    @Test func clientsWaitInTheBacklogWhileHandshakesAreUnderWay() throws {
        let authority = try CertificateAuthority(notBefore: 1_600_000_000, notAfter: 4_000_000_000)
        let issued = try authority.issue(.init(names: ["edge.example"], notBefore: 1_600_000_000, notAfter: 4_000_000_000))
        let tls = try ServerTLSContext(settings: ServerTLSSettings(certificates: [issued.source]))
        let world = SimulatedWorld(seed: 1)
        let context = TransportContext(reactor: world.makeReactor(host: "10.0.0.1"))
        let clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.2"))
        context.handshakes.limit = 2
        var settings = Connection.Settings()
        settings.handshakeTimeout = .seconds(5)
        let address = try #require(SocketAddress.parse("10.0.0.1:443"))
        let service = SilentService()
        let listener = try ServerListener(
            on: address, context: context, tls: tls, settings: ServerSettings(), connectionSettings: settings, service: service)
        let clear = SilentService()
        let clearAddress = try #require(SocketAddress.parse("10.0.0.1:80"))
        let clearListener = try ServerListener(
            on: clearAddress, context: context, tls: nil, settings: ServerSettings(), connectionSettings: settings, service: clear)
        var peers = try (0..<5).map { _ in try Self.connect(to: address, clients) }
        world.run(for: .seconds(1))
        #expect(service.accepted == 2 && context.handshakes.underWay == 2, "they say nothing, so their handshakes last")
        peers += try (0..<3).map { _ in try Self.connect(to: clearAddress, clients) }
        world.run(for: .seconds(1))
        #expect(clear.accepted == 3, "who needs no handshake does not wait")
        world.run(for: .seconds(4))
        #expect(service.accepted == 4 && context.handshakes.underWay == 2, "the first two ran out of time")
        peers[2].connection?.abort()
        world.run(for: .seconds(1))
        #expect(service.accepted == 5 && context.handshakes.underWay == 2, "one that goes away makes room")
        world.run(for: .seconds(20))
        #expect(context.handshakes.underWay == 0 && !listener.isPaused)
        listener.close()
        clearListener.abort()
    }

    // MARK: connection_max_age, pool.max_age

    @Test func agesAreDrawnGiveOrTakeATenth() {
        func ages(_ seed: UInt64) -> [Int64] {
            let context = TransportContext(reactor: SimulatedWorld(seed: seed).makeReactor(host: "10.0.0.1"))
            return (0..<1_000).map { _ in context.expiry(after: .seconds(100)).nanoseconds(since: .origin) }
        }
        let drawn = ages(1)
        #expect(drawn.allSatisfy { (90_000_000_000...110_000_000_000).contains($0) })
        #expect(drawn.contains { $0 < 91_000_000_000 } && drawn.contains { $0 > 109_000_000_000 })
        #expect(drawn == ages(1) && drawn != ages(2))
        let context = TransportContext(reactor: SimulatedWorld(seed: 1).makeReactor(host: "10.0.0.1"))
        #expect(context.expiry(after: nil) == .never)
    }

    // MARK: listeners.address

    @Test func aPortIsEveryReactorsAndAUnixSocketIsOnes() throws {
        let world = SimulatedWorld(seed: 1)
        let configuration = try Configuration.parse(
            text: """
                listeners:
                  - { name: one, address: 10.0.0.1:0 }
                  - { name: other, address: 10.0.0.1:0 }
                  - { name: path, address: "unix:/run/holdfast.sock" }
                routes: [{ match: { path: "/*" }, answer: { status: 204 } }]
                """, file: "x.yaml"
        ).configuration
        var compiler = SnapshotCompiler(
            configuration, registry: MetricsRegistry(shards: 3), ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw,
            previous: nil)
        let snapshot = try compiler.compile()
        var opened: [String: [SocketAddress]] = [:]
        var gateways: [GatewayReactor] = []
        for shard in 0..<3 {
            let gateway = GatewayReactor(
                context: TransportContext(reactor: world.makeReactor(host: "10.0.0.1")), shard: shard, of: 3, snapshot: snapshot,
                connections: ConnectionCount(), accessLane: nil)
            try gateway.open()
            for (name, address) in gateway.addresses { opened[name, default: []].append(address) }
            gateways.append(gateway)
        }
        let ports = ["one", "other"].map { Set((opened[$0] ?? []).map(\.port)) }
        #expect(opened["one"]?.count == 3 && opened["other"]?.count == 3 && opened["path"]?.count == 1)
        #expect(ports[0].count == 1 && ports[1].count == 1 && ports[0] != ports[1] && !ports[0].contains(0))
        for gateway in gateways { gateway.abort() }
    }

    // MARK: A gateway in memory

    /// `limits` and `upstream` are in YAML's flow form.
    private struct Gate {
        let world = SimulatedWorld(seed: 1)
        let client: RawPeer
        let upstream: RawUpstream
        let gateway: GatewayReactor

        init(limits: String = "", upstream keys: String = "", answer: String? = nil) throws {
            let configuration = try Configuration.parse(
                text: """
                    limits: {\(limits)}
                    listeners: [{ name: l, address: 10.0.0.1:80 }]
                    upstreams: { a: { endpoints: [10.0.0.9:9001]\(keys) } }
                    routes: [{ match: { path: "/*" }, to: a }]
                    """, file: "x.yaml"
            ).configuration
            var compiler = SnapshotCompiler(
                configuration, registry: MetricsRegistry(shards: 1), ticketKeys: nil, now: .origin, wallTime: nil,
                draw: world.draw, previous: nil)
            let context = TransportContext(reactor: world.makeReactor(host: "10.0.0.1"))
            gateway = GatewayReactor(
                context: context, shard: 0, snapshot: try compiler.compile(), connections: ConnectionCount(), accessLane: nil)
            try gateway.open()
            upstream = try RawUpstream("10.0.0.9:9001", TransportContext(reactor: world.makeReactor(host: "10.0.0.9")))
            upstream.answer = answer
            client = try connect(
                to: #require(SocketAddress.parse("10.0.0.1:80")), TransportContext(reactor: world.makeReactor(host: "10.0.0.2")))
            world.run(for: .seconds(1))
        }

        func end() {
            gateway.abort()
            upstream.close()
        }
    }

    // MARK: host

    @Test(arguments: [
        (", host: upstream", "host: 10.0.0.9:9001"),
        (", host: preserve", "host: shop.example"),
    ])
    func whatTheUpstreamSeesInHost(keys: String, line: String) throws {
        let gate = try Gate(upstream: keys, answer: "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        gate.client.say("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        gate.world.run(for: .seconds(1))
        let seen = gate.upstream.peers.first?.heard.lowercased() ?? ""
        #expect(seen.contains("\r\n\(line)\r\n"), "\(seen)")
        #expect(seen.contains("\r\nx-forwarded-host: shop.example\r\n"), "\(seen)")
        #expect(gate.client.heard.hasPrefix("HTTP/1.1 200"))
        gate.end()
    }

    // MARK: body_minimum_rate, body_idle_timeout

    private static let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    private static let limits = "body_idle_timeout: 4s, body_minimum_rate: 100B/second"

    @Test(
        arguments: [
            // Bytes each half second: what the client is told, `nil` where it goes on.
            (40, "HTTP/1.1 408"), (49, "HTTP/1.1 408"), (51, nil), (400, nil),
        ] as [(Int, String?)])
    func aBodyMustComeFastEnough(bytes: Int, told: String?) throws {
        let gate = try Gate(limits: Self.limits)
        gate.client.say(Self.post)
        for _ in 0..<20 where gate.client.heard.isEmpty {
            gate.world.run(for: .milliseconds(500))
            gate.client.say(String(repeating: "x", count: bytes))
        }
        gate.world.run(for: .milliseconds(100))
        if let told {
            #expect(gate.client.heard.hasPrefix(told), "\(gate.client.heard)")
        } else {
            #expect(gate.client.heard.isEmpty)
        }
        #expect(told == nil || gate.client.heard.contains("client.slow"))
        gate.end()
    }

    @Test func silenceInABodyEndsIt() throws {
        let gate = try Gate(limits: Self.limits)
        gate.client.say(Self.post + String(repeating: "x", count: 5_000))
        gate.world.run(for: .milliseconds(3_900))
        #expect(gate.client.heard.isEmpty)
        gate.world.run(for: .milliseconds(300))
        #expect(gate.client.heard.hasPrefix("HTTP/1.1 408"))
        gate.end()
    }

    @Test func timeInWhichNobodyReadsIsNotTheClients() {
        let limits = BodyLimits(idleNanoseconds: 1_000, bytesPerSecond: 1e9)
        var pace = BodyPace()
        func waits(_ nanoseconds: Int64) -> Bool { pace.waits(from: Instant(nanoseconds: nanoseconds)) }
        let withoutBody = waits(0)
        pace.bodyBegins()
        let begins = [waits(0), waits(0)]
        #expect(!withoutBody && begins == [true, false])
        pace.received(10, now: Instant(nanoseconds: 900))
        #expect(!pace.isTooSlow(total: 10, limits), "not yet old enough to be judged")
        let owingAll = waits(901)
        pace.credited(4)
        let owingSome = waits(50_000)
        pace.credited(6)
        let owingNone = waits(1_000_000)
        #expect(!owingAll && !owingSome && owingNone)
        pace.received(1, now: Instant(nanoseconds: 1_000_200))
        #expect(pace.isTooSlow(total: 1_099, limits) && !pace.isTooSlow(total: 1_100, limits), "1,100 ns of waiting at a byte each")
        pace.bodyEnded()
        pace.credited(1)
        let afterTheEnd = waits(2_000_000)
        #expect(!afterTheEnd && !pace.isWaiting)
    }
}
