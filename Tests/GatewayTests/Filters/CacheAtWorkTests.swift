// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Caching
import Configuration
import Core
import HTTP
import Reactor
import Resilience
import Telemetry
import Testing
import Upstream

@testable import Gateway
@testable import Transport

/// The cache filter in a gateway of two reactors, in memory and on virtual time: who waits, who fetches, and what is served where something fails.
@Suite struct CacheAtWorkTests {
    @Test func E20_aThousandRequestsOnTwoReactorsAreOneFetch() throws {
        let lab = try Lab()
        lab.origin.delay = .milliseconds(500)
        let clients = try lab.ask(1_000, "/a")
        lab.world.run(for: .milliseconds(400))
        #expect(lab.connections.allSatisfy { $0 > 100 }, "both reactors have some: \(lab.connections)")
        lab.world.run(for: .seconds(3))
        #expect(clients.allSatisfy { $0.isAnswered(200, "a1") }, "\(clients.first { !$0.isAnswered(200, "a1") }?.heard ?? "")")
        #expect(lab.origin.seen == ["GET /a"])
        lab.world.run(for: .seconds(60))
        // Expired: once more, and once more one.
        let later = try lab.ask(1_000, "/a")
        lab.world.run(for: .seconds(3))
        #expect(later.allSatisfy { $0.isAnswered(200, "a2") } && lab.origin.seen.count == 2)
        try lab.end()
    }

    @Test func E20_aFillerThatIsCancelledHandsOver() throws {
        let lab = try Lab()
        lab.origin.delay = .milliseconds(500)
        let first = try lab.ask(1, "/a")
        lab.world.run(for: .milliseconds(50))
        let others = try lab.ask(99, "/a")
        lab.world.run(for: .milliseconds(100))
        #expect(lab.origin.seen.count == 1)
        first[0].connection?.abort()
        lab.world.run(for: .seconds(2))
        #expect(others.allSatisfy { $0.isAnswered(200, "a2") } && lab.origin.seen.count == 2)
        try lab.end()
    }

    @Test func E20_aFillerThatFailsHandsOverOnceAndThenAllAskThemselves() throws {
        let lab = try Lab()
        lab.origin.status = 500
        lab.origin.delay = .milliseconds(100)
        let clients = try lab.ask(20, "/a")
        lab.world.run(for: .seconds(5))
        #expect(clients.allSatisfy { $0.heard.hasPrefix("HTTP/1.1 500") } && lab.origin.seen.count == 20)
        try lab.end()
    }

    @Test func E20_whereTheOriginIsDownAllAreServedWhatIsStale() throws {
        let lab = try Lab(filter: "stale_if_error: 10m")
        _ = try lab.ask(1, "/a")
        lab.world.run(for: .seconds(70))
        lab.origin.status = 503
        let clients = try lab.ask(200, "/a")
        lab.world.run(for: .seconds(5))
        #expect(clients.allSatisfy { $0.isAnswered(200, "a1") && $0.heard.contains("stale-if-error") }, "\(clients[0].heard)")
        #expect(lab.origin.seen.count < 10)
        lab.origin.listener?.abort()
        lab.origin.listener = nil
        let refused = try lab.ask(20, "/a")
        lab.world.run(for: .seconds(5))
        #expect(refused.allSatisfy { $0.isAnswered(200, "a1") }, "\(refused[0].heard)")
        try lab.end()
    }

    /// The breaker is open: nothing is sent, and the stored answer is served all the same.
    @Test func anOpenBreakerIsAFailureToo() throws {
        let lab = try Lab(
            filter: "stale_if_error: 10m", guarded: "breaker: { minimum_calls: 2, open_for: 60s }, retries: { attempts: 1 }")
        _ = try lab.ask(1, "/a")
        lab.world.run(for: .seconds(70))
        lab.origin.status = 500
        for n in 0..<10 {
            _ = try lab.ask(1, "/other/\(n)")
            lab.world.run(for: .milliseconds(100))
        }
        let before = lab.origin.seen.count
        let client = try lab.ask(1, "/a")[0]
        lab.world.run(for: .seconds(1))
        #expect(client.isAnswered(200, "a1") && client.heard.contains("x-holdfast-reason: breaker.open"), "\(client.heard)")
        #expect(lab.origin.seen.count == before)
        let nothing = try lab.ask(1, "/nothing")[0]
        lab.world.run(for: .seconds(1))
        #expect(nothing.heard.hasPrefix("HTTP/1.1 503") && nothing.heard.contains("breaker.open"))
        try lab.end()
    }

