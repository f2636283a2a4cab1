// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// How often one client, consumer or route may ask; who asks more gets 429 `rate_limit.exceeded`.
    public struct RateLimitFilter: Equatable, Sendable {
        /// So many in a period.
        public struct Rate: Equatable, Sendable {
            /// 1 to 1,000,000,000.
            public var amount: Int
            /// One of a second, a minute, an hour and a day.
            public var seconds: Int

            public init(amount: Int, seconds: Int) {
                self.amount = amount
                self.seconds = seconds
            }
        }

        public enum Algorithm: String, CaseIterable, Sendable {
            case tokenBucket = "token_bucket"
            case slidingWindow = "sliding_window"
        }

        /// Whose requests are counted together.
        public enum Key: Equatable, Sendable {
            /// One address; of IPv6 a network.
            case clientAddress
            /// Whom an authentication filter has found.
            case consumer
            case route
            /// All requests that come by.
            case global
            /// The values of a request field.
            case header(String)
            /// A claim of the request's token.
            case claim(String)

            /// Whether authentication has to come first.
            public var needsIdentity: Bool {
                switch self {
                case .consumer, .claim: true
                case .clientAddress, .route, .global, .header: false
                }
            }

            /// As it is written.
            public var description: String {
                switch self {
                case .clientAddress: "client_ip"
                case .consumer: "consumer"
                case .route: "route"
                case .global: "global"
                case .header(let name): "header.\(name)"
                case .claim(let path): "claim.\(path)"
                }
            }
        }

        public enum Store: String, CaseIterable, Sendable { case memory, redis }

        /// What becomes of requests while the shared store does not answer.
        public enum OnFailure: String, CaseIterable, Sendable {
            /// Each gateway counts by itself.
            case local
            case open
            case closed
        }

        /// Default: what `per` says.
        public var name: String?
        public var rate = Rate(amount: 1, seconds: 1)
        /// The bucket's tokens. Default: the rate's amount.
        public var burst: Int?
        public var algorithm = Algorithm.tokenBucket
        public var per = Key.clientAddress
        /// Bits of an IPv6 address that are one client, 1 to 128. Default 64.
        public var ipv6Prefix = 64
        /// Bits of an IPv4 address that are one client, 1 to 32. Default 32.
        public var ipv4Prefix = 32
        public var store = Store.memory
        public var onFailure = OnFailure.local
        /// Counts and refuses nobody. Default false.
        public var shadow = false
        /// Keys that are remembered, 100 to 10,000,000. Default 1,000,000.
        public var keys = 1_000_000
        /// Whether answers carry `RateLimit` and `RateLimit-Policy`. Default true.
        public var headers = true

        public init() {}

        /// What it is called in fields, metrics and across reloads.
        public var label: String { name ?? per.description }

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Rate limit filter",
                documentation: "How often one client, consumer or route may ask: 429 beyond. A list may have several.",
                fields: [
                    Field(
                        "name", \.name, Kind<String>.name.optional(none: "what `per` says"),
                        "What it is called in fields, metrics and across reloads; each limit of a list has its own."),
                    Field("rate", \.rate, .requestRate, required: true, "So many in a period."),
                    Field(
                        "burst", \.burst, Kind.integer(1...1_000_000_000).optional(none: "the number in `rate`"),
                        "With `token_bucket`, how many may come at once after a rest."),
                    Field(
                        "algorithm", \.algorithm, .choice,
                        "`token_bucket`: `burst` at once, and then at the rate. `sliding_window`: never more than the number in `rate` in any stretch of time as long as its period."
                    ),
                    Field(
                        "per", \.per, .limitKey,
                        "Whose requests are counted together: `client_ip`, `consumer`, `route`, `global`, `{ header: NAME }` or `{ claim: PATH }`. Who has no such thing is counted with all others that have none."
                    ),
                    Field("ipv6_prefix", \.ipv6Prefix, .integer(1...128), "Leading bits of an IPv6 address that are one client."),
                    Field("ipv4_prefix", \.ipv4Prefix, .integer(1...32), "Leading bits of an IPv4 address that are one client."),
                    Field(
                        "store", \.store, .choice, "Where it is counted: in this gateway, or with others in the top-level `redis`."),
                    Field(
                        "on_failure", \.onFailure, .choice,
                        "While Redis does not answer: each gateway counts by itself, or lets all requests pass, or refuses all with 503."
                    ),
                    Field("shadow", \.shadow, .boolean, "Only counts what it would refuse."),
                    Field(
                        "keys", \.keys, .integer(100...10_000_000),
                        "Clients that are remembered, in at most 64 bytes each; who was seen longest ago goes first."),
                    Field("headers", \.headers, .boolean, "Whether answers carry `ratelimit` and `ratelimit-policy`."),
                ],
                check: { filter, node, reader in
                    let burst = filter.burst ?? filter.rate.amount
                    if filter.algorithm == .slidingWindow, filter.burst != nil {
                        reader.complain(at: node.position(of: [.key("burst")]), "a sliding_window has no burst")
                    }
                    // Nanoseconds in memory; microseconds in Redis, whose numbers are exact up to 2^53.
                    let (_, overflow) = burst.multipliedReportingOverflow(by: filter.rate.seconds * 4_000_000_000)
                    if overflow {
                        reader.complain(at: node.position, "a burst of \(burst) at this rate is too large to be counted exactly")
                    } else if filter.store == .redis, burst * filter.rate.seconds > (1 << 53) / 2_000_000 {
                        reader.complain(
                            at: node.position, "a burst of \(burst) at this rate is too large for Redis to count exactly")
                    }
                    if filter.store == .redis { reader.referToRedis(at: node.position(of: [.key("store")])) }
                }
            ).kind(Self())
        }

        /// Complains about two limits of one name in one list.
        static func check(_ limits: [Self], at position: Position, _ reader: inout Reader) {
            var seen: Set<String> = []
            for limit in limits where !seen.insert(limit.label).inserted {
                reader.complain(at: position, "two rate limits are called \(quoted(limit.label)); give each its own name")
            }
        }
    }
}

