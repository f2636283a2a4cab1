// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import HTTP
import Reactor
import Resilience
import TLS
import Telemetry
import Testing
import Transport
import Upstream

@testable import Configuration
@testable import Gateway

/// A configuration with each key at a value that is not its default, followed to what the gateway runs by.
@Suite struct EveryKeyTests {
    /// Every key of the schema, none at its default.
    static let text = """
        threads: 3
        server_name: edge-test
        seed: 42
        trusted_networks: [10.0.0.0/8, "fd00::/8", 192.0.2.1]
        admin: 127.0.0.1:9902
        admin_token: { env: HOLDFAST_TEST_ADMIN_TOKEN }
        cache: { bytes: 8MiB }
        drain: 7s
        request_id: { keep: trusted, answer: false }
        access_log: { format: text, path: access.log, sampling: 25% }
        explain: { keep: 50, rate: 7, sampling: 2% }
        redis: { servers: 127.0.0.1:6390, cluster: false, tls: { server_name: redis.internal }, username: gateway, password: { env: HOLDFAST_TEST_ADMIN_TOKEN }, database: 3, prefix: "edge:", timeout: 250ms, pipeline: 500 }
        limits:
          header_bytes: 32KiB
          header_count: 50
          cookie_crumbs: 60
          uri_bytes: 4KiB
          header_timeout: 3s
          body_bytes: 1MiB
          replay_bytes: 3MiB
          chunk_extension_bytes: 2KiB
          body_idle_timeout: 4s
          body_minimum_rate: 700B/second
          write_timeout: 6s
          connections: 500
          handshakes: 50
          requests_per_connection: 77
          keep_alive_timeout: 8s
          connection_max_age: 9m
          http2_glitches: 150
          http2_glitches_forgiven: 15/second
          informational_responses: 5
          upstream_header_bytes: 16KiB
          upstream_header_count: 70
        overload: { lag: 300ms, memory: 70%, memory_limit: 512MiB, descriptors: 60% }
        listeners:
          - name: public
            address: 127.0.0.1:8443
            tls:
              certificates:
                - { chain: edge.pem, key: edge.key }
                - { chain: other.pem, key: { file: other.key } }
                - { chain: third.pem, key: { env: HOLDFAST_TEST_KEY } }
              unknown_server_name: refuse
              protocols: [http/1.1, h2]
              min_version: 1.3
              max_version: 1.3
              ciphers: [ECDHE-ECDSA-CHACHA20-POLY1305]
              ciphersuites: [TLS_CHACHA20_POLY1305_SHA256]
              curves: [P-521]
              client_ca: ca.pem
              client_certificates: required
              ticket_rotation: 1h
              handshake_timeout: 2s
            http2:
              max_concurrent_streams: 64
              stream_window: 128KiB
              connection_window: 2MiB
              max_frame_size: 32KiB
              header_table_size: 8KiB
            forwarded: { x_forwarded_for: replace, x_forwarded_proto: off, x_forwarded_host: replace, forwarded: append }
            limits: { connections: 300 }
          - name: plain
            address: 127.0.0.1:8444
            tls: { certificates: [{ chain: edge.pem, key: edge.key }], protocols: [http/1.1], ticket_rotation: off }
        upstreams:
          users:
            endpoints: [{ address: 127.0.0.1:9001, weight: 3 }, "unix:/run/users.sock"]
            protocol: h2
            tls:
              ca: ca.pem
              server_name: users.internal
              verify: false
              client_certificate: { chain: edge.pem, key: edge.key }
              min_version: 1.3
            balance: hash
            hash_key: cookie:session
            slow_start: { window: 40s, aggression: 1.5, floor: 20% }
            panic_threshold: 40%
            outlier_detection:
              enforce: false
              interval: 11s
              consecutive_failures: 6
              consecutive_local_origin: 7
              failure_percentage: 80%
              success_rate_distance: 6%
              latency_factor: 2.5
              latency_distance: 60ms
              latency_intervals: 3
              minimum_volume: 40
              minimum_hosts: 4
              base_time: 20s
              max_time: 200s
              jitter: 10%
              max_ejected: 50%
              probe_wait: 4s
            host: upstream
            attempt_headers: false
            health_check:
              kind: http
              path: /health?deep=1
              host: check.internal:8080
              statuses: [200, 300-399]
              interval: 5s
              timeout: 900ms
              unhealthy_after: 4
              healthy_after: 3
              jitter: 5%
            pool: { connections: 11, idle: 12, idle_timeout: 13s, max_requests: 14, max_age: 15m }
            keepalive: { idle: 16s, interval: 17s, count: 4 }
            tcp_user_timeout: 18s
            guard:
              timeouts:
                total: 20s
                per_try: 3s
                connect: 400ms
                tls: 500ms
                first_byte: 2s
                idle: 21s
                total_includes_body: true
                minimum_try: 6ms
                hop_margin: 7ms
              breaker:
                disabled: true
                mode: shadow
                window: { kind: time, time: 20s }
                minimum_calls: 10
                failure_rate: 40%
                slow_call: 700ms
                slow_rate: 60%
                consecutive_failures: 9
                cusum: { baseline: 3%, bad: 25%, threshold: 9.25 }
                saturation: false
                half_open_calls: 3
                open_for: 4s
                open_max: 50s
                open_jitter: 10%
                ramp: 6s
                half_open_wait: 12s
              retries:
                attempts: 3
                retry_on: [connect, 503]
                budget: { ratio: 10%, minimum: 2/second, window: 20s }
                backoff_base: 30ms
                backoff_cap: 300ms
                max_retry_after: 4s
                replay_body: 32KiB
              bulkhead:
                concurrent: 20
                queue: 5
                queue_timeout: 60ms
                shares: { critical: 4, high: 3, normal: 2, bulk: 1 }
                adaptive: { rule: gradient2, minimum: 3, maximum: 15, latency: 80ms }
              throttle: { multiplier: 1.5, maximum: 70%, minimum_requests: 30, window: 40s }
              hedging: { quantile: 90%, minimum_delay: 12ms, initial_delay: 80ms }
          counted:
            endpoints: [127.0.0.1:9002]
            guard: { breaker: { window: { kind: count, calls: 30 } } }
          named:
            dns:
              name: Users.Internal.
              port: 9003
              record: address
              servers: [127.0.0.1:5353, "::1"]
              minimum_ttl: 2s
              maximum_ttl: 30s
              timeout: 700ms
              attempts: 3
          services: { dns: { name: _users._tcp.internal, record: srv } }
        routes:
          - name: special
            match:
              host: [api.example]
              path: /users/{id}/*
              methods: [GET]
              headers: { x-beta: present }
              query: { view: full }
            to: users
            strip_prefix: /users
            idempotent: true
            priority: normal
            fallback: { on: [open, unreachable], to: counted }
            allow_encoded_slash: true
            retries: { attempts: 4, retry_on: [tls, 500] }
            timeouts: { total: 25s, per_try: 4s, first_byte: 1s, idle: off, total_includes_body: false }
          - { match: { path: "/items/{id}" }, to: counted, rewrite: "/v2/{id}" }
          - { match: { path: /split }, split: [{ to: users, weight: 1 }, { to: counted, weight: 2 }] }
          - { match: { path: /old }, redirect: { to: "/new", status: 301 } }
          - { match: { path: /fixed }, answer: { status: 418, headers: { x-a: b }, body: tea } }
          - { match: { path: /degraded }, to: users, fallback: { answer: { status: 203, body: soon } } }
        """

