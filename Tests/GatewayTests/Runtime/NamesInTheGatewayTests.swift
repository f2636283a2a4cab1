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

/// Upstreams by name from the configuration to the pools of two reactors, the metrics and the log, on virtual time: over TLS that
/// verifies the name, through reloads.
@Suite struct NamesInTheGatewayTests {
    private final class Origin: RequestService {
        private(set) var asked: [String] = []

        func handle(_ exchange: ServerExchange) {
            let head = exchange.head
            asked.append(head.string(head.authority))
            let answer = ResponseHead()
            answer.framing = .length(0)
            exchange.respond(answer, endStream: true)
        }

        func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) { exchange.abort(reason) }
    }

    /// One request through a reactor's pools.
    private final class Call: GuardedExchangeClient {
        let guarded: GuardedExchange
        private(set) var said = "nothing"
        private let head = RequestHead()

        init(_ gateway: GatewayReactor, key: UInt64) {
            guarded = GuardedExchange(reactor: gateway.reactor, replay: gateway.replay)
            guarded.client = self
            head.method = .get
            head.methodText = head.fields.store(head.method.text)
            head.authority = head.fields.store(Array("shop.example".utf8).span)
            head.path = head.fields.store(Array("/".utf8).span)
            let pools = gateway.pools(for: 0, in: gateway.snapshot)
            guarded.start(head, hasBody: false, key: key, isIdempotent: false, limits: pools.cluster.limits, over: pools)
        }

        func upstreamInformed(_ head: ResponseHead) {}
        func upstreamAnswered(_ head: ResponseHead, endStream: Bool) { said = "\(head.status)" }
        func upstreamBody(_ bytes: Span<UInt8>) {}
        func upstreamEnded(trailers: borrowing FieldSection) {}
        func upstreamFallback(for reason: Reason) -> (pools: UpstreamPools, limits: AttemptLimits)? { nil }
        func upstreamFailed(_ failure: GuardedFailure) { said = failure.reason.rawValue }
        func upstreamReady() {}
        func upstreamTookBody(_ n: Int) {}
    }

    private final class House {
        let world = SimulatedWorld(seed: 3)
        let gateways: [GatewayReactor]
        let resolver: SimulatedResolver
        let registry = MetricsRegistry(shards: 1)
        let origins = (0..<3).map { _ in Origin() }
        private(set) var snapshot: GatewaySnapshot
        private let sink: LogSink
        private let folder: URL
        private var listeners: [ServerListener] = []
        private var calls: [Call] = []

        init(_ upstreams: String) throws {
            folder = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-names-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let authority = try CertificateAuthority(notBefore: 1_600_000_000, notAfter: 4_000_000_000)
            let issued = try authority.issue(.init(names: ["users.internal"], notBefore: 1_600_000_000, notAfter: 4_000_000_000))
            try authority.rootPEM.write(to: folder.appendingPathComponent("ca.pem"), atomically: true, encoding: .utf8)
            var tls = ServerTLSSettings(certificates: [CertificateSource(chain: .text(issued.chain), key: .text(issued.key))])
            tls.applicationProtocols = ["h2", "http/1.1"]
            let server = try ServerTLSContext(settings: tls)
            snapshot = try House.compile(upstreams, folder, world, registry, previous: nil)
            // Two threads of one process.
            let reactors = [world.makeReactor(host: "10.0.0.1"), world.makeReactor(host: "10.0.0.1")]
            let first = snapshot
            gateways = reactors.enumerated().map { shard, reactor in
                GatewayReactor(
                    context: TransportContext(reactor: reactor), shard: shard, of: 2, snapshot: first,
                    connections: ConnectionCount(),
                    accessLane: nil)
            }
            resolver = SimulatedResolver(reactor: reactors[0])
            sink = try LogSink(.memory)
            for cluster in snapshot.upstreams { GuardMetrics.register(cluster, in: registry) }
            let log = OperationalLog(sink: sink, wallNanoseconds: { 0 })
            let other = Confined(gateways[1], to: reactors[1])
            gateways[0].checkEndpoints(log, registry)
            gateways[0].lookUpNames(resolver, log, registry) { other.reactor.post { other.value.takeEndpoints() } }
            for (index, origin) in origins.enumerated() {
                let host = "10.0.0.\(11 + index)"
                listeners.append(
                    try ServerListener(
                        on: #require(SocketAddress.parse("\(host):9001")),
                        context: TransportContext(reactor: world.makeReactor(host: host)), tls: server, settings: ServerSettings(),
                        connectionSettings: Connection.Settings(), service: origin))
            }
        }

        deinit { try? FileManager.default.removeItem(at: folder) }

        private static func compile(
            _ upstreams: String, _ folder: URL, _ world: SimulatedWorld, _ registry: MetricsRegistry, previous: GatewaySnapshot?
        ) throws -> GatewaySnapshot {
            let configuration = try Configuration.parse(
                text: """
                    listeners: [{ name: l, address: 10.0.0.1:80 }]
                    upstreams:
                    \(upstreams)
                    routes: [{ match: { path: "/*" }, to: users }]
                    """, file: folder.appendingPathComponent("holdfast.yaml").path
            ).configuration
            var compiler = SnapshotCompiler(
                configuration, registry: registry, ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw,
                previous: previous)
            return try compiler.compile()
        }

        /// As `GatewayServer.reload` does: one reactor after the other, and the first may learn something in between.
        func reload(_ upstreams: String, between: () -> Void = {}) throws {
            let next = try House.compile(upstreams, folder, world, registry, previous: snapshot)
            between()
            for gateway in gateways {
                try gateway.adopt(next)
                world.run(for: .milliseconds(1))
            }
            GuardMetrics.retire(snapshot.upstreams.map(\.current), now: next.upstreams.map(\.current), in: registry)
            snapshot = next
            for cluster in next.upstreams.map(\.current) { GuardMetrics.register(cluster, in: registry) }
        }

        func set(_ hosts: [Int], timeToLive: Duration = .seconds(1)) {
            resolver.set("users.internal", hosts.map { "10.0.0.\($0)" }, timeToLive: timeToLive)
        }

        func run(_ milliseconds: Int64) { world.run(for: .milliseconds(milliseconds)) }

        /// What so many requests on each reactor get.
        func ask(_ count: Int = 1) -> [String] {
            let first = calls.count
            for _ in 0..<count {
                for gateway in gateways {
                    calls.append(Call(gateway, key: UInt64(calls.count + 1)))
                    run(20)
                }
            }
            return calls[first...].map(\.said)
        }

        /// The log since the last look.
        var said: [String] {
            var text = ByteBuffer()
            sink.collect(into: &text)
            return text.withReadable { String(copying: $0) }.split(separator: "\n").map {
                String($0.split(separator: " ", maxSplits: 1)[1])
            }
        }

        func sample(_ series: String) -> String? {
            var text = ByteBuffer()
            registry.write(into: &text)
            return text.withReadable { String(copying: $0) }.split(separator: "\n").first { $0.hasPrefix(series + " ") }.map {
                String($0.dropFirst(series.count + 1))
            }
        }

        func available(_ host: Int) -> String? {
            sample("holdfast_endpoint_available{upstream=\"users\",endpoint=\"10.0.0.\(host):9001\"}")
        }

        func end() {
            for gateway in gateways {
                gateway.drain()
                gateway.abort()
            }
            for listener in listeners { listener.abort() }
            run(1_000)
            let open = gateways.map(\.context.openConnections)
            #expect(open == [0, 0])
            let asked = resolver.asked.count
            run(60_000)
            #expect(resolver.asked.count == asked, "nothing is asked any more")
        }
    }

    private static let users =
        "  users: { dns: users.internal:9001, protocol: h2, tls: { ca: ca.pem }, host: upstream, balance: round_robin, slow_start: off }"

    /// TLS verifies the name, since the certificate says nothing of addresses, and Host has it with its port.
    @Test func bothReactorsGoByTheName() throws {
        let house = try House(Self.users)
        #expect(house.sample("holdfast_dns_state{upstream=\"users\"}") == "0")
        house.set([11, 12])
        house.run(100)
        #expect(house.ask(2) == ["200", "200", "200", "200"])
        #expect(house.origins.map(\.asked.count) == [2, 2, 0])
        #expect(Set(house.origins[0].asked) == ["users.internal:9001"])
        #expect(
            house.said == [
                "info dns name has an answer upstream=users name=users.internal endpoints=2",
                "info dns endpoints changed upstream=users came=\"10.0.0.11:9001,10.0.0.12:9001\" left=\"\" endpoints=2",
            ])
        house.set([12, 13])
        house.run(1_100)
        #expect(house.ask(4).allSatisfy { $0 == "200" })
        #expect(house.origins[0].asked.count == 2 && house.origins[2].asked.count == 4)
        #expect(
            house.said == ["info dns endpoints changed upstream=users came=10.0.0.13:9001 left=10.0.0.11:9001 endpoints=2"])
        #expect([11, 12, 13].map { house.available($0) } == [nil, "1", "1"])
        #expect(house.sample("holdfast_dns_endpoints{upstream=\"users\"}") == "2")
        #expect(house.sample("holdfast_dns_state{upstream=\"users\"}") == "1")
        house.end()
    }

    @Test func whatTheLogAndTheMetricsSayOfFailures() throws {
        let house = try House(Self.users)
        house.resolver.failure = .unreachable
        house.run(100)
        #expect(house.ask() == ["dns", "dns"])
        house.resolver.failure = nil
        house.set([11])
        house.run(2_000)
        for failure in [NameFailure.nxdomain, .empty, .servfail, .timeout] {
            house.resolver.failure = failure
            house.run(60_000)
            #expect(house.ask() == ["200", "200"])
        }
        #expect(house.sample("holdfast_dns_state{upstream=\"users\"}") == "2")
        house.resolver.failure = nil
        house.run(60_000)
        func lost(_ result: String) -> String {
            "warning dns name has no answer, so that its last one goes on upstream=users name=users.internal result=\(result) endpoints=1"
        }
        #expect(
            house.said == [
                "warning dns name has no answer, so that requests are refused upstream=users name=users.internal result=unreachable",
                "info dns name has an answer upstream=users name=users.internal endpoints=1",
                "info dns endpoints changed upstream=users came=10.0.0.11:9001 left=\"\" endpoints=1", lost("nxdomain"),
                lost("empty"),
                lost("servfail"), lost("timeout"), "info dns name has an answer upstream=users name=users.internal endpoints=1",
            ])
        for result in ["unreachable", "nxdomain", "empty", "servfail", "timeout", "answered"] {
            let count = house.sample("holdfast_dns_lookups_total{upstream=\"users\",result=\"\(result)\"}")
            #expect(count.flatMap { Int($0) } ?? 0 > 0, "\(result)")
        }
        #expect(house.sample("holdfast_dns_state{upstream=\"users\"}") == "1")
        house.end()
    }

    @Test func moreThanSixtyFour() throws {
        let house = try House(Self.users)
        house.resolver.set("users.internal", (1...70).map { "10.0.9.\($0)" }, timeToLive: .seconds(1))
        house.run(5_000)
        #expect(
            house.said.filter { $0.hasPrefix("error") } == [
                "error dns name has more addresses than an upstream can have endpoints upstream=users name=users.internal taken=64 left_out=6"
            ], "once")
        #expect(house.snapshot.upstreams[0].current.endpoints.count == 64)
        house.end()
    }

    // MARK: Reloads

    /// Another time to live, another certificate, another pool: the answer goes on, and no request is lost in between.
    @Test func aReloadKeepsWhatIsKnown() throws {
        let house = try House(Self.users)
        house.set([11, 12], timeToLive: .seconds(20))
        house.run(100)
        #expect(house.ask() == ["200", "200"])
        let before = house.snapshot.upstreams[0].current.endpoints
        let asked = house.resolver.asked.count
        try house.reload(Self.users + "\n  other: { dns: other.internal:1 }")
        let after = house.snapshot.upstreams[0].current.endpoints
        #expect(after.count == 2 && zip(before, after).allSatisfy { $0 === $1 })
        #expect(house.gateways.map(\.idleConnections) == [0, 0], "HTTP/2 connections are not idle ones")
        #expect(house.resolver.asked.dropFirst(asked).allSatisfy { $0.question.name == "other.internal" })
        #expect(house.ask() == ["200", "200"])
        let longer = Self.users.replacing("users.internal:9001", with: "{ name: users.internal, port: 9001, minimum_ttl: 5s }")
        try house.reload(longer)
        #expect(house.ask(2).allSatisfy { $0 == "200" }, "before the next answer is there")
        #expect(house.sample("holdfast_dns_state{upstream=\"other\"}") == nil)
        house.end()
    }

    /// The name brings other endpoints after the new configuration was made and before any reactor goes by it.
    @Test func whatIsLearntDuringAReloadIsNotLost() throws {
        let house = try House(Self.users)
        house.set([11], timeToLive: .seconds(1))
        house.run(100)
        try house.reload(Self.users.replacing("round_robin", with: "least_request")) {
            house.set([12], timeToLive: .seconds(60))
            house.run(2_000)
            #expect(house.ask() == ["200", "200"])
        }
        #expect(house.origins.map(\.asked.count) == [0, 2, 0])
        #expect(house.ask(3).allSatisfy { $0 == "200" })
        #expect(house.origins.map(\.asked.count) == [0, 8, 0], "both reactors")
        #expect(house.snapshot.upstreams[0].current.endpoints.map(\.label) == ["10.0.0.12:9001"])
        #expect(house.available(12) == "1" && house.available(11) == nil)
        house.end()
    }

    @Test func fromANameToAddressesAndBack() throws {
        let house = try House(Self.users)
        house.set([11])
        house.run(100)
        #expect(house.ask() == ["200", "200"])
        try house.reload(
            "  users: { endpoints: [10.0.0.12:9001], protocol: h2, tls: { ca: ca.pem, server_name: users.internal }, host: upstream }"
        )
        #expect(house.ask() == ["200", "200"] && house.origins.map(\.asked.count) == [2, 2, 0])
        #expect(house.sample("holdfast_dns_state{upstream=\"users\"}") == nil && house.available(11) == nil)
        let asked = house.resolver.asked.count
        house.run(10_000)
        #expect(house.resolver.asked.count == asked)
        try house.reload(Self.users)
        #expect(house.ask() == ["200", "200"] && house.origins.map(\.asked.count) == [4, 2, 0])
        #expect(house.sample("holdfast_dns_state{upstream=\"users\"}") == "1")
        house.end()
    }
}
