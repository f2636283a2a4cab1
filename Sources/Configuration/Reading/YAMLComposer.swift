// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Yams

/// Turns text into a tree through libyaml, and keeps what Yams would lose or do without a bound.
///
/// Yams expands aliases by value and compares keys by their whole content, so a page of nested aliases in a key takes it
/// for ever; and it stops at the first double key. So no `*` reaches it: each is replaced by a private-use character,
/// which leaves lines and columns as they are, and a plain scalar that begins with it is an alias, resolved here within a
/// budget. The first of two equal keys is marked likewise and the text read again, until all keys differ.
struct YAMLComposer {
    /// 10,000 routes need about 1 MiB.
    static let maximumBytes = 4 << 20
    static let maximumDepth = 64
    /// Nodes after aliases are expanded.
    static let maximumNodes = 1_000_000
    static let maximumDoubleKeys = 100

    private static let star: Unicode.Scalar = "\u{E000}"
    private static let firstMark: UInt32 = 0xE001
    /// The private-use block that the marks are taken from; a text that uses it already is refused.
    private static let reserved: ClosedRange<Unicode.Scalar> = "\u{E000}"..."\u{E0FF}"

    private(set) var complaints: [Complaint] = []
    private let file: String
    private var anchors: [String: YAML] = [:]
    /// First characters of double keys, by the place of the key.
    private var replaced: [Position: Unicode.Scalar] = [:]
    private var budget = YAMLComposer.maximumNodes

    init(file: String) { self.file = file }