    /// Compiled once: reading a key file takes longer than all that follows.
    private struct Compiled {
        var configuration: Configuration
        var snapshot: GatewaySnapshot
        var keys: TicketKeys
        var folder: String
    }

    private static let compiled = Result<Compiled, any Error> { try compile() }

    private static func compile() throws -> Compiled {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-keys-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let authority = try CertificateAuthority(notBefore: 1_600_000_000, notAfter: 4_000_000_000)
        func write(_ text: String, _ name: String) throws {
            try text.write(to: folder.appendingPathComponent(name), atomically: true, encoding: .utf8)
        }
        try write(authority.rootPEM, "ca.pem")
        for name in ["edge", "other", "third"] {
            let issued = try authority.issue(
                .init(names: ["\(name).example"], notBefore: 1_600_000_000, notAfter: 4_000_000_000))
            try write(issued.chain, "\(name).pem")
            try write(issued.key, "\(name).key")
            if name == "third" { unsafe setenv("HOLDFAST_TEST_KEY", issued.key, 1) }
        }
        unsafe setenv("HOLDFAST_TEST_ADMIN_TOKEN", "sixteen bytes long\n", 1)
        try write(text, "edge.yaml")
        let loaded = try Configuration.load(path: folder.appendingPathComponent("edge.yaml").path)
        let keys = TicketKeys()
        var compiler = SnapshotCompiler(
            loaded.configuration, registry: MetricsRegistry(shards: 1), ticketKeys: keys, now: .origin, wallTime: nil,
            draw: Draw(seed: 1), previous: nil)
        return Compiled(
            configuration: loaded.configuration, snapshot: try compiler.compile(), keys: keys, folder: folder.path)
    }

