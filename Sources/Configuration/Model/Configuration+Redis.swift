// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// A Redis server, or a cluster of them, in which gateways count together.
    public struct Redis: Equatable, Sendable {
        /// Servers: of a cluster any that know it; of others one.
        public var servers: [Address] = []
        /// Whether the servers are one Redis Cluster. Default false.
        public var cluster = false
        /// `nil`: in clear.
        public var tls: UpstreamTLS?
        /// Default: none, so that a password is the default user's.
        public var username: String?
        public var password: Secret?
        /// 0 to 1,023. A cluster has only 0. Default 0.
        public var database = 0
        /// What begins every key. Default `holdfast:`.
        public var prefix = "holdfast:"
        /// How long a decision may take, a connection that has to be made first included. Default 100 ms.
        public var timeout: Duration = .milliseconds(100)
        /// Decisions under way at once, beyond which Redis counts as failed. Default 10,000.
        public var pipeline = 10_000

        public init() {}

        static var table: Table<Self> {
            Table(
                name: "Redis",
                documentation:
                    "The Redis server, or cluster, in which limits with `store: redis` are counted by all gateways that name it.",
                fields: [
                    Field(
                        "servers", \.servers, Kind.endpoint.oneOrMany(), required: true,
                        "Where it is, by IP address and port or Unix socket; of a cluster any members."),
                    Field(
                        "cluster", \.cluster, .boolean, "Whether they are a Redis Cluster, whose redirects are then followed."),
                    Field(
                        "tls", \.tls, UpstreamTLS.table.kind(UpstreamTLS()).orOff(),
                        "How it is spoken to over TLS; `{}` takes the defaults."),
                    Field(
                        "username", \.username,
                        Kind<String>.text(
                            meaning: "user name", expected: "a user name without spaces",
                            problem: { Words.isToken($0) ? nil : "is no user name" }
                        )
                        .optional(none: "the default user"), "The user of its access control list."),
                    Field("password", \.password, Kind.secret.optional(none: "none"), "A path, `{ file: … }` or `{ env: … }`."),
                    Field("database", \.database, .integer(0...1_023), "The number of the database."),
                    Field(
                        "prefix", \.prefix,
                        Kind<String>.text(
                            pattern: "^[!-z|~]{0,64}$", meaning: "beginning of a key",
                            expected: "up to 64 visible characters without braces",
                            problem: { text in
                                text.utf8.count <= 64
                                    && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x7B && $0 != 0x7D }
                                    ? nil : "cannot begin keys"
                            }), "What begins every key: gateways that are to count together have the same."),
                    Field(
                        "timeout", \.timeout, .duration(.milliseconds(1) ... .seconds(10)),
                        "What a decision may take; a connection that has to be made first included."),
                    Field(
                        "pipeline", \.pipeline, .integer(1...1_000_000),
                        "Decisions that may be under way at once; beyond that Redis counts as failed."),
                ],
                check: { redis, node, reader in
                    if redis.cluster, redis.database != 0 {
                        reader.complain(at: node.position(of: [.key("database")]), "a cluster has only the database 0")
                    }
                    if !redis.cluster, redis.servers.count > 1 {
                        reader.complain(at: node.position(of: [.key("servers")]), "are several, but no cluster: expected one")
                    }
                    if redis.username != nil, redis.password == nil {
                        reader.complain(at: node.position(of: [.key("username")]), "a user name without a password")
                    }
                })
        }
    }
}