    /// Waiting holds no permit: with a bulkhead of one, the one who fetches is never behind those who wait for it.
    @Test func thoseWhoWaitHoldNoPermit() throws {
        let lab = try Lab(guarded: "bulkhead: { concurrent: 1, queue: 0 }")
        lab.origin.delay = .milliseconds(300)
        let clients = try lab.ask(100, "/a")
        lab.world.run(for: .seconds(2))
        #expect(clients.allSatisfy { $0.isAnswered(200, "a1") } && lab.origin.seen.count == 1)
        try lab.end()
    }

    @Test func whoWaitsTooLongGoesByItself() throws {
        let lab = try Lab(filter: "collapse_wait: 200ms")
        lab.origin.delay = .seconds(1)
        let clients = try lab.ask(5, "/a")
        lab.world.run(for: .milliseconds(500))
        #expect(lab.origin.seen.count == 5)
        lab.world.run(for: .seconds(2))
        #expect(clients.allSatisfy { $0.heard.hasPrefix("HTTP/1.1 200") })
        try lab.end()
    }

    @Test func aClientThatStopsWaitingIsForgotten() throws {
        let lab = try Lab()
        lab.origin.delay = .milliseconds(500)
        let clients = try lab.ask(10, "/a")
        lab.world.run(for: .milliseconds(100))
        for client in clients.dropFirst().prefix(5) { client.connection?.abort() }
        lab.world.run(for: .seconds(2))
        #expect(clients.filter { $0.isAnswered(200, "a1") }.count == 5 && lab.origin.seen.count == 1)
        try lab.end()
    }

    @Test func staleWhileRevalidateAnswersAtOnceAndAsksBehindTheClientsBack() throws {
        let lab = try Lab(filter: "stale_while_revalidate: 1m", route: ", strip_prefix: /api", path: "/api/*")
        _ = try lab.ask(1, "/api/a")
        lab.world.run(for: .seconds(70))
        lab.origin.delay = .seconds(2)
        let client = try lab.ask(1, "/api/a", "If-None-Match: \"mine\"")[0]
        lab.world.run(for: .milliseconds(200))
        #expect(client.isAnswered(200, "a1"), "\(client.heard)")
        lab.world.run(for: .seconds(3))
        #expect(lab.origin.seen == ["GET /a", "GET /a"])
        #expect(lab.origin.heads.last?["if-none-match"] == "\"a1\"" && lab.origin.heads.last?["x-forwarded-host"] == "shop.example")
        #expect(lab.origin.heads.last?["via"] == lab.origin.heads.first?["via"])
        lab.origin.delay = .zero
        let next = try lab.ask(1, "/api/a")[0]
        lab.world.run(for: .milliseconds(200))
        #expect(next.isAnswered(200, "a2") && lab.origin.seen.count == 2, "\(next.heard)")
        try lab.end()
    }

    /// A filter behind the cache changes what is sent: then no copy is sent from before it, and one client is asked to fetch.
    @Test func staleWhileRevalidateWithAFilterOfTheUpstream() throws {
        let lab = try Lab(
            filter: "stale_while_revalidate: 1m", upstream: ", filters: [{ headers: { request: { set: { x-inner: \"1\" } } } }]")
        _ = try lab.ask(1, "/a")
        lab.world.run(for: .seconds(70))
        lab.origin.delay = .seconds(1)
        let first = try lab.ask(1, "/a")[0]
        lab.world.run(for: .milliseconds(100))
        let second = try lab.ask(1, "/a")[0]
        lab.world.run(for: .milliseconds(500))
        #expect(first.heard.isEmpty && second.isAnswered(200, "a1"))
        lab.world.run(for: .seconds(1))
        #expect(first.isAnswered(200, "a2") && lab.origin.heads.allSatisfy { $0["x-inner"] == "1" })
        try lab.end()
    }

    @Test func B04_E19_whatBreaksOffIsNotStored() throws {
        let lab = try Lab()
        lab.origin.breaksOff = true
        let cut = try lab.ask(1, "/a")[0]
        lab.world.run(for: .seconds(1))
        #expect(cut.heard.hasPrefix("HTTP/1.1 200") && !cut.heard.hasSuffix("a1"))
        lab.origin.breaksOff = false
        let client = try lab.ask(1, "/a")[0]
        lab.world.run(for: .seconds(1))
        #expect(client.isAnswered(200, "a2") && lab.origin.seen.count == 2)
        try lab.end()
    }

