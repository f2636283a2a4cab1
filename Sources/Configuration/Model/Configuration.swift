// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Resilience

/// What a running gateway is told: the immutable model of one YAML file, already validated.
///
/// A value of this type that came out of `load` or `parse` keeps every promise of its fields' comments: names resolve,
/// numbers are in range, files were readable. All fields have a default that is right for a public edge, but for
/// `listeners`, `upstreams` and `routes`, which say what is fronted.
public struct Configuration: Equatable, Sendable {
    /// Reactors, 1 to 1024. Default: one a core that the process may use.
    public var threads: Int?
    /// The pseudonym in `Via` (RFC 9110 §7.6.3), by which a loop is recognised: one for all gateways that share a
    /// configuration, another for each hop. A token of at most 64 characters. Default `holdfast`.
    public var serverName = "holdfast"
    /// Makes every random draw repeatable, for chaos runs and tests. Default: a fresh one at each start.
    public var seed: UInt64?
    /// Peers whose `Forwarded`, `X-Forwarded-*` and request id are believed. Default: nobody.
    public var trustedNetworks: [IPNetwork] = []
    public var requestID = RequestID()
    /// Where metrics are served; `nil` is `off`. Default `127.0.0.1:9901`: what it shows is not for the public.
    public var admin: Address? = .ip(IPAddress(127, 0, 0, 1), port: 9901)
    /// What whoever changes something through the admin listener must show, 16 bytes or more. `nil`: nothing can be changed there.
    public var adminToken: Secret?
    /// Which requests' decisions can be looked up afterwards; `nil` is `off`.
    public var explain: Explain? = Explain()
    /// `nil` is `off`. Default: JSON lines on standard output.
    public var accessLog: AccessLog? = AccessLog()
    public var limits = Limits()
    public var overload = Overload()
    /// The store of all `cache` filters.
    public var cache = Cache()
    /// Where rate limits with `store: redis` are counted. Default: none.
    public var redis: Redis?
    /// How long exchanges under way may take once the gateway drains, 0 s to 1 h; what is left then is cut. Default 30 s.
    public var drain: Duration = .seconds(30)
    /// At least one, in the order of the file.
    public var listeners: [Listener] = []
    /// In the order of the file; names are unique.
    public var upstreams: [Upstream] = []
    /// At least one, in the order of the file. Which one wins is the router's rule and does not depend on the order.
    public var routes: [Route] = []

    /// Decision records: what the guard decided about a request, with its numbers at that instant.
    public struct Explain: Equatable, Sendable {
        /// Records kept, the oldest goes first; 1 to 100,000. Default 1,000.
        public var keep = 1_000
        /// Records of unusual requests (refused, failed, retried) made each second, 0 to 100,000, so that a storm of them does not cost more
        /// than the storm. Default 100.
        public var rate = 100
        /// Share of all requests that are recorded too, whatever becomes of them. Default 0.1 %.
        public var sampling = Share(tenThousandths: 10)

        public init() {}
    }

    public init() {}

    /// Every filter, wherever it stands.
    public var allFilters: [Filter] { listeners.flatMap(\.filters) + routes.flatMap(\.filters) + upstreams.flatMap(\.filters) }

    /// The upstream of that name.
    public func upstream(named name: String) -> Upstream? { upstreams.first { $0.name == name } }
}
