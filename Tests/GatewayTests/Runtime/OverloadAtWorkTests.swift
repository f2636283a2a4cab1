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

/// What the process uses, as a test says.
private final class Meter {
    var resident = 0
    var open = 0
    var limit = 200
    var gaveBack = 0

    var source: ResourceWatch.Source {
        ResourceWatch.Source(
            residentBytes: { self.resident }, openDescriptors: { self.open }, descriptorLimit: { self.limit },
            giveBackMemory: { self.gaveBack += 1 })
    }
}

/// Closes when the other side does.
private final class PolitePeer: RawPeer {
    override func receivedEnd(truncated: Bool) { connection?.close() }
}

/// A gateway in memory, with clients that write what they like.
private final class OverloadBench {
    let world = SimulatedWorld(seed: 5)
    let gateway: GatewayReactor
    let upstream: RawUpstream
    let meter = Meter()
    let registry = MetricsRegistry(shards: 1)
    private let clients: TransportContext

    /// - Parameter watched: with the watches of a running server. Of 200 bytes and 200 descriptors half may be used.
    init(_ top: String = "overload: { memory: 50%, descriptors: 50%, lag: 100ms }", watched: Bool = false) throws {
        let configuration = try Configuration.parse(
            text: """
                \(top)
                trusted_networks: [10.0.0.7]
                listeners: [{ name: l, address: 10.0.0.1:80 }]
                upstreams: { a: { endpoints: [10.0.0.9:9001] } }
                routes:
                  - { match: { path: "/critical" }, to: a }
                  - { match: { path: "/high" }, to: a, priority: high }
                  - { match: { path: "/normal" }, to: a, priority: normal }
                  - { match: { path: "/bulk" }, to: a, priority: bulk }
                  - { match: { path: "/soft" }, to: a, priority: bulk, fallback: { answer: { body: old news } } }
                  - { match: { path: "/fixed" }, answer: { body: here } }
                """, file: "x.yaml"
        ).configuration
        var compiler = SnapshotCompiler(
            configuration, registry: registry, ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw, previous: nil)
        gateway = GatewayReactor(
            context: TransportContext(reactor: world.makeReactor(host: "10.0.0.1")), shard: 0, snapshot: try compiler.compile(),
            connections: ConnectionCount(), accessLane: nil)
        try gateway.open()
        gateway.overload.apply(gateway.snapshot.overload, memoryLimit: 200)
        if watched {
            let log = OperationalLog(sink: try LogSink(.file("/dev/null")), wallNanoseconds: { 0 })
            gateway.watchOverload(log)
            gateway.watchResources(log, meter.source)
        }
        upstream = try RawUpstream("10.0.0.9:9001", TransportContext(reactor: world.makeReactor(host: "10.0.0.9")))
        upstream.answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.2"))
    }

    deinit {
        gateway.abort()
        upstream.close()
    }

    func connect(from context: TransportContext? = nil) throws -> RawPeer {
        let context = context ?? clients
        let address = try #require(SocketAddress.parse("10.0.0.1:80"))
        let peer = PolitePeer()
        peer.adopt(
            Connection(
                connecting: try context.reactor.network.connect(to: address), peer: address, context: context, tls: nil,
                settings: Connection.Settings(), handler: peer))
        world.run(for: .milliseconds(5))
        return peer
    }

    /// The whole answer to a request on a connection of its own.
    func ask(_ path: String, _ fields: String = "", from context: TransportContext? = nil) throws -> String {
        let peer = try connect(from: context)
        peer.say("GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
        world.run(for: .milliseconds(20))
        return peer.heard.lowercased()
    }

    /// Who is shed: "chnb".
    func shed() throws -> String {
        try ["critical", "high", "normal", "bulk"].filter { try ask("/\($0)").hasPrefix("http/1.1 503") }.map {
            String($0.prefix(1))
        }
        .joined()
    }

    func memory(_ percent: Int) { _ = gateway.overload.note(residentBytes: percent, now: gateway.reactor.now) }
    func lag(_ ms: Int64) { _ = gateway.overload.note(lag: ms * 1_000_000, shard: 0, now: gateway.reactor.now) }
}

/// Semantics, section 10, in the whole gateway.
@Suite struct OverloadAtWorkTests {
    @Test(arguments: [(49, ""), (50, "b"), (75, "nb"), (90, "hnb"), (100, "chnb")])
    func S1_theLessImportantAreTurnedAwayFirst(percent: Int, shed: String) throws {
        let bench = try OverloadBench()
        bench.memory(percent)
        #expect(try bench.shed() == shed)
        #expect(
            try bench.ask("/fixed").hasPrefix("http/1.1 200"), "what the gateway answers by itself costs no more than a refusal")
        #expect(try bench.ask("/nowhere").hasPrefix("http/1.1 404"))
    }

