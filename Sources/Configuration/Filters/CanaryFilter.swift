// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Resilience

extension Configuration {
    /// Sends a share of a route's requests to another upstream, the same client always the same way.
    public struct CanaryFilter: Equatable, Sendable {
        /// By what a client keeps its side.
        public enum Sticky: Equatable, Sendable {
            /// A cookie of the gateway's own, named by `cookie`.
            case cookie
            case clientAddress
            case consumer
            /// A field of the request.
            case header(String)
            /// Each request anew.
            case none
        }

        public var upstream = ""
        /// Of those who are not told apart by header or cookie. Default 0: only those.
        public var share = Share(tenThousandths: 0)
        public var sticky = Sticky.cookie
        /// A field that decides: `always` or `never`. Default: none.
        public var header: String?
        /// The cookie that keeps a client on its side, and that anybody can set by hand: `canary` or `stable`. Default `holdfast-canary`.
        public var cookie = "holdfast-canary"
        /// How long the cookie holds. Default one day.
        public var cookieMaxAge: Duration = .seconds(86_400)

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Canary filter",
                documentation:
                    "Sends a share of the requests, or chosen ones, to another upstream. Raising the share moves clients over and moves none back.",
                fields: [
                    Field("to", \.upstream, .upstream, required: true, "The upstream that is tried."),
                    Field("share", \.share, .share(0...10_000), "How many go there of those that no header or cookie decides for."),
                    Field(
                        "sticky", \.sticky, .sticky,
                        "What a client keeps its side by: `cookie`, `client_ip`, `consumer`, `header.NAME`, or `none`: drawn for each request."
                    ),
                    Field(
                        "header", \.header, Kind<String>.fieldName.optional(none: "none"),
                        "A field that decides by its value: `always` or `never`. It goes no further."),
                    Field(
                        "cookie", \.cookie,
                        Kind<String>.text(
                            meaning: "name of a cookie", expected: "a name of letters, digits and '-'",
                            problem: { Words.isToken($0) ? nil : "is no name" }),
                        "With `sticky: cookie`, the cookie that is set to `canary` or `stable`."),
                    Field(
                        "cookie_max_age", \.cookieMaxAge, .duration(.seconds(1) ... .seconds(31_536_000), multipleOf: .seconds(1)),
                        "How long the cookie holds."),
                ],
                check: { filter, node, reader in
                    if filter.share.tenThousandths == 0 && filter.header == nil && filter.sticky != .cookie {
                        reader.complain(at: node.position, "nothing would go to \(filter.upstream); expected share or header")
                    }
                }
            ).kind(Self())
        }
    }
}

extension Kind where Value == Configuration.CanaryFilter.Sticky {
    fileprivate static var sticky: Kind {
        .scalar(
            .scalar(
                .string, pattern: "^(cookie|client_ip|consumer|none|header\\..+)$",
                meaning: "`cookie`, `client_ip`, `consumer`, `header.NAME` or `none`"),
            expected: "cookie, client_ip, consumer, header.NAME or none",
            text: { sticky in
                switch sticky {
                case .cookie: "cookie"
                case .clientAddress: "client_ip"
                case .consumer: "consumer"
                case .header(let name): "header.\(name)"
                case .none: "none"
                }
            }
        ) { text throws(ScalarProblem) in
            switch text {
            case "cookie": return .cookie
            case "client_ip": return .clientAddress
            case "consumer": return .consumer
            case "none": return .none
            default:
                let name = String(text.dropFirst("header.".count))
                guard text.hasPrefix("header."), Words.isToken(name) else { throw ScalarProblem("is not known") }
                return .header(name.lowercased())
            }
        }
    }
}
