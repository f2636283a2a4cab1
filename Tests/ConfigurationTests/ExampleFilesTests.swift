// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

/// The files in `config/`: they load, they fit the schema, and edge.yaml leaves no key out.
struct ExampleFilesTests {
    static let files = ["config/minimal.yaml", "config/edge.yaml"]

    @Test(arguments: files) func loadsWithoutWarning(path: String) throws {
        let loaded = try Configuration.parse(text: try Checkout.text(path), file: path, surroundings: .assumed)
        #expect(loaded.warnings == [])
    }

    @Test(arguments: files) func fitsTheSchema(path: String) throws {
        let schema = JSON(try tree(of: try Checkout.text("config/schema.json")))
        #expect(SchemaValidator(root: schema).failures(JSON(try tree(of: try Checkout.text(path))), against: schema) == [])
    }

    /// The validator is no rubber stamp.
    @Test(arguments: [
        ("listeners: []\nroutes: [{ match: {}, to: a }]", ".listeners: minItems"),
        ("listeners: [{ name: l, address: \"1.2.3.4:1\" }]", ": required routes"),
        (
            "listeners: [{ name: l, address: \"1.2.3.4:1\", tlss: {} }]\nroutes: [{ match: {}, to: a }]",
            ".listeners[0].tlss: not allowed"
        ),
        ("listeners: [{ name: l, address: \"1.2.3.4:1\" }]\nroutes: [{ match: {}, to: a, answer: {} }]", ".routes[0]: oneOf"),
        ("drain: 5\nlisteners: [{ name: l, address: \"1.2.3.4:1\" }]\nroutes: [{ match: {}, to: a }]", ".drain: type string"),
        ("threads: 0\nlisteners: [{ name: l, address: \"1.2.3.4:1\" }]\nroutes: [{ match: {}, to: a }]", ".threads: minimum"),
        (
            "listeners: [{ name: l, address: \"1.2.3.4:1\" }]\nroutes: [{ match: {}, to: a, filters: [{ cors: { origins: [\"*\"] }, headers: {} }] }]",
            ".routes[0].filters[0]: oneOf"
        ),
    ])
    func schemaRefuses(text: String, failure: String) throws {
        let schema = Configuration.schema()
        #expect(SchemaValidator(root: schema).failures(JSON(try tree(of: text)), against: schema) == [failure])
    }

    @Test func edgeMentionsEveryKey() throws {
        guard case .object(let root) = Configuration.table.shape(Configuration()) else { throw JSONError() }
        var seen: Set<String> = []
        mention(try tree(of: try Checkout.text("config/edge.yaml")), root, &seen)
        let all = Set(
            root.descendants.flatMap { object in object.rows.filter { !isRefused($0.shape) }.map { object.name + " " + $0.key } })
        // A custom filter needs the program that has it.
        // Of the four places that keys of tokens can come from, the file has one.
        #expect(
            all.subtracting(seen).sorted() == [
                "Custom filter name", "Custom filter settings", "Filter custom", "JWT filter jwks_file", "JWT filter public_key",
                "JWT filter secret", "Listener filters", "Upstream filters",
            ])
        #expect(all.count > 120)
    }

    /// Adds each key that a tree mentions, by the name of its table.
    private func mention(_ tree: YAML, _ object: ObjectShape, _ seen: inout Set<String>) {
        guard case .mapping(let entries) = tree.content else { return }
        for entry in entries {
            guard let row = object.rows.first(where: { $0.key == entry.key }) else { continue }
            seen.insert(object.name + " " + entry.key)
            mention(entry.value, row.shape, &seen)
        }
    }

    private func mention(_ tree: YAML, _ shape: Shape, _ seen: inout Set<String>) {
        switch (shape, tree.content) {
        case (.object(let object), .mapping): mention(tree, object, &seen)
        case (.list(let element, _), .sequence(let items)): for item in items { mention(item, element, &seen) }
        case (.names(let element, _, _), .mapping(let entries)): for entry in entries { mention(entry.value, element, &seen) }
        case (.either(let shapes), _): for shape in shapes { mention(tree, shape, &seen) }
        default: break
        }
    }

    private func isRefused(_ shape: Shape) -> Bool {
        if case .refused = shape { true } else { false }
    }

    @Test func minimalIsAllDefaults() throws {
        let configuration = try Configuration.parse(
            text: try Checkout.text("config/minimal.yaml"), file: "minimal.yaml", surroundings: .assumed
        ).configuration
        var expected = Configuration()
        expected.listeners = [Configuration.Listener(name: "public", address: .ip(IPAddress(127, 0, 0, 1), port: 8080))]
        var users = Configuration.Upstream(name: "users")
        users.endpoints = [9001, 9002].map { Configuration.Endpoint(address: .ip(IPAddress(127, 0, 0, 1), port: $0)) }
        expected.upstreams = [users]
        var match = Configuration.Match()
        match.path = try Configuration.PathPattern("/users/*")
        expected.routes = [Configuration.Route(match: match, action: .upstream("users"))]
        #expect(configuration == expected)
    }
}
