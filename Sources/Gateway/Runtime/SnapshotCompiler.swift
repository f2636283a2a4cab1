// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Reactor
import Resilience
import TLS
import Telemetry
import Transport
import Upstream

/// Why a valid configuration cannot be served: a certificate and a key that do not match, a route that says nothing. One
/// sentence a complaint.
public struct GatewayError: Error, CustomStringConvertible, Sendable {
    public var complaints: [String]
    public var description: String { complaints.joined(separator: "\n") }

    init(_ complaints: [String]) { self.complaints = complaints }
    init(_ complaint: String) { complaints = [complaint] }
}

/// Makes a snapshot of a configuration, once at the start and at each reload. Guards of upstreams that go on are kept; their
/// new settings are applied when the snapshot comes into force, so that a failed reload changes nothing.
struct SnapshotCompiler {
    let configuration: Configuration
    let registry: MetricsRegistry
    let ticketKeys: TicketKeys?
    let now: Instant
    /// Seconds since 1970 by which certificates are judged; `nil` is OpenSSL's own clock.
    let wallTime: Int64?
    let draw: Draw
    let previous: GatewaySnapshot?

    private var complaints: [String] = []
    private var filters: FilterCompiler

    init(
        _ configuration: Configuration, registry: MetricsRegistry, ticketKeys: TicketKeys?, now: Instant, wallTime: Int64?,
        draw: Draw, previous: GatewaySnapshot?, customFilters: CustomFilters = CustomFilters()
    ) {
        filters = FilterCompiler(
            upstreams: configuration.upstreams.map(\.name), registry: registry, draw: draw, now: now,
            previous: previous?.filters ?? [:], custom: customFilters, cacheStore: previous?.cacheStore,
            cacheBytes: configuration.cache.bytes, redis: configuration.redis, wallTime: wallTime)
        self.configuration = configuration
        self.registry = registry
        self.ticketKeys = ticketKeys
        self.now = now
        self.wallTime = wallTime
        self.draw = draw
        self.previous = previous
    }

    mutating func compile() throws(GatewayError) -> GatewaySnapshot {
        let upstreams = configuration.upstreams.compactMap { upstream($0) }
        let upstreamChains = configuration.upstreams.map { upstream in
            filters.compile(upstream.filters, FilterScope(.upstream, upstream.name))
        }.map { FilterChain($0) }
        var routes: [RoutePlan] = []
        var rules: [RouteTable.Rule] = []
        var ranked: [[RankedFilter]] = []
        for route in configuration.routes {
            let own = filters.compile(
                route.filters, FilterScope(.route, route.label), parameters: route.match.path?.parameterNames ?? [])
            let before = routes.count
            compile(route, own, upstreams: upstreams, upstreamChains, into: &routes, rules: &rules)
            ranked += repeatElement(own, count: routes.count - before)
        }
        let listeners = configuration.listeners.compactMap { listener($0, routes, ranked) }
        complaints += filters.complaints
        var table: RouteTable?
        do throws(RouteComplaints) { table = try RouteTable(rules) } catch {
            for complaint in error.complaints {
                complaints.append(
                    "route \(routes.indices.contains(complaint.rule) ? routes[complaint.rule].name : "?"): \(complaint.message)")
            }
        }
        var via: ViaField?
        do throws(PatternError) { via = try ViaField(pseudonym: configuration.serverName) } catch {
            complaints.append(error.message)
        }
        checkClientCertificates()
        let token = adminToken()
        guard let table, let via, complaints.isEmpty else { throw GatewayError(complaints) }

        let limits = configuration.limits
        return GatewaySnapshot(
            listeners: listeners, table: table, routes: routes, upstreams: upstreams, upstreamChains: upstreamChains, via: via,
            requestID: requestID, filters: filters.compiled,
            identityFields: IdentityFields(configuration.allFilters.flatMap(\.identityFields)), cacheStore: filters.cacheStore,
            cacheBytes: configuration.cache.bytes,
            emptySegments: .merge,
            bodyLimit: limits.bodyBytes.map { UInt64($0) } ?? .max,
            bodyLimits: BodyLimits(
                idleNanoseconds: limits.bodyIdleTimeout.wholeNanoseconds,
                bytesPerSecond: Double(limits.bodyMinimumBytesPerSecond)),
            writeTimeout: limits.writeTimeout, connectionLimit: limits.connections, overload: overloadPlan,
            handshakeLimit: limits.handshakes, replayLimit: limits.replayBytes,
            metrics: RequestMetrics(registry: registry, upstreams: upstreams.map(\.name)), accessLog: accessLog,
            explain: configuration.explain.map { ExplainPlan(keep: $0.keep, rate: $0.rate, sampling: $0.sampling.tenThousandths) },
            adminToken: token)
    }

