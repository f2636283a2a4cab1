// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Resilience

extension Configuration {
    /// Which requests, and what becomes of them.
    public struct Route: Equatable, Sendable {
        /// What happens to a request that matches.
        public enum Action: Equatable, Sendable {
            /// To the upstream of that name.
            case upstream(String)
            /// To one of several, by weight.
            case split([WeightedUpstream])
            case redirect(Redirect)
            case answer(Answer)
        }

        /// What `label` is to be; a name, unique among routes. Default: the path pattern, with the host before it if there is just one.
        public var name: String?
        public var match: Match
        public var action: Action
        /// A literal path that is cut off before the request is sent on; it begins the match's path. Default: nothing is.
        public var stripPrefix: String?
        /// The path sent on, with the match's parameters and rest filled in. Default: the path that was matched.
        public var rewrite: PathPattern?
        /// What clients get when the upstream cannot serve them. Default: the gateway's own answer with its reason.
        public var fallback: Fallback?
        /// Overrides of the upstream's timeouts.
        public var timeouts = TimeoutOverrides()
        /// Overrides of what is tried again.
        public var retries = RetryOverrides()
        /// Whether every method of this route may be tried again like PUT. Default false.
        public var idempotent = false
        /// Who is turned away first when an upstream has no room. Default: critical, so that nobody is.
        public var priority = Priority.critical
        /// Whether `%2F` in a path is left as it is; else such a request is refused (cases, A15). Default false.
        public var allowEncodedSlash = false
        /// What is done with requests and answers on their way. Default: nothing.
        public var filters: [Filter] = []

        public init(match: Match, action: Action) {
            self.match = match
            self.action = action
        }

        /// What logs and metrics call this route: never anything that a client sent.
        public var label: String {
            if let name { return name }
            let host = match.hosts.count == 1 ? match.hosts[0].description : ""
            return host + (match.path?.description ?? "/*")
        }

        /// The upstreams that this route can lead to, in the order of the file.
        public var upstreamNames: [String] {
            switch action {
            case .upstream(let name): [name]
            case .split(let parts): parts.map(\.upstream)
            case .redirect, .answer: []
            }
        }
    }

    /// The degraded answer of a route, for when its upstream cannot serve a request.
    public struct Fallback: Equatable, Sendable {
        /// Why the upstream did not serve it.
        public enum Cause: String, CaseIterable, Sendable {
            /// The breaker refused (`breaker.*`).
            case open
            /// No room (`bulkhead.*`, `shed.*`, `lb.no_healthy`).
            case shed
            /// Time ran out before the answer began (`timeout.*`, `deadline*`, `connect.timeout`, `tls.timeout`).
            case timeout
            /// It could not be reached, or went away before it answered (`dns`, `connect.*`, `tls.*`, `reset.before_headers`).
            case unreachable
        }

        public enum Action: Equatable, Sendable {
            /// To another upstream, under its own guard and in the time that is left.
            case upstream(String)
            case answer(Answer)
        }

        /// Default: open, shed and timeout.
        public var causes: [Cause] = [.open, .shed, .timeout]
        public var action: Action

        public init(action: Action) { self.action = action }
    }

    /// What a request must have; what is left empty matches all.
    public struct Match: Hashable, Sendable {
        /// Any of these, in lower case.
        public var hosts: [HostPattern] = []
        /// `nil`: every path.
        public var path: PathPattern?
        /// Any of these (RFC 9110 §9: case matters).
        public var methods: [String] = []
        /// All of these; names in lower case.
        public var headers: [FieldMatch] = []
        /// All of these.
        public var query: [FieldMatch] = []

        public init() {}
    }

    /// `api.example.com`, or `*.example.com` for every name below it, at any depth but not itself.
    public enum HostPattern: Hashable, Sendable, CustomStringConvertible {
        case exact(String)
        /// What follows `*.`.
        case below(String)

        /// As it is written in a configuration.
        public var description: String {
            switch self {
            case .exact(let name): name
            case .below(let name): "*." + name
            }
        }
    }

    /// One header field or query parameter.
    public struct FieldMatch: Hashable, Sendable {
        public var name: String
        /// The whole value; `nil`: it only has to be there.
        public var value: String?

        public init(name: String, value: String?) {
            self.name = name
            self.value = value
        }
    }

    /// One part of a split.
    public struct WeightedUpstream: Equatable, Sendable {
        public var upstream: String
        /// Relative to the others, 0 to 1,000,000; their sum is above 0.
        public var weight: Int

        public init(upstream: String, weight: Int) {
            self.upstream = upstream
            self.weight = weight
        }
    }

    public struct Redirect: Equatable, Sendable {
        /// A URL or a path with `{host}`, `{path}`, `{rest}` and the match's parameters, and `{query}` at its end. The request's
        /// query is kept unless the target has one.
        public var to: TextTemplate
        /// 301, 302, 303, 307 or 308. Default 308: method and body stay (RFC 9110 §15.4.9).
        public var status = 308

        public init(to: TextTemplate) { self.to = to }
    }

    /// A field of an answer.
    public struct HeaderField: Equatable, Sendable {
        /// In lower case; none that frames a message.
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// An answer that the gateway gives by itself.
    public struct Answer: Equatable, Sendable {
        /// 200 to 599. Default 200.
        public var status = 200
        /// In the order of the file. Without `content-type` a body is `text/plain; charset=utf-8`.
        public var headers: [HeaderField] = []
        /// Default: none.
        public var body = ""

        public init() {}
    }

    /// A timeout of a route: as the upstream says (`nil`), `off`, or another duration.
    public enum TimeLimit: Equatable, Sendable {
        case off
        case after(Duration)

        /// `nil` for `off`, as in `TimeoutSettings`.
        public var duration: Duration? {
            switch self {
            case .off: nil
            case .after(let duration): duration
            }
        }
    }

    /// What of one route's requests is tried again; `nil` leaves the upstream's. The budget is always the upstream's.
    public struct RetryOverrides: Equatable, Sendable {
        public var attempts: Int?
        public var retryOn: [RetrySettings.Condition]?

        public init() {}

        /// The upstream's retries with this route's in their place.
        public func applied(to upstream: RetrySettings) -> RetrySettings {
            var result = upstream
            if let attempts { result.attempts = attempts }
            if let retryOn { result.retryOn = retryOn }
            return result
        }
    }

    /// The timeouts of one route; `nil` leaves the upstream's. Units and ranges are those of `TimeoutSettings`.
    public struct TimeoutOverrides: Equatable, Sendable {
        public var total: TimeLimit?
        public var perTry: TimeLimit?
        public var firstByte: TimeLimit?
        public var idle: TimeLimit?
        public var totalIncludesBody: Bool?

        public init() {}

        /// The upstream's timeouts with this route's in their place.
        public func applied(to upstream: TimeoutSettings) -> TimeoutSettings {
            var result = upstream
            if let total { result.total = total.duration }
            if let perTry { result.perTry = perTry.duration }
            if let firstByte { result.firstByte = firstByte.duration }
            if let idle { result.idle = idle.duration }
            if let totalIncludesBody { result.totalIncludesBody = totalIncludesBody }
            return result
        }
    }
}
