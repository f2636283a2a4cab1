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

/// Health checks from the configuration to the picker, the metrics and the log, on virtual time: over TLS and HTTP/2, through reloads and
/// a drain.
@Suite struct HealthAtWorkTests {
    /// Answers `/healthz` with the status it is given, and keeps count.
    private final class Origin: RequestService {
        var status = 200
        private(set) var asked: [String] = []

        func handle(_ exchange: ServerExchange) {
            let head = exchange.head
            asked.append("\(head.version) \(head.string(head.authority)) \(head.string(head.path))")
            let answer = ResponseHead()
            answer.status = status
            answer.framing = .length(2)
            exchange.respond(answer, endStream: false)
            exchange.write([UInt8]("ok".utf8).span)
            exchange.finish()
        }

        func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) { exchange.abort(reason) }
    }

    private final class House {
        let world = SimulatedWorld(seed: 5)
        let gateway: GatewayReactor
        let registry = MetricsRegistry(shards: 1)
        let origins = (0..<3).map { _ in Origin() }
        private let sink: LogSink
        private let folder: URL
        private var listeners: [ServerListener] = []
        private(set) var snapshot: GatewaySnapshot

        init(_ upstreams: String) throws {
            folder = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-health-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let authority = try CertificateAuthority(notBefore: 1_600_000_000, notAfter: 4_000_000_000)
            let issued = try authority.issue(.init(names: ["users.internal"], notBefore: 1_600_000_000, notAfter: 4_000_000_000))
            try authority.rootPEM.write(to: folder.appendingPathComponent("ca.pem"), atomically: true, encoding: .utf8)
            var tls = ServerTLSSettings(certificates: [CertificateSource(chain: .text(issued.chain), key: .text(issued.key))])
            tls.applicationProtocols = ["h2", "http/1.1"]
            let server = try ServerTLSContext(settings: tls)
            snapshot = try House.compile(upstreams, folder, world, registry, previous: nil)
            gateway = GatewayReactor(
                context: TransportContext(reactor: world.makeReactor(host: "10.0.0.1")), shard: 0, snapshot: snapshot,
                connections: ConnectionCount(), accessLane: nil)
            sink = try LogSink(.memory)
            for cluster in snapshot.upstreams { GuardMetrics.register(cluster, in: registry) }
            gateway.checkEndpoints(OperationalLog(sink: sink, wallNanoseconds: { 0 }), registry)
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

        /// As `GatewayServer.reload` does.
        func reload(_ upstreams: String) throws {
            let next = try House.compile(upstreams, folder, world, registry, previous: snapshot)
            try gateway.adopt(next)
            GuardMetrics.retire(snapshot.upstreams, now: next.upstreams, in: registry)
            snapshot = next
            for cluster in next.upstreams { GuardMetrics.register(cluster, in: registry) }
        }

        /// The log since the last look.
        var said: [String] {
            var text = ByteBuffer()
            sink.collect(into: &text)
            return text.withReadable { String(copying: $0) }.split(separator: "\n").map {
                String($0.split(separator: " ", maxSplits: 1)[1])
            }
        }

        /// Of an upstream's endpoint, by the end of its host's address.
        func sample(_ name: String, _ host: Int, _ more: String = "", upstream: String = "users") -> String? {
            var text = ByteBuffer()
            registry.write(into: &text)
            let series = "\(name){upstream=\"\(upstream)\",endpoint=\"10.0.0.\(host):9001\"\(more)} "
            return text.withReadable { String(copying: $0) }.split(separator: "\n").first { $0.hasPrefix(series) }.map {
                String($0.dropFirst(series.count))
            }
        }

        func availability(_ place: Int = 0) -> [Bool] {
            let cluster = snapshot.upstreams[place]
            return cluster.endpoints.indices.map { cluster.picker.isAvailable($0) }
        }

        func end() {
            gateway.drain()
            gateway.abort()
            for listener in listeners { listener.abort() }
            world.run(for: .seconds(1))
            #expect(gateway.context.openConnections == 0)
        }
    }

    private static let check = "health_check: { path: /healthz, interval: 1s, timeout: 300ms, jitter: 0% }"

    private static func users(_ endpoints: [Int], _ more: String = check, name: String = "users") -> String {
        let list = endpoints.map { "\"10.0.0.\($0):9001\"" }.joined(separator: ", ")
        return
            "  \(name): { endpoints: [\(list)], protocol: h2, tls: { ca: ca.pem, server_name: users.internal }\(more.isEmpty ? "" : ", " + more) }"
    }

    @Test func fromTheConfigurationToTheLog() throws {
        let house = try House(Self.users([11, 12, 13]))
        house.world.run(for: .milliseconds(3_050))
        #expect(house.origins.allSatisfy { $0.asked.count == 3 })
        #expect(house.origins[0].asked[0] == "http2 users.internal /healthz", "\(house.origins[0].asked[0])")
        #expect(house.said.isEmpty && house.availability() == [true, true, true])
        house.origins[1].status = 503
        house.world.run(for: .seconds(3))
        #expect(house.availability() == [true, false, true])
        #expect(
            house.said == [
                #"warning health endpoint is out upstream=users endpoint=10.0.0.12:9001 reason=status.failure detail="status 503""#
            ])
        #expect([11, 12, 13].map { house.sample("holdfast_endpoint_available", $0) } == ["1", "0", "1"])
        #expect(house.sample("holdfast_health_checks_total", 12, #",result="passed""#) == "3")
        #expect(house.sample("holdfast_health_checks_total", 12, #",result="failed""#) == "3")
        #expect(house.snapshot.upstreams[0].guardian.snapshot().counters.admitted == 0, "no permit, no evidence")
        house.origins[1].status = 200
        house.world.run(for: .seconds(2))
        #expect(house.said == [#"info health endpoint is back upstream=users endpoint=10.0.0.12:9001 detail="status 200""#])
        #expect(house.sample("holdfast_endpoint_available", 12) == "1")
        house.end()
    }

    /// Other endpoints, other pools, another order: what is known of an endpoint that remains stays known, and its series goes on.
    @Test func reloads() throws {
        let house = try House(Self.users([11, 12]) + "\n" + Self.users([12], name: "other"))
        house.origins[1].status = 500
        house.world.run(for: .seconds(4))
        #expect(house.availability() == [true, false] && house.availability(1) == [false])
        try house.reload(Self.users([12, 13], "pool: { idle: 3 }, " + Self.check))
        #expect(house.availability() == [false, true], "at once")
        #expect(house.sample("holdfast_endpoint_available", 12) == "0")
        #expect(house.sample("holdfast_endpoint_available", 11) == nil, "it has gone from this upstream")
        #expect(house.sample("holdfast_health_checks_total", 11, #",result="passed""#) == nil)
        #expect(house.sample("holdfast_endpoint_available", 12, upstream: "other") == nil, "and the other upstream with its own")
        let gone = house.origins[0].asked.count
        let before = house.origins[1].asked.count
        house.origins[1].status = 200
        house.world.run(for: .seconds(2))
        #expect(
            house.availability() == [true, true] && house.origins[1].asked.count == before + 2, "by its own rhythm, and by one only"
        )
        #expect(house.origins[0].asked.count == gone && house.origins[2].asked.count == 2)
        // An endpoint that comes back goes on counting where its series ended.
        try house.reload(Self.users([11, 12]))
        house.world.run(for: .seconds(1))
        #expect(house.sample("holdfast_health_checks_total", 11, #",result="passed""#) == "\(gone + 1)")
        try house.reload(Self.users([11, 12], ""))
        let asked = house.origins.map { $0.asked.count }
        house.world.run(for: .seconds(5))
        #expect(house.origins.map { $0.asked.count } == asked, "no check without its key")
        house.end()
    }

    @Test func aDrainEndsThem() throws {
        let house = try House(Self.users([11, 12, 13]))
        house.origins[2].status = 500
        house.world.run(for: .seconds(4))
        house.gateway.drain()
        #expect(house.gateway.context.openConnections == 0)
        let asked = house.origins.map { $0.asked.count }
        try house.reload(Self.users([11, 12, 13]))
        house.world.run(for: .seconds(10))
        #expect(house.origins.map { $0.asked.count } == asked, "a reload begins none while it drains")
        #expect(house.availability() == [true, true, false], "what was found still holds for requests under way")
        house.end()
    }
}