    @Test func anAnswerSaysWhyAndWhenToComeBack() throws {
        let bench = try OverloadBench()
        bench.memory(60)
        let answer = try bench.ask("/bulk")
        #expect(answer.hasPrefix("http/1.1 503") && answer.contains("\"reason\":\"shed.memory\""), "\(answer)")
        #expect(answer.contains("\r\nretry-after: 1\r\n") || answer.contains("\r\nretry-after: 2\r\n"), "\(answer)")
        #expect(answer.contains("\r\nconnection: close\r\n"), "its connection is memory too")
        #expect(bench.upstream.peers.isEmpty, "no upstream was asked")
    }

    @Test func aLateLoopKeepsItsConnections() throws {
        let bench = try OverloadBench()
        bench.lag(60)
        let peer = try bench.connect()
        for _ in 0..<3 {
            peer.say("GET /bulk HTTP/1.1\r\nHost: a\r\n\r\n")
            bench.world.run(for: .milliseconds(20))
        }
        #expect(peer.heard.components(separatedBy: "\"reason\":\"shed.lag\"").count == 4 && !peer.isClosed, "\(peer.heard)")
    }

    @Test func aConnectionWhoseBodyWasNotReadIsClosed() throws {
        let bench = try OverloadBench()
        bench.lag(60)
        let peer = try bench.connect()
        peer.say("POST /bulk HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        bench.world.run(for: .seconds(3))
        #expect(peer.heard.hasPrefix("HTTP/1.1 503") && peer.heard.lowercased().contains("connection: close"), "\(peer.heard)")
        #expect(peer.isClosed)
    }

    @Test func aFallbackThatCostsNothingIsGivenInstead() throws {
        let bench = try OverloadBench()
        bench.memory(100)
        let answer = try bench.ask("/soft")
        #expect(
            answer.hasPrefix("http/1.1 200") && answer.contains("old news") && answer.contains("x-holdfast-reason: shed.memory"))
    }

    @Test func onlyATrustedCallerSaysHowMuchItMatters() throws {
        let bench = try OverloadBench()
        bench.lag(60)
        let trusted = TransportContext(reactor: bench.world.makeReactor(host: "10.0.0.7"))
        #expect(try bench.ask("/bulk", "X-Holdfast-Priority: high\r\n").hasPrefix("http/1.1 503"))
        #expect(try bench.ask("/bulk", "X-Holdfast-Priority: high\r\n", from: trusted).hasPrefix("http/1.1 200"))
        #expect(try bench.ask("/critical", "X-Holdfast-Priority: bulk\r\n", from: trusted).hasPrefix("http/1.1 503"))
    }

