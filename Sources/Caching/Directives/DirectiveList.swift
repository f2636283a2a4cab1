// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// A list of directives as Cache-Control and its targeted relatives write it (RFC 9111 §5.2, RFC 9110 §5.6.1):
/// `name`, `name=token` or `name="quoted string"`, separated by commas that do not stand inside a quoted string.
///
/// What is spelled wrongly is reported as such and not dropped: the reader of a directive decides in which direction a mistake is safe.
enum DirectiveList {
    /// One directive: ranges into the field's value.
    struct Item: Equatable {
        var name: Range<Int>
        /// The argument, without its quotes.
        var value: Range<Int>?
        /// Something else stands beside name and argument (`max-age =5`, `max-age='5'`, `no-store x`).
        var isMalformed = false
        /// A quoted string does not end: what it swallows may have been a restriction.
        var isUnterminated = false
    }

    /// The next directive at or after `position`, which moves behind it.
    static func next(_ field: Span<UInt8>, _ position: inout Int) -> Item? {
        let n = field.count
        while position < n, field[position] == comma || field[position].isBlank { position += 1 }
        if position >= n { return nil }
        let start = position
        while position < n, field[position].isToken { position += 1 }
        var item = Item(name: start..<position)
        skipBlanks(field, &position)
        if position < n, field[position] == equals {
            // No space is allowed around it.
            if position != item.name.upperBound { item.isMalformed = true }
            position += 1
            if position < n, field[position].isBlank {
                item.isMalformed = true
                skipBlanks(field, &position)
            }
            if position < n, field[position] == quote {
                readQuoted(field, &position, &item)
            } else {
                let from = position
                while position < n, field[position].isToken { position += 1 }
                item.value = from..<position
                if from == position { item.isMalformed = true }
            }
        }
        skipBlanks(field, &position)
        if position < n, field[position] != comma {
            item.isMalformed = true
            skipToComma(field, &position, &item)
        }
        return item
    }

    private static func readQuoted(_ field: Span<UInt8>, _ position: inout Int, _ item: inout Item) {
        let n = field.count
        position += 1
        let from = position
        while position < n, field[position] != quote { position += field[position] == backslash ? 2 : 1 }
        if position >= n {
            position = n
            item.value = from..<n
            item.isMalformed = true
            item.isUnterminated = true
            return
        }
        item.value = from..<position
        position += 1
    }

    /// Behind what is malformed: a quoted string in it still hides its commas.
    private static func skipToComma(_ field: Span<UInt8>, _ position: inout Int, _ item: inout Item) {
        let n = field.count
        while position < n, field[position] != comma {
            if field[position] == quote {
                position += 1
                while position < n, field[position] != quote { position += field[position] == backslash ? 2 : 1 }
                if position >= n { item.isUnterminated = true }
            }
            position = min(position + 1, n)
        }
    }

    private static func skipBlanks(_ field: Span<UInt8>, _ position: inout Int) {
        while position < field.count, field[position].isBlank { position += 1 }
    }

    private static var comma: UInt8 { 44 }
    private static var equals: UInt8 { 61 }
    private static var quote: UInt8 { 34 }
    private static var backslash: UInt8 { 92 }
}
