// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Lets in who shows a signed token (RFC 7519) of an issuer whose keys are known.
    public struct JWTFilter: Equatable, Sendable {
        /// RFC 7518 §3.1, RFC 8037. There is no `none`.
        public enum Algorithm: String, CaseIterable, Sendable {
            case rs256 = "RS256"
            case rs384 = "RS384"
            case rs512 = "RS512"
            case ps256 = "PS256"
            case ps384 = "PS384"
            case ps512 = "PS512"
            case es256 = "ES256"
            case es384 = "ES384"
            case es512 = "ES512"
            case edDSA = "EdDSA"
            case hs256 = "HS256"
            case hs384 = "HS384"
            case hs512 = "HS512"

            public var isSymmetric: Bool { rawValue.hasPrefix("HS") }
        }

        public enum Keys: Equatable, Sendable {
            /// A key set (RFC 7517) in a file, looked at again every `reload`.
            case file(String)
            case remote(RemoteKeys)
            /// One public key in PEM.
            case publicKey(String)
            /// One secret for HMAC.
            case secret(Secret)
        }

        /// A key set of another service.
        public struct RemoteKeys: Equatable, Sendable {
            public var upstream = ""
            public var path = "/.well-known/jwks.json"
            /// Age at which it is fetched anew while it is in use. Default 10 min.
            public var refresh: Duration = .seconds(600)
            /// Between two fetches, whatever asks for them. Default 10 s.
            public var minimumInterval: Duration = .seconds(10)
            /// Age until which the last good set counts when there is no newer. Default 24 h.
            public var keep: Duration = .seconds(86_400)

            public init() {}
        }

        public struct ClaimHeader: Equatable, Sendable {
            /// In lower case.
            public var header: String
            /// As in `{claim.…}`.
            public var claim: String

            public init(header: String, claim: String) {
                self.header = header
                self.claim = claim
            }
        }

        /// A claim that must have one of these values, or be a list that has one.
        public struct ClaimRule: Equatable, Sendable {
            public var claim: String
            public var values: [String]

            public init(claim: String, values: [String]) {
                self.claim = claim
                self.values = values
            }
        }

        public var keys = Keys.file("")
        /// Default: all with a public key.
        public var algorithms = Algorithm.allCases.filter { !$0.isSymmetric }
        /// One of these must be `iss`; `nil` is `off`.
        public var issuers: [String]?
        /// One of these must be in `aud`; `nil` is `off`.
        public var audiences: [String]?
        /// Between the issuer's clock and ours, 0 to 10 min. Default 30 s.
        public var skew: Duration = .seconds(30)
        /// Claims that must be there. Default: `exp`.
        public var required = ["exp"]
        /// All must hold, else 403. Default: none.
        public var rules: [ClaimRule] = []
        /// All must be in `scope` or `scp`, else 403. Default: none.
        public var scopes: [String] = []
        /// Longest time since `iat`; `nil` is `off`. Default off.
        public var maximumAge: Duration?
        /// What `typ` must say, as `at+jwt`; `nil` is `off`. Default off.
        public var type: String?
        /// The field that holds the token, in lower case; in `authorization` it follows `Bearer`.
        public var header = "authorization"
        public var claimHeaders: [ClaimHeader] = []
        /// The claim that names the consumer. Default `sub`.
        public var consumer = "sub"
        public var consumerHeader: String?
        /// Whether the token is taken off the request. Default false: services often look at it again.
        public var strip = false
        /// Longest token in bytes. Default 8 KiB.
        public var tokenBytes = 8_192
        /// Tokens that were found right and are remembered till they expire. Default 8,192.
        public var remember = 8_192
        public var reload: Duration = .seconds(5)

        public init() {}

        private struct Draft {
            var filter = JWTFilter()
            var file: String?
            var remote: RemoteKeys?
            var publicKey: String?
            var secret: Secret?

            var keys: Keys? {
                if let file { return .file(file) }
                if let remote { return .remote(remote) }
                if let publicKey { return .publicKey(publicKey) }
                return secret.map { .secret($0) }
            }
        }

        static var kind: Kind<Self> {
            let table = Table<Draft>(
                name: "JWT filter",
                documentation:
                    "Lets in who shows a signed token (JWT). Without one 401 `auth.missing`; with one that is not right in every point 401 `auth.invalid`; with one that lacks a right 403 `auth.forbidden`; where no keys can be had 503 `auth.unavailable`. Each key has one algorithm; what a token says about keys is never followed.",
                fields: keyFields + claimFields + passing, exactlyOne: ["jwks_file", "jwks", "public_key", "secret"], check: check)
            return Kind(
                shape: table.shape(Draft()),
                read: { node, reader in
                    guard let draft = table.read(node, &reader, from: Draft()), let keys = draft.keys else { return nil }
                    var filter = draft.filter
                    filter.keys = keys
                    return filter
                }, text: { _ in nil })
        }

        private static var keyFields: [Field<Draft>] {
            [
                Field(
                    "jwks_file", \.file, Kind<String>.readableFile.optional(none: nil),
                    "A key set (JWKS) in a file; a changed file counts at once."),
                Field("jwks", \.remote, RemoteKeys.kind.optional(none: nil), "A key set (JWKS) that a service has."),
                Field("public_key", \.publicKey, Kind<String>.readableFile.optional(none: nil), "One public key in PEM form."),
                Field(
                    "secret", \.secret, Kind<Secret>.secret.optional(none: nil),
                    "One shared secret, for HS256, HS384 or HS512; name the one in `algorithms`."),
                Field(
                    "algorithms", \.filter.algorithms, Kind<Algorithm>.choice.list(atLeast: 1), initial: "all with a public key",
                    "What tokens may be signed with."),
                Field(
                    "reload", \.filter.reload, .duration(.seconds(1) ... .seconds(3600)),
                    "How often the file of the keys is looked at."),
            ]
        }

        private static var claimFields: [Field<Draft>] {
            [
                Field(
                    "issuer", \.filter.issuers, Kind<String>.claimText.oneOrMany().orOff(), required: true,
                    "Whose tokens count: what `iss` must be, or a list. `off`: anybody's who has one of the keys."),
                Field(
                    "audience", \.filter.audiences, Kind<String>.claimText.oneOrMany().orOff(), required: true,
                    "Whom they must be for: what `aud` must have, or a list of which it must have one. `off`: a token for another service of the issuer passes too."
                ),
                Field("skew", \.filter.skew, .duration(.zero ... .seconds(600)), "How far the issuer's clock may be off ours."),
                Field("required", \.filter.required, Kind<String>.claimText.list(), "Claims that must be there."),
                Field(
                    "claims", \.filter.rules, .claimRules, initial: "none",
                    "Claims and the value that they must have, or a list of which they must have one; else 403. A claim that is a list has one of them in it."
                ),
                Field(
                    "scopes", \.filter.scopes, Kind<String>.scope.list(), "Scopes that must all be in `scope` or `scp`; else 403."),
                Field(
                    "max_age", \.filter.maximumAge, Kind.duration(.seconds(1) ... .seconds(86_400 * 30)).orOff(),
                    "Longest time since `iat`, which must be there then."),
                Field("type", \.filter.type, Kind<String>.claimText.orOff(), "What the header's `typ` must be, such as `at+jwt`."),
                Field("token_bytes", \.filter.tokenBytes, .size(256...65_536), "Longest token."),
                Field(
                    "remember", \.filter.remember, .integer(0...1_048_576),
                    "Tokens that were found right and are remembered till they expire: their signature is not checked again."),
            ]
        }

        private static var passing: [Field<Draft>] {
            [
                Field(
                    "header", \.filter.header, .fieldName, "The field that holds the token; in `authorization` it follows `Bearer`."
                ),
                Field("strip", \.filter.strip, .boolean, "Whether the token is taken off the request."),
                Field(
                    "claim_headers", \.filter.claimHeaders, .claimHeaders, initial: "none",
                    "Fields by which the upstream is told claims: `x-tenant: tenant.id`. What a client sends under these names is taken off."
                ),
                Field("consumer", \.filter.consumer, .claimText, "The claim that names the consumer, for rate limits and logs."),
                Field(
                    "consumer_header", \.filter.consumerHeader, Kind<String>.identityField.orOff(),
                    "The field that tells the upstream who it is."),
            ]
        }

        private static func check(_ draft: Draft, _ node: YAML, _ reader: inout Reader) {
            let symmetric = draft.filter.algorithms.filter(\.isSymmetric)
            if draft.secret != nil, symmetric.count != 1 || symmetric.count != draft.filter.algorithms.count {
                reader.complain(
                    at: node.position(of: [.key("algorithms")]), "with a secret exactly one of HS256, HS384 and HS512 is expected")
            }
            if draft.publicKey != nil || draft.remote != nil, !symmetric.isEmpty {
                reader.complain(
                    at: node.position(of: [.key("algorithms")]),
                    "\(symmetric[0].rawValue) needs a secret, and these keys are public")
            }
        }
    }
}

