// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// One key of a mapping.
struct Field<Root> {
    let key: String
    let isRequired: Bool
    let read: (YAML, inout Reader, inout Root) -> Void
    let row: (Root) -> ObjectShape.Row

    /// `initial`: what is said of the default when the model's own value does not say it.
    init<Value>(
        _ key: String, _ path: WritableKeyPath<Root, Value>, _ kind: Kind<Value>, required: Bool = false, initial: String? = nil,
        _ documentation: String
    ) {
        self.key = key
        isRequired = required
        read = { node, reader, root in
            if let value = kind.read(node, &reader) { root[keyPath: path] = value }
        }
        row = { root in
            ObjectShape.Row(
                key: key, shape: kind.shape, isRequired: required,
                initial: required ? nil : initial.map { .told($0) } ?? Field.initial(of: root[keyPath: path], kind),
                documentation: documentation)
        }
    }

    private static func initial<Value>(of value: Value, _ kind: Kind<Value>) -> ObjectShape.Initial? {
        kind.text(value).map { .written($0) } ?? kind.words(value).map { .told($0) }
    }

    /// Keys that the file holds one level down and the model does not.
    static func group(_ key: String, _ table: Table<Root>, _ documentation: String) -> Field {
        Field(group: key, table, documentation)
    }

    private init(group key: String, _ table: Table<Root>, _ documentation: String) {
        self.key = key
        isRequired = false
        read = { node, reader, root in
            if let changed = table.read(node, &reader, from: root) { root = changed }
        }
        row = { root in
            ObjectShape.Row(
                key: key, shape: table.shape(root), isRequired: false, initial: .told("its own"), documentation: documentation)
        }
    }

    private init(refused key: String, _ reason: String) {
        self.key = key
        isRequired = false
        read = { node, reader, _ in reader.complain(at: node.position, reason) }
        row = { _ in ObjectShape.Row(key: key, shape: .refused, isRequired: false, initial: nil, documentation: reason) }
    }

    /// A key of a later version: known, so that it gets a better answer than "unknown key".
    static func refused(_ key: String, _ reason: String) -> Field { Field(refused: key, reason) }
}

/// A mapping with fixed keys: the one declaration behind the parser, the JSON Schema and the reference page.
struct Table<Root> {
    var name: String
    var documentation: String
    var fields: [Field<Root>]
    /// Keys of which exactly one must be there.
    var exactlyOne: [String] = []
    /// At the top, a place for anchors.
    var allowsExtensions = false
    /// Looks at the whole once all its fields could be read.
    var check: (Root, YAML, inout Reader) -> Void = { _, _, _ in }

    /// The shape, with the defaults of `initial`.
    func shape(_ initial: Root) -> Shape {
        .object(
            ObjectShape(
                name: name, documentation: documentation, rows: fields.map { $0.row(initial) }, exactlyOne: exactlyOne,
                allowsExtensions: allowsExtensions))
    }

    /// This table as a kind of value that starts from `initial`.
    func kind(_ initial: Root) -> Kind<Root> {
        Kind(
            shape: shape(initial), read: { node, reader in read(node, &reader, from: initial) }, text: { _ in nil },
            words: { _ in "its own" })
    }

    /// Reads a mapping; `nil` if it is none or lacks a required key. What could not be read keeps its value in `initial`.
    func read(_ node: YAML, _ reader: inout Reader, from initial: Root) -> Root? {
        guard case .mapping(let entries) = node.content else {
            let found = node.isNull ? "has no value" : "is \(node.kindName)"
            reader.complain(at: node.position, "\(found); expected a mapping with \(keyList)")
            return nil
        }
        var root = initial
        let complaintsBefore = reader.complaints.count
        for entry in entries {
            if let field = fields.first(where: { $0.key == entry.key }) {
                reader.at(.key(entry.key)) { field.read(entry.value, &$0, &root) }
            } else if !(allowsExtensions && entry.key.hasPrefix("x-")) {
                complain(aboutUnknown: entry, &reader)
            }
        }
        let present = Set(entries.map(\.key))
        let missing = fields.filter { $0.isRequired && !present.contains($0.key) }.map(\.key)
        for key in missing { reader.complain(at: node.position, "the key \(key) is missing") }
        let chosen = exactlyOne.filter(present.contains)
        if !exactlyOne.isEmpty, chosen.count != 1 {
            let found = chosen.isEmpty ? "none of them is there" : "found \(chosen.joined(separator: " and "))"
            reader.complain(at: node.position, "expected exactly one of \(exactlyOne.joined(separator: ", ")); \(found)")
        }
        guard reader.complaints.count == complaintsBefore else { return missing.isEmpty ? root : nil }
        check(root, node, &reader)
        return root
    }

    private func complain(aboutUnknown entry: YAML.Entry, _ reader: inout Reader) {
        let known = fields.map(\.key)
        let help =
            nearestName(to: entry.key, among: known).map { "did you mean \($0)?" } ?? "known are \(known.joined(separator: ", "))"
        reader.complain(at: entry.keyPosition, "unknown key \(quoted(entry.key)); \(help)")
    }

    /// The first keys, for a complaint.
    private var keyList: String { fields.prefix(6).map(\.key).joined(separator: ", ") + (fields.count > 6 ? ", …" : "") }
}
