// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Lets in who knows a user's password (RFC 7617).
    public struct BasicFilter: Equatable, Sendable {
        /// See `UsersFile`. Looked at again every `reload`.
        public var usersFile = ""
        /// What a browser shows. Default `holdfast`.
        public var realm = "holdfast"
        /// The field in which the upstream is told the user's name; `nil` is `off`. Default `x-consumer`.
        public var consumerHeader: String? = "x-consumer"
        /// Whether `Authorization` is taken off the request. Default true.
        public var strip = true
        /// How long a pair that was right is not hashed again, up to 1 h. Default 5 min.
        public var remember: Duration = .seconds(300)
        /// Passwords being hashed or waiting for it, on each reactor. Default 64.
        public var concurrent = 64
        public var reload: Duration = .seconds(5)

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Basic filter",
                documentation:
                    "Lets in who knows a user's password (HTTP Basic). Passwords are stored as `$pbkdf2-sha256$` hashes, hashed in slices between other work, and one that was right is remembered for a while by its own hash. Use it over TLS only.",
                fields: [
                    Field(
                        "users_file", \.usersFile, .readableFile, required: true,
                        "Users and their passwords' hashes; see docs/filters/basic.md. A changed file counts at once, one that does not read is logged and the last good one goes on."
                    ),
                    Field(
                        "realm", \.realm,
                        .text(
                            pattern: "^[ !#-\\[\\]-~]{1,64}$", meaning: "text",
                            expected: "up to 64 printable characters without quotes and backslashes",
                            problem: { text in
                                (1...64).contains(text.utf8.count)
                                    && text.utf8.allSatisfy { $0 >= 32 && $0 < 127 && $0 != 34 && $0 != 92 }
                                    ? nil : "is no realm"
                            }), "What a browser shows when it asks for the password."),
                    Field(
                        "consumer_header", \.consumerHeader, Kind<String>.identityField.orOff(),
                        "The field that tells the upstream who it is."),
                    Field(
                        "strip", \.strip, .boolean,
                        "Whether `Authorization` is taken off the request, so that the upstream never sees passwords."),
                    Field(
                        "remember", \.remember, .duration(.zero ... .seconds(3600)),
                        "How long a pair that was right is let in without hashing it again. A changed file forgets all."),
                    Field(
                        "concurrent", \.concurrent, .integer(1...10_000),
                        "Passwords being hashed or waiting for it on each reactor; beyond that 503 `auth.unavailable`."),
                    Field("reload", \.reload, .duration(.seconds(1) ... .seconds(3600)), "How often the file is looked at."),
                ]
            ).kind(Self())
        }
    }
}
