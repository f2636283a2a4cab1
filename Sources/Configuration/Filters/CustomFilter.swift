// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// A filter that the program which embeds the gateway brought along under this name.
    public struct CustomFilter: Equatable, Sendable {
        public var name = ""
        /// What the filter is made with, as text; in the order of the file.
        public var settings: [HeaderField] = []

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Custom filter",
                documentation: "A filter of the program that embeds the gateway; the program `holdfast` has none.",
                fields: [
                    Field("name", \.name, .name, required: true, "The name that the program gave it."),
                    Field("settings", \.settings, .settings, initial: "none", "What it is made with: names and texts."),
                ]
            ).kind(Self())
        }
    }
}

extension Kind where Value == [Configuration.HeaderField] {
    fileprivate static var settings: Kind {
        .byName(
            Kind<String>.text(pattern: "^[A-Za-z0-9_.-]+$", meaning: "name", expected: "a name"),
            value: Kind<String>.text(meaning: "text", expected: "text")
        ) { name, value, _ in Configuration.HeaderField(name: name, value: value) }
    }
}