extension Kind where Value == Configuration.RateLimitFilter.Rate {
    private static var periods: [(unit: String, seconds: Int)] {
        [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)]
    }

    /// A whole number in a period: `100/second`.
    fileprivate static var requestRate: Kind {
        .scalar(
            .scalar(
                .string, pattern: "^[0-9]+/(second|minute|hour|day)$",
                meaning: "whole number a `second`, `minute`, `hour` or `day`, as `100/second`"),
            expected: "a whole number in a period, such as 100/second, 5/minute, 1000/hour or 10000/day",
            text: { rate in periods.first { $0.seconds == rate.seconds }.map { "\(rate.amount)/\($0.unit)" } }
        ) { text throws(ScalarProblem) in
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw ScalarProblem("has no period") }
            guard parts[0].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let amount = Int(parts[0]) else {
                throw ScalarProblem("has no whole number before its period")
            }
            guard (1...1_000_000_000).contains(amount) else { throw ScalarProblem("is out of range") }
            guard let period = periods.first(where: { $0.unit == parts[1] }) else {
                throw ScalarProblem("has the unknown period \(quoted(String(parts[1])))")
            }
            return .init(amount: amount, seconds: period.seconds)
        }
    }
}

extension Kind where Value == Configuration.RateLimitFilter.Key {
    private struct Draft {
        var header: String?
        var claim: String?
    }

    fileprivate static var limitKey: Kind {
        let words: [(String, Value)] = [
            ("client_ip", .clientAddress), ("consumer", .consumer), ("route", .route), ("global", .global),
        ]
        let word = Kind.scalar(
            .choice(words.map(\.0)), expected: "client_ip, consumer, route, global, { header: NAME } or { claim: PATH }",
            text: { $0.description }
        ) { text throws(ScalarProblem) in
            guard let known = words.first(where: { $0.0 == text }) else { throw ScalarProblem("is not known") }
            return known.1
        }
        let mapping = Table<Draft>(
            name: "Rate limit filter key", documentation: "What of a request says whose it is.",
            fields: [
                Field(
                    "header", \.header, Kind<String>.fieldName.optional(none: nil),
                    "A request field: only one that clients cannot change at will."),
                Field(
                    "claim", \.claim,
                    Kind<String>.text(
                        meaning: "path of a claim", expected: "a claim such as sub or realm.user",
                        problem: { text in
                            !text.isEmpty && text.utf8.count <= 256 && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
                                ? nil : "is no claim's path"
                        }
                    ).optional(none: nil), "A claim of the token that the filter `jwt` has verified."),
            ], exactlyOne: ["header", "claim"]
        ).kind(Draft()).map(
            { (draft: Draft) -> Value in draft.header.map { Value.header($0) } ?? .claim(draft.claim ?? "") },
            back: { (_: Value) -> Draft? in nil })
        return word.or(mapping: mapping)
    }
}
