// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import JSON

extension Configuration {
    /// Changes what a request asks for, and reshapes JSON bodies in either direction.
    public struct TransformFilter: Equatable, Sendable {
        /// What the upstream is asked with, but for HEAD and OPTIONS. Default: what the client asked with.
        public var method: String?
        public var query = QueryChanges()
        package var request: BodyMapping?
        package var response: BodyMapping?

        public init() {}

        /// Applied in this order; names are compared decoded.
        public struct QueryChanges: Equatable, Sendable {
            public var remove: [String] = []
            public var rename: [HeaderField] = []
            public var set: [HeadersFilter.FieldTemplate] = []
            public var add: [HeadersFilter.FieldTemplate] = []

            public init() {}
        }

        /// How bodies of one direction are made anew.
        package struct BodyMapping: Equatable, Sendable {
            package var mapping: JSONMapping
            package var root = JSONMapping.Root.object
            package var onMismatch = Mismatch.refuse
            /// Of the body and of what becomes of it. Default 1 MiB.
            package var maximumBytes = 1 << 20
            /// Of answers alone: which are mapped. Default 200 to 299.
            package var statuses: [ClosedRange<Int>] = [200...299]
        }

        /// What becomes of a body that cannot be mapped.
        package enum Mismatch: String, CaseIterable, Sendable {
            case refuse, pass
        }

        var templates: [ValueTemplate] { (query.set + query.add).map(\.value) }
    }
}

// MARK: The declaration

extension Configuration.TransformFilter {
    static var kind: Kind<Self> {
        Table<Self>(
            name: "Transform filter",
            documentation:
                "Changes what is asked for, and makes JSON bodies anew by a mapping: for services that want another method, other query parameters, or other names for the same things.",
            fields: [
                Field(
                    "method", \.method, Kind.changedMethod.optional(none: "the client's"),
                    "What the upstream is asked with. HEAD and OPTIONS stay what they are."),
                Field("query", \.query, QueryChanges.table.kind(QueryChanges()), "Changes of the query."),
                Field(
                    "request", \.request, BodyMapping.kind(isResponse: false).optional(none: "none"),
                    "What JSON bodies of requests are made into."),
                Field(
                    "response", \.response, BodyMapping.kind(isResponse: true).optional(none: "none"),
                    "What JSON bodies of the upstream's answers are made into."),
            ],
            check: { filter, node, reader in
                if filter == Self() {
                    reader.complain(at: node.position, "changes nothing; expected method, query, request or response")
                }
            }
        ).kind(Self())
    }
}

extension Configuration.TransformFilter.QueryChanges {
    fileprivate static var table: Table<Self> {
        Table<Self>(
            name: "Transform filter query",
            documentation:
                "Changes of a request's query, applied in this order. Names and values are written plain here: escapes are seen to.",
            fields: [
                Field("remove", \.remove, Kind.parameterName.list(), "Parameters that are taken out."),
                Field(
                    "rename", \.rename,
                    Kind<[Configuration.HeaderField]>.byName(.parameterName, value: .parameterName) { name, value, _ in
                        Configuration.HeaderField(name: name, value: value)
                    }, initial: "none", "Parameters that get another name."),
                Field(
                    "set", \.set,
                    Kind<[Configuration.HeadersFilter.FieldTemplate]>.byName(.parameterName, value: .parameterTemplate) {
                        name, value, _ in
                        Configuration.HeadersFilter.FieldTemplate(name: name, value: value)
                    }, initial: "none",
                    "Parameters with their values, in place of all of that name. Variables such as `{header.x-tenant}` are filled in; one that turns out empty is left out."
                ),
                Field(
                    "add", \.add,
                    Kind<[Configuration.HeadersFilter.FieldTemplate]>.byName(.parameterName, value: .parameterTemplate) {
                        name, value, _ in
                        Configuration.HeadersFilter.FieldTemplate(name: name, value: value)
                    }, initial: "none", "Parameters that are added beside others of that name."),
            ],
            check: { changes, node, reader in
                if changes == Self() { reader.complain(at: node.position, "changes nothing; expected remove, rename, set or add") }
            })
    }
}

