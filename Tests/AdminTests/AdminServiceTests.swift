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

@testable import Admin
@testable import Gateway
@testable import Transport

/// What operators read and change on the admin listener, in memory and on virtual time.
@Suite struct AdminServiceTests {
    /// Says one request and hears one answer.
    private final class Client: ConnectionHandler {
        private(set) var heard = ""
        private let request: String

        init(_ request: String) { self.request = request }

        override func established(_ connection: Connection) { connection.write(Array(request.utf8).span) }

        override func received(_ input: inout ByteBuffer) {
            input.withReadable { heard += String(copying: $0) }
            input.removeAll()
        }
    }

    private final class Lab {
        let world = SimulatedWorld(seed: 1)
        let gateway: GatewayReactor
        private let sink: LogSink
        private let listener: ServerListener
        private let clients: TransportContext
        private let address: SocketAddress

        init(token: String? = "correct horse battery staple", trusted: Bool = false) throws {
            // A variable for each token: tests run side by side.
            let variable = "HOLDFAST_TEST_TOKEN_\(token?.utf8.count ?? 0)"
            unsafe setenv(variable, token ?? "", 1)
            let configuration = try Configuration.parse(
                text: """
                    trusted_networks: [\(trusted ? "10.0.0.2/32" : "10.9.9.9/32")]
                    listeners: [{ name: l, address: 10.0.0.1:80 }]
                    \(token == nil ? "" : "admin_token: { env: \(variable) }")
                    upstreams:
                      users: { endpoints: [10.0.0.9:9001, 10.0.0.9:9002] }
                      orders: { endpoints: [10.0.0.9:9003] }
                    routes: [{ match: { path: "/*" }, to: users }]
                    """, file: "x.yaml"
            ).configuration
            let registry = MetricsRegistry(shards: 1)
            var compiler = SnapshotCompiler(
                configuration, registry: registry, ticketKeys: nil, now: .origin, wallTime: nil, draw: world.draw, previous: nil)
            gateway = GatewayReactor(
                context: TransportContext(reactor: world.makeReactor(host: "10.0.0.1")), shard: 0, snapshot: try compiler.compile(),
                connections: ConnectionCount(), accessLane: nil)
            sink = try LogSink(.memory)
            gateway.lookAfterBreakers(OperationalLog(sink: sink, wallNanoseconds: { 0 }))
            address = try #require(SocketAddress.parse("10.0.0.1:9901"))
            listener = try ServerListener(
                on: address, context: gateway.context, tls: nil, settings: ServerSettings(allowsHTTP2: false),
                connectionSettings: Connection.Settings(), service: AdminService(registry: registry, gateway: gateway))
            clients = TransportContext(reactor: world.makeReactor(host: "10.0.0.2"))
        }

        func ask(
            _ method: String, _ target: String, _ fields: String = "", host: String = "127.0.0.1:9901",
            at place: SocketAddress? = nil
        )
            throws -> String
        {
            let client = Client("\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\(fields)\r\n")
            _ = Connection(
                connecting: try clients.reactor.network.connect(to: place ?? address), peer: place ?? address, context: clients,
                tls: nil,
                settings: Connection.Settings(), handler: client)
            world.run(for: .milliseconds(10))
            return client.heard
        }

        func change(_ target: String, token: String = "correct horse battery staple") throws -> String {
            try ask("POST", target, "Authorization: Bearer \(token)\r\n")
        }

        func state(_ name: String) -> GuardSnapshot? {
            gateway.snapshot.upstreams.first { $0.name == name }?.guardian.snapshot(now: world.now)
        }

        var said: String {
            var bytes = ByteBuffer()
            sink.collect(into: &bytes)
            return bytes.withReadable { String(copying: $0) }
        }

        func end() { listener.abort() }
    }

    @Test func upstreamsAreShownAsJSON() throws {
        let lab = try Lab()
        let answer = try lab.ask("GET", "/upstreams")
        let body = try #require(answer.components(separatedBy: "\r\n\r\n").last)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
        let upstreams = try #require(object["upstreams"] as? [[String: Any]])
        #expect(upstreams.compactMap { $0["name"] as? String } == ["users", "orders"])
        #expect((upstreams[0]["breaker"] as? [String: Any])?["state"] as? String == "closed")
        #expect((upstreams[0]["bulkhead"] as? [String: Any])?["permits"] as? Int == 256)
        #expect((upstreams[0]["endpoints"] as? [[String: Any]])?.count == 2)
        lab.end()
    }