    /// A filter that no request can ever pass is a mistake.
    private mutating func checkClientCertificates() {
        let asks = configuration.listeners.contains { $0.tls.map { $0.clientCertificates != .off } ?? false }
        if !asks, configuration.allFilters.contains(where: { $0.kind == "client_certificate" }) {
            complaints.append(
                "filter client_certificate: no listener asks for certificates; set tls.client_ca and tls.client_certificates of one"
            )
        }
    }

    /// The token without the line's end that an editor leaves.
    private mutating func adminToken() -> [UInt8]? {
        guard let secret = configuration.adminToken else { return nil }
        do throws(SecretError) {
            var token = try secret.reveal()
            while let last = token.last, last == 10 || last == 13 || last == 32 { token.removeLast() }
            if token.count >= 16 { return token }
            complaints.append("admin_token: \(secret) has \(token.count) bytes; at least 16 are needed")
        } catch { complaints.append("admin_token: \(error)") }
        return nil
    }

    private var overloadPlan: OverloadPlan {
        let overload = configuration.overload
        return OverloadPlan(
            lagNanoseconds: overload.lag?.wholeNanoseconds, memory: overload.memory, memoryBytes: overload.memoryLimit,
            descriptors: overload.descriptors)
    }

    private var requestID: RequestIDPlan {
        var plan = RequestIDPlan()
        plan.keep =
            switch configuration.requestID.keep {
            case .always: .always
            case .trusted: .trusted
            case .never: .never
            }
        plan.answers = configuration.requestID.answer
        return plan
    }

    private var accessLog: AccessLogPlan? {
        guard let log = configuration.accessLog else { return nil }
        var settings = AccessLog.Settings()
        settings.format = log.format == .json ? .json : .text
        return AccessLogPlan(settings: settings, sampling: log.sampling.tenThousandths)
    }

    // MARK: Listeners

    private mutating func listener(
        _ listener: Configuration.Listener, _ routes: [RoutePlan], _ ranked: [[RankedFilter]]
    ) -> ListenerPlan? {
        guard let address = SocketAddress(listener.address) else {
            complaints.append("listener \(listener.name): \(listener.address) is not an address of this system")
            return nil
        }
        var tls: ServerTLSContext?
        if let settings = listener.tls {
            tls = serverContext(settings, listener: listener.name)
            if tls == nil { return nil }
        }
        let limits = configuration.limits
        var connection = Connection.Settings()
        connection.handshakeTimeout = listener.tls?.handshakeTimeout ?? .seconds(5)
        connection.writeTimeout = limits.writeTimeout
        let own = filters.compile(listener.filters, FilterScope(.listener, listener.name))
        // Where the route leads to an upstream with filters, there is a chain to add them to.
        let chains = own.isEmpty ? [] : zip(routes, ranked).map { FilterChain(own + $1) ?? $0.chain }
        return ListenerPlan(
            name: listener.name, address: address, tls: tls, settings: serverSettings(listener), connection: connection,
            forwarding: forwarding(listener.forwarded), connectionLimit: listener.connections ?? .max,
            chains: chains, unroutedChain: FilterChain(own), metrics: ListenerMetrics(registry: registry, listener: listener.name))
    }

