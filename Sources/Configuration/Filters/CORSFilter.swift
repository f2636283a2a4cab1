// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Which pages of other origins may use a route (the Fetch standard, "CORS protocol"). The gateway's word is final: what the
    /// upstream says in `access-control-*` is dropped.
    public struct CORSFilter: Equatable, Sendable {
        public enum Origin: Hashable, Sendable {
            case any
            /// `https://app.example.com`
            case exact(String)
            /// Scheme and suffix of `https://*.example.com`: every name below, at any depth.
            case below(scheme: String, suffix: String)
        }

        public var origins: [Origin] = []
        /// Default: GET, HEAD and POST, which need no preflight either.
        public var methods = ["GET", "HEAD", "POST"]
        /// Fields that a page may send beyond the harmless ones; names in lower case. Default: none.
        public var headers: [String] = []
        /// Fields of answers that a page may read beyond the harmless ones.
        public var expose: [String] = []
        /// Whether cookies and other credentials may be sent along. Default false.
        public var credentials = false
        /// How long a browser may keep a preflight's answer. Default 10 minutes.
        public var maxAge: Duration = .seconds(600)

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "CORS filter",
                documentation:
                    "Which pages of other origins may use the route. Preflights are answered by the gateway, before authentication; the upstream's own `access-control-*` fields are dropped.",
                fields: [
                    Field(
                        "origins", \.origins, Kind<Origin>.origin.list(atLeast: 1), required: true,
                        "`https://app.example.com`, `https://*.example.com` for all names below, or `\"*\"` for every origin."),
                    Field("methods", \.methods, Kind<String>.method.list(atLeast: 1), "What a page may do."),
                    Field(
                        "headers", \.headers, Kind<String>.fieldName.list(),
                        "Fields that a page may send, such as `authorization` and `content-type`."),
                    Field("expose", \.expose, Kind<String>.fieldName.list(), "Fields of answers that a page may read."),
                    Field(
                        "credentials", \.credentials, .boolean,
                        "Whether cookies may be sent along. Not together with the origin `*`."),
                    Field(
                        "max_age", \.maxAge, .duration(.zero ... .seconds(86_400), multipleOf: .seconds(1)),
                        "How long a browser may keep a preflight's answer."),
                ],
                check: { filter, node, reader in
                    if filter.credentials && filter.origins.contains(.any) {
                        reader.complain(
                            at: node.position(of: [.key("credentials")]),
                            "with the origin * every page could act as the visitor; name the origins, or leave credentials off")
                    }
                }
            ).kind(Self())
        }
    }
}

extension Kind where Value == Configuration.CORSFilter.Origin {
    fileprivate static var origin: Kind {
        .scalar(
            .scalar(.string, meaning: "origin, as `https://app.example.com` or `https://*.example.com`, or `*`"),
            expected: "an origin such as https://app.example.com or https://*.example.com, or *",
            text: { origin in
                switch origin {
                case .any: "*"
                case .exact(let text): text
                case .below(let scheme, let suffix): "\(scheme)://*.\(suffix)"
                }
            }
        ) { text throws(ScalarProblem) in
            if text == "*" { return .any }
            let lower = text.lowercased()
            guard let range = lower.firstRange(of: "://") else { throw ScalarProblem("has no scheme") }
            let scheme = String(lower[..<range.lowerBound])
            let host = String(lower[range.upperBound...])
            guard scheme == "https" || scheme == "http" else { throw ScalarProblem("has a scheme that is neither https nor http") }
            if host.hasPrefix("*.") {
                let suffix = String(host.dropFirst(2))
                guard Words.isAuthority(suffix) else { throw ScalarProblem("is no origin") }
                return .below(scheme: scheme, suffix: suffix)
            }
            guard Words.isAuthority(host) else {
                throw ScalarProblem(host.contains("/") ? "has a path, which an origin does not" : "is no origin")
            }
            return .exact("\(scheme)://\(host)")
        }
    }
}
