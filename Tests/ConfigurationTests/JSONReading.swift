// Holdfast
// SPDX-License-Identifier: Apache-2.0

@testable import Configuration

struct JSONError: Error {}

/// The tree of a text that is good YAML.
func tree(of text: String) throws -> YAML {
    var composer = YAMLComposer(file: "x.yaml")
    guard let tree = composer.compose(text) else { throw ConfigurationErrors(composer.complaints) }
    return tree
}

extension JSON {
    /// A tree as a reader of YAML 1.2 sees it: plain words may be numbers and truth values.
    init(_ tree: YAML) {
        switch tree.content {
        case .mapping(let entries): self = .object(entries.map { ($0.key, JSON($0.value)) })
        case .sequence(let items): self = .array(items.map { JSON($0) })
        case .scalar(let text, isPlain: false): self = .string(text)
        case .scalar(let text, isPlain: true):
            self =
                switch text {
                case "true": .bool(true)
                case "false": .bool(false)
                case "null", "~", "": .null
                default: Int(text).map { .integer($0) } ?? (Double(text) == nil ? .string(text) : .decimal(text))
                }
        }
    }

    /// The value below some keys.
    subscript(_ keys: String...) -> JSON? {
        keys.reduce(Optional(self)) { value, key in
            guard case .object(let entries)? = value else { return nil }
            return entries.first { $0.key == key }?.value
        }
    }
}

/// The part of JSON Schema (draft 2020-12) that our schema uses; an unknown keyword is a failure, not passed over.
struct SchemaValidator {
    let root: JSON

    /// What is wrong, as `path: keyword`.
    func failures(_ value: JSON, against schema: JSON, at path: String = "") -> [String] {
        if case .bool(let allowed) = schema { return allowed ? [] : ["\(path): not allowed"] }
        guard case .object(let keywords) = schema else { return ["\(path): the schema is no object"] }
        var result: [String] = []
        func fail(_ keyword: String) { result.append("\(path): \(keyword)") }
        for (keyword, rule) in keywords {
            switch (keyword, rule) {
            case ("$schema", _), ("$defs", _), ("title", _), ("description", _), ("default", _): break
            case ("type", .string(let type)): if !isOf(type, value) { fail("type \(type)") }
            case ("type", .array(let types)):
                if !types.contains(where: { if case .string(let type) = $0 { isOf(type, value) } else { false } }) { fail("type") }
            case ("enum", .array(let allowed)): if !allowed.contains(value) { fail("enum") }
            case ("pattern", .string(let pattern)):
                if case .string(let text) = value, !matches(text, pattern) { fail("pattern \(pattern)") }
            case ("minimum", .integer(let bound)): if case .integer(let number) = value, number < bound { fail("minimum") }
            case ("maximum", .integer(let bound)): if case .integer(let number) = value, number > bound { fail("maximum") }
            case ("minItems", .integer(let bound)): if case .array(let items) = value, items.count < bound { fail("minItems") }
            case ("items", let each):
                if case .array(let items) = value {
                    for (index, item) in items.enumerated() { result += failures(item, against: each, at: "\(path)[\(index)]") }
                }
            case ("required", .array(let keys)):
                if case .object(let entries) = value {
                    for case .string(let key) in keys where !entries.contains(where: { $0.key == key }) { fail("required \(key)") }
                }
            case ("properties", .object(let properties)):
                if case .object(let entries) = value {
                    for entry in entries {
                        guard let property = properties.first(where: { $0.key == entry.key }) else { continue }
                        result += failures(entry.value, against: property.value, at: "\(path).\(entry.key)")
                    }
                }
            case ("additionalProperties", let other): result += additional(value, keywords, other, path)
            case ("patternProperties", .object): break
            case ("propertyNames", let names):
                if case .object(let entries) = value {
                    result += entries.flatMap { failures(.string($0.key), against: names, at: "\(path) \($0.key)") }
                }
            case ("oneOf", .array(let schemas)):
                if schemas.filter({ failures(value, against: $0).isEmpty }).count != 1 { fail("oneOf") }
            case ("anyOf", .array(let schemas)):
                if !schemas.contains(where: { failures(value, against: $0).isEmpty }) { fail("anyOf") }
            case ("not", let other): if failures(value, against: other).isEmpty { fail("not") }
            case ("$ref", .string(let reference)):
                guard let target = root["$defs", String(reference.dropFirst("#/$defs/".count))] else {
                    fail("dangling \(reference)")
                    break
                }
                result += failures(value, against: target, at: path)
            default: fail("unknown keyword \(keyword)")
            }
        }
        return result
    }

    private func additional(_ value: JSON, _ keywords: [(key: String, value: JSON)], _ other: JSON, _ path: String) -> [String] {
        guard case .object(let entries) = value else { return [] }
        let schema = JSON.object(keywords)
        return entries.flatMap { entry -> [String] in
            if schema["properties", entry.key] != nil { return [] }
            if case .object(let patterns)? = schema["patternProperties"], patterns.contains(where: { matches(entry.key, $0.key) }) {
                return []
            }
            return failures(entry.value, against: other, at: "\(path).\(entry.key)")
        }
    }

    private func isOf(_ type: String, _ value: JSON) -> Bool {
        switch (type, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("integer", .integer), ("number", .integer),
            ("number", .decimal), ("boolean", .bool):
            true
        default: false
        }
    }

    private func matches(_ text: String, _ pattern: String) -> Bool {
        guard let expression = try? Regex(pattern) else { return false }
        return ((try? expression.firstMatch(in: text)) ?? nil) != nil
    }
}