    @Test func E18_whoIsKnownByAFilterIsServedOnlyWhatMayBeShared() throws {
        let lab = try Lab(cacheControl: "max-age=60")
        for user in ["alice", "bob"] {
            let client = try lab.ask(1, "/a", "Authorization: \(user)")[0]
            lab.world.run(for: .seconds(1))
            #expect(client.heard.hasPrefix("HTTP/1.1 200"))
        }
        #expect(lab.origin.seen.count == 2)
        try lab.end()
    }

    @Test func A23_aGetWithABodyIsNeitherServedNorStored() throws {
        let lab = try Lab()
        for _ in 0..<2 {
            let client = try lab.say("GET /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
            lab.world.run(for: .seconds(1))
            #expect(client.heard.hasPrefix("HTTP/1.1 200"))
        }
        #expect(lab.origin.seen.count == 2 && lab.snapshot.cacheStore?.usage.answers == 0)
        try lab.end()
    }

    @Test func aLargeStoredAnswerWaitsForASlowReader() throws {
        let lab = try Lab()
        lab.origin.bodyBytes = 600_000
        _ = try lab.ask(1, "/a")
        lab.world.run(for: .seconds(2))
        let client = try lab.ask(1, "/a")[0]
        lab.world.run(for: .seconds(5))
        #expect(client.heard.utf8.count > 600_000 && lab.origin.seen.count == 1 && client.heard.contains("; hit"))
        try lab.end()
    }

    @Test func theStoreOutlivesAReload() throws {
        let lab = try Lab()
        _ = try lab.ask(1, "/a")
        lab.world.run(for: .seconds(1))
        try lab.reload(filter: "object_bytes: 10KiB", cacheBytes: "2MiB")
        #expect(lab.snapshot.cacheStore?.usage.answers == 1 && lab.snapshot.cacheStore?.usage.limit == 2 << 20)
        let client = try lab.ask(1, "/a")[0]
        lab.world.run(for: .seconds(1))
        #expect(client.isAnswered(200, "a1") && lab.origin.seen.count == 1)
        try lab.end()
    }

    /// One URI on two routes, which only a field of the request tells apart: neither is served what the other's upstream said (case E17).
    @Test func E17_routesAndCanariesAreKeptApart() throws {
        let lab = try Lab(
            routes: """
                  - { match: { path: "/*", headers: { x-tenant: b } }, to: b, filters: [{ cache: {} }] }
                  - { match: { path: "/canary" }, to: a, filters: [{ cache: {} }, { canary: { to: b, header: x-canary } }] }
                  - { match: { path: "/*" }, to: a, filters: [{ cache: {} }] }
                """)
        for _ in 0..<2 {
            for (path, field, body) in [
                ("/x", "Accept: */*", "x1"), ("/x", "X-Tenant: b", "b x1"), ("/canary", "X-Canary: never", "canary1"),
                ("/canary", "X-Canary: always", "b canary1"),
            ] {
                let client = try lab.ask(1, path, field)[0]
                lab.world.run(for: .seconds(1))
                #expect(client.isAnswered(200, body), "\(path) \(field): \(client.heard)")
            }
        }
        #expect(lab.origin.seen.count == 2 && lab.other.seen.count == 2)
        try lab.end()
    }

    /// What changes a thing may come by another route than what reads it.
    @Test func aChangeByAnotherRouteEndsWhatIsStored() throws {
        let lab = try Lab(
            routes: """
                  - { match: { path: "/*", methods: [POST] }, to: b, filters: [{ cache: {} }] }
                  - { match: { path: "/*" }, to: a, filters: [{ cache: {} }] }
                """)
        for body in ["x1", "x1", nil, "x2"] {
            guard let body else {
                _ = try lab.say("POST /x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                lab.world.run(for: .seconds(1))
                continue
            }
            let client = try lab.ask(1, "/x")[0]
            lab.world.run(for: .seconds(1))
            #expect(client.isAnswered(200, body), "\(client.heard)")
        }
        try lab.end()
    }

    /// Where the route falls back to another upstream, its answer is not kept for what the first one would say.
    @Test func theAnswerOfAFallbackIsNotStored() throws {
        let lab = try Lab(
            routes: """
                  - { match: { path: "/*" }, to: a, fallback: { on: [unreachable], to: b }, filters: [{ cache: {} }] }
                """)
        lab.origin.listener?.abort()
        for n in 1...2 {
            let client = try lab.ask(1, "/x")[0]
            lab.world.run(for: .seconds(2))
            #expect(client.isAnswered(200, "b x\(n)") && client.heard.contains("detail=fallback"), "\(client.heard)")
        }
        #expect(lab.snapshot.cacheStore?.usage.answers == 0)
        try lab.end()
    }

    /// A stored answer is served only to who was let in: all that asks for credentials, counts or turns away comes first.
    @Test func theCacheIsBehindWhateverTurnsRequestsAway() {
        for rank in FilterRank.allCases where rank < .headers { #expect(rank < .cache) }
        #expect(FilterRank.forwardAuth < .cache && FilterRank.rateLimitByIdentity < .cache && FilterRank.ipList < .cache)
        #expect(FilterRank.compress < .cache, "what is compressed is not what is stored")
        #expect(FilterRank.cache < .transform && FilterRank.cache < .aggregate)
    }

    @Test func anObjectThatWouldEmptyTheStoreIsAnError() throws {
        #expect(throws: GatewayError.self) { _ = try Lab(filter: "object_bytes: 32MiB") }
    }

    @Test func oneSeedGivesOneLog() throws {
        func log() throws -> [UInt8] {
            let lab = try Lab(filter: "stale_if_error: 10m, object_bytes: 100KiB", cacheBytes: "1MiB")
            lab.origin.delay = .milliseconds(20)
            for round in 0..<5 {
                for n in 0..<20 { _ = try lab.ask(3, "/\(n % (round + 3))") }
                lab.world.run(for: .seconds(31))
            }
            try lab.end()
            return lab.world.log
        }
        #expect(try log() == log())
    }
}

/// A gateway of two reactors with a cache on its only route, an origin whose answers are numbered, and clients that ask once.
private final class Lab {
    let world = SimulatedWorld(seed: 5)
    let origin: CountingOrigin
    /// Behind the upstream b.
    let other: CountingOrigin
    private(set) var snapshot: GatewaySnapshot
    /// Exchanges go on by the one that they began with.
    private var before: [GatewaySnapshot] = []
    private var gateways: [GatewayReactor] = []
    private let clients: TransportContext
    private let registry = MetricsRegistry(shards: 2)
    private let route: String
    private let path: String
    /// Connections of each reactor.
    var connections: [Int] { gateways.map(\.connectionCount) }

    init(
        filter: String = "", guarded: String = "", upstream: String = "", route: String = "", path: String = "/*",
        cacheControl: String = "max-age=60", cacheBytes: String = "64MiB", routes: String? = nil
    ) throws {
        self.route = route
        self.path = path
        snapshot = try Lab.compile(
            filter: filter, guarded: guarded, upstream: upstream, route: route, path: path, routes: routes, cacheBytes: cacheBytes,
            registry, world,
            nil)
        for shard in 0..<2 {
            let gateway = GatewayReactor(
                context: TransportContext(reactor: world.makeReactor(host: "10.0.0.1")), shard: shard, of: 2, snapshot: snapshot,
                connections: ConnectionCount(), accessLane: nil)
            try gateway.open()
            gateways.append(gateway)
        }
        origin = CountingOrigin(world, cacheControl: cacheControl)
        other = CountingOrigin(world, cacheControl: cacheControl, prefix: "b ")
        let context = TransportContext(reactor: world.makeReactor(host: "10.0.0.9"))
        origin.listener = try ServerListener(
            on: #require(SocketAddress.parse("10.0.0.9:9001")), context: context, tls: nil, settings: ServerSettings(),
            connectionSettings: Connection.Settings(), service: origin)
        other.listener = try ServerListener(
            on: #require(SocketAddress.parse("10.0.0.9:9002")), context: context, tls: nil, settings: ServerSettings(),
            connectionSettings: Connection.Settings(), service: other)
        clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.2"))
    }

    private static func compile(
        filter: String, guarded: String = "", upstream: String = "", route: String, path: String, routes: String? = nil,
        cacheBytes: String,
        _ registry: MetricsRegistry, _ world: SimulatedWorld, _ previous: GatewaySnapshot?
    ) throws -> GatewaySnapshot {
        let configuration = try Configuration.parse(
            text: """
                cache: { bytes: \(cacheBytes) }
                listeners: [{ name: l, address: 10.0.0.1:80 }]
                upstreams: { a: { endpoints: [10.0.0.9:9001], guard: { \(guarded) }\(upstream) }, b: { endpoints: [10.0.0.9:9002] } }
                routes:
                \(routes ?? "  - { match: { path: \"\(path)\" }, to: a\(route), filters: [{ cache: { \(filter) } }] }")
                """, file: "x.yaml"
        ).configuration
        var compiler = SnapshotCompiler(
            configuration, registry: registry, ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw, previous: previous)
        return try compiler.compile()
    }

    func reload(filter: String, cacheBytes: String) throws {
        before.append(snapshot)
        snapshot = try Lab.compile(filter: filter, route: route, path: path, cacheBytes: cacheBytes, registry, world, snapshot)
        for gateway in gateways { try gateway.adopt(snapshot) }
        snapshot.applyGuardSettings(now: world.now)
    }

    func say(_ text: String) throws -> CacheClient {
        let address = try #require(SocketAddress.parse("10.0.0.1:80"))
        let client = CacheClient(text)
        client.connection = Connection(
            connecting: try clients.reactor.network.connect(to: address), peer: address, context: clients, tls: nil,
            settings: Connection.Settings(), handler: client)
        return client
    }

    func ask(_ count: Int, _ path: String, _ field: String = "Accept: */*") throws -> [CacheClient] {
        try (0..<count).map { _ in
            try say("GET \(path) HTTP/1.1\r\nHost: shop.example\r\n\(field)\r\nConnection: close\r\n\r\n")
        }
    }

    func end() throws {
        world.run(for: .seconds(10))
        #expect(snapshot.upstreams[0].guardian.snapshot().permitsInUse == 0, "a permit is out")
        for gateway in gateways { #expect(gateway.isDrained, "an exchange is left") }
        for gateway in gateways { gateway.abort() }
        origin.listener?.abort()
        other.listener?.abort()
    }
}

private final class CacheClient: ConnectionHandler {
    private let text: String
    var connection: Connection?
    private(set) var heard = ""

    init(_ text: String) { self.text = text }

    func isAnswered(_ status: Int, _ body: String) -> Bool {
        heard.hasPrefix("HTTP/1.1 \(status) ") && heard.hasSuffix("\r\n\r\n\(body)")
    }

    override func established(_ connection: Connection) { connection.write(Array(text.utf8).span) }

    override func received(_ input: inout ByteBuffer) {
        input.withReadable { heard += String(copying: $0) }
        input.removeAll()
    }

    override func receivedEnd(truncated: Bool) { connection?.close() }
}

/// Answers the n-th request for `/x` with `xn`, and with an ETag of that.
private final class CountingOrigin: RequestService {
    private let world: SimulatedWorld
    private let cacheControl: String
    private let prefix: String
    var listener: ServerListener?
    private(set) var seen: [String] = []
    private(set) var heads: [[String: String]] = []
    var delay = Duration.zero
    var status = 200
    var breaksOff = false
    var bodyBytes = 0
    private var counts: [String: Int] = [:]

    init(_ world: SimulatedWorld, cacheControl: String, prefix: String = "") {
        self.prefix = prefix
        self.world = world
        self.cacheControl = cacheControl
    }

    func handle(_ exchange: ServerExchange) {
        let path = exchange.head.string(exchange.head.path)
        seen.append("\(exchange.head.string(exchange.head.methodText)) \(path)")
        var fields: [String: String] = [:]
        for i in 0..<exchange.head.fields.count where exchange.head.fields.isLive(i) {
            fields[exchange.head.fields.name(i)] = exchange.head.fields.string(i)
        }
        heads.append(fields)
        counts[path, default: 0] += 1
        let word = prefix + "\(path.dropFirst())\(counts[path] ?? 0)"
        let handler = Answering(self, exchange, word)
        exchange.handler = handler
        if delay == .zero { handler.answer() } else { world.after(delay) { handler.answer() } }
    }

    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) { exchange.abort(reason) }

    private final class Answering: RequestHandler {
        private let origin: CountingOrigin
        private var exchange: ServerExchange?
        private let word: String

        init(_ origin: CountingOrigin, _ exchange: ServerExchange, _ word: String) {
            self.origin = origin
            self.exchange = exchange
            self.word = word
        }

        func answer() {
            guard let exchange else { return }
            self.exchange = nil
            let body = Array(word.utf8) + [UInt8](repeating: 120, count: origin.bodyBytes)
            let answer = ResponseHead()
            answer.status = origin.status
            answer.framing = .length(UInt64(body.count))
            if origin.status == 200 {
                answer.fields.append("cache-control", origin.cacheControl)
                answer.fields.append("etag", "\"\(word)\"")
            }
            exchange.respond(answer, endStream: false)
            if origin.breaksOff {
                exchange.write(body.span.extracting(0..<1))
                exchange.abort(.internal)
                return
            }
            exchange.write(body.span)
            exchange.finish()
        }

        func requestBody(_ bytes: Span<UInt8>) { exchange?.consumed(bytes.count) }
        func requestEnded() {}
        func requestWithdrawn() { exchange = nil }
        func requestAborted(_ reason: Reason, detail: StaticString) { exchange = nil }
        func responseDrained() {}
    }
}