    @Test func aBreakerIsForcedForATimeAndLoggedWithItsReason() throws {
        let lab = try Lab()
        let answer = try lab.change("/upstreams/users/breaker?state=open&for=10s&reason=deploy+of+v2%21")
        #expect(
            answer.hasPrefix("HTTP/1.1 200 ") && answer.contains("\"state\":\"forced_open\"") && answer.contains("deploy of v2!"))
        #expect(lab.state("users")?.override == .forcedOpen && lab.state("orders")?.override == .automatic)
        lab.world.run(for: .milliseconds(9_900))
        #expect(lab.state("users")?.override == .forcedOpen)
        lab.world.run(for: .milliseconds(200))
        #expect(lab.state("users")?.override == .automatic)
        let said = lab.said
        #expect(said.contains("warning breaker forced by hand upstream=users state=forced_open"), "\(said)")
        #expect(said.contains("automatic again, the time is up upstream=users"), "\(said)")
        lab.end()
    }

    @Test(arguments: [("closed", CircuitBreaker.Override.forcedClosed), ("disabled", .disabled), ("open", .forcedOpen)])
    func whatIsForcedCanBeLifted(state: String, override: CircuitBreaker.Override) throws {
        let lab = try Lab()
        _ = try lab.change("/upstreams/orders/breaker?state=\(state)&for=1h&reason=x")
        #expect(lab.state("orders")?.override == override)
        // Another word takes the place of the first, with a time of its own.
        _ = try lab.change("/upstreams/orders/breaker?state=closed&for=2h&reason=y")
        lab.world.run(for: .seconds(5_400))
        #expect(lab.state("orders")?.override == .forcedClosed)
        _ = try lab.change("/upstreams/orders/breaker?state=automatic&reason=done")
        #expect(lab.state("orders")?.override == .automatic && lab.gateway.overrides?.entries.isEmpty == true)
        lab.end()
    }

    @Test func aBreakerThatOpenedIsResetByHand() throws {
        let lab = try Lab()
        let guardian = try #require(lab.gateway.snapshot.upstreams.first).guardian
        for n in 0..<30 as Range<UInt64> {
            if case .admitted(let permit) = guardian.admit(now: lab.world.now, request: n, isFirstAttempt: true) {
                permit.report(Outcome(.failure, reason: .statusFailure, processed: .yes), now: lab.world.now)
            }
        }
        #expect(try lab.ask("GET", "/upstreams").contains("\"state\":\"open\",\"open_for_ms\":"))
        _ = try lab.change("/upstreams/users/breaker?state=reset&reason=fixed")
        let state = try #require(lab.state("users"))
        #expect(state.breaker == .closed && state.evidence.completed == 0 && state.openings == 0)
        lab.end()
    }

    @Test(arguments: [
        ("/upstreams/users/breaker", "state is missing"), ("/upstreams/users/breaker?state=open&for=1m", "reason is missing"),
        ("/upstreams/users/breaker?state=open&reason=x", "for is missing"),
        ("/upstreams/users/breaker?state=open&reason=x&for=25h", "at most 24h"),
        ("/upstreams/users/breaker?state=open&reason=x&for=0s", "at most 24h"),
        ("/upstreams/users/breaker?state=open&reason=x&for=10", "expected a duration"),
        ("/upstreams/users/breaker?state=ajar&reason=x", "state is ajar"),
        ("/upstreams/users/breaker?state=reset&reason=x&force=1", "no parameter force"),
        ("/upstreams/nobody/breaker?state=reset&reason=x", "no such upstream"),
        ("/cache/purge", "say one of url, tag and all=true"), ("/cache/purge?url=x&tag=y", "say one of"),
        ("/cache/purge?url=www.example.com", "expected a whole one"), ("/cache/purge?url=ftp%3A%2F%2Fa%2F", "expected a whole one"),
        ("/cache/purge?tag=a+b", "one word"), ("/cache/purge?tag=", "one word"), ("/cache/purge?all=yes", "all has to be true"),
        ("/cache/purge?everything=true", "no parameter everything"),
    ])
    func whatIsAskedBadlyIsSaid(target: String, said: String) throws {
        let lab = try Lab()
        let answer = try lab.change(target)
        #expect(answer.hasPrefix("HTTP/1.1 40") && answer.contains(said), "\(answer)")
        #expect(lab.state("users")?.override == .automatic)
        lab.end()
    }

    /// A change needs a POST, the token, and a host of this machine (case E23).
    @Test func nobodyElseChangesAnything() throws {
        let lab = try Lab()
        let target = "/upstreams/users/breaker?state=open&for=1h&reason=x"
        #expect(try lab.ask("GET", target).hasPrefix("HTTP/1.1 405 "))
        #expect(try lab.ask("POST", target).hasPrefix("HTTP/1.1 401 "))
        for token in ["", "wrong", "correct horse battery stapl", "correct horse battery staple!", "correct horse battery staplE"] {
            #expect(try lab.change(target, token: token).hasPrefix("HTTP/1.1 401 "), "\(token)")
        }
        let twice = "Authorization: Bearer correct horse battery staple\r\n"
        #expect(try lab.ask("POST", target, twice + twice).hasPrefix("HTTP/1.1 401 "))
        #expect(try lab.ask("POST", target, twice, host: "evil.example").hasPrefix("HTTP/1.1 421 "))
        #expect(lab.state("users")?.override == .automatic)
        lab.end()
        let without = try Lab(token: nil)
        #expect(try without.change(target).hasPrefix("HTTP/1.1 403 "))
        #expect(without.state("users")?.override == .automatic)
        without.end()
    }

    @Test(arguments: ["/cache/purge?all=true", "/cache/purge?tag=x", "/cache/purge?url=https%3A%2F%2Fa.example%2Fx"])
    func aPurgeNeedsTheTokenToo(target: String) throws {
        let lab = try Lab()
        #expect(try lab.ask("GET", target).hasPrefix("HTTP/1.1 405 "))
        #expect(try lab.ask("POST", target).hasPrefix("HTTP/1.1 401 "))
        #expect(try lab.change(target, token: "wrong").hasPrefix("HTTP/1.1 401 "))
        #expect(try lab.change(target).hasSuffix("{\"purged\":0}\n"))
        #expect(lab.said.contains("warning cache purged by hand what="))
        #expect(try lab.ask("GET", "/cache").hasSuffix("{\"answers\":0,\"bytes\":0,\"limit_bytes\":0,\"evictions\":0}\n"))
        #expect(try lab.change("/cache").hasPrefix("HTTP/1.1 405 "))
        lab.end()
    }

    /// A request that went wrong is explained by its id; one that nobody knows is said to be unknown.
    @Test func aFailedRequestIsExplained() throws {
        let lab = try Lab()
        try lab.gateway.open()
        let port = try #require(SocketAddress.parse("10.0.0.1:80"))
        let heard = try lab.ask("GET", "/x", "X-Request-Id: abc-123\r\n", host: "shop.example", at: port)
        #expect(heard.hasPrefix("HTTP/1.1 502 "))
        let answer = try lab.ask("GET", "/explain/abc-123")
        let body = try #require(answer.components(separatedBy: "\r\n\r\n").last)
        let record = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
        #expect(record["request_id"] as? String == "abc-123" && record["upstream"] as? String == "users")
        #expect(record["reason"] as? String == "connect.failed" && record["status"] as? Int == 502)
        let decisions = try #require(record["decisions"] as? [[String: Any]])
        #expect(
            decisions.compactMap { $0["step"] as? String } == ["admitted", "failed", "retry", "admitted", "failed", "no_retry"])
        #expect(decisions[1]["endpoint"] as? String != decisions[4]["endpoint"] as? String, "two endpoints, one after the other")
        #expect(decisions[2]["wait_us"] as? Int == 0 && decisions[5]["reason"] as? String == "retry.max")
        #expect(decisions[5]["failed"] as? Int == 2 && decisions[5]["permits"] as? Int == 256)
        #expect(try lab.ask("GET", "/explain/nobody").hasPrefix("HTTP/1.1 404 "))
        lab.gateway.abort()
        lab.end()
    }

    /// A trusted caller gets the decisions in a header if it asks; nobody else does.
    @Test(arguments: [true, false])
    func whoAsksIsTold(trusted: Bool) throws {
        let lab = try Lab(trusted: trusted)
        try lab.gateway.open()
        let port = try #require(SocketAddress.parse("10.0.0.1:80"))
        let heard = try lab.ask("GET", "/x", "X-Holdfast-Explain: 1\r\n", host: "shop.example", at: port)
        #expect(heard.contains("x-holdfast-explain: 0us admitted #1 (closed 0/0 failed, 1/256 permits, ") == trusted, "\(heard)")
        lab.gateway.abort()
        lab.end()
    }

    @Test func theStoreForgetsTheOldest() {
        let store = ExplainStore(capacity: 3)
        func id(_ n: Int) -> [UInt8] { Array("r\(n)".utf8) }
        for n in 0..<5 { store.keep(id(n), [UInt8(n)]) }
        #expect((0..<5).map { store.find(id($0)) } == [nil, nil, [2], [3], [4]])
        store.setCapacity(2)
        #expect((0..<5).map { store.find(id($0)) } == [nil, nil, nil, [3], [4]])
        store.keep(id(4), [99])
        #expect(store.find(id(4)) == [99] && store.count == 2)
        store.setCapacity(0)
        store.keep(id(1), [1])
        #expect(store.find(id(1)) == nil)
    }

    @Test func aShortTokenIsRefusedAtTheStart() {
        let thrown = #expect(throws: GatewayError.self) { _ = try Lab(token: "short") }
        #expect(thrown?.description.contains("at least 16 are needed") == true && thrown?.description.contains("short\"") == false)
    }
}
