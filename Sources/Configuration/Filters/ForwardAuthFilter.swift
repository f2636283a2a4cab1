// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Asks a service, through its own guard, whether a request may pass.
    public struct ForwardAuthFilter: Equatable, Sendable {
        public var upstream = ""
        /// What is asked for. Default `/`.
        public var path = "/"
        /// Fields of the request that the service is shown; names in lower case. Default: authorization and cookie.
        public var send = ["authorization", "cookie"]
        /// Fields of its answer that the upstream gets; names in lower case. Default: none.
        public var copy: [String] = []
        /// Of these the one that names the consumer; default none.
        public var consumer: String?
        /// Fields of its refusal that the client gets beside content-type, location, set-cookie and www-authenticate. Default: none.
        public var answer: [String] = []
        /// Longest body of a refusal. Default 64 KiB.
        public var bodyBytes = 65_536

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Forward auth filter",
                documentation:
                    "Asks a service whether the request may pass: a GET through that upstream's own guard, with the request's method, host and target in `x-forwarded-method`, `x-forwarded-host` and `x-forwarded-uri`. 2xx lets it pass; 401, 403 and redirects go to the client; anything else, and no answer at all, is 503 `auth.unavailable`.",
                fields: [
                    Field("to", \.upstream, .upstream, required: true, "The upstream that is asked."),
                    Field("path", \.path, .requestTarget, "What it is asked for."),
                    Field("send", \.send, Kind<String>.shownField.list(), "Fields of the request that it is shown."),
                    Field(
                        "copy", \.copy, Kind<String>.identityField.list(),
                        "Fields of its answer that are set on the request, such as `x-user`. What a client sends under these names is taken off first."
                    ),
                    Field(
                        "consumer", \.consumer, Kind<String>.fieldName.optional(none: "none"),
                        "The field of its answer that names the consumer, for rate limits and logs."),
                    Field(
                        "answer", \.answer, Kind<String>.changeableFieldName.list(),
                        "Fields of its refusal that the client gets too."),
                    Field(
                        "body_bytes", \.bodyBytes, .size(0...(1 << 20)),
                        "Longest body of its refusal that is passed on; a longer one is left out."),
                ]
            ).kind(Self())
        }
    }
}

extension Kind where Value == String {
    /// A field of the client's that a service is shown beside what the gateway says itself.
    fileprivate static var shownField: Kind {
        Kind<String>.changeableFieldName.checked { name, node, reader in
            if name.hasPrefix("x-forwarded-") {
                reader.complain(
                    at: node.position,
                    "the field \(name) is written by the gateway, and what a client sends under it is nobody's word")
            }
        }
    }
}