    private func listener() throws -> ListenerPlan {
        let listeners = try Self.compiled.get().snapshot.listeners
        return try #require(listeners.first)
    }

    private func users() throws -> UpstreamCluster {
        let upstreams = try Self.compiled.get().snapshot.upstreams
        return try #require(upstreams.first)
    }

    // MARK: Nothing is forgotten

    /// A key that is added to the schema fails here until it is followed to its effect.
    @Test func everyKeyOfTheSchemaIsInTheText() throws {
        let schema = try JSONSerialization.jsonObject(with: Data(Configuration.jsonSchema().utf8))
        var keys: Set<String> = []
        func collect(_ node: Any) {
            if let object = node as? [String: Any] {
                // Filters have tests of their own, kind by kind; their tables have the word in their names.
                for (name, value) in object where !name.contains("filter") {
                    if name == "properties", let properties = value as? [String: Any] {
                        for (key, schema) in properties where (schema as? [String: Any])?["not"] == nil && schema as? Bool != false
                        {
                            keys.insert(key)
                        }
                    }
                    collect(value)
                }
            } else if let list = node as? [Any] {
                for item in list { collect(item) }
            }
        }
        collect(schema)
        #expect(keys.count > 100)
        let missing = keys.filter { !Self.text.contains("\($0):") }
        #expect(missing.subtracting(["filters"]).isEmpty)
    }

    // MARK: The top

    @Test func theTop() throws {
        let compiled = try Self.compiled.get()
        let configuration = compiled.configuration
        #expect(configuration.threads == 3 && configuration.seed == 42 && configuration.drain == .seconds(7))
        #expect(configuration.cache.bytes == 8 << 20)
        #expect(configuration.admin?.description == "127.0.0.1:9902")
        #expect(compiled.snapshot.adminToken == Array("sixteen bytes long".utf8), "without the line's end")
        #expect(configuration.accessLog?.destination == .file(compiled.folder + "/access.log"))
        let log = try #require(compiled.snapshot.accessLog)
        #expect(log.settings.format == .text && log.sampling == 2_500)
        #expect(compiled.snapshot.requestID.keep == .trusted && !compiled.snapshot.requestID.answers)
        #expect(compiled.snapshot.explain == ExplainPlan(keep: 50, rate: 7, sampling: 200))
        #expect(compiled.snapshot.via == (try ViaField(pseudonym: "edge-test")))
    }

