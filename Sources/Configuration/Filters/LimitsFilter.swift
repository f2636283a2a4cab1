// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// How large a request of this route may be, below or above what `limits` says for all.
    public struct LimitsFilter: Equatable, Sendable {
        /// In place of `limits.body_bytes`: 413 beyond. Default: as there.
        public var bodyBytes: Int?
        /// Start line, names, values and 32 for each field: 431 beyond; not above `limits.header_bytes`. Default: as there.
        public var headerBytes: Int?
        /// Path and query: 414 beyond. Default: as `limits.uri_bytes`.
        public var uriBytes: Int?
        /// What the body may become once its content codings are undone: 413 beyond. Default: no limit.
        public var decompressedBytes: Int?

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Limits filter",
                documentation: "How large a request may be here, in place of what the top-level `limits` say for all.",
                fields: [
                    Field(
                        "body_bytes", \.bodyBytes, Kind.size(0...(1 << 50)).optional(none: "`limits.body_bytes`"),
                        "The body as it is sent: 413 beyond. It may be above the general limit."),
                    Field(
                        "header_bytes", \.headerBytes, Kind.size(64...(1 << 24)).optional(none: "`limits.header_bytes`"),
                        "Names, values and 32 for each header field: 431 beyond. Only below the general limit."),
                    Field(
                        "uri_bytes", \.uriBytes, Kind.size(1...(1 << 20)).optional(none: "`limits.uri_bytes`"),
                        "Path and query: 414 beyond. Only below the general limit."),
                    Field(
                        "decompressed_bytes", \.decompressedBytes, Kind.size(0...(1 << 50)).optional(none: "no limit"),
                        "What a body in `gzip`, `deflate`, `br` or `zstd` may become: it is decoded on its way, only to be counted, and refused with 413 beyond. One in another content coding is refused with 415."
                    ),
                ],
                check: { filter, node, reader in
                    if filter == Self() {
                        reader.complain(
                            at: node.position, "limits nothing; expected body_bytes, header_bytes, uri_bytes or decompressed_bytes")
                    }
                }
            ).kind(Self())
        }
    }
}
