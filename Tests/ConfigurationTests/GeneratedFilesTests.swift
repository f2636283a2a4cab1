// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

/// The schema and the reference page are made from the declarations; HOLDFAST_UPDATE=1 writes them anew.
struct GeneratedFilesTests {
    @Test(arguments: [
        ("config/schema.json", Configuration.jsonSchema()),
        ("docs/configuration.md", Configuration.referenceMarkdown()),
    ])
    func areWhatTheCodeMakes(path: String, made: String) throws {
        if Checkout.isUpdating { try Checkout.write(made, to: path) }
        #expect(try Checkout.text(path) == made, "HOLDFAST_UPDATE=1 swift test --filter ConfigurationTests writes \(path) anew")
    }

    @Test func areTheSameAtEveryCall() {
        #expect(Configuration.jsonSchema() == Configuration.jsonSchema())
        #expect(Configuration.referenceMarkdown() == Configuration.referenceMarkdown())
    }

    /// JSON is YAML, so the text can be read back and compared with what was meant.
    @Test func schemaIsJSON() throws {
        let tree = try tree(of: Configuration.jsonSchema())
        #expect(JSON(tree) == Configuration.schema())
    }

    /// Each table is known by one heading, in the page and in the schema.
    @Test func tablesHaveNamesOfTheirOwn() throws {
        guard case .object(let root) = Configuration.table.shape(Configuration()) else { throw JSONError() }
        let page = Configuration.referenceMarkdown()
        let headings = page.split(separator: "\n").filter { $0.hasPrefix("## ") }.map { String($0.dropFirst(3)) }
        #expect(headings == root.descendants.map(\.name))
        #expect(Set(headings).count == headings.count)
        for object in root.descendants {
            #expect(Set(object.rows.map(\.key)).count == object.rows.count, "\(object.name) has a key twice")
        }
    }

    /// A default that is not the model's own would be a copy: the schema's are read from the settings types.
    @Test func defaultsComeFromTheSettings() throws {
        let schema = Configuration.schema()
        #expect(schema["$defs", "timeouts", "properties", "total", "default"] == .string("15s"))
        #expect(schema["$defs", "breaker", "properties", "failure_rate", "default"] == .string("50%"))
        #expect(schema["$defs", "breaker", "properties", "minimum_calls", "default"] == .integer(20))
        #expect(schema["$defs", "breaker", "properties", "saturation", "default"] == .bool(true))
        #expect(schema["$defs", "retry-budget", "properties", "minimum", "default"] == .string("1/second"))
        #expect(schema["$defs", "retries", "properties", "replay_body", "default"] == .string("64KiB"))
        #expect(schema["$defs", "timeouts", "properties", "first_byte", "default"] == .string("off"))
        #expect(schema["$defs", "limits", "properties", "header_bytes", "default"] == .string("64KiB"))
    }

    /// An editor that fills in a default must not be told that it is wrong.
    @Test func defaultsFitTheirSchema() throws {
        let schema = Configuration.schema()
        let validator = SchemaValidator(root: schema)
        var seen = 0
        func visit(_ properties: JSON?) throws {
            guard case .object(let entries)? = properties else { throw JSONError() }
            for (key, property) in entries {
                guard let value = property["default"] else { continue }
                seen += 1
                #expect(validator.failures(value, against: property) == [], "\(key)")
            }
        }
        try visit(schema["properties"])
        guard case .object(let definitions)? = schema["$defs"] else { throw JSONError() }
        for (_, definition) in definitions { try visit(definition["properties"]) }
        #expect(seen > 80)
    }
}