    private func serverSettings(_ listener: Configuration.Listener) -> ServerSettings {
        let limits = configuration.limits
        var heads = HeadLimits()
        heads.headerBytes = limits.headerBytes
        heads.headerCount = limits.headerCount
        heads.cookieCrumbs = limits.cookieCrumbs
        heads.targetBytes = limits.uriBytes
        heads.chunkExtensionBytes = limits.chunkExtensionBytes
        var http2 = HTTP2Settings()
        http2.maximumConcurrentStreams = listener.http2.maximumConcurrentStreams
        http2.streamWindowBytes = listener.http2.streamWindowBytes
        http2.connectionWindowBytes = listener.http2.connectionWindowBytes
        http2.maximumFrameBytes = listener.http2.maximumFrameBytes
        http2.headerTableBytes = listener.http2.headerTableBytes
        http2.glitchBurst = limits.http2Glitches
        http2.glitchesPerSecond = Double(limits.http2GlitchesForgivenPerSecond)
        return ServerSettings(
            heads: heads, http2: http2, allowsHTTP2: listener.tls.map { $0.protocols.contains(.http2) } ?? true,
            headerTimeout: limits.headerTimeout, idleTimeout: limits.keepAliveTimeout,
            requestsPerConnection: limits.requestsPerConnection.map { UInt64($0) } ?? .max, maximumAge: limits.connectionMaximumAge)
    }

    private func forwarding(_ forwarded: Configuration.Forwarded) -> ForwardingPolicy {
        func mode(_ policy: Configuration.Forwarded.Policy) -> ForwardingPolicy.Mode {
            switch policy {
            case .append: .append
            case .replace: .replace
            case .off: .off
            }
        }
        var policy = ForwardingPolicy()
        policy.xForwardedFor = mode(forwarded.xForwardedFor)
        policy.xForwardedProto = mode(forwarded.xForwardedProto)
        policy.xForwardedHost = mode(forwarded.xForwardedHost)
        policy.forwarded = mode(forwarded.forwarded)
        policy.trusted = configuration.trustedNetworks.compactMap { IPNetwork($0.description) }
        return policy
    }

    private mutating func serverContext(_ tls: Configuration.ListenerTLS, listener: String) -> ServerTLSContext? {
        var sources: [CertificateSource] = []
        for certificate in tls.certificates {
            guard let source = certificateSource(certificate, "listener \(listener)") else { return nil }
            sources.append(source)
        }
        var settings = ServerTLSSettings(certificates: sources)
        settings.minimumVersion = tls.minimumVersion == .tls12 ? .tls12 : .tls13
        settings.maximumVersion = tls.maximumVersion == .tls12 ? .tls12 : .tls13
        if !tls.ciphers.isEmpty { settings.cipherSuites12 = tls.ciphers }
        if !tls.ciphersuites.isEmpty { settings.cipherSuites13 = tls.ciphersuites }
        if !tls.curves.isEmpty { settings.groups = tls.curves }
        settings.applicationProtocols = tls.protocols.map(\.rawValue)
        settings.unknownServerName = tls.unknownServerName == .refuse ? .refuse : .useDefault
        settings.ticketKeys = tls.ticketRotation == nil ? nil : ticketKeys
        settings.sessionScope = listener
        if tls.clientCertificates != .off, let authorities = tls.clientCA {
            settings.clientAuthorities = .file(authorities)
            settings.requiresClientCertificate = tls.clientCertificates == .required
        }
        do throws(TLSConfigurationError) {
            return try ServerTLSContext(settings: settings, wallTime: wallTime)
        } catch {
            complaints.append("listener \(listener): \(error.message)")
            return nil
        }
    }

    private mutating func certificateSource(_ certificate: Configuration.Certificate, _ place: String) -> CertificateSource? {
        switch certificate.key.source {
        case .file(let path):
            return CertificateSource(chain: .file(certificate.chain), key: .file(path))
        case .environment(let name):
            guard let text = Environment.value(name) else {
                complaints.append("\(place): the environment variable \(name), which should hold a key, is not set")
                return nil
            }
            return CertificateSource(chain: .file(certificate.chain), key: .text(text, name: "environment variable \(name)"))
        }
    }

    // MARK: Upstreams

