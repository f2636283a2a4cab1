// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Resilience
import Testing

@testable import Configuration

/// What edge.yaml says arrives in the model, key by key.
struct EdgeModelTests {
    let edge: Configuration

    init() throws {
        edge = try Configuration.parse(
            text: try Checkout.text("config/edge.yaml"), file: "config/edge.yaml", surroundings: .assumed
        ).configuration
    }

    @Test func top() throws {
        #expect(edge.threads == 4)
        #expect(edge.serverName == "edge-fra-1")
        #expect(edge.seed == 42)
        #expect(edge.trustedNetworks == [try #require(IPNetwork("10.0.0.0/8")), try #require(IPNetwork("fd00::/8"))])
        #expect(edge.admin == .ip(IPAddress(127, 0, 0, 1), port: 9901))
        #expect(edge.cache.bytes == 64 << 20)
        #expect(edge.drain == .seconds(30))
        #expect(edge.requestID.keep == .trusted)
        #expect(edge.requestID.answer)
        #expect(edge.accessLog == Configuration.AccessLog())
        #expect(edge.limits == Configuration.Limits())
        var overload = Configuration.Overload()
        overload.memoryLimit = 2 << 30
        #expect(edge.overload == overload)
    }

    @Test func listeners() throws {
        var open = Configuration.Listener(name: "public", address: .ip(IPAddress(0, 0, 0, 0), port: 8443))
        var tls = Configuration.ListenerTLS()
        tls.certificates = [
            Configuration.Certificate(chain: "config/edge.pem", key: Secret(.file("config/edge.key"))),
            Configuration.Certificate(chain: "config/edge-rsa.pem", key: Secret(.file("config/edge-rsa.key"))),
            Configuration.Certificate(chain: "config/partner.pem", key: Secret(.environment("PARTNER_KEY_PEM"))),
        ]
        tls.ciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]
        tls.ciphersuites = ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"]
        tls.curves = ["X25519", "P-256"]
        tls.clientCA = "config/internal.pem"
        tls.clientCertificates = .optional
        open.tls = tls
        open.connections = 8_000
        let clear = Configuration.Listener(name: "clear", address: .ip(try #require(IPAddress("::")), port: 8080))
        #expect(edge.listeners == [open, clear])
    }

    @Test func upstreams() throws {
        var users = Configuration.Upstream(name: "users")
        users.endpoints = [
            Configuration.Endpoint(address: .ip(IPAddress(10, 0, 0, 1), port: 9001)),
            Configuration.Endpoint(address: .ip(IPAddress(10, 0, 0, 2), port: 9001)),
            Configuration.Endpoint(address: .unix("/run/users.sock")),
        ]
        users.endpoints[1].weight = 2
        var tls = Configuration.UpstreamTLS()
        tls.ca = "config/internal.pem"
        tls.serverName = "users.internal"
        tls.clientCertificate = Configuration.Certificate(
            chain: "config/edge-client.pem", key: Secret(.file("config/edge-client.key")))
        users.tls = tls
        var check = Configuration.HealthCheck()
        check.path = "/healthz"
        check.statuses = [200...299]
        check.host = "users.internal"
        users.healthCheck = check
        users.guardSettings.hedging = HedgeSettings()
        users.guardSettings.throttle = ThrottleSettings()
        users.balance = .hash
        users.hashKey = .header("x-user")
        users.guardSettings.breaker.halfOpenWait = .seconds(10)
        var cusum = CUSUMSettings()
        cusum.baseline = Share(tenThousandths: 100)
        users.guardSettings.breaker.cusum = cusum
        users.guardSettings.retries.retryOn = [.reason("connect"), .reason("tls"), .reason("reset.before_headers"), .status(503)]
        users.guardSettings.bulkhead.queue = 128
        var adaptive = AdaptiveSettings()
        adaptive.maximum = 200
        adaptive.latency = .milliseconds(250)
        users.guardSettings.bulkhead.adaptive = adaptive
        users.guardSettings.bulkhead.shares = PriorityShares(bulk: 8)
        #expect(edge.upstream(named: "users") == users)

        let orders = try #require(edge.upstream(named: "orders"))
        #expect(orders.guardSettings.timeouts.total == .seconds(30))
        #expect(orders.guardSettings.timeouts.perTry == .seconds(10))
        #expect(orders.guardSettings.timeouts.connect == .milliseconds(500))
        #expect(edge.upstreams.map(\.name) == ["users", "orders", "orders-next"])
        var name = Configuration.DNS(name: "orders-next.internal", port: 9001)
        name.servers = [.ip(IPAddress(10, 0, 0, 2), port: 53), .ip(try #require(IPAddress("fd00::2")), port: 5353)]
        #expect(edge.upstreams[2].dns == name && edge.upstreams[2].endpoints.isEmpty)
        #expect(orders.dns == nil)
    }

    @Test func routes() throws {
        let routes = edge.routes
        #expect(routes.count == 11)
        #expect(routes[0].name == "users")
        #expect(routes[0].match.hosts == [.exact("api.example.com"), .below("api.example.com")])
        #expect(routes[0].match.path == Configuration.PathPattern(segments: [.literal("users")], matchesRest: true))
        #expect(routes[0].action == .upstream("users"))
        #expect(routes[0].stripPrefix == "/users")

        #expect(routes[1].match.path?.segments == [.literal("orders"), .parameter("id"), .literal("items")])
        #expect(routes[1].match.methods == ["GET", "HEAD"])
        #expect(routes[1].match.headers == [Configuration.FieldMatch(name: "x-beta", value: nil)])
        #expect(routes[1].match.query == [Configuration.FieldMatch(name: "view", value: "full")])
        #expect(routes[1].rewrite?.description == "/v2/items/{id}")
        var timeouts = Configuration.TimeoutOverrides()
        timeouts.total = .after(.seconds(20))
        timeouts.perTry = .after(.seconds(8))
        timeouts.firstByte = .after(.seconds(5))
        timeouts.idle = .off
        timeouts.totalIncludesBody = true
        #expect(routes[1].timeouts == timeouts)
        #expect(routes[1].priority == .high && routes[0].priority == .critical)
        #expect(routes[1].idempotent)
        #expect(routes[1].retries.attempts == 2)
        #expect(routes[1].retries.retryOn == [.reason("connect"), .reason("reset.before_headers"), .status(503)])
        #expect(!routes[1].allowEncodedSlash)

        #expect(routes[2].action == .split([.init(upstream: "orders", weight: 95), .init(upstream: "orders-next", weight: 5)]))
        #expect(routes[2].upstreamNames == ["orders", "orders-next"])

        #expect(routes[3].match.path == nil)
        let redirect = Configuration.Redirect(
            to: .init(pieces: [.literal("https://api.example.com"), .variable("path"), .variable("query")]))
        #expect(routes[3].action == .redirect(redirect))

        #expect(
            routes.map(\.label) == [
                "users", "/orders/{id}/items", "/orders/*", "old.example.com/*", "/healthz", "/orders/recent", "portal", "members",
                "staff", "dashboard", "legacy-orders",
            ])

        var answer = Configuration.Answer()
        answer.headers = [.init(name: "content-type", value: "application/json"), .init(name: "cache-control", value: "no-store")]
        answer.body = #"{"status":"ok"}"#
        #expect(routes[4].action == .answer(answer))
    }

    @Test func whoMayComeIn() throws {
        #expect(
            edge.routes[7].filters.map(\.kind) == ["ip_list", "client_certificate", "api_key", "jwt", "forward_auth"])
        #expect(
            Set(edge.routes[7].filters.flatMap(\.identityFields)) == [
                "x-client-subject", "x-client-names", "x-client-fingerprint", "x-consumer", "x-tenant", "x-user",
            ])
        guard case .jwt(let jwt) = edge.routes[7].filters[3] else {
            Issue.record("the fourth is jwt")
            return
        }
        var keys = Configuration.JWTFilter.RemoteKeys()
        keys.upstream = "orders"
        #expect(jwt.keys == .remote(keys))
        #expect(jwt.algorithms == [.rs256, .es256, .edDSA])
        #expect(jwt.issuers == ["https://login.example.com"] && jwt.audiences == ["members", "partners"])
        #expect(jwt.rules == [.init(claim: "realm.roles", values: ["member", "admin"])] && jwt.scopes == ["members:read"])
        #expect(jwt.claimHeaders == [.init(header: "x-tenant", claim: "org.tenant")])
        guard case .basic(let basic) = edge.routes[8].filters[0] else {
            Issue.record("the first is basic")
            return
        }
        #expect(basic.usersFile == "config/users.yaml" && basic.realm == "staff" && basic.strip)
    }

    @Test func overridesTakeTheUpstreamsPlace() {
        let upstream = TimeoutSettings()
        let applied = edge.routes[1].timeouts.applied(to: upstream)
        #expect(applied.total == .seconds(20))
        #expect(applied.idle == nil)
        #expect(applied.connect == upstream.connect)
        #expect(Configuration.TimeoutOverrides().applied(to: upstream) == upstream)
    }
}
