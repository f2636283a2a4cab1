// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// One sort of value: how it looks, how it is read, and how a default of it is written. Parser, schema and reference
/// page all come from here.
struct Kind<Value> {
    var shape: Shape
    /// `nil` after at least one complaint.
    var read: (YAML, inout Reader) -> Value?
    /// `nil`: there is no way to write it.
    var text: (Value) -> String?
    /// What is said of a default that cannot be written.
    var words: (Value) -> String? = { _ in nil }
}

/// Why a scalar was refused: the end of a sentence that begins with the value.
struct ScalarProblem: Error {
    var problem: String
    init(_ problem: String) { self.problem = problem }
}

extension Kind {
    /// A scalar; `expected` ends the complaint "…; expected …".
    static func scalar(
        _ shape: Shape, expected: String, text: @escaping (Value) -> String?,
        parse: @escaping (String) throws(ScalarProblem) -> Value
    ) -> Kind {
        Kind(
            shape: shape,
            read: { node, reader in
                guard case .scalar(let written, _) = node.content else {
                    reader.complain(at: node.position, "is \(node.kindName); expected \(expected)")
                    return nil
                }
                if node.isNull {
                    reader.complain(at: node.position, "has no value; expected \(expected)")
                    return nil
                }
                do throws(ScalarProblem) {
                    return try parse(written)
                } catch {
                    reader.complain(at: node.position, "\(quoted(written)) \(error.problem); expected \(expected)")
                    return nil
                }
            }, text: text)
    }

    /// The same values in another type.
    func map<Other>(_ forward: @escaping (Value) -> Other, back: @escaping (Other) -> Value?) -> Kind<Other> {
        let (read, text, words) = (self.read, self.text, self.words)
        return Kind<Other>(
            shape: shape, read: { node, reader in read(node, &reader).map(forward) }, text: { back($0).flatMap(text) },
            words: { back($0).flatMap(words) })
    }

    /// A value that has no way to be written as "none"; `none` is what is said of that default.
    func optional(none: String?) -> Kind<Value?> {
        let words = self.words
        var result: Kind<Value?> = map({ $0 }, back: { $0 })
        result.words = { $0.map(words) ?? none }
        return result
    }

    /// A value or `off`.
    func orOff() -> Kind<Value?> {
        let (read, text, words) = (self.read, self.text, self.words)
        return Kind<Value?>(
            shape: .either([shape, .choice(["off"])]),
            read: { node, reader in
                if node.isOff { return .some(nil) }
                // Not `return read(…)`: what did not read would be promoted to `off`.
                return read(node, &reader).map { .some($0) }
            }, text: { $0.map(text) ?? "off" }, words: { $0.flatMap(words) })
    }

    /// Adds a rule to a kind.
    func checked(_ check: @escaping (Value, YAML, inout Reader) -> Void) -> Kind {
        let read = self.read
        var result = self
        result.read = { node, reader in
            let value = read(node, &reader)
            if let value { check(value, node, &reader) }
            return value
        }
        return result
    }

    /// This kind for a single value, another for a mapping.
    func or(mapping other: Kind) -> Kind {
        let (scalar, mapping) = (self, other)
        return Kind(
            shape: .either([scalar.shape, mapping.shape]),
            read: { node, reader in
                if case .mapping = node.content { mapping.read(node, &reader) } else { scalar.read(node, &reader) }
            }, text: { scalar.text($0) })
    }

    /// A list. Elements that do not read are left out, their complaints made.
    func list(atLeast least: Int = 0) -> Kind<[Value]> {
        let element = self
        return Kind<[Value]>(
            shape: .list(shape, atLeast: least),
            read: { node, reader in
                guard case .sequence(let items) = node.content else {
                    let found = node.isNull ? "has no value" : "is \(node.kindName)"
                    reader.complain(at: node.position, "\(found); expected a list, as in [a, b]")
                    return nil
                }
                if items.count < least { reader.complain(at: node.position, "is an empty list; expected at least one entry") }
                return items.enumerated().compactMap { index, item in reader.at(.index(index)) { element.read(item, &$0) } }
            },
            text: { values in "[" + values.compactMap(element.text).joined(separator: ", ") + "]" })
    }

    /// One value, or a list of them.
    func oneOrMany() -> Kind<[Value]> {
        let (one, many) = (self, list(atLeast: 1))
        return Kind<[Value]>(
            shape: .either([shape, many.shape]),
            read: { node, reader in
                if case .sequence = node.content { many.read(node, &reader) } else { one.read(node, &reader).map { [$0] } }
            }, text: many.text)
    }
}
