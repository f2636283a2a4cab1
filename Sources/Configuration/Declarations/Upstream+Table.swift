// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

extension Configuration.Upstream {
    /// Upstreams by name, in the order of the file.
    static var namedKind: Kind<[Self]> {
        let table = Self.table
        return Kind(
            shape: .names(table.shape(Self(name: "")), pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", meaning: "name"),
            read: { node, reader in
                guard case .mapping(let entries) = node.content else {
                    let found = node.isNull ? "has no value" : "is \(node.kindName)"
                    reader.complain(at: node.position, "\(found); expected a mapping of names to upstreams")
                    return nil
                }
                return entries.compactMap { entry in
                    reader.define(upstream: entry.key)
                    guard Words.isName(entry.key) else {
                        reader.complain(
                            at: entry.keyPosition,
                            "\(quoted(entry.key)) is no name; expected up to 63 letters, digits, '-', '_' and '.', beginning with a letter or a digit"
                        )
                        return nil
                    }
                    return reader.at(.key(entry.key)) { table.read(entry.value, &$0, from: Self(name: entry.key)) }
                }
            }, text: { _ in nil })
    }

    private static var table: Table<Self> {
        Table(
            name: "Upstream", documentation: "A service behind the gateway.",
            fields: [
                Field(
                    "endpoints", \.endpoints, Configuration.Endpoint.kind.list(atLeast: 1).checked(refuseDoubles), initial: "none",
                    "Where it runs. Either this or `dns`."),
                Field(
                    "dns", \.dns, Configuration.DNS.kind.optional(none: "none"),
                    "The name that has the addresses of its endpoints, with their port; they follow what DNS says."),
                Field(
                    "protocol", \.wireProtocol, .choice,
                    "HTTP/1.1, HTTP/2, or what ALPN settles over TLS (in clear: HTTP/1.1). gRPC needs `h2`, or `auto` over TLS."),
                Field(
                    "tls", \.tls, Configuration.UpstreamTLS.table.kind(Configuration.UpstreamTLS()).optional(none: "none"),
                    "How it speaks TLS. Without it: in clear. `{}` is TLS with the system's authorities."),
                Field(
                    "guard", \.guardSettings, GuardSettings.table.kind(GuardSettings()),
                    "What protects it, and the gateway from it."),
                Field(
                    "balance", \.balance, .choice,
                    "How an endpoint is chosen: in turn; of two drawn at random the less busy one, or the one with the lower product of latency and business; or by a hash of `hash_key`, so that one client's requests find one endpoint's caches."
                ),
                Field(
                    "hash_key", \.hashKey, .hashKey,
                    "What `balance: hash` goes by. A request without it goes to the less busy of two."),
                Field(
                    "slow_start", \.slowStart, SlowStartSettings.kind.orOff(),
                    "How an endpoint that joins or comes back gets to its full share. A bare duration is the window."),
                Field(
                    "panic_threshold", \.panicThreshold, .share(0...10_000),
                    "Below this share of available endpoints requests go to all of them; at 0% they are refused with `lb.no_healthy` once none is available."
                ),
                Field(
                    "outlier_detection", \.outlierDetection, OutlierSettings.table.kind(OutlierSettings()).orOff(),
                    "Sets an endpoint aside that fares worse than its peers."),
                Field(
                    "attempt_headers", \.attemptHeaders, .boolean,
                    "Whether it is told of each attempt: `X-Holdfast-Attempt`, and how long it has in `X-Request-Timeout-ms` or `grpc-timeout`."
                ),
                Field(
                    "health_check", \.healthCheck,
                    Configuration.HealthCheck.table.kind(Configuration.HealthCheck()).optional(none: "none"),
                    "Asks each endpoint whether it is well; one that is not gets no requests while at least half of them are available."
                ),
                Field("pool", \.pool, Configuration.Pool.table.kind(Configuration.Pool()), "Kept connections."),
                Field(
                    "keepalive", \.keepAlive, Configuration.KeepAlive.table.kind(Configuration.KeepAlive()).orOff(),
                    "TCP keep-alive probes; `off` in place of the mapping sends none."),
                Field(
                    "tcp_user_timeout", \.tcpUserTimeout, Kind.duration(.seconds(1) ... .seconds(600)).orOff(),
                    "How long sent bytes may stay unacknowledged before the connection is given up."),
                Field(
                    "filters", \.filters, Configuration.Filter.listKind,
                    "What is done with all requests that go there, after the filters of listener and route."),
                Field(
                    "host", \.host, .choice,
                    "What it sees in `Host`: what the client sent, or its own name (`tls.server_name`, else the name in `dns` with the port, else the endpoint's address and port, `localhost` for a Unix socket). The client's stands in `X-Forwarded-Host` either way."
                ),
            ], exactlyOne: ["endpoints", "dns"],
            check: { upstream, node, reader in
                Configuration.Filter.check(upstream.filters, parameters: [], at: node.position(of: [.key("filters")]), &reader)
                for filter in upstream.filters where ["canary", "cors", "aggregate"].contains(filter.kind) {
                    reader.complain(
                        at: node.position(of: [.key("filters")]), "\(filter.kind) is a filter of routes, not of upstreams")
                }
                if upstream.balance != .hash, node.has([.key("hash_key")]) {
                    reader.complain(at: node.position(of: [.key("hash_key")]), "hash_key needs balance: hash")
                }
                guard upstream.dns?.record == .srv, let tls = upstream.tls, tls.verify, tls.serverName == nil else { return }
                reader.complain(
                    at: node.position(of: [.key("tls")]),
                    "the key tls.server_name is missing: what a certificate must say may not come from SRV records, which anybody on the way can forge"
                )
            })
    }

    private static func refuseDoubles(_ endpoints: [Configuration.Endpoint], _ node: YAML, _ reader: inout Reader) {
        // An endpoint that did not read is missing from the list, so that the places no longer tell which is which.
        guard case .sequence(let items) = node.content, items.count == endpoints.count else { return }
        for (index, endpoint) in endpoints.enumerated()
        where endpoints[..<index].contains(where: { $0.address == endpoint.address }) {
            reader.at(.index(index)) {
                $0.complain(at: items[index].position, "the endpoint \(endpoint.address) stands there twice; use weight")
            }
        }
    }
}

extension Configuration.Endpoint {
    static var kind: Kind<Self> {
        let bare = Kind<Address>.endpoint.map({ Self(address: $0) }, back: { $0.address })
        let full = Table<Self>(
            name: "Endpoint", documentation: "An endpoint with a weight; an address alone is one with weight 1.",
            fields: [
                Field("address", \.address, .endpoint, required: true, "An IP address and port, or a Unix socket."),
                Field("weight", \.weight, .integer(1...1_000), "Its share of the requests relative to the others."),
            ]
        ).kind(Self(address: .unix("/")))
        return bare.or(mapping: full)
    }
}

extension Configuration.DNS {
    static var kind: Kind<Self> {
        let bare = Kind<Self>.scalar(
            .scalar(.string, pattern: #"^[^:]+:[0-9]{1,5}$"#, meaning: "host name and port, as `users.internal:9001`"),
            expected: "a host name and a port, such as users.internal:9001", text: { dns in dns.port.map { "\(dns.name):\($0)" } }
        ) { text throws(ScalarProblem) in
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2 else { throw ScalarProblem("is no host name with a port") }
            guard parts.count == 2 else { throw ScalarProblem("has no port") }
            if let problem = problem(of: String(parts[0])) { throw ScalarProblem(problem) }
            guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(parts[1]), port > 0 else {
                throw ScalarProblem("has no port from 1 to 65535")
            }
            return Self(name: canonical(String(parts[0])), port: Int(port))
        }
        let name = Kind.text(meaning: "host name", expected: "a host name such as users.internal", problem: problem)
            .map({ canonical($0) }, back: { $0 })
        let full = Table<Self>(
            name: "DNS",
            documentation:
                "A name whose addresses are an upstream's endpoints. It is looked up again when its time to live has passed; while that fails the last answer goes on.",
            fields: [
                Field("name", \.name, name, required: true, "Fully qualified: no search list is applied, and no hosts file read."),
                Field(
                    "port", \.port, Kind.integer(1...65_535).optional(none: "with `record: srv` that of each record"),
                    "The port of every address."),
                Field(
                    "record", \.record, .choice,
                    "`address`: A and AAAA. `srv`: targets with port and weight, those of the lowest priority value."),
                Field(
                    "servers", \.servers, Kind<Address>.nameServer.list(), initial: "the system's",
                    "Who is asked, in this order, by IP address and port (53 without)."),
                Field(
                    "minimum_ttl", \.minimumTTL, .duration(.milliseconds(100) ... .seconds(3600)),
                    "An answer is kept for its time to live, but no shorter than this. Also the first back-off after a failure."),
                Field("maximum_ttl", \.maximumTTL, .duration(.seconds(1) ... .seconds(86_400)), "Nor longer than this."),
                Field(
                    "timeout", \.timeout, .duration(.milliseconds(10) ... .seconds(60)),
                    "What one server gets for an answer in the first round; each further round doubles it."),
                Field("attempts", \.attempts, .integer(1...10), "Rounds over all servers."),
            ],
            check: { dns, node, reader in
                if dns.record == .address, dns.port == nil {
                    reader.complain(at: node.position, "the key port is missing; only SRV records bring a port")
                }
                if dns.record == .srv, dns.port != nil {
                    reader.complain(at: node.position(of: [.key("port")]), "the records of record srv bring their ports")
                }
                if dns.maximumTTL < dns.minimumTTL {
                    let least = Units.duration(dns.minimumTTL)
                    reader.complain(
                        at: node.position(of: [.key("maximum_ttl")]),
                        "maximum_ttl \(Units.duration(dns.maximumTTL)) is below minimum_ttl \(least)")
                }
            }
        ).kind(Self(name: ""))
        return bare.or(mapping: full)
    }

    private static func problem(of name: String) -> String? {
        if IPAddress(name) != nil { return "is an IP address; list it in endpoints" }
        return Words.isHostName(canonical(name)) ? nil : "is no host name"
    }

    /// Without the dot that says that a name is whole, which all are here.
    private static func canonical(_ name: String) -> String { name.hasSuffix(".") ? String(name.dropLast()) : name }
}

extension Configuration.UpstreamTLS {
    static var table: Table<Self> {
        Table(
            name: "Upstream TLS", documentation: "How an upstream is spoken to over TLS.",
            fields: [
                Field("ca", \.ca, Kind.readableFile.optional(none: "the system's"), "PEM: the authorities that are believed."),
                Field(
                    "server_name", \.serverName,
                    Kind.text(
                        meaning: "host name", expected: "a host name such as users.internal",
                        problem: { Words.isHostName($0) ? nil : "is no host name" }
                    ).optional(none: "the name in `dns`, else the endpoint's address"),
                    "The name that is sent, and that the certificate must have."),
                Field(
                    "verify", \.verify, .boolean,
                    "Whether chain and name are verified. Without it anybody on the way can read and change everything."),
                Field(
                    "client_certificate", \.clientCertificate, Configuration.Certificate.kind.optional(none: "none"),
                    "What the gateway shows when it is asked."),
                Field("min_version", \.minimumVersion, .choice, "Oldest version of TLS."),
            ])
    }
}

extension Configuration.HealthCheck {
    static var table: Table<Self> {
        Table(
            name: "Health check",
            documentation:
                "Asks each endpoint again and again, each time over a new connection, in the upstream's own protocol; `{}` gets `/`. Checks take no permit and are no evidence for the breaker.",
            fields: [
                Field("kind", \.kind, .choice, "`http`: a request; `tcp`: only a connection, with its TLS handshake."),
                Field("path", \.path, .requestTarget, "What is asked for by GET, with a query if need be."),
                Field(
                    "statuses", \.statuses, Kind<ClosedRange<Int>>.statuses.oneOrMany(), initial: "200-399",
                    "Statuses that pass: `204`, `200-299`, or a list."),
                Field(
                    "host", \.host, Kind.authority.optional(none: "`tls.server_name`, else the endpoint's address"),
                    "What the check says in `Host` or `:authority`."),
                Field("interval", \.interval, .duration(.milliseconds(100) ... .seconds(3600)), "From check to check."),
                Field(
                    "timeout", \.timeout, .duration(.milliseconds(10) ... .seconds(60)),
                    "A check without result after this has failed; the next one does not begin before."),
                Field("unhealthy_after", \.unhealthyAfter, .integer(1...100), "Failed checks in a row that take an endpoint out."),
                Field("healthy_after", \.healthyAfter, .integer(1...100), "Passed checks in a row that bring it back."),
                Field("jitter", \.jitter, .share(0...5_000), "The interval is up to this much longer or shorter, drawn each time."),
            ],
            check: { check, node, reader in
                guard check.kind == .tcp else { return }
                for key in ["path", "statuses", "host"] where node.has([.key(key)]) {
                    reader.complain(at: node.position(of: [.key(key)]), "a check of kind tcp has no \(key)")
                }
            })
    }
}

extension Configuration.Pool {
    static var table: Table<Self> {
        Table(
            name: "Pool", documentation: "Kept connections of each reactor to each endpoint.",
            fields: [
                Field(
                    "connections", \.connections, Kind.integer(1...100_000).orOff(),
                    "Connections at once. Off, because the bulkhead already bounds them."),
                Field("idle", \.idle, .integer(0...100_000), "Idle connections that are kept."),
                Field(
                    "idle_timeout", \.idleTimeout, .duration(.milliseconds(100) ... .seconds(3600)),
                    "Life of an idle connection. Keep it below the upstream's own."),
                Field("max_requests", \.maximumRequests, Kind.integer(1...1_000_000_000).orOff(), "Requests on one connection."),
                Field(
                    "max_age", \.maximumAge, Kind.duration(.seconds(1) ... .seconds(7 * 86_400)).orOff(),
                    "Age from which a connection takes no new request, give or take 10 %."),
            ])
    }
}

extension Configuration.KeepAlive {
    static var table: Table<Self> {
        Table(
            name: "Keep-alive", documentation: "TCP keep-alive probes: they find a peer that vanished without a word.",
            fields: [
                Field(
                    "idle", \.idle, .duration(.seconds(1) ... .seconds(7200), multipleOf: .seconds(1)),
                    "Silence before the first probe."),
                Field(
                    "interval", \.interval, .duration(.seconds(1) ... .seconds(600), multipleOf: .seconds(1)),
                    "From probe to probe."),
                Field("count", \.count, .integer(1...20), "Probes without answer that end the connection."),
            ])
    }
}
