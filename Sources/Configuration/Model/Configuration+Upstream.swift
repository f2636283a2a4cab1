// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Resilience

extension Configuration {
    /// A service behind the gateway: its endpoints, how they are spoken to, and its guard.
    public struct Upstream: Equatable, Sendable {
        /// Which protocol an upstream speaks.
        public enum WireProtocol: String, CaseIterable, Sendable {
            case http1
            case http2 = "h2"
            /// What ALPN settles over TLS, HTTP/1.1 in clear.
            case auto
        }

        /// What an upstream sees in `Host` or `:authority`.
        public enum HostField: String, CaseIterable, Sendable {
            /// What the client sent.
            case preserve
            /// `tls.server_name`, else the endpoint's address.
            case upstream
        }

        /// A name of letters, digits, `-`, `_` and `.`; the label in logs and metrics.
        public var name: String
        /// At least one, no address twice; none where `dns` says where it runs.
        public var endpoints: [Endpoint] = []
        /// The name that has its endpoints' addresses; `nil`: `endpoints` lists them.
        public var dns: DNS?
        /// Default `auto`.
        public var wireProtocol = WireProtocol.auto
        /// `nil`: in clear.
        public var tls: UpstreamTLS?
        public var guardSettings = GuardSettings()
        /// Default `least_request`: it avoids the slow endpoint, and costs two draws.
        public var balance = BalancingPolicy.leastRequest
        /// What `balance: hash` goes by. Default `client_address`.
        public var hashKey = HashKey.clientAddress
        /// How an endpoint that joins or comes back gets to its full share; `nil` is `off`. Default: evenly in 30 s.
        public var slowStart: SlowStartSettings? = SlowStartSettings()
        /// Below this share of available endpoints requests go to all of them; 0 % never. Default 50 %.
        public var panicThreshold = BalancerSettings().panicThreshold
        /// When an endpoint is set aside for what its answers show; `nil` is `off`. Default on.
        public var outlierDetection: OutlierSettings? = OutlierSettings()
        public var pool = Pool()
        /// What is done with all requests that go there. Default: nothing.
        public var filters: [Filter] = []
        /// TCP keep-alive; `nil` is `off`. Default on: an idle connection whose peer vanished is found before it is used.
        public var keepAlive: KeepAlive? = KeepAlive()
        /// How long sent octets may stay unacknowledged (`TCP_USER_TIMEOUT`), 1 s to 10 min; `nil` is `off`, the kernel's 15 min or so. Default 20 s.
        public var tcpUserTimeout: Duration? = .seconds(20)
        /// Default `preserve`.
        public var host = HostField.preserve
        /// Whether an upstream is told which attempt it gets and how long it has. Default true.
        public var attemptHeaders = true

        /// `nil`: its endpoints are not checked.
        public var healthCheck: HealthCheck?

        public init(name: String) { self.name = name }
    }

    /// By what requests are told apart that are to go to one endpoint each.
    public enum HashKey: Equatable, Sendable {
        /// The client's, as trusted proxies tell it.
        case clientAddress
        /// Without the query, as it is sent on.
        case path
        /// Its name, in lower case.
        case header(String)
        case cookie(String)
    }

    /// The name that an upstream's endpoints come from.
    public struct DNS: Equatable, Sendable {
        public enum Record: String, CaseIterable, Sendable {
            /// A and AAAA.
            case address
            /// SRV: targets with port and weight, those of the lowest priority value.
            case srv
        }

        /// Fully qualified: no search list is applied, and no hosts file read.
        public var name: String
        /// 1 to 65,535; `nil` for SRV records, which bring theirs.
        public var port: Int?
        /// Default `address`.
        public var record = Record.address
        /// Who is asked, by IP address. Default: empty, the system's (`/etc/resolv.conf`).
        public var servers: [Address] = []
        /// An answer is kept for its time to live, but no shorter than this, 100 ms to 1 h. Default 1 s.
        public var minimumTTL: Duration = .seconds(1)
        /// Nor longer than this, 1 s to 24 h. Default 5 min.
        public var maximumTTL: Duration = .seconds(300)
        /// What one server gets for an answer in the first round, 10 ms to 60 s; each further round doubles it. Default 2 s.
        public var timeout: Duration = .seconds(2)
        /// Rounds over all servers, 1 to 10. Default 2.
        public var attempts = 2

