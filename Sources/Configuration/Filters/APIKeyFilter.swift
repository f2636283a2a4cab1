// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Lets in who shows a key of `keys_file`. The key goes no further.
    public struct APIKeyFilter: Equatable, Sendable {
        /// See `KeysFile`. Looked at again every `reload`.
        public var keysFile = ""
        /// The field that holds the key, in lower case; `nil` is `off`. Default: `x-api-key`.
        public var header: String? = "x-api-key"
        /// The parameter of the query that holds the key; `nil` is `off`. Default: off, since queries end up in logs and histories.
        public var query: String?
        /// The field in which the upstream is told the consumer's name; `nil` is `off`. Default: `x-consumer`.
        public var consumerHeader: String? = "x-consumer"
        /// How often the file is looked at, 1 s to 1 h. Default 5 s.
        public var reload: Duration = .seconds(5)

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "API key filter",
                documentation:
                    "Lets in who shows a key of the file, and tells the upstream whose key it is. The key itself is taken off the request. Without a key 401 `auth.missing`, with a wrong one 401 `auth.invalid`.",
                fields: [
                    Field(
                        "keys_file", \.keysFile, .readableFile, required: true,
                        "Consumers and the SHA-256 of their keys; see docs/filters/api_key.md. A changed file counts at once, one that does not read is logged and the last good one goes on."
                    ),
                    Field(
                        "header", \.header, Kind<String>.fieldName.orOff(),
                        "The field that holds the key; in `authorization` it follows `Bearer`."),
                    Field(
                        "query", \.query,
                        Kind<String>.text(
                            pattern: "^[A-Za-z0-9_.-]{1,64}$", meaning: "name of a parameter",
                            expected: "the name of a query parameter",
                            problem: { Words.isName($0) ? nil : "is no such name" }
                        ).orOff(), "The query parameter that holds it, where the field is not there."),
                    Field(
                        "consumer_header", \.consumerHeader, Kind<String>.identityField.orOff(),
                        "The field that tells the upstream who it is."),
                    Field("reload", \.reload, .duration(.seconds(1) ... .seconds(3600)), "How often the file is looked at."),
                ],
                check: { filter, node, reader in
                    if filter.header == nil && filter.query == nil {
                        reader.complain(at: node.position, "header and query are both off; a key has to come in one of them")
                    }
                }
            ).kind(Self())
        }
    }
}

extension Kind where Value == String {
    /// A field by which an upstream is told who somebody is: the gateway alone writes it, and takes it off what clients send, in every
    /// spelling. So it cannot be one that clients have to send.
    static var identityField: Kind {
        let clients = ["authorization", "cookie", "content-type", "accept", "user-agent", "origin", "referer", "x-api-key"]
        return Kind<String>.changeableFieldName.checked { name, node, reader in
            if clients.contains(name) {
                reader.complain(
                    at: node.position, "the field \(name) is one that clients send; name one that they do not, such as x-consumer")
            }
        }
    }
}
