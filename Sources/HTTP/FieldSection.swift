// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// A run of bytes in a section's arena.
package struct Slice: Equatable, Sendable {
    package var offset: UInt32
    package var length: UInt32

    @inlinable package init(offset: Int, length: Int) {
        self.offset = UInt32(clamping: offset)
        self.length = UInt32(clamping: length)
    }

    @inlinable package static var empty: Slice { Slice(offset: 0, length: 0) }
    @inlinable package var isEmpty: Bool { length == 0 }
    @inlinable package var range: Range<Int> { Int(offset)..<(Int(offset) + Int(length)) }
}

/// The fields of a head or of trailers in their order: one arena of bytes and an index of slices into it.
///
/// Names are in lower case always. No `String` is made, and a section that is cleared and filled again allocates nothing.
/// A removed field keeps its place in the index with `isRemoved` set, so that positions stay valid. Sizes are bounded by
/// the decoders (32-bit offsets hold any head that the limits let through).
package struct FieldSection: ~Copyable {
    package struct Entry: Sendable {
        package var name: Slice
        package var value: Slice
        package var known: FieldName
        package var isRemoved = false
        /// The arena holds exactly `name: value` CR LF from `name.offset` on: the HTTP/1 encoder copies runs of such
        /// fields in one go.
        package var isLine = false

        @inlinable package init(name: Slice, value: Slice, known: FieldName, isLine: Bool = false) {
            self.name = name
            self.value = value
            self.known = known
            self.isLine = isLine
        }
    }

    /// All bytes that slices point into. Only grows until `removeAll`.
    package var arena = ByteBuffer()
    package internal(set) var entries: [Entry] = []
    /// One bit for each known name that was ever added since the last clear: a cheap "surely absent".
    var present: UInt64 = 0
    /// A name decoded from HTTP/1 has other characters than letters and hyphens: an underscore, perhaps.
    var hasUnusualNames = false

    package init() {}

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }

    package mutating func removeAll() {
        arena.removeAll()
        entries.removeAll(keepingCapacity: true)
        present = 0
        hasUnusualNames = false
    }

    /// Gives memory beyond `bytes` back after an unusually large head.
    package mutating func trim(toBytes bytes: Int) {
        if arena.capacity > bytes {
            arena.removeAll()
            arena.releaseStorage()
            entries = []
            present = 0
        }
    }

    // MARK: Reading

    @inline(__always)
    package func withBytes<Result: ~Copyable, Failure: Error>(
        _ slice: Slice, _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(arena.readable.extracting(slice.range))
    }

    @inline(__always)
    package func withValue<Result: ~Copyable, Failure: Error>(
        _ i: Int, _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(arena.readable.extracting(entries[i].value.range))
    }

    /// Whether a live field of that name is here.
    @inline(__always)
    package func contains(_ name: FieldName) -> Bool { first(name) != nil }

    /// The position of the first live field of that name.
    @inline(__always)
    package func first(_ name: FieldName, from start: Int = 0) -> Int? {
        // Most names that are asked for are not there, and that costs one bit.
        present & (1 << UInt64(name.rawValue)) == 0 ? nil : search(name, from: start)
    }

    private func search(_ name: FieldName, from start: Int) -> Int? {
        var i = start
        while i < entries.count {
            if entries[i].known == name && !entries[i].isRemoved { return i }
            i += 1
        }
        return nil
    }

    /// The position of the first live field whose name is exactly `name` (lower case).
    package func first(named name: Span<UInt8>) -> Int? {
        for i in entries.indices where !entries[i].isRemoved && Int(entries[i].name.length) == name.count {
            if withBytes(entries[i].name, { $0.equals(name) }) { return i }
        }
        return nil
    }

    package func first(named name: [UInt8]) -> Int? { first(named: name.span) }
    package mutating func removeAll(named name: [UInt8]) { removeAll(named: name.span) }

    /// A copy of the value as text; for logs, tests and configuration-time work, not for the proxied path.
    package func string(_ i: Int) -> String { withValue(i) { String(copying: $0) } }

    /// The first value of a name as text, for tests and messages.
    package func string(_ name: StaticString) -> String? {
        for i in entries.indices where !entries[i].isRemoved {
            if withBytes(entries[i].name, { $0.equals(name) }) { return string(i) }
        }
        return nil
    }

    // MARK: Writing

    /// Adds a field whose bytes are in the arena already; the name must be in lower case.
    package mutating func append(name: Slice, value: Slice, known: FieldName) {
        entries.append(Entry(name: name, value: value, known: known))
        present |= 1 << UInt64(known.rawValue)
    }

    package mutating func append(_ name: FieldName, _ value: Span<UInt8>) {
        let nameSlice = store(name.text)
        arena.append(58, 32)
        appendLine(name: nameSlice, value: store(value), known: name)
    }

    package mutating func append(_ name: FieldName, _ value: StaticString) {
        let nameSlice = store(name.text)
        arena.append(58, 32)
        appendLine(name: nameSlice, value: store(value), known: name)
    }

    package mutating func append(name: [UInt8], value: [UInt8]) { append(name: name.span, value: value.span) }

    /// Adds a field by bytes; the name must be in lower case.
    package mutating func append(name: Span<UInt8>, value: Span<UInt8>) {
        append(name: name, value: value, known: FieldName.recognise(lowercased: name))
    }

    /// Adds a field whose name was recognised already.
    mutating func append(name: Span<UInt8>, value: Span<UInt8>, known: FieldName) {
        let nameSlice = store(name)
        arena.append(58, 32)
        appendLine(name: nameSlice, value: store(value), known: known)
    }

    /// Adds a field whose value `write` appends to the arena.
    package mutating func append(_ name: FieldName, writing write: (inout ByteBuffer) -> Void) {
        let nameSlice = store(name.text)
        arena.append(58, 32)
        let start = arena.count
        write(&arena)
        appendLine(name: nameSlice, value: Slice(offset: start, length: arena.count - start), known: name)
    }

    /// Adds a field whose value is a number.
    package mutating func append(_ name: FieldName, decimal value: UInt64) {
        let nameSlice = store(name.text)
        arena.append(58, 32)
        let start = arena.count
        arena.append(decimal: value)
        let slice = Slice(offset: start, length: arena.count - start)
        arena.append(13, 10)
        entries.append(Entry(name: nameSlice, value: slice, known: name, isLine: true))
        present |= 1 << UInt64(name.rawValue)
    }

    /// Ends a field whose `name: value` was just written to the end of the arena. Whoever made the value, it must not end its line
    /// (case E25): the encoder makes spaces of CR, LF and NUL in what is not marked as a line.
    private mutating func appendLine(name: Slice, value: Slice, known: FieldName) {
        let isClean = withBytes(value) { $0.endOfFieldValue(from: 0) == $0.count }
        if isClean { arena.append(13, 10) }
        entries.append(Entry(name: name, value: value, known: known, isLine: isClean))
        present |= 1 << UInt64(known.rawValue)
    }

    /// Adds a field from text; for configured fields and tests.
    package mutating func append(_ name: String, _ value: String) {
        append(name: Array(name.lowercased().utf8).span, value: Array(value.utf8).span)
    }

    package mutating func remove(at i: Int) { entries[i].isRemoved = true }

    package mutating func removeAll(_ name: FieldName) {
        var i = first(name)
        while let at = i {
            entries[at].isRemoved = true
            i = first(name, from: at + 1)
        }
    }

    /// Whether the field at `i` was not removed.
    package func isLive(_ i: Int) -> Bool { !entries[i].isRemoved }

    /// A copy of a field's name as text; not for the proxied path.
    package func name(_ i: Int) -> String { withBytes(entries[i].name) { String(copying: $0) } }

    /// Whether the field at `i` was not removed and has exactly this name (lower case).
    package func isLive(_ i: Int, named name: Span<UInt8>) -> Bool {
        !entries[i].isRemoved && withBytes(entries[i].name) { $0.equals(name) }
    }

    /// Removes all fields whose name is exactly `name` (lower case).
    package mutating func removeAll(named name: Span<UInt8>) {
        while let i = first(named: name) { entries[i].isRemoved = true }
    }

    /// Names, values and 32 for each field (RFC 9113 §6.5.2 counting).
    package var size: Int {
        entries.reduce(0) { $0 + ($1.isRemoved ? 0 : Int($1.name.length) + Int($1.value.length) + 32) }
    }

    package mutating func store(_ bytes: Span<UInt8>) -> Slice {
        let start = arena.count
        arena.append(bytes)
        return Slice(offset: start, length: bytes.count)
    }

    package mutating func store(_ text: StaticString) -> Slice {
        let start = arena.count
        arena.append(text)
        return Slice(offset: start, length: text.utf8CodeUnitCount)
    }

    /// The same bytes and fields once more: slices of the one are slices of the other.
    package func copy() -> FieldSection {
        var copy = FieldSection()
        copy.arena.append(arena.readable)
        copy.entries = entries
        copy.present = present
        copy.hasUnusualNames = hasUnusualNames
        return copy
    }

    /// Adds every live field of `other`.
    package mutating func append(contentsOf other: borrowing FieldSection) {
        for i in 0..<other.entries.count where !other.entries[i].isRemoved {
            let entry = other.entries[i]
            let name = other.withBytes(entry.name) { store($0) }
            arena.append(58, 32)
            let value = other.withBytes(entry.value) { store($0) }
            appendLine(name: name, value: value, known: entry.known)
        }
    }
}

extension String {
    /// A copy of the bytes as text; what is not UTF-8 becomes U+FFFD.
    package init(copying span: Span<UInt8>) {
        self = unsafe span.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}
