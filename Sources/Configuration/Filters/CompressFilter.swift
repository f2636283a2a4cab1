// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Compresses answers for clients that take it.
    public struct CompressFilter: Equatable, Sendable {
        public enum Coding: String, CaseIterable, Sendable {
            case brotli = "br"
            case zstd, gzip, deflate
        }

        public enum Level: String, CaseIterable, Sendable { case fast, balanced, small }

        /// Of bodies that are worth it, in lower case: `text/css`, `text/*`, or `*+json`.
        public var types = [
            "text/*", "application/json", "application/javascript", "application/xml", "application/wasm", "image/svg+xml",
            "*+json", "*+xml",
        ]
        /// Shorter bodies are left alone. Default 1 KiB.
        public var minimumSize = 1_024
        /// Preferred first, among those that a client likes equally. Default br, zstd, gzip.
        public var codings: [Coding] = [.brotli, .zstd, .gzip]
        public var level = Level.balanced

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Compress filter", documentation: "Compresses answers for clients that take it; `{}` takes the defaults.",
                fields: [
                    Field(
                        "types", \.types, Kind<String>.mediaTypePattern.list(atLeast: 1),
                        "Content types that are compressed: `text/css`, `text/*`, or `*+json` for all that end so."),
                    Field(
                        "min_size", \.minimumSize, .size(0...(1 << 30)),
                        "Bodies that are known to be shorter are left alone."),
                    Field(
                        "codings", \.codings, Kind.choice.list(atLeast: 1),
                        "What is offered; the first of those that a client likes best."),
                    Field("level", \.level, .choice, "How much work is put into it."),
                ],
                check: { filter, node, reader in
                    if Set(filter.codings).count < filter.codings.count {
                        reader.complain(at: node.position(of: [.key("codings")]), "a coding stands twice in the list")
                    }
                }
            ).kind(Self())
        }
    }
}

extension Kind where Value == String {
    /// A content type, or all that begin or end alike.
    static var mediaTypePattern: Kind {
        Kind.text(
            pattern: #"^([!-~]+/[!-~]+|\*\+[!-~]+)$"#, meaning: "content type, `text/*` or `*+json`",
            expected: "a content type such as text/css, all of a kind as in text/*, or all that end alike as in *+json",
            problem: { text in
                if text.hasPrefix("*+") { return Words.isToken(String(text.dropFirst(2))) ? nil : "is no content type" }
                let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
                guard parts.count == 2, Words.isToken(parts[0]), Words.isToken(parts[1]), parts[0] != "*" else {
                    return "is no content type"
                }
                return nil
            }
        ).map({ $0.lowercased() }, back: { $0 })
    }
}
