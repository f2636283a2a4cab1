// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// The JSON Schema (draft 2020-12) of the file, for editors: the same text at every call.
    ///
    /// It says what can be said of one value by itself. That names resolve, files are readable and durations are in
    /// range is known only to `parse`.
    public static func jsonSchema() -> String { schema().text() + "\n" }

    static func schema() -> JSON {
        guard case .object(let root) = table.shape(Configuration()) else { return .null }
        var entries: [(key: String, value: JSON)] = [
            ("$schema", .string("https://json-schema.org/draft/2020-12/schema")),
            ("title", .string("Holdfast configuration")),
        ]
        if case .object(let described) = SchemaWriter.object(root) { entries += described }
        entries.append(("$defs", .object(root.descendants.dropFirst().map { ($0.anchor, SchemaWriter.object($0)) })))
        return .object(entries)
    }
}

extension ObjectShape {
    /// This table and all below it, each once, in the order of the file.
    var descendants: [ObjectShape] {
        var found: [ObjectShape] = []
        func visit(_ object: ObjectShape) {
            guard !found.contains(where: { $0.name == object.name }) else { return }
            found.append(object)
            for below in object.rows.flatMap(\.shape.objects) { visit(below) }
        }
        visit(self)
        return found
    }
}

/// How a shape is said in JSON Schema.
private enum SchemaWriter {
    static func object(_ object: ObjectShape) -> JSON {
        var entries: [(key: String, value: JSON)] = [
            ("description", .string(plain(object.documentation))),
            ("type", .string("object")),
            ("additionalProperties", .bool(false)),
        ]
        if object.allowsExtensions { entries.append(("patternProperties", .object([("^x-", .bool(true))]))) }
        let required = object.rows.filter(\.isRequired).map { JSON.string($0.key) }
        if !required.isEmpty { entries.append(("required", .array(required))) }
        if !object.exactlyOne.isEmpty {
            entries.append(("oneOf", .array(object.exactlyOne.map { .object([("required", .array([.string($0)]))]) })))
        }
        entries.append(("properties", .object(object.rows.map { ($0.key, property($0)) })))
        return .object(entries)
    }

    private static func property(_ row: ObjectShape.Row) -> JSON {
        var description = plain(row.documentation)
        var entries: [(key: String, value: JSON)] = []
        switch row.initial {
        case .written(let text):
            if let value = json(text, as: row.shape) { entries.append(("default", value)) }
            description += " Default: \(text)."
        case .told(let words): if row.shape.objects.isEmpty { description += " Default: \(words)." }
        case nil: break
        }
        return .object([("description", .string(description))] + shape(row.shape) + entries)
    }

    /// A written default as JSON; `nil` for what is no single value.
    private static func json(_ text: String, as shape: Shape) -> JSON? {
        switch shape {
        case .scalar(.integer, _, _, _, _): Int(text).map { .integer($0) }
        case .scalar(.number, _, _, _, _): Int(text).map { .integer($0) } ?? Double(text).map { _ in .decimal(text) }
        case .scalar(.boolean, _, _, _, _): Bool(text).map { .bool($0) }
        case .scalar(.string, _, _, _, _): text.hasPrefix("{") ? nil : .string(text)
        case .choice(let words): words.contains(text) ? choices(text).first : nil
        // A word is tried first: `off` is text to a scalar as well.
        case .either(let shapes): shapes.reversed().lazy.compactMap { json(text, as: $0) }.first
        case .list, .names, .object, .free, .refused: nil
        }
    }

    private static func shape(_ shape: Shape) -> [(key: String, value: JSON)] {
        switch shape {
        case .scalar(let type, let pattern, let minimum, let maximum, _):
            var entries: [(key: String, value: JSON)] = [("type", .string(type.rawValue))]
            if let pattern { entries.append(("pattern", .string(pattern))) }
            if let minimum { entries.append(("minimum", .integer(minimum))) }
            if let maximum { entries.append(("maximum", .integer(maximum))) }
            // What reads as a number in YAML is text to us as well, where text is asked for.
            if type == .string, pattern == nil {
                entries[0].value = .array([.string("string"), .string("number"), .string("boolean")])
            }
            return entries
        case .choice(let words):
            // YAML 1.1 takes off for false.
            return [("enum", .array(words.flatMap(choices) + (words.contains("off") ? [.bool(false)] : [])))]
        case .list(let element, let least):
            var entries: [(key: String, value: JSON)] = [("type", .string("array")), ("items", .object(self.shape(element)))]
            if least > 0 { entries.append(("minItems", .integer(least))) }
            return entries
        case .names(let element, let pattern, _):
            return [
                ("type", .string("object")), ("propertyNames", .object([("pattern", .string(pattern))])),
                ("additionalProperties", .object(self.shape(element))),
            ]
        case .object(let object): return [("$ref", .string("#/$defs/" + object.anchor))]
        case .either(let shapes): return [("anyOf", .array(shapes.map { .object(self.shape($0)) }))]
        case .free: return []
        case .refused: return [("not", .object([]))]
        }
    }

    /// A word as a reader of YAML sees it: `308` is a number to it, and `1.2` is one unless it is quoted.
    private static func choices(_ word: String) -> [JSON] {
        if let number = Int(word) { return [.integer(number)] }
        return Double(word) == nil ? [.string(word)] : [.string(word), .decimal(word)]
    }

    /// Documentation without its Markdown.
    private static func plain(_ text: String) -> String { String(text.filter { $0 != "`" }) }
}