extension Configuration.TransformFilter.BodyMapping {
    /// As the file has it.
    private struct Draft {
        var object = ObjectDraft()
        var root = JSONMapping.Root.object
        var onMismatch = Configuration.TransformFilter.Mismatch.refuse
        var maximumBytes = 1 << 20
        var statuses: [ClosedRange<Int>] = [200...299]
    }

    fileprivate static func kind(isResponse: Bool) -> Kind<Self> {
        var fields: [Field<Draft>] = ObjectDraft.fields(\.object)
        fields += [
            Field("root", \.root, .choice, "What the body is: an object, an array of such objects, or either."),
            Field(
                "on_mismatch", \.onMismatch, .choice,
                isResponse
                    ? "What becomes of an answer that is no JSON, is encoded, malformed, longer than `max_bytes` or not to be mapped: 502, or passed on untouched."
                    : "What becomes of a request whose body is no JSON, is encoded, malformed, longer than `max_bytes` or not to be mapped: refused (415, 400, 413, 422), or passed on untouched."
            ),
            Field("max_bytes", \.maximumBytes, .size(1...(1 << 26)), "Of the body, and of what becomes of it."),
        ]
        if isResponse {
            fields.append(
                Field(
                    "statuses", \.statuses, Kind<ClosedRange<Int>>.statuses.list(atLeast: 1), initial: "`[200-299]`",
                    "Answers that are mapped; others are passed on untouched."))
        }
        let table = Table<Draft>(
            name: isResponse ? "Transform filter response" : "Transform filter request",
            documentation: "What bodies of \(isResponse ? "answers" : "requests") are made into, member by member.", fields: fields)
        return Kind(
            shape: table.shape(Draft()),
            read: { node, reader in
                guard let draft = table.read(node, &reader, from: Draft()), let mapping = draft.object.mapping(node, &reader)
                else { return nil }
                return Self(
                    mapping: mapping, root: draft.root, onMismatch: draft.onMismatch, maximumBytes: draft.maximumBytes,
                    statuses: draft.statuses)
            }, text: { _ in nil })
    }
}

/// What makes one object, as the file has it.
private struct ObjectDraft {
    enum Unknown: String, CaseIterable { case drop, keep }
    enum Nulls: String, CaseIterable { case keep, missing }

    var rules: [FieldDraft] = []
    var unknown = Unknown.drop
    var drops: [JSONPath] = []

    static func fields<Root>(_ path: WritableKeyPath<Root, ObjectDraft>) -> [Field<Root>] {
        [
            Field(
                "fields", path.appending(path: \.rules), FieldDraft.listKind, initial: "none",
                "Members of the result, by their paths (`order.lines`): where each comes from. A path in the source (`customer.name`, `items[0].id`, `[\"odd name\"]`), or a mapping."
            ),
            Field(
                "unknown", path.appending(path: \.unknown), .choice,
                "What becomes of members that nothing is taken from: left out, or kept where they are."),
            Field(
                "drop", path.appending(path: \.drops), Kind<JSONPath>.jsonPath.list(),
                "With `unknown: keep`: what is left out all the same."),
        ]
    }

    func mapping(_ node: YAML, _ reader: inout Reader) -> JSONMapping? {
        if rules.isEmpty && unknown == .drop {
            // Fields that do not read have been complained about.
            if node.has([.key("fields")]), !node.isEmptyMapping(at: "fields") { return nil }
            reader.complain(at: node.position, "makes nothing; expected fields, or unknown: keep")
            return nil
        }
        if unknown == .drop && !drops.isEmpty {
            reader.complain(
                at: node.position(of: [.key("drop")]), "drop needs unknown: keep; without it all that is unknown is left out")
            return nil
        }
        do throws(JSONMapping.Conflict) {
            return try JSONMapping(rules.map { ($0.target, $0.source) }, keepsUnknown: unknown == .keep, drops: drops)
        } catch {
            let rule = rules[error.rule]
            reader.complain(at: rule.position, "the target \(rule.target): \(error.description)")
            return nil
        }
    }
}

/// One member of a result, as the file has it.
private struct FieldDraft {
    var target = JSONPath()
    var position = Position(line: 1, column: 1)
    var source = JSONMapping.Source.constant([])

    /// The mapping form.
    private struct Long {
        var from: JSONPath?
        var each: JSONPath?
        var value: [UInt8]?
        var use = JSONMapping.Use()
        var nulls = ObjectDraft.Nulls.keep
        var object = ObjectDraft()
    }