    @Test func limits() throws {
        let snapshot = try Self.compiled.get().snapshot
        #expect(snapshot.bodyLimit == 1 << 20 && snapshot.replayLimit == 3 << 20)
        #expect(snapshot.bodyLimits == BodyLimits(idleNanoseconds: 4_000_000_000, bytesPerSecond: 700))
        #expect(snapshot.writeTimeout == .seconds(6))
        #expect(snapshot.connectionLimit == 500 && snapshot.handshakeLimit == 50)
        #expect(
            snapshot.overload
                == OverloadPlan(
                    lagNanoseconds: 300_000_000, memory: Share(tenThousandths: 7_000), memoryBytes: 512 << 20,
                    descriptors: Share(tenThousandths: 6_000)))
    }

    // MARK: Listeners

    @Test func serverSettings() throws {
        let settings = try listener().settings
        var heads = HeadLimits()
        heads.headerBytes = 32_768
        heads.headerCount = 50
        heads.cookieCrumbs = 60
        heads.targetBytes = 4_096
        heads.chunkExtensionBytes = 2_048
        #expect(settings.heads == heads)
        var http2 = HTTP2Settings()
        http2.maximumConcurrentStreams = 64
        http2.streamWindowBytes = 131_072
        http2.connectionWindowBytes = 2_097_152
        http2.maximumFrameBytes = 32_768
        http2.headerTableBytes = 8_192
        http2.glitchBurst = 150
        http2.glitchesPerSecond = 15
        #expect(settings.http2 == http2)
        #expect(settings.allowsHTTP2)
        #expect(settings.headerTimeout == .seconds(3) && settings.idleTimeout == .seconds(8))
        #expect(settings.requestsPerConnection == 77 && settings.maximumAge == .seconds(540))
        let plain = try Self.compiled.get().snapshot.listeners[1].settings
        #expect(!plain.allowsHTTP2, "protocols without h2")
    }

    @Test func listenerItself() throws {
        let plan = try listener()
        #expect(plan.name == "public" && plan.address.description == "127.0.0.1:8443" && plan.connectionLimit == 300)
        #expect(plan.connection.handshakeTimeout == .seconds(2) && plan.connection.writeTimeout == .seconds(6))
        #expect(plan.forwarding.xForwardedFor == .replace && plan.forwarding.xForwardedProto == .off)
        #expect(plan.forwarding.xForwardedHost == .replace && plan.forwarding.forwarded == .append)
        #expect(plan.forwarding.trusted == ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"].compactMap { Gateway.IPNetwork($0) })
    }

    @Test func listenerTLS() throws {
        let compiled = try Self.compiled.get()
        let settings = try #require(try listener().tls).settings
        #expect(settings.certificates.count == 3)
        #expect(settings.certificates[0].chain == .file(compiled.folder + "/edge.pem"))
        #expect(settings.certificates[1].key == .file(compiled.folder + "/other.key"))
        #expect(settings.certificates[2].key.name == "environment variable HOLDFAST_TEST_KEY")
        #expect(settings.unknownServerName == .refuse)
        #expect(settings.applicationProtocols == ["http/1.1", "h2"])
        #expect(settings.minimumVersion == .tls13 && settings.maximumVersion == .tls13)
        #expect(settings.clientAuthorities?.name.hasSuffix("/ca.pem") == true && settings.requiresClientCertificate)
        #expect(settings.cipherSuites12 == ["ECDHE-ECDSA-CHACHA20-POLY1305"])
        #expect(settings.cipherSuites13 == ["TLS_CHACHA20_POLY1305_SHA256"])
        #expect(settings.groups == ["P-521"])
        #expect(settings.ticketKeys == compiled.keys, "one set of keys for all listeners")
        #expect(compiled.snapshot.listeners[1].tls?.settings.ticketKeys == nil, "ticket_rotation: off makes no tickets")
        #expect(try listener().tls?.settings.sessionScope == "public")
    }

    // MARK: Upstreams

    @Test func names() throws {
        let upstreams = try Self.compiled.get().snapshot.upstreams
        let settings = try #require(upstreams[2].upstreamName?.settings)
        let servers = [SocketAddress.loopback(port: 5353), try #require(SocketAddress.parse("[::1]:53"))]
        #expect(
            settings
                == NameSettings(
                    name: "users.internal", port: 9003, minimumTimeToLive: .seconds(2), maximumTimeToLive: .seconds(30),
                    resolver: ResolverSettings(servers: servers, timeout: .milliseconds(700), attempts: 3)))
        #expect(upstreams[2].endpoints.isEmpty && upstreams[0].upstreamName == nil)
        #expect(
            upstreams[3].upstreamName?.settings == NameSettings(name: "_users._tcp.internal", port: 0, record: .service),
            "and the defaults are the same on both sides")
    }

    @Test func endpointsAndPool() throws {
        let users = try users()
        #expect(users.endpoints.map(\.label) == ["127.0.0.1:9001", "unix:/run/users.sock"])
        #expect(users.endpoints.map(\.weight) == [3, 1] && users.endpoints[1].hostName == "localhost")
        #expect(!users.attemptFields)
        #expect(
            users.health
                == HealthSettings(
                    probe: .http(path: "/health?deep=1", host: "check.internal:8080", statuses: [200...200, 300...399]),
                    interval: .seconds(5),
                    timeout: .milliseconds(900), unhealthyAfter: 4, healthyAfter: 3, jitter: Share(tenThousandths: 500)))
        #expect(users.picker.policy == .hash && users.balancingKey == .cookie(Array("session".utf8)))
        #expect(users.picker.panicThreshold == Share(tenThousandths: 4_000))
        var slowStart = SlowStartSettings()
        slowStart.window = .seconds(40)
        slowStart.aggression = 1.5
        slowStart.floor = Share(tenThousandths: 2_000)
        #expect(users.balancer.settings.slowStart == slowStart && users.balancer.table != nil && users.balancer.outliers != nil)
        var outliers = OutlierSettings()
        outliers.enforce = false
        outliers.interval = .seconds(11)
        outliers.consecutiveFailures = 6
        outliers.consecutiveLocalOrigin = 7
        outliers.failureShare = Share(tenThousandths: 8_000)
        outliers.successRateDistance = Share(tenThousandths: 600)
        outliers.latencyFactor = 2.5
        outliers.latencyDistance = .milliseconds(60)
        outliers.latencyIntervals = 3
        outliers.minimumVolume = 40
        outliers.minimumHosts = 4
        outliers.baseTime = .seconds(20)
        outliers.maximumTime = .seconds(200)
        outliers.jitter = Share(tenThousandths: 1_000)
        outliers.maximumEjected = Share(tenThousandths: 5_000)
        outliers.probeWait = .seconds(4)
        #expect(users.balancer.settings.outliers == outliers)
        #expect(users.hostField == .upstream && users.serverName == "users.internal")
        var pool = PoolSettings()
        pool.maximumConnections = 11
        pool.maximumIdle = 12
        pool.idleTimeout = .seconds(13)
        pool.maximumAge = .seconds(900)
        pool.connectTimeout = .milliseconds(400)
        pool.tlsTimeout = .milliseconds(500)
        #expect(users.pool == pool)
        var options = ConnectOptions()
        options.keepAlive = KeepAlive(idle: .seconds(16), interval: .seconds(17), count: 4)
        options.userTimeout = .seconds(18)
        #expect(users.connectOptions == options)
        #expect(users.client.wanted == .http2 && users.client.maximumExchanges == 14)
        var heads = HeadLimits()
        heads.headerBytes = 16_384
        heads.headerCount = 70
        heads.interimResponses = 5
        heads.chunkExtensionBytes = 2_048
        #expect(users.client.heads == heads)
    }

    @Test func upstreamTLS() throws {
        let compiled = try Self.compiled.get()
        let settings = try #require(try users().tls).settings
        #expect(settings.authorities == .file(compiled.folder + "/ca.pem"))
        #expect(!settings.verifiesPeer && settings.minimumVersion == .tls13 && settings.applicationProtocols == ["h2"])
        #expect(settings.clientCertificate?.chain == .file(compiled.folder + "/edge.pem"))
    }

    @Test func guardSettings() throws {
        var guardSettings = GuardSettings()
        guardSettings.timeouts.total = .seconds(20)
        guardSettings.timeouts.perTry = .seconds(3)
        guardSettings.timeouts.connect = .milliseconds(400)
        guardSettings.timeouts.tls = .milliseconds(500)
        guardSettings.timeouts.firstByte = .seconds(2)
        guardSettings.timeouts.idle = .seconds(21)
        guardSettings.timeouts.totalIncludesBody = true
        guardSettings.timeouts.minimumTry = .milliseconds(6)
        guardSettings.timeouts.hopMargin = .milliseconds(7)
        guardSettings.breaker.disabled = true
        guardSettings.breaker.mode = .shadow
        guardSettings.breaker.window = .time(.seconds(20))
        guardSettings.breaker.minimumCalls = 10
        guardSettings.breaker.failureRate = Share(tenThousandths: 4_000)
        guardSettings.breaker.slowCall = .milliseconds(700)
        guardSettings.breaker.slowRate = Share(tenThousandths: 6_000)
        guardSettings.breaker.consecutiveFailures = 9
        var cusum = CUSUMSettings()
        cusum.baseline = Share(tenThousandths: 300)
        cusum.bad = Share(tenThousandths: 2_500)
        cusum.thresholdThousandths = 9_250
        guardSettings.breaker.cusum = cusum
        guardSettings.breaker.saturation = false
        guardSettings.breaker.halfOpenCalls = 3
        guardSettings.breaker.openFor = .seconds(4)
        guardSettings.breaker.openMax = .seconds(50)
        guardSettings.breaker.openJitter = Share(tenThousandths: 1_000)
        guardSettings.breaker.ramp = .seconds(6)
        guardSettings.breaker.halfOpenWait = .seconds(12)
        guardSettings.retries.attempts = 3
        guardSettings.retries.retryOn = [.reason("connect"), .status(503)]
        guardSettings.retries.budget.ratio = Share(tenThousandths: 1_000)
        guardSettings.retries.budget.minimumPerSecondThousandths = 2_000
        guardSettings.retries.budget.window = .seconds(20)
        guardSettings.retries.backoffBase = .milliseconds(30)
        guardSettings.retries.backoffCap = .milliseconds(300)
        guardSettings.retries.maximumRetryAfter = .seconds(4)
        guardSettings.retries.replayBodyBytes = 32_768
        guardSettings.bulkhead.concurrent = 20
        guardSettings.bulkhead.queue = 5
        guardSettings.bulkhead.queueTimeout = .milliseconds(60)
        var hedging = HedgeSettings()
        hedging.quantile = Share(tenThousandths: 9_000)
        hedging.minimumDelay = .milliseconds(12)
        hedging.initialDelay = .milliseconds(80)
        guardSettings.hedging = hedging
        var throttle = ThrottleSettings()
        throttle.multiplierThousandths = 1_500
        throttle.maximum = Share(tenThousandths: 7_000)
        throttle.minimumRequests = 30
        throttle.window = .seconds(40)
        guardSettings.throttle = throttle
        var adaptive = AdaptiveSettings()
        adaptive.rule = .gradient2
        adaptive.minimum = 3
        adaptive.maximum = 15
        adaptive.latency = .milliseconds(80)
        guardSettings.bulkhead.adaptive = adaptive
        guardSettings.bulkhead.shares = PriorityShares(critical: 4, high: 3, normal: 2, bulk: 1)
        let users = try users()
        #expect(users.settings == guardSettings)
        #expect(users.limits == AttemptLimits(guardSettings.timeouts, queueTimeout: .milliseconds(60)))
        #expect(users.guardian.snapshot().adaptiveLimit == 15 && users.guardian.snapshot().permits == 15)
        #expect(users.limits.total == 20_000_000_000 && users.limits.queue == 60_000_000 && users.limits.totalIncludesBody)
        let counted = try Self.compiled.get().snapshot.upstreams[1].settings.breaker.window
        #expect(counted == .count(calls: 30))
    }

    // MARK: Routes

    @Test func routes() throws {
        let snapshot = try Self.compiled.get().snapshot
        let special = snapshot.routes[0]
        #expect(special.name == "special" && special.isIdempotent)
        var timeouts = snapshot.upstreams[0].settings.timeouts
        timeouts.total = .seconds(25)
        timeouts.perTry = .seconds(4)
        timeouts.firstByte = .seconds(1)
        timeouts.idle = nil
        timeouts.totalIncludesBody = false
        var retries = snapshot.upstreams[0].settings.retries
        retries.attempts = 4
        retries.retryOn = [.reason("tls"), .status(500)]
        #expect(
            special.limits[0] == AttemptLimits(timeouts, queueTimeout: .milliseconds(60), priority: .normal, retries: retries))
        #expect(snapshot.routes[1].limits[1]?.retries == nil, "without a word of its own a route's retries are the upstream's")
        #expect(special.limits[1]?.priority == .normal && snapshot.routes[1].limits[1]?.priority == .critical)
        #expect(special.limits[1]?.total == 25_000_000_000, "what it falls back to has the route's limits too")
        let fallback = try #require(special.fallback)
        #expect(fallback.reasons.contains(.breakerOpen) && fallback.reasons.contains(.connectRefused))
        #expect(!fallback.reasons.contains(.timeoutPerTry) && !fallback.reasons.contains(.bulkheadFull))
        guard case .upstream(1) = fallback.action else {
            Issue.record("falls back to another")
            return
        }
        let degraded = try #require(snapshot.routes.first { $0.name == "/degraded" }?.fallback)
        #expect(degraded.reasons.contains(.timeoutPerTry) && degraded.reasons.contains(.bulkheadFull))
        guard case .answer(let answer) = degraded.action, answer.status == 203 else {
            Issue.record("no degraded answer")
            return
        }
        let users = try PathPattern("/users/{id}/*")
        #expect(special.rewrite == (try PathRewrite(stripping: "/users", from: users)))
        #expect(snapshot.routes[1].rewrite == (try PathRewrite(template: "/v2/{id}", for: PathPattern("/items/{id}"))))
        guard case .split(let weights, let upstreams) = snapshot.routes[2].action else {
            Issue.record("no split")
            return
        }
        #expect(weights == (try WeightedChoice([1, 2])) && upstreams == [0, 1])
        guard case .redirect(let redirect) = snapshot.routes[3].action else {
            Issue.record("no redirect")
            return
        }
        #expect(redirect == (try Redirect(status: 301, target: "/new", for: PathPattern("/old"))))
        guard case .answer(let answer) = snapshot.routes[4].action else {
            Issue.record("no answer")
            return
        }
        #expect(answer.status == 418 && answer.body == Array("tea".utf8))
        #expect(answer.fields.map { String(decoding: $0.name, as: UTF8.self) } == ["x-a", "content-type"])
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var target = "/users/7/a?view=full"
        var host = "api.example"
        var method = "GET"
        var beta: String? = "1"
        var matches: Bool
        var testDescription: String { "\(method) \(host)\(target) \(beta ?? "-")" }
    }

    /// Each condition alone keeps a request from the route.
    @Test(arguments: [
        Row(matches: true),
        Row(target: "/users/7?view=full", matches: true),
        Row(target: "/users/7/a%2Fb?view=full", matches: true),
        Row(target: "/user/7/a?view=full", matches: false),
        Row(target: "/users/7/a?view=short", matches: false),
        Row(host: "www.example", matches: false),
        Row(method: "POST", matches: false),
        Row(beta: nil, matches: false),
    ])
    func conditions(row: Row) throws {
        let table = try Self.compiled.get().snapshot.table
        let head = requestHead(row.target, host: row.host, method: row.method, fields: row.beta.map { [("x-beta", $0)] } ?? [])
        let outcome = table.match(head, hasEncodedSlash: row.target.contains("%2F"))
        if case .route(let match) = outcome { #expect(row.matches && match.route == 0) } else { #expect(!row.matches) }
    }

    // MARK: Networks

    /// The gateway reads a network anew from what the configuration's writes: it always can, and both mean the same.
    @Test func everyNetworkOfTheConfigurationIsOneOfTheGateway() throws {
        var random = SeededGenerator(seed: 7)
        var networks: [(bytes: [UInt8], length: Int)] = []
        for length in 0...128 {
            for count in [4, 16] where length <= count * 8 {
                var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
                if Bool.random(using: &random) { for i in bytes.indices where i % 4 < 3 { bytes[i] = 0 } }
                for bit in length..<count * 8 { bytes[bit / 8] &= ~(0x80 >> UInt8(bit % 8)) }
                networks.append((bytes, length))
            }
        }
        let list = networks.map { "\"\(Self.text(of: $0.bytes))/\($0.length)\"" }.joined(separator: ", ")
        let configuration = try Configuration.parse(
            text: """
                trusted_networks: [\(list)]
                listeners: [{ name: l, address: 127.0.0.1:0 }]
                routes: [{ match: { path: / }, answer: { status: 200 } }]
                """, file: "x.yaml"
        ).configuration
        try #require(configuration.trustedNetworks.count == networks.count)
        for (written, network) in zip(configuration.trustedNetworks, networks) {
            let read = Gateway.IPNetwork(written.description)
            let ours = try #require(read, "\(written)")
            var bytes = network.bytes
            #expect(ours.contains(try #require(Self.address(bytes))), "\(written)")
            // An address that differs in the prefix's last bit is outside.
            guard network.length > 0 else { continue }
            bytes[(network.length - 1) / 8] ^= 0x80 >> UInt8((network.length - 1) % 8)
            #expect(!ours.contains(try #require(Self.address(bytes))), "\(written)")
        }
    }

    private static func address(_ bytes: [UInt8]) -> Gateway.IPAddress? { .parse(Array(text(of: bytes).utf8).span) }

    private static func text(of bytes: [UInt8]) -> String {
        bytes.count == 4
            ? bytes.map(String.init).joined(separator: ".")
            : stride(from: 0, to: 16, by: 2).map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }
                .joined(separator: ":")
    }
}