    private mutating func upstream(_ upstream: Configuration.Upstream) -> UpstreamCluster? {
        var endpoints: [Endpoint] = []
        // With what its name has brought since it was made.
        let before = previous?.upstreams.first { $0.name == upstream.name }?.current
        for endpoint in upstream.endpoints {
            guard let address = SocketAddress(endpoint.address) else {
                complaints.append("upstream \(upstream.name): \(endpoint.address) is not an address of this system")
                return nil
            }
            let label = "\(endpoint.address)"
            let kept = before?.endpoints.first { $0.label == label && $0.weight == endpoint.weight }
            endpoints.append(kept ?? Endpoint(address: address, label: label, weight: endpoint.weight))
        }
        var naming: UpstreamName?
        if let settings = upstream.dns.map({ NameSettings($0) }) {
            var known: [NameTarget] = []
            if let name = before?.upstreamName, name.settings.asksTheSame(as: settings) { known = name.status.targets }
            naming = UpstreamName(settings, known: known)
            endpoints = Endpoint.named(known, settings, before: before?.endpoints ?? [])
        }
        var tls: ClientTLSContext?
        if let settings = upstream.tls {
            tls = clientContext(settings, upstream)
            if tls == nil { return nil }
        }
        let guardian =
            before?.guardian ?? Guard(upstream.guardSettings, draw: draw, identity: identityHash(upstream.name))
        return UpstreamCluster(
            name: upstream.name, endpoints: endpoints, guardian: guardian, settings: upstream.guardSettings,
            balancer: balancer(upstream, endpoints, before), balancingKey: balancingKey(upstream), pool: poolSettings(upstream),
            client: clientSettings(upstream),
            connectOptions: connectOptions(upstream), tls: tls, serverName: upstream.tls?.serverName ?? "",
            hostField: upstream.host == .preserve ? .preserve : .upstream, attemptFields: upstream.attemptHeaders,
            health: upstream.healthCheck.map { HealthSettings($0) }, identity: identity(upstream),
            naming: naming)
    }

    private func balancingKey(_ upstream: Configuration.Upstream) -> BalancingKey? {
        guard upstream.balance == .hash else { return nil }
        switch upstream.hashKey {
        case .clientAddress: return .clientAddress
        case .path: return .path
        case .header(let name): return .header(Array(name.utf8))
        case .cookie(let name): return .cookie(Array(name.utf8))
        }
    }

    private func balancer(
        _ upstream: Configuration.Upstream, _ endpoints: [Endpoint], _ before: UpstreamCluster?
    ) -> EndpointBalancer {
        var settings = BalancerSettings()
        settings.policy = upstream.balance
        settings.panicThreshold = upstream.panicThreshold
        settings.slowStart = upstream.slowStart
        settings.outliers = upstream.outlierDetection
        let health = upstream.healthCheck.map { HealthSettings($0) }
        return EndpointBalancer(
            settings, names: endpoints.map(\.label), weights: endpoints.map(\.weight), draw: draw,
            identity: identityHash(upstream.name), after: before?.balancer,
            keepsHealth: health != nil && health == before?.health, now: now)
    }

