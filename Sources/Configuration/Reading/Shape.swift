// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What a value may look like: what the JSON Schema and the reference page say about it.
indirect enum Shape {
    enum ScalarType: String { case string, integer, number, boolean }

    /// A scalar: its JSON type, and the pattern or bounds that an editor can check; `meaning` is for people.
    case scalar(ScalarType, pattern: String? = nil, minimum: Int? = nil, maximum: Int? = nil, meaning: String)
    /// One of these words. `off` alone is also what some readers of YAML take for `false`.
    case choice([String])
    case list(Shape, atLeast: Int)
    /// A mapping from names, which the user chooses, to values.
    case names(Shape, pattern: String, meaning: String)
    case object(ObjectShape)
    case either([Shape])
    /// Anything: a constant of the user's, or what a shape cannot say.
    case free(meaning: String)
    /// Refused, with the reason in its documentation: a key of a later version.
    case refused

    /// In a few words, for the reference page.
    var meaning: String {
        switch self {
        case .scalar(_, _, _, _, let meaning): meaning
        case .choice(let words): words.map { "`" + $0 + "`" }.joined(separator: ", ")
        case .list(let element, let least): "list" + (least > 0 ? ", at least \(least): " : ": ") + element.meaning
        case .names(let element, _, let meaning): "mapping of \(meaning) to " + element.meaning
        case .object(let object): "[\(object.name)](#\(object.anchor))"
        case .either(let shapes): shapes.map(\.meaning).joined(separator: ", or ")
        case .free(let meaning): meaning
        case .refused: "not in this version"
        }
    }

    /// The tables below this shape, nearest first.
    var objects: [ObjectShape] {
        switch self {
        case .scalar, .choice, .free, .refused: []
        case .list(let element, _), .names(let element, _, _): element.objects
        case .object(let object): [object]
        case .either(let shapes): shapes.flatMap(\.objects)
        }
    }
}

/// What a mapping with fixed keys may hold.
struct ObjectShape {
    /// A default.
    enum Initial {
        /// As it would be written.
        case written(String)
        /// What is said of one that cannot be written.
        case told(String)
    }

    struct Row {
        var key: String
        var shape: Shape
        var isRequired: Bool
        /// `nil`: there is none.
        var initial: Initial?
        var documentation: String
    }

    /// Unique among tables, as a heading.
    var name: String
    var documentation: String
    var rows: [Row]
    /// Keys of which exactly one must be there; empty: no such rule.
    var exactlyOne: [String]
    /// Whether keys that begin with `x-` are left alone.
    var allowsExtensions: Bool

    /// The heading's anchor in Markdown, and the name of the definition in the schema.
    var anchor: String { String(name.lowercased().compactMap { $0 == " " ? "-" : $0 == "/" ? nil : $0 }) }
}