    @Test func theLatestOfAllLoopsCounts() throws {
        let bench = try OverloadBench()
        let overload = bench.gateway.overload
        #expect(overload.note(lag: 80_000_000, shard: 3, now: .origin)?.to == 2)
        #expect(
            overload.note(lag: 0, shard: 1, now: .origin) == nil
                && overload.note(lag: 0, shard: 0, now: Instant(nanoseconds: 900_000_000)) == nil)
        #expect(overload.report[0].level == 2 && overload.report[0].reading.tenThousandths == 8_000)
    }

    @Test func whatIsOffShedsNobody() throws {
        let bench = try OverloadBench("overload: { memory: off, descriptors: off, lag: off }")
        bench.memory(100)
        bench.lag(10_000)
        _ = bench.gateway.overload.note(openDescriptors: 100, of: 100, now: bench.gateway.reactor.now)
        #expect(try bench.shed() == "" && bench.gateway.overload.refusesConnections == nil)
    }

    @Test func aReloadThatTurnsASignalOffEndsItsShedding() throws {
        let bench = try OverloadBench()
        bench.memory(100)
        bench.gateway.overload.apply(
            OverloadPlan(lagNanoseconds: 1, memory: nil, memoryBytes: nil, descriptors: nil), memoryLimit: 100)
        #expect(try bench.shed() == "")
    }

    @Test func S4_whatTheWatchesReadMovesTheLevelAndItFallsAgain() throws {
        let bench = try OverloadBench(watched: true)
        bench.world.run(for: .seconds(2))
        #expect(try bench.shed() == "" && bench.meter.gaveBack == 0)
        bench.meter.open = 76
        bench.world.run(for: .milliseconds(1_001))
        #expect(try bench.shed() == "nb")
        bench.meter.resident = 95
        bench.world.run(for: .milliseconds(400))
        #expect(try bench.shed() == "hnb")
        bench.world.run(for: .seconds(6))
        #expect(bench.meter.gaveBack == 2, "once every five seconds while memory is short, and not for descriptors")
        bench.meter.resident = 10
        bench.meter.open = 10
        bench.world.run(for: .milliseconds(4_500))
        #expect(try bench.shed() == "", "three classes, a second each, and a look")
        #expect(bench.gateway.overload.report.allSatisfy { $0.level == 0 })
    }

    @Test func whileThereIsNoRoomIdleConnectionsEnd() throws {
        let bench = try OverloadBench(watched: true)
        let idle = try bench.connect()
        let busy = try bench.connect()
        bench.upstream.answer = nil
        busy.say("GET /critical HTTP/1.1\r\nHost: a\r\n\r\n")
        bench.world.run(for: .seconds(3))
        #expect(!idle.isClosed && bench.gateway.connectionCount == 2, "keep_alive_timeout is a minute")
        bench.meter.open = 60
        bench.world.run(for: .milliseconds(2_500))
        #expect(idle.isClosed && !busy.isClosed && bench.gateway.connectionCount == 1, "what is under way goes on")
        let late = try bench.connect()
        late.say("GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n")
        bench.world.run(for: .milliseconds(100))
        #expect(late.heard.hasPrefix("HTTP/1.1 200") && !late.isClosed, "a new one has its second")
    }

    @Test func connectionsAreRefusedOnlyWhenHardlyAnythingIsLeft() throws {
        let bench = try OverloadBench("overload: { descriptors: 80%, memory: off, lag: off }")
        let overload = bench.gateway.overload
        func open(_ n: Int) { _ = overload.note(openDescriptors: n, of: 100, now: bench.gateway.reactor.now) }
        open(89)
        #expect(try bench.ask("/critical").contains("shed.descriptors"), "turned away with words while that is possible")
        open(90)
        #expect(try bench.ask("/critical").isEmpty)
        open(70)
        #expect(try !bench.ask("/fixed").isEmpty, "room for connections is there at once")
    }

    /// CPU time of this thread for one exchange, of two gateways in turn; the least of many, so that neither the wall's clock nor neighbours
    /// on the machine count; half more is allowed for, since other tests run beside it and take caches away.
    @Test func S3_aShedReplyCostsNoMoreThanAFixedAnswer() throws {
        let (calm, short) = (try OverloadBench(), try OverloadBench())
        short.lag(200)
        let peers = [try calm.connect(), try short.connect()]
        func cost(_ path: String, _ bench: OverloadBench, _ peer: RawPeer) -> Int64 {
            var began = timespec()
            var ended = timespec()
            unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began)
            peer.say("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            bench.world.run(for: .milliseconds(2))
            unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended)
            return Int64(ended.tv_sec - began.tv_sec) * 1_000_000_000 + Int64(ended.tv_nsec - began.tv_nsec)
        }
        var (fixed, served, shed) = (Int64.max, Int64.max, Int64.max)
        for _ in 0..<400 {
            fixed = min(fixed, cost("/fixed", calm, peers[0]))
            shed = min(shed, cost("/critical", short, peers[1]))
            served = min(served, cost("/critical", calm, peers[0]))
        }
        #expect(!peers[1].isClosed && peers[1].heard.contains("shed.lag") && !peers[0].heard.contains("shed.lag"))
        #expect(Double(shed) <= 1.5 * Double(fixed), "fixed \(fixed), served \(served), shed \(shed) ns")
        #expect(Double(shed) < 0.75 * Double(served), "fixed \(fixed), served \(served), shed \(shed) ns")
    }
}