        public init(name: String, port: Int? = nil) {
            self.name = name
            self.port = port
        }
    }

    /// How the endpoints of an upstream are asked whether they are well.
    public struct HealthCheck: Equatable, Sendable {
        public enum Probe: String, CaseIterable, Sendable {
            /// GET of `path`.
            case http
            /// A connection, and its TLS handshake where the upstream speaks TLS.
            case tcp
        }

        /// Default `http`.
        public var kind = Probe.http
        /// With a query, if need be. Default `/`.
        public var path = "/"
        /// What the check says in `Host`. Default: the name that TLS asks for, else the endpoint's address.
        public var host: String?
        /// Statuses that pass, at least one. Default 200 to 399.
        public var statuses = [200...399]
        /// From check to check, 100 ms to 1 h. Default 10 s.
        public var interval: Duration = .seconds(10)
        /// A check without verdict after this has failed, 10 ms to 60 s. Default 2 s.
        public var timeout: Duration = .seconds(2)
        /// Failed checks in a row that take an endpoint out, 1 to 100. Default 3.
        public var unhealthyAfter = 3
        /// Passed checks in a row that bring it back, 1 to 100. Default 2.
        public var healthyAfter = 2
        /// The interval is up to this much longer or shorter, drawn each time, 0 to 50 %. Default 10 %.
        public var jitter = Share(tenThousandths: 1_000)

        public init() {}
    }

    /// One address of an upstream.
    public struct Endpoint: Equatable, Sendable {
        public var address: Address
        /// Its share of the requests relative to the others, 1 to 1,000. Default 1.
        public var weight = 1

        public init(address: Address) { self.address = address }
    }

    /// How an upstream is spoken to over TLS.
    public struct UpstreamTLS: Equatable, Sendable {
        /// A PEM file with the authorities that are believed, resolved against the configuration's folder. Default: the system's.
        public var ca: String?
        /// The name sent (SNI) and asked of the certificate. Default: the name in `dns`, else the endpoint's IP address and no SNI.
        public var serverName: String?
        /// Whether chain and name are verified. Default true; without it anybody on the way can read and change everything.
        public var verify = true
        /// What the gateway shows when it is asked. Default: nothing.
        public var clientCertificate: Certificate?
        /// Default 1.2.
        public var minimumVersion = TLSVersion.tls12

        public init() {}
    }

    /// Kept connections to an upstream, of each reactor and for each endpoint.
    public struct Pool: Equatable, Sendable {
        /// Connections a reactor opens to an endpoint, 1 to 100,000. Default `off` (`nil`): the bulkhead already bounds them.
        public var connections: Int?
        /// Idle connections a reactor keeps for an endpoint, 0 to 100,000. Default 512: fewer than a peak has under way means a new
        /// connection for every third request of it; `idle_timeout` takes away what is left over.
        public var idle = 512
        /// Life of an idle connection, 100 ms to 1 h. Default 30 s: shorter than what most servers allow.
        public var idleTimeout: Duration = .seconds(30)
        /// Requests on one connection, 1 to 1,000,000,000. Default `off` (`nil`).
        public var maximumRequests: Int?
        /// Age from which a connection takes no new request, give or take 10 %, 1 s to 7 d. Default 10 min. `nil` is `off`.
        public var maximumAge: Duration? = .seconds(600)

        public init() {}
    }

    /// TCP keep-alive probes (tcp(7)); whole seconds.
    public struct KeepAlive: Equatable, Sendable {
        /// Silence before the first probe, 1 s to 2 h. Default 30 s.
        public var idle: Duration = .seconds(30)
        /// Between probes, 1 s to 10 min. Default 10 s.
        public var interval: Duration = .seconds(10)
        /// Probes without answer that end the connection, 1 to 20. Default 3.
        public var count = 3

        public init() {}
    }
}
