// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Changes header fields of requests on their way to the upstream and of answers on their way to the client.
    public struct HeadersFilter: Equatable, Sendable {
        /// In this order: `remove`, `rename`, `set`, `add`.
        public struct Changes: Equatable, Sendable {
            /// Names in lower case.
            public var remove: [String] = []
            public var rename: [HeaderField] = []
            /// In place of all that have the name.
            public var set: [FieldTemplate] = []
            /// Beside those that have the name.
            public var add: [FieldTemplate] = []

            public init() {}
        }

        public struct FieldTemplate: Equatable, Sendable {
            public var name: String
            public var value: ValueTemplate

            public init(name: String, value: ValueTemplate) {
                self.name = name
                self.value = value
            }
        }

        public var request = Changes()
        public var response = Changes()
        /// Whether answers get the fields that browsers want of a careful site, where the upstream did not set them. Default false.
        public var security = false

        public init() {}

        var templates: [ValueTemplate] { (request.set + request.add + response.set + response.add).map(\.value) }

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Headers filter",
                documentation:
                    "Changes header fields: first `remove`, then `rename`, `set` and `add`. A field whose value is empty once it is filled in is not written.",
                fields: [
                    Field(
                        "request", \.request, Changes.kind("Headers filter request"), "Of requests on their way to the upstream."),
                    Field(
                        "response", \.response, Changes.kind("Headers filter response"),
                        "Of answers on their way to the client, the gateway's own too."),
                    Field(
                        "security", \.security, .boolean,
                        "Adds, where the answer has none: `strict-transport-security` (two years, over TLS only), `x-content-type-options: nosniff`, `x-frame-options: DENY`, `referrer-policy: strict-origin-when-cross-origin`."
                    ),
                ],
                check: { filter, node, reader in
                    if filter == Self() {
                        reader.complain(at: node.position, "changes nothing; expected request, response or security")
                    }
                }
            ).kind(Self())
        }
    }
}

extension Configuration.HeadersFilter.Changes {
    fileprivate static func kind(_ name: String) -> Kind<Self> {
        Table<Self>(
            name: name, documentation: "What becomes of a message's header fields.",
            fields: [
                Field("remove", \.remove, Kind<String>.changeableFieldName.list(), "Names of fields that are dropped."),
                Field("rename", \.rename, .fieldRenames, initial: "none", "Names of fields to the names that they get."),
                Field(
                    "set", \.set, .fieldTemplates, initial: "none", "Fields that are written in place of all that have their name."),
                Field("add", \.add, .fieldTemplates, initial: "none", "Fields that are written beside those that have their name."),
            ]
        ).kind(Self())
    }
}

extension Kind where Value == String {
    /// A field that a filter may touch: not one by which messages are framed, nor one that the gateway writes itself.
    static var changeableFieldName: Kind {
        let own = [
            "connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te", "trailer", "date", "via", "host",
            "expect", "proxy-connection", "http2-settings",
        ]
        return Kind.fieldName.checked { name, node, reader in
            if own.contains(name) {
                reader.complain(at: node.position, "the field \(name) is the gateway's own; no filter changes it")
            }
        }
    }
}

extension Kind where Value == [Configuration.HeaderField] {
    fileprivate static var fieldRenames: Kind {
        .byName(Kind<String>.changeableFieldName, value: Kind<String>.changeableFieldName) { name, value, _ in
            Configuration.HeaderField(name: name, value: value)
        }
    }
}

extension Kind where Value == [Configuration.HeadersFilter.FieldTemplate] {
    static var fieldTemplates: Kind {
        .byName(Kind<String>.changeableFieldName, value: Kind<Configuration.ValueTemplate>.fieldTemplate) { name, value, _ in
            Configuration.HeadersFilter.FieldTemplate(name: name, value: value)
        }
    }
}
