// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Nobody is served for now, but for those who look whether it works again.
    public struct MaintenanceFilter: Equatable, Sendable {
        /// Whether it is in force: so that an entry can stay in the file. Default true.
        public var enabled = true
        /// While this file is there it is in force, whatever `enabled` says: looked for once a second. Default: none.
        public var file: String?
        /// Clients in these networks are served as always. Default: none.
        public var except: [IPNetwork] = []
        /// What clients are told about when to come again. Default 5 minutes.
        public var retryAfter: Duration = .seconds(300)
        /// In place of the problem answer. Default: none.
        public var answer: Answer?

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Maintenance filter", documentation: "Nobody is served for now: 503 with the reason `maintenance`.",
                fields: [
                    Field("enabled", \.enabled, .boolean, "Whether it is in force."),
                    Field(
                        "file", \.file,
                        Kind<String>.text(meaning: "path of a file", expected: "the path of a file").resolvedPath.optional(
                            none: "none"),
                        "With it the filter is in force while this file exists, and only then; it is looked for once a second."),
                    Field("except", \.except, Kind<IPNetwork>.network.list(), "Networks that are served as always."),
                    Field(
                        "retry_after", \.retryAfter, .duration(.seconds(1) ... .seconds(86_400), multipleOf: .seconds(1)),
                        "When clients are told to come again."),
                    Field(
                        "answer", \.answer, Answer.table.kind(Answer.unavailable).optional(none: "a problem answer"),
                        "A page of your own in place of the problem answer; its status is 503 unless it says another."),
                ]
            ).kind(Self())
        }
    }
}

extension Configuration.Answer {
    fileprivate static var unavailable: Self {
        var answer = Self()
        answer.status = 503
        return answer
    }
}

extension Kind where Value == String {
    /// A relative path starts at the configuration's folder; the file need not be there.
    var resolvedPath: Kind {
        let read = self.read
        var result = self
        result.read = { node, reader in read(node, &reader).map { reader.resolved($0) } }
        return result
    }
}
