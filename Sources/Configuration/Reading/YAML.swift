// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A node of the file, aliases and merges already resolved, each with its place.
struct YAML {
    enum Content {
        /// `isPlain`: written without quotes.
        case scalar(String, isPlain: Bool)
        case mapping([Entry])
        case sequence([YAML])
    }

    struct Entry {
        var key: String
        var keyPosition: Position
        var value: YAML
    }

    var content: Content
    var position: Position
    /// Nodes of this tree, itself included; what an alias costs.
    var size: Int
    /// Levels of this tree, 1 for a scalar.
    var height: Int

    /// Nothing stands behind the colon, or YAML's words for nothing.
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content else { return false }
        return text.isEmpty || text == "~" || text == "null"
    }

    /// `off`, written plainly.
    var isOff: Bool {
        guard case .scalar("off", isPlain: true) = content else { return false }
        return true
    }

    /// "a mapping", for a complaint.
    var kindName: String {
        switch content {
        case .scalar: "a single value"
        case .mapping: "a mapping"
        case .sequence: "a list"
        }
    }

    /// The place of the deepest node that exists on a path.
    func position(of path: [PathComponent]) -> Position {
        guard let first = path.first, let next = child(first) else { return position }
        return next.position(of: Array(path.dropFirst()))
    }

    /// Whether a path leads to a node.
    func has(_ path: [PathComponent]) -> Bool {
        guard let first = path.first else { return true }
        return child(first)?.has(Array(path.dropFirst())) ?? false
    }

    private func child(_ component: PathComponent) -> YAML? {
        switch (content, component) {
        case (.mapping(let entries), .key(let key)): entries.first { $0.key == key }?.value
        case (.sequence(let items), .index(let index)) where items.indices.contains(index): items[index]
        default: nil
        }
    }
}

/// A step from a node to one below it.
enum PathComponent: Equatable {
    case key(String)
    case index(Int)
}

extension [PathComponent] {
    /// `routes[2].match.path`; a key that is no plain word stands in quotes.
    var dotted: String {
        reduce(into: "") { text, component in
            switch component {
            case .key(let key): text += (text.isEmpty ? "" : ".") + (Words.isToken(key) ? key : quoted(key))
            case .index(let index): text += "[\(index)]"
            }
        }
    }
}