    /// FNV-1a: the same in every process, so that a seed means the same draws everywhere.
    private func identityHash(_ name: String) -> UInt64 {
        name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    /// Two clusters with one identity can use each other's connections.
    private func identity(_ upstream: Configuration.Upstream) -> String {
        "\(upstream.name)|\(upstream.endpoints)|\(upstream.dns.map { "\($0.name):\($0.port ?? 0) \($0.record)" } ?? "")|\(upstream.wireProtocol)|\(String(describing: upstream.tls))|\(upstream.pool)|\(String(describing: upstream.keepAlive))|\(String(describing: upstream.tcpUserTimeout))|\(upstream.guardSettings.timeouts.connect)|\(upstream.guardSettings.timeouts.tls)"
    }

    private func poolSettings(_ upstream: Configuration.Upstream) -> PoolSettings {
        var pool = PoolSettings()
        pool.maximumConnections = upstream.pool.connections ?? .max
        pool.maximumIdle = upstream.pool.idle
        pool.idleTimeout = upstream.pool.idleTimeout
        pool.maximumAge = upstream.pool.maximumAge
        pool.connectTimeout = upstream.guardSettings.timeouts.connect
        pool.tlsTimeout = upstream.guardSettings.timeouts.tls
        return pool
    }

    private func clientSettings(_ upstream: Configuration.Upstream) -> ClientConnection.Settings {
        var settings = ClientConnection.Settings()
        settings.heads.headerBytes = configuration.limits.upstreamHeaderBytes
        settings.heads.headerCount = configuration.limits.upstreamHeaderCount
        settings.heads.chunkExtensionBytes = configuration.limits.chunkExtensionBytes
        settings.heads.interimResponses = configuration.limits.informationalResponses
        settings.maximumExchanges = upstream.pool.maximumRequests.map { UInt64($0) } ?? .max
        settings.wanted =
            switch upstream.wireProtocol {
            case .http1: .http1
            case .http2: .http2
            case .auto: upstream.tls == nil ? .http1 : .automatic
            }
        return settings
    }

    private func connectOptions(_ upstream: Configuration.Upstream) -> ConnectOptions {
        var options = ConnectOptions()
        options.keepAlive = upstream.keepAlive.map { KeepAlive(idle: $0.idle, interval: $0.interval, count: $0.count) }
        options.userTimeout = upstream.tcpUserTimeout
        return options
    }

    private mutating func clientContext(_ tls: Configuration.UpstreamTLS, _ upstream: Configuration.Upstream) -> ClientTLSContext? {
        var settings = ClientTLSSettings()
        settings.authorities = tls.ca.map { .file($0) }
        settings.verifiesPeer = tls.verify
        settings.minimumVersion = tls.minimumVersion == .tls12 ? .tls12 : .tls13
        settings.applicationProtocols =
            switch upstream.wireProtocol {
            case .http1: ["http/1.1"]
            case .http2: ["h2"]
            case .auto: ["h2", "http/1.1"]
            }
        if let certificate = tls.clientCertificate {
            guard let source = certificateSource(certificate, "upstream \(upstream.name)") else { return nil }
            settings.clientCertificate = source
        }
        do throws(TLSConfigurationError) {
            return try ClientTLSContext(settings: settings, wallTime: wallTime)
        } catch {
            complaints.append("upstream \(upstream.name): \(error.message)")
            return nil
        }
    }

    // MARK: Routes

    /// One plan and as many rules as the route has hosts.
    private mutating func compile(
        _ route: Configuration.Route, _ own: [RankedFilter], upstreams: [UpstreamCluster], _ upstreamChains: [FilterChain?],
        into plans: inout [RoutePlan], rules: inout [RouteTable.Rule]
    ) {
        let path = route.match.path?.description ?? "/*"
        let hosts: [String?] =
            route.match.hosts.isEmpty
            ? [nil]
            : route.match.hosts.map { host in
                switch host {
                case .exact(let name): name
                case .below(let suffix): "*.\(suffix)"
                }
            }
        let name = route.name ?? (hosts.count == 1 ? "\(hosts[0] ?? "")\(path)" : path)
        do throws(PatternError) {
            let pattern = try PathPattern(path)
            let rewrite: PathRewrite =
                if let prefix = route.stripPrefix {
                    try PathRewrite(stripping: prefix, from: pattern)
                } else if let template = route.rewrite {
                    try PathRewrite(template: template.description, for: pattern)
                } else { .keep }
            let action = try action(route.action, pattern: pattern)
            var limits: [Int: AttemptLimits] = [:]
            var targets = action.upstreams
            for target in route.filters.flatMap(\.targets) { targets.append(try index(of: target)) }
            for index in targets where upstreams.indices.contains(index) {
                let settings = upstreams[index].settings
                limits[index] = AttemptLimits(
                    route.timeouts.applied(to: settings.timeouts), queueTimeout: settings.bulkhead.queueTimeout,
                    priority: route.priority, retries: route.retries.replacing(settings.retries))
            }
            let fallback = try route.fallback.map { fallback throws(PatternError) in
                FallbackPlan(causes: fallback.causes, action: try fallbackAction(fallback.action))
            }
            if case .upstream(let index) = fallback?.action, upstreams.indices.contains(index) {
                let settings = upstreams[index].settings
                limits[index] = AttemptLimits(
                    route.timeouts.applied(to: settings.timeouts), queueTimeout: settings.bulkhead.queueTimeout,
                    priority: route.priority, retries: route.retries.replacing(settings.retries))
            }
            let leadsToFilters = targets.contains { upstreamChains.indices.contains($0) && upstreamChains[$0] != nil }
            let plan = RoutePlan(
                name: name, identity: RoutePlan.identity(name, "\(route.match)"), action: action, rewrite: rewrite,
                isIdempotent: route.idempotent, priority: route.priority, fallback: fallback, limits: limits,
                chain: FilterChain(own) ?? (leadsToFilters ? .empty : nil),
                answersPreflights: (route.filters + configuration.listeners.flatMap(\.filters)).contains { $0.kind == "cors" },
                parameterNames: route.match.path?.parameterNames ?? [], metrics: RouteMetrics(registry: registry, route: name))
            for host in hosts {
                plans.append(plan)
                rules.append(
                    RouteTable.Rule(
                        host: host, path: path, methods: route.match.methods,
                        headers: route.match.headers.map { RouteTable.Condition(name: $0.name, value: $0.value) },
                        query: route.match.query.map { RouteTable.Condition(name: $0.name, value: $0.value) },
                        allowsEncodedSlash: route.allowEncodedSlash))
            }
        } catch {
            complaints.append("route \(name): \(error.message)")
        }
    }

    private func action(_ action: Configuration.Route.Action, pattern: PathPattern) throws(PatternError) -> RoutePlan.Action {
        switch action {
        case .upstream(let name):
            return .upstream(try index(of: name))
        case .split(let parts):
            var indices: [Int] = []
            for part in parts { indices.append(try index(of: part.upstream)) }
            return .split(try WeightedChoice(parts.map(\.weight)), indices)
        case .redirect(let redirect):
            return .redirect(try Redirect(status: redirect.status, target: redirect.to.description, for: pattern))
        case .answer(let answer): return .answer(fixed(answer))
        }
    }

    private func fallbackAction(_ action: Configuration.Fallback.Action) throws(PatternError) -> FallbackPlan.Action {
        switch action {
        case .upstream(let name): .upstream(try index(of: name))
        case .answer(let answer): .answer(fixed(answer))
        }
    }

    private func index(of name: String) throws(PatternError) -> Int {
        guard let index = configuration.upstreams.firstIndex(where: { $0.name == name }) else {
            throw PatternError(message: "there is no upstream \(name)")
        }
        return index
    }

    private func fixed(_ answer: Configuration.Answer) -> FixedAnswer {
        var fields = answer.headers.map { (name: Array($0.name.utf8), value: Array($0.value.utf8)) }
        if !answer.body.isEmpty && !answer.headers.contains(where: { $0.name == "content-type" }) {
            fields.append((Array("content-type".utf8), Array("text/plain; charset=utf-8".utf8)))
        }
        return FixedAnswer(status: answer.status, fields: fields, body: Array(answer.body.utf8))
    }
}

extension Configuration.RetryOverrides {
    /// `nil`: nothing is other than in the upstream's.
    fileprivate func replacing(_ upstream: RetrySettings) -> RetrySettings? {
        self == Configuration.RetryOverrides() ? nil : applied(to: upstream)
    }
}

extension RoutePlan.Action {
    var upstreams: [Int] {
        switch self {
        case .upstream(let index): [index]
        case .split(_, let indices): indices
        case .redirect, .answer: []
        }
    }
}

extension HealthSettings {
    init(_ check: Configuration.HealthCheck) {
        let probe: Probe =
            switch check.kind {
            case .tcp: .tcp
            case .http: .http(path: check.path, host: check.host, statuses: check.statuses)
            }
        self.init(
            probe: probe, interval: check.interval, timeout: check.timeout, unhealthyAfter: check.unhealthyAfter,
            healthyAfter: check.healthyAfter, jitter: check.jitter)
    }
}

extension NameSettings {
    init(_ dns: Configuration.DNS) {
        self.init(
            name: dns.name.lowercased(), port: UInt16(clamping: dns.port ?? 0), record: dns.record == .srv ? .service : .address,
            minimumTimeToLive: dns.minimumTTL, maximumTimeToLive: dns.maximumTTL,
            resolver: ResolverSettings(
                servers: dns.servers.compactMap { SocketAddress($0) }, timeout: dns.timeout, attempts: dns.attempts))
    }
}

extension SocketAddress {
    /// A configured address as the network takes it.
    init?(_ address: Address) {
        guard let parsed = SocketAddress.parse(address.description) else { return nil }
        self = parsed
    }
}
