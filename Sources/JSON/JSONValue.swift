// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// One value of a document: a place in it, cheap to copy, which keeps the document alive.
///
/// Reads are typed and never convert what is not of the type: `string` of a number is nil. Looking up a member walks over the
/// object's members; a document that is asked for many names at once is better walked once.
package struct JSONValue: Sendable {
    let document: JSONDocument
    let index: Int

    var node: JSONDocument.Node { document.nodes[index] }

    package var kind: JSONKind { node.kind }
    package var isNull: Bool { kind == .null }
    /// Where in the document's text this value begins: for messages.
    package var offset: Int { Int(node.start) }
    /// Length of its text as it came.
    package var byteCount: Int { Int(node.length) }

    // MARK: Contents of containers

    /// Elements of an array, members of an object, 0 for anything else.
    package var count: Int { node.count }

    /// The value of the member of that name.
    package subscript(name: String) -> JSONValue? { self[bytes: Array(name.utf8)] }

    package subscript(bytes name: [UInt8]) -> JSONValue? {
        guard kind == .object else { return nil }
        let end = Int(node.next)
        var at = index &+ 1
        while at < end {
            let key = JSONValue(document: document, index: at)
            if !key.node.isShadowed, key.equals(name) { return JSONValue(document: document, index: at &+ 1) }
            at = Int(document.nodes[at &+ 1].next)
        }
        return nil
    }

    /// The element at that place of an array, counted from 0.
    package subscript(position: Int) -> JSONValue? {
        guard kind == .array, position >= 0, position < count else { return nil }
        var at = index &+ 1
        for _ in 0..<position { at = Int(document.nodes[at].next) }
        return JSONValue(document: document, index: at)
    }

    /// What stands at `path` from here, or nil if any step of it is missing.
    package subscript(path: JSONPath) -> JSONValue? {
        var value = self
        for step in path.steps {
            let next =
                switch step {
                case .name(let name): value[bytes: name]
                case .position(let position): value[position]
                }
            guard let next else { return nil }
            value = next
        }
        return value
    }

    /// An array's elements in order; nothing for any other value.
    package var elements: Elements {
        Elements(document: document, at: index &+ 1, end: kind == .array ? Int(node.next) : index &+ 1)
    }

    /// An object's members in order, without those that one of the same name puts aside; nothing for any other value.
    package var members: Members {
        Members(document: document, at: index &+ 1, end: kind == .object ? Int(node.next) : index &+ 1)
    }

    package struct Elements: Sequence, IteratorProtocol {
        let document: JSONDocument
        var at: Int
        let end: Int

        package mutating func next() -> JSONValue? {
            guard at < end else { return nil }
            let index = at
            at = Int(document.nodes[index].next)
            return JSONValue(document: document, index: index)
        }
    }

    package struct Members: Sequence, IteratorProtocol {
        let document: JSONDocument
        var at: Int
        let end: Int

        /// `name` is a string value.
        package mutating func next() -> (name: JSONValue, value: JSONValue)? {
            while at < end {
                let index = at
                at = Int(document.nodes[index &+ 1].next)
                if document.nodes[index].isShadowed { continue }
                return (JSONValue(document: document, index: index), JSONValue(document: document, index: index &+ 1))
            }
            return nil
        }
    }

    // MARK: Scalars

    package var bool: Bool? {
        guard kind == .bool else { return nil }
        return document.text[Int(node.start)] == UInt8(ascii: "t")
    }

    package var string: String? {
        guard kind == .string else { return nil }
        return withString { unsafe $0.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } }
    }

    /// The string's bytes, escapes resolved, without a copy if there are none. Not for values of other kinds: empty for those.
    package func withString<Result, Failure: Error>(_ body: (Span<UInt8>) throws(Failure) -> Result) throws(Failure) -> Result {
        let text = document.text
        let contents = kind == .string ? contents : 0..<0
        let raw = text.span.extracting(contents)
        if !node.isEscaped { return try body(raw) }
        var resolved: [UInt8] = []
        resolved.reserveCapacity(contents.count)
        raw.unescape { resolved.append($0) }
        return try body(resolved.span)
    }

    /// Whether this is a string of exactly those bytes.
    package func equals(_ bytes: [UInt8]) -> Bool {
        guard kind == .string else { return false }
        if !node.isEscaped {
            let range = contents
            guard range.count == bytes.count else { return false }
            for i in 0..<bytes.count where document.text[range.lowerBound &+ i] != bytes[i] { return false }
            return true
        }
        return withString { span in
            guard span.count == bytes.count else { return false }
            for i in 0..<bytes.count where span[i] != bytes[i] { return false }
            return true
        }
    }

    package func equals(_ text: String) -> Bool { equals(Array(text.utf8)) }

    private var contents: Range<Int> { Int(node.start) &+ 1..<Int(node.start) &+ Int(node.length) &- 1 }

    // MARK: Verbatim

    /// The text of this value as it came, spaces and all.
    package func withText<Result, Failure: Error>(_ body: (Span<UInt8>) throws(Failure) -> Result) throws(Failure) -> Result {
        let text = document.text
        return try body(text.span.extracting(node.textRange))
    }

    /// The same as a string: for messages and tests.
    package var text: String { withText { unsafe $0.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } } }

    /// Appends this value's text as it came; an object with members put aside is written without them.
    package func append(to out: inout ByteBuffer) {
        if document.hasShadows {
            appendAnew(to: &out)
        } else {
            withText { (text: Span<UInt8>) in out.append(text) }
        }
    }

    /// Member by member, because some are not to be seen. Depth is what the parser allowed.
    private func appendAnew(to out: inout ByteBuffer) {
        switch kind {
        case .object:
            out.append(UInt8(ascii: "{"))
            var isFirst = true
            for (name, value) in members {
                if !isFirst { out.append(UInt8(ascii: ",")) }
                isFirst = false
                name.withText { (text: Span<UInt8>) in out.append(text) }
                out.append(UInt8(ascii: ":"))
                value.appendAnew(to: &out)
            }
            out.append(UInt8(ascii: "}"))
        case .array:
            out.append(UInt8(ascii: "["))
            var isFirst = true
            for value in elements {
                if !isFirst { out.append(UInt8(ascii: ",")) }
                isFirst = false
                value.appendAnew(to: &out)
            }
            out.append(UInt8(ascii: "]"))
        default:
            withText { (text: Span<UInt8>) in out.append(text) }
        }
    }
}
