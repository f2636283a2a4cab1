// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Resilience

extension Configuration {
    /// Memory for the answers of all `cache` filters together.
    public struct Cache: Equatable, Sendable {
        /// 1 MiB to 1 TiB, bookkeeping included. Default 64 MiB.
        public var bytes = 64 << 20

        public init() {}

        static var table: Table<Self> {
            Table(
                name: "Cache", documentation: "The store that all `cache` filters share.",
                fields: [
                    Field(
                        "bytes", \.bytes, .size((1 << 20)...(1 << 40)),
                        "Memory for stored answers of all `cache` filters together, bookkeeping included; what was asked for least of late makes room."
                    )
                ])
        }
    }

    /// A shared cache before the upstream (RFC 9111).
    public struct CacheFilter: Equatable, Sendable {
        public enum Method: String, CaseIterable, Sendable {
            case get = "GET"
            case head = "HEAD"
        }

        /// A longer answer is not stored. Default 1 MiB.
        public var objectBytes = 1 << 20
        /// Lifetime of an answer that says nothing about it. Default: none, it is not stored.
        public var defaultTTL: Duration?
        /// Share of the time since Last-Modified. Default 0: an answer that says nothing is not stored.
        public var heuristic = Share(tenThousandths: 0)
        /// Which requests are answered from the store; HEAD is answered by the stored answer to a GET. Default both.
        public var methods = Method.allCases
        public var ignoreQuery: [String] = []
        public var vary: [String] = []
        public var staleWhileRevalidate: Duration = .zero
        public var staleIfError: Duration = .zero
        public var collapse = true
        /// Default 5 s.
        public var collapseWait: Duration = .seconds(5)
        /// Default 10 s.
        public var uncacheableFor: Duration = .seconds(10)
        public var allowSetCookie = false
        public var requestDirectives = true

        public init() {}

        private static var parameter: Kind<String> {
            .text(
                pattern: "^[^&=#*\\s]*\\*?$", meaning: "name of a query parameter, or its beginning and `*`",
                expected: "the name of a query parameter as it stands in the query, or its beginning and *",
                problem: { text in
                    if text.isEmpty || text == "*" { return "would ignore every parameter" }
                    return text.dropLast().contains("*") || text.contains(where: { "&=# \t".contains($0) })
                        ? "is no such name" : nil
                })
        }

        private static var storing: [Field<Self>] {
            [
                Field("object_bytes", \.objectBytes, .size(1...(1 << 36)), "An answer with a longer body is not stored."),
                Field(
                    "default_ttl", \.defaultTTL,
                    Kind<Duration>.duration(.seconds(1) ... .seconds(31_536_000), multipleOf: .seconds(1)).orOff(),
                    "How long an answer is good that says nothing about it, where its status allows that and its request had neither `Cookie` nor credentials. Off: it is not stored."
                ),
                Field(
                    "heuristic", \.heuristic, .share(0...10_000),
                    "Instead of `default_ttl` where the answer has `Last-Modified`: this share of its age then, a day at most (RFC 9111, section 4.2.2). 0 is off."
                ),
                Field(
                    "allow_set_cookie", \.allowSetCookie, .boolean,
                    "Whether an answer with `Set-Cookie` may be stored, without that field. Otherwise it is not."),
            ]
        }

        private static var keys: [Field<Self>] {
            [
                Field("methods", \.methods, Kind<Method>.choice.list(atLeast: 1), "Which requests may be answered from the store."),
                Field(
                    "ignore_query", \.ignoreQuery, parameter.list(),
                    "Parameters of the query that make no difference to the answer, such as `utm_*`."),
                Field(
                    "vary", \.vary, Kind<String>.fieldName.list(),
                    "Fields of the request that make a difference even where the answer's `Vary` does not say so."),
            ]
        }

        private static var serving: [Field<Self>] {
            let window = Kind<Duration>.duration(.zero ... .seconds(31_536_000), multipleOf: .seconds(1))
            return [
                Field(
                    "stale_while_revalidate", \.staleWhileRevalidate, window,
                    "How long after its lifetime an answer is served at once while a fresh one is fetched, where it does not say so itself and forbids nothing (RFC 5861)."
                ),
                Field(
                    "stale_if_error", \.staleIfError, window,
                    "How long after its lifetime an answer is served where the upstream fails or its breaker is open, where it does not say so itself and forbids nothing (RFC 5861)."
                ),
                Field(
                    "collapse", \.collapse, .boolean,
                    "Whether requests for what is being fetched already wait for that, so that there is one fetch."),
                Field(
                    "collapse_wait", \.collapseWait, .duration(.milliseconds(1) ... .seconds(60)),
                    "How long a request waits for another's fetch before it is sent on by itself."),
                Field(
                    "uncacheable_for", \.uncacheableFor, .duration(.zero ... .seconds(3600)),
                    "After an answer that could not be stored, requests for it do not wait for each other for so long."),
                Field(
                    "request_directives", \.requestDirectives, .boolean,
                    "Whether a client's own `Cache-Control` is heeded. Off where clients must not be able to reach the upstream by `no-cache`."
                ),
            ]
        }

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Cache filter",
                documentation:
                    "Stores answers and serves them again, as a shared cache does (RFC 9111), after whatever asks who it is. See docs/filters/cache.md.",
                fields: storing + keys + serving,
                check: { filter, node, reader in
                    if !filter.methods.contains(.get) {
                        reader.complain(
                            at: node.position(of: [.key("methods")]), "GET is missing; what is stored is always the answer to a GET"
                        )
                    }
                }
            ).kind(Self())
        }
    }
}