    static var listKind: Kind<[FieldDraft]> {
        let long = longTable
        let short = Kind<JSONPath>.jsonPath
        return Kind(
            shape: .names(.either([short.shape, long.shape(Long())]), pattern: ".+", meaning: "path"),
            read: { node, reader in
                guard case .mapping(let entries) = node.content else {
                    reader.complain(
                        at: node.position, "is \(node.kindName); expected a mapping of paths to where their values come from")
                    return nil
                }
                return entries.compactMap { entry in
                    reader.at(.key(entry.key)) { reader in
                        var field = FieldDraft()
                        field.position = entry.keyPosition
                        do throws(JSONPath.Mistake) {
                            field.target = try JSONPath(parsing: entry.key)
                        } catch {
                            reader.complain(at: entry.keyPosition, "\(quoted(entry.key)) is no path: \(error)")
                            return nil
                        }
                        if case .mapping = entry.value.content {
                            guard let draft = long.read(entry.value, &reader, from: Long()) else { return nil }
                            guard let source = source(of: draft, entry.value, &reader) else { return nil }
                            field.source = source
                        } else {
                            guard let path = short.read(entry.value, &reader) else { return nil }
                            field.source = .value(path, JSONMapping.Use())
                        }
                        return field
                    }
                }
            }, text: { $0.isEmpty ? "none" : nil })
    }

    private static var longTable: Table<Long> {
        Table<Long>(
            name: "Transform filter field", documentation: "Where one member's value comes from.",
            fields: [
                Field(
                    "from", \.from, Kind<JSONPath>.jsonPath.optional(none: nil),
                    "The path of the value; with `each`, from the element (`$` is the element)."),
                Field(
                    "each", \.each, Kind<JSONPath>.jsonPath.optional(none: nil),
                    "The path of an array: each of its elements makes one of the result's, by `from` or `fields`."),
                Field(
                    "value", \.value, Kind<[UInt8]>.jsonText.optional(none: nil),
                    "A constant: text, a number, true, false, null, a list or a mapping."),
                Field(
                    "default", \.use.fallback, Kind<[UInt8]>.jsonText.optional(none: "none: the member is left out"),
                    "What stands in for a source that is missing."),
                Field("required", \.use.isRequired, .boolean, "Whether a body without the source cannot be mapped."),
                Field("nulls", \.nulls, .choice, "Whether null is a value, or as good as missing."),
                Field(
                    "as", \.use.conversion, Kind<JSONMapping.Conversion>.choice.optional(none: "as it is"),
                    "The type it is written as; a value that has no such form cannot be mapped."),
                Field(
                    "fields", \.object.rules,
                    Kind<[FieldDraft]>(
                        // The shape would have no end: it is that of the keys above once more.
                        shape: .free(meaning: "mapping of paths to fields, as above"),
                        read: { node, reader in FieldDraft.listKind.read(node, &reader) }, text: { _ in nil }),
                    initial: "none", "Makes an object of the source's members; their paths start there."),
                Field("unknown", \.object.unknown, .choice, "With `fields`: what becomes of members that nothing is taken from."),
                Field(
                    "drop", \.object.drops, Kind<JSONPath>.jsonPath.list(),
                    "With `fields` and `unknown: keep`: what is left out all the same."),
            ])
    }

    private static func source(of draft: Long, _ node: YAML, _ reader: inout Reader) -> JSONMapping.Source? {
        var use = draft.use
        use.takesNullForMissing = draft.nulls == .missing
        let hasObject = node.has([.key("fields")]) || draft.object.unknown == .keep
        func fail(_ key: String, _ message: String) -> JSONMapping.Source? {
            reader.complain(at: node.position(of: [.key(key)]), message)
            return nil
        }
        if use.isRequired, use.fallback != nil { return fail("required", "required and default exclude each other") }
        if let value = draft.value {
            for key in ["from", "each", "default", "required", "nulls", "as", "fields", "unknown", "drop"]
            where node.has([.key(key)]) {
                return fail(key, "\(key) has no meaning beside value")
            }
            return .constant(value)
        }
        if hasObject, use.conversion != nil { return fail("as", "as is for single values and not for objects") }
        guard let each = draft.each else {
            guard let from = draft.from else {
                reader.complain(at: node.position, "has no source; expected from, each or value")
                return nil
            }
            if !hasObject { return .value(from, use) }
            return draft.object.mapping(node, &reader).map { .object(from, $0, use) }
        }
        if hasObject {
            if draft.from != nil { return fail("from", "with each, expected either from or fields") }
            return draft.object.mapping(node, &reader).map { .eachObject(each, $0, use) }
        }
        return .eachValue(each, of: draft.from ?? JSONPath(), use)
    }
}