    /// The root, or `nil` with at least one complaint.
    mutating func compose(_ text: String) -> YAML? {
        guard text.utf8.count <= YAMLComposer.maximumBytes else {
            return refuse(nil, "is \(text.utf8.count) bytes long; a configuration has at most \(YAMLComposer.maximumBytes)")
        }
        var scalars = Array(text.unicodeScalars)
        if scalars.first == "\u{FEFF}" { scalars.removeFirst() }
        if let index = scalars.firstIndex(where: { YAMLComposer.reserved.contains($0) }) {
            return refuse(
                YAMLComposer.position(of: index, in: scalars), "a private-use character (U+E000 to U+E0FF) has no meaning here")
        }
        for index in scalars.indices where scalars[index] == "*" { scalars[index] = YAMLComposer.star }
        while true {
            var view = String.UnicodeScalarView()
            view.append(contentsOf: scalars)
            do {
                let parser = try Yams.Parser(yaml: String(view), resolver: .basic, encoding: .utf8)
                // The parser owns the anchors that the nodes point to weakly.
                return try withExtendedLifetime(parser) { () throws(any Error) -> YAML? in
                    guard let root = try parser.singleRoot() else { return refuse(Position(line: 1, column: 1), Self.emptyMessage) }
                    let tree = convert(root, depth: 1)
                    return complaints.isEmpty ? tree : nil
                }
            } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
                let position = Position(context.mark)
                guard mark(position, in: &scalars) else {
                    return refuse(position, "the key \(quoted(restored(keys.first ?? ""))) stands in this mapping twice")
                }
            } catch let error as YamlError {
                return refuse(error, in: scalars)
            } catch {
                return refuse(nil, "\(error)")
            }
        }
    }

    static let emptyMessage =
        "the configuration is empty; expected at least listeners, upstreams and routes, as in config/minimal.yaml"

    // MARK: Double keys

    /// Makes the key at `position` unlike all others; false when that cannot be done.
    private mutating func mark(_ position: Position, in scalars: inout [Unicode.Scalar]) -> Bool {
        guard replaced.count < YAMLComposer.maximumDoubleKeys, replaced[position] == nil,
            var index = YAMLComposer.index(of: position, in: scalars),
            let mark = Unicode.Scalar(YAMLComposer.firstMark + UInt32(replaced.count))
        else { return false }
        if scalars[index] == "\"" || scalars[index] == "'" { index += 1 }
        guard index < scalars.count, !"\"'\\&!?:|>[]{},# \t\r\n".unicodeScalars.contains(scalars[index]) else { return false }
        replaced[position] = scalars[index]
        scalars[index] = mark
        return true
    }

    /// A scalar's text as the file has it.
    private func restored(_ text: String, at position: Position? = nil) -> String {
        guard text.unicodeScalars.contains(where: { YAMLComposer.reserved.contains($0) }) else { return text }
        var view = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if scalar == YAMLComposer.star {
                view.append("*")
            } else if YAMLComposer.reserved.contains(scalar), let position, let original = replaced[position] {
                view.append(original == YAMLComposer.star ? "*" : original)
            } else {
                view.append(scalar)
            }
        }
        return String(view)
    }

    // MARK: Nodes

    /// The tree below a node; `nil` with a complaint.
    private mutating func convert(_ node: Node, depth: Int) -> YAML? {
        let position = node.mark.map(Position.init) ?? Position(line: 1, column: 1)
        guard depth <= YAMLComposer.maximumDepth else {
            return refuse(position, "is nested deeper than \(YAMLComposer.maximumDepth) levels")
        }
        if let tag = foreignTag(of: node) {
            return refuse(position, "the tag \(quoted(tag)) has no meaning here; write the value alone")
        }
        let tree: YAML?
        switch node {
        case .scalar(let scalar):
            let text = restored(scalar.string, at: position)
            if scalar.style == .plain, text.utf8.first == UInt8(ascii: "*") {
                return alias(text.dropFirst(), at: position, depth: depth)
            }
            let isPlain = scalar.style == .plain || scalar.style == .any
            tree = YAML(content: .scalar(text, isPlain: isPlain), position: position, size: 1, height: 1)
        case .sequence(let sequence):
            var items: [YAML] = []
            for child in sequence { if let item = convert(child, depth: depth + 1) { items.append(item) } }
            tree = YAML(
                content: .sequence(items), position: position, size: items.reduce(1) { $0 + $1.size },
                height: 1 + (items.map(\.height).max() ?? 0))
        case .mapping(let mapping): tree = convert(mapping, at: position, depth: depth)
        case .alias: tree = nil  // Yams makes none of these when it reads.
        }
        budget -= 1
        if let tree, let anchor = node.anchor?.rawValue { anchors[anchor] = tree }
        return tree
    }

    private mutating func convert(_ mapping: Node.Mapping, at position: Position, depth: Int) -> YAML {
        var entries: [YAML.Entry] = []
        var lines: [String: Int] = [:]
        var merges: [YAML] = []
        for (keyNode, valueNode) in mapping {
            let keyTree = convert(keyNode, depth: depth + 1)
            let value = convert(valueNode, depth: depth + 1)
            guard let keyTree, let value else { continue }
            let keyPosition = keyNode.mark.map(Position.init) ?? position
            guard case .scalar(let key, let isPlain) = keyTree.content else {
                complain(keyPosition, "a key is a single word, not \(keyTree.kindName)")
                continue
            }
            if key == "<<", isPlain {
                merges.append(value)
                continue
            }
            if let line = lines[key] {
                complain(keyPosition, "the key \(quoted(key)) already stands on line \(line) of this mapping")
                continue
            }
            lines[key] = keyPosition.line
            entries.append(YAML.Entry(key: key, keyPosition: keyPosition, value: value))
        }
        for merge in merges { self.merge(merge, into: &entries, known: &lines) }
        return YAML(
            content: .mapping(entries), position: position, size: entries.reduce(1) { $0 + 1 + $1.value.size },
            height: 1 + (entries.map(\.value.height).max() ?? 0))
    }

    /// YAML's merge key: adds what is not there yet (https://yaml.org/type/merge.html).
    private mutating func merge(_ source: YAML, into entries: inout [YAML.Entry], known: inout [String: Int]) {
        switch source.content {
        case .mapping(let additions):
            for entry in additions where known[entry.key] == nil {
                known[entry.key] = entry.keyPosition.line
                entries.append(entry)
            }
        case .sequence(let sources) where sources.allSatisfy({ if case .mapping = $0.content { true } else { false } }):
            for source in sources { merge(source, into: &entries, known: &known) }
        default: complain(source.position, "<< merges a mapping or a list of mappings; found \(source.kindName)")
        }
    }

    private mutating func alias(_ name: Substring, at position: Position, depth: Int) -> YAML? {
        guard !name.isEmpty, name.utf8.allSatisfy(YAMLComposer.isAnchorByte) else {
            return refuse(position, "a value that begins with * needs quotes: \(quoted("*" + name))")
        }
        guard let tree = anchors[String(name)] else {
            return refuse(position, "the alias *\(name) has no anchor &\(name) before it; a value that begins with * needs quotes")
        }
        guard depth + tree.height - 1 <= YAMLComposer.maximumDepth else {
            return refuse(position, "is nested deeper than \(YAMLComposer.maximumDepth) levels with the alias *\(name)")
        }
        guard tree.size <= budget else {
            return refuse(position, "has more than \(YAMLComposer.maximumNodes) nodes with the alias *\(name)")
        }
        budget -= tree.size
        return tree
    }

    private static func isAnchorByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
        default: false
        }
    }

    /// A tag that is not one of YAML's own for text, lists and mappings.
    private func foreignTag(of node: Node) -> String? {
        let name =
            switch node {
            case .scalar(let scalar): scalar.tag.description
            case .mapping(let mapping): mapping.tag.description
            case .sequence(let sequence): sequence.tag.description
            case .alias: ""
            }
        let isKnown = name.isEmpty || name == "!" || name.hasPrefix("tag:yaml.org,2002:")
        return isKnown ? nil : name
    }

    // MARK: Complaints

    private mutating func complain(_ position: Position?, _ message: String) {
        complaints.append(Complaint(file: file, position: position, message: message))
    }

    private mutating func refuse(_ position: Position?, _ message: String) -> YAML? {
        complain(position, message)
        return nil
    }

    /// libyaml's own complaint, with what usually helps.
    private mutating func refuse(_ error: YamlError, in scalars: [Unicode.Scalar]) -> YAML? {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            if problem == "but found another document" {
                return refuse(Position(mark), "a second document begins here; a configuration is one YAML document")
            }
            var message = "is not YAML: \(problem)"
            if let context, !context.text.isEmpty { message += " \(context.text) (line \(context.mark.line))" }
            if let hint = YAMLComposer.hint(for: problem) { message += "; \(hint)" }
            // libyaml looks for what is missing on the line behind the last.
            return refuse(min(Position(mark), YAMLComposer.position(of: scalars.count, in: scalars)), message)
        case .reader(let problem, let offset, _, let yaml):
            let index = offset.map { yaml.prefix($0).unicodeScalars.count }
            return refuse(index.map { YAMLComposer.position(of: $0, in: scalars) }, "is not YAML: \(problem)")
        default: return refuse(nil, "is not YAML: nested too deeply")
        }
    }

    private static func hint(for problem: String) -> String? {
        switch problem {
        case "found character that cannot start any token":
            "indent with spaces, and quote a value that begins with @, % or a backquote"
        case "mapping values are not allowed in this context":
            "quote a value that holds a colon and a space, and look at the indentation"
        case "did not find expected key", "did not find expected '-' indicator": "look at the indentation"
        default: nil
        }
    }

    // MARK: Places

    /// YAML's line breaks, as libyaml counts them.
    private static func isBreak(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": true
        default: false
        }
    }

    private static func position(of index: Int, in scalars: [Unicode.Scalar]) -> Position {
        var position = Position(line: 1, column: 1)
        for current in scalars.indices.prefix(index) {
            if isBreak(scalars[current]), !(scalars[current] == "\r" && current + 1 < scalars.count && scalars[current + 1] == "\n")
            {
                position = Position(line: position.line + 1, column: 1)
            } else {
                position.column += 1
            }
        }
        return position
    }

    private static func index(of position: Position, in scalars: [Unicode.Scalar]) -> Int? {
        var line = 1
        var index = 0
        while line < position.line, index < scalars.count {
            if isBreak(scalars[index]), !(scalars[index] == "\r" && index + 1 < scalars.count && scalars[index + 1] == "\n") {
                line += 1
            }
            index += 1
        }
        index += position.column - 1
        return index < scalars.count ? index : nil
    }
}

extension Position {
    fileprivate init(_ mark: Mark) { self.init(line: mark.line, column: mark.column) }
}

/// A value from the file as a complaint shows it: in quotes, on one line, not endless.
func quoted(_ text: String) -> String {
    var shown = "\""
    for scalar in text.unicodeScalars.prefix(60) {
        switch scalar {
        case "\"", "\\": shown += "\\\(scalar)"
        case "\u{0}"..<" ", "\u{7F}"..<"\u{A0}", "\u{2028}", "\u{2029}", "\u{202A}"..."\u{202E}":
            shown += "\\u{\(String(scalar.value, radix: 16))}"
        default: shown.unicodeScalars.append(scalar)
        }
    }
    return shown + (text.unicodeScalars.count > 60 ? "…\"" : "\"")
}
