// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A parsed JSON text (RFC 8259): its bytes as they came, and one small record for each value in them.
///
/// Nothing is converted before somebody asks: strings keep their escapes and numbers their digits, so that no precision is
/// lost and any value can be copied on verbatim. Records stand in the order of the text; a container's record says where the
/// one after all its contents is, so that walking over a subtree is one step.
///
///     {"a":[1,2]}      0 object ──────────────► 5
///                        1 string "a" ► 2
///                        2 array ──────► 5
///                          3 number 1
///                          4 number 2
///
/// Two allocations hold a document of any size. Immutable, so it may be read from any thread.
package final class JSONDocument: Sendable {
    /// One value, or one member's name, which stands before the member's value.
    struct Node: Sendable {
        /// Where its text begins; a string's text includes its quotes.
        var start: UInt32
        var length: UInt32
        /// The record after this one and all that it contains.
        var next: UInt32
        /// The kind in the lowest three bits, two flags, and above them the number of elements or members.
        var packed: UInt32

        static let escaped: UInt32 = 8
        static let shadowed: UInt32 = 16

        var kind: JSONKind { JSONKind(rawValue: UInt8(truncatingIfNeeded: packed & 7)) ?? .null }
        /// A string with at least one escape.
        var isEscaped: Bool { packed & Node.escaped != 0 }
        /// The name of a member that another one of its name has put aside.
        var isShadowed: Bool { packed & Node.shadowed != 0 }
        var count: Int { Int(packed >> 5) }
        var textRange: Range<Int> { Int(start)..<Int(start) &+ Int(length) }

        init(_ kind: JSONKind, start: Int, length: Int = 0, next: Int = 0, flags: UInt32 = 0, count: Int = 0) {
            self.start = UInt32(truncatingIfNeeded: start)
            self.length = UInt32(truncatingIfNeeded: length)
            self.next = UInt32(truncatingIfNeeded: next)
            packed = UInt32(kind.rawValue) | flags | UInt32(truncatingIfNeeded: count) << 5
        }
    }

    let text: [UInt8]
    let nodes: [Node]
    /// There are members that are not seen: such an object is written anew and not copied.
    let hasShadows: Bool

    init(text: [UInt8], nodes: [Node], hasShadows: Bool) {
        self.text = text
        self.nodes = nodes
        self.hasShadows = hasShadows
    }

    /// Reads `text`, all of it, in time proportional to its length.
    package static func parse(_ text: Span<UInt8>, limits: JSONLimits = JSONLimits()) throws(JSONError) -> JSONDocument {
        guard text.count <= min(limits.bytes, JSONLimits.greatestBytes) else {
            throw JSONError(.bytes, at: min(limits.bytes, JSONLimits.greatestBytes))
        }
        var copy: [UInt8] = []
        copy.reserveCapacity(text.count)
        unsafe text.withUnsafeBufferPointer { unsafe copy.append(contentsOf: $0) }
        return try parse(owning: copy, limits: limits)
    }

    /// Reads a Swift string: for configuration and tests.
    package static func parse(_ text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) -> JSONDocument {
        try parse(Array(text.utf8).span, limits: limits)
    }

    private static func parse(owning text: [UInt8], limits: JSONLimits) throws(JSONError) -> JSONDocument {
        var parser = JSONParser(text: text, limits: limits)
        try parser.parse()
        return JSONDocument(text: text, nodes: parser.nodes, hasShadows: parser.hasShadows)
    }

    /// The value that the document is.
    package var root: JSONValue { JSONValue(document: self, index: 0) }
    /// Length of its text.
    package var byteCount: Int { text.count }
}

/// What a value is.
package enum JSONKind: UInt8, Sendable, CaseIterable {
    case null, bool, number, string, array, object
}