extension YAML {
    /// Whether `{}` stands at a key.
    fileprivate func isEmptyMapping(at key: String) -> Bool {
        guard case .mapping(let entries) = content, let entry = entries.first(where: { $0.key == key }),
            case .mapping(let below) = entry.value.content
        else { return false }
        return below.isEmpty
    }
}

// MARK: Kinds of values

extension Kind where Value == JSONPath {
    /// A place in a JSON document.
    static var jsonPath: Kind {
        .scalar(
            .scalar(.string, meaning: "path, as `a.b[0].c`"),
            expected: "a path such as customer.name, items[0].id or [\"odd name\"], or $ for the whole", text: \.description
        ) { text throws(ScalarProblem) in
            do throws(JSONPath.Mistake) {
                return try JSONPath(parsing: text)
            } catch { throw ScalarProblem("is no path: \(error)") }
        }
    }
}

extension Kind where Value == [UInt8] {
    /// Anything that YAML and JSON both have, as JSON text.
    static var jsonText: Kind {
        Kind(
            shape: .free(meaning: "anything"),
            read: { node, reader in
                var text = ""
                write(node, to: &text)
                guard (try? JSONDocument.parse(text)) != nil else {
                    reader.complain(at: node.position, "cannot be written as JSON: it has a key twice, or is nested too deeply")
                    return nil
                }
                return Array(text.utf8)
            }, text: { String(decoding: $0, as: UTF8.self) })
    }

    private static func write(_ node: YAML, to text: inout String) {
        switch node.content {
        case .scalar(_, isPlain: true) where node.isNull: text += "null"
        case .scalar(let written, let isPlain): text += isPlain && isLiteral(written) ? written : quotedAsJSON(written)
        case .sequence(let items):
            text += "["
            for (i, item) in items.enumerated() {
                if i > 0 { text += "," }
                write(item, to: &text)
            }
            text += "]"
        case .mapping(let entries):
            text += "{"
            for (i, entry) in entries.enumerated() {
                if i > 0 { text += "," }
                text += quotedAsJSON(entry.key) + ":"
                write(entry.value, to: &text)
            }
            text += "}"
        }
    }

    /// A number, or a truth value.
    private static func isLiteral(_ text: String) -> Bool {
        guard let document = try? JSONDocument.parse(text), document.byteCount == document.root.byteCount else { return false }
        return document.root.kind == .number || document.root.kind == .bool
    }

    private static func quotedAsJSON(_ text: String) -> String {
        var writer = JSONWriter()
        writer.value(text)
        return writer.finish().withReadable { unsafe $0.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } }
    }
}

extension Kind where Value == String {
    /// What a request may be made into: nothing whose answer has another shape than that of the client's method.
    fileprivate static var changedMethod: Kind {
        Kind.method.checked { method, node, reader in
            if ["HEAD", "OPTIONS"].contains(method) {
                reader.complain(at: node.position, "\(method) cannot be put in a method's place: its answers are of another kind")
            }
        }
    }

    fileprivate static var parameterName: Kind {
        .text(
            meaning: "name", expected: "the plain name of a query parameter",
            problem: {
                $0.isEmpty
                    ? "is empty"
                    : $0.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F } ? "has control characters" : nil
            })
    }
}

extension Kind where Value == Configuration.ValueTemplate {
    fileprivate static var parameterTemplate: Kind {
        .scalar(
            .scalar(.string, meaning: "text, with `{variables}`"), expected: "text, perhaps with variables such as {client_ip}",
            text: \.description
        ) { text throws(ScalarProblem) in
            do throws(Configuration.PatternError) {
                return try Configuration.ValueTemplate(text)
            } catch { throw ScalarProblem("is no template: \(error)") }
        }
    }
}