extension Configuration.JWTFilter.RemoteKeys {
    fileprivate static var kind: Kind<Self> {
        Table<Self>(
            name: "JWT filter key set",
            documentation:
                "A key set that is fetched through an upstream's guard: at the first token, again every `refresh`, and when a token names a key that it does not have. One fetch at a time; the last good set goes on while there is no newer.",
            fields: [
                Field("from", \.upstream, .upstream, required: true, "The upstream that has it."),
                Field("path", \.path, .requestTarget, "Where it is."),
                Field(
                    "refresh", \.refresh, .duration(.seconds(10) ... .seconds(86_400)),
                    "Age at which it is fetched anew while it is in use."),
                Field(
                    "min_interval", \.minimumInterval, .duration(.seconds(1) ... .seconds(3600)),
                    "Between two fetches, whatever asks for them."),
                Field(
                    "keep", \.keep, .duration(.seconds(60) ... .seconds(86_400 * 30)),
                    "Age until which the last good set counts; from then on requests are refused with 503."),
            ],
            check: { keys, node, reader in
                if keys.keep < keys.refresh {
                    reader.complain(
                        at: node.position(of: [.key("keep")]), "keep is shorter than refresh: there would be no keys in between")
                }
            }
        ).kind(Self())
    }
}

extension Kind where Value == String {
    fileprivate static var claimText: Kind {
        .text(meaning: "text", expected: "text", problem: { $0.isEmpty || $0.utf8.count > 1_024 ? "is empty or too long" : nil })
    }

    /// RFC 6749 §3.3.
    fileprivate static var scope: Kind {
        .text(
            pattern: "^[!#-\\[\\]-~]+$", meaning: "scope", expected: "a scope without spaces and quotes",
            problem: { text in
                !text.isEmpty && text.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != 34 && $0 != 92 } ? nil : "is no scope"
            })
    }
}

extension Kind where Value == [Configuration.JWTFilter.ClaimRule] {
    fileprivate static var claimRules: Kind {
        .byName(Kind<String>.text(meaning: "claim", expected: "a claim"), value: Kind<String>.claimText.oneOrMany()) {
            name, values, _ in
            Configuration.JWTFilter.ClaimRule(claim: name, values: values)
        }
    }
}

extension Kind where Value == [Configuration.JWTFilter.ClaimHeader] {
    fileprivate static var claimHeaders: Kind {
        .byName(Kind<String>.identityField, value: Kind<String>.claimText) { name, claim, _ in
            Configuration.JWTFilter.ClaimHeader(header: name, claim: claim)
        }
    }
}
