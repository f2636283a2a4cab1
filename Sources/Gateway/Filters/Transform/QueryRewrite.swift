// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// Changes a query (RFC 3986 §3.4) as forms write it: `name=value` pairs between `&`. What is not meant stays byte for byte. Names are
/// compared as what they mean, so that `%64ebug` is `debug`.
struct QueryRewrite: Sendable, Equatable {
    /// A name and the value that it gets, both plain; `nil`: nothing is written.
    typealias Pair = (name: [UInt8], value: [UInt8]?)

    var remove: [[UInt8]] = []
    var rename: [Renaming] = []

    struct Renaming: Sendable, Equatable {
        var from: [UInt8]
        var to: [UInt8]
    }

    /// Appends the new query to `out`: what is left of the old one, renamed, then what is set and added.
    func apply(to query: Span<UInt8>, set: [Pair], add: [Pair], into out: inout ByteBuffer) {
        let start = out.count
        var at = 0
        while at < query.count {
            var end = at
            while end < query.count, query[end] != UInt8(ascii: "&") { end += 1 }
            if end > at { take(query.extracting(at..<end), set: set, from: start, into: &out) }
            at = end + 1
        }
        for (name, value) in set + add {
            guard let value else { continue }
            separate(from: start, &out)
            for byte in name { out.append(queryEscaping: byte) }
            out.append(UInt8(ascii: "="))
            for byte in value { out.append(queryEscaping: byte) }
        }
    }

    private func take(_ pair: Span<UInt8>, set: [Pair], from start: Int, into out: inout ByteBuffer) {
        var mark = 0
        while mark < pair.count, pair[mark] != UInt8(ascii: "=") { mark += 1 }
        let name = pair.extracting(0..<mark)
        if remove.contains(where: { name.means($0) }) || set.contains(where: { name.means($0.name) }) { return }
        separate(from: start, &out)
        if let renaming = rename.first(where: { name.means($0.from) }) {
            for byte in renaming.to { out.append(queryEscaping: byte) }
            out.append(pair.extracting(mark..<pair.count))
        } else {
            out.append(pair)
        }
    }

    private func separate(from start: Int, _ out: inout ByteBuffer) {
        if out.count > start { out.append(UInt8(ascii: "&")) }
    }
}

extension Span<UInt8> {
    /// Whether this is `plain` once its escapes are resolved; `+` is a space, as in forms.
    func means(_ plain: [UInt8]) -> Bool {
        var i = 0
        var k = 0
        while i < count {
            guard k < plain.count else { return false }
            var byte = self[i]
            var length = 1
            if byte == UInt8(ascii: "+") {
                byte = UInt8(ascii: " ")
            } else if byte == UInt8(ascii: "%"), i + 2 < count, let high = self[i + 1].hexDigitValue,
                let low = self[i + 2].hexDigitValue
            {
                byte = high << 4 | low
                length = 3
            }
            if byte != plain[k] { return false }
            i += length
            k += 1
        }
        return k == plain.count
    }
}

extension ByteBuffer {
    /// Appends one byte of a name or value of a query: unreserved ones as they are, others as an escape.
    mutating func append(queryEscaping byte: UInt8) {
        if byte.isUnreserved {
            append(byte)
        } else {
            append(UInt8(ascii: "%"))
            append((byte >> 4).upperHexDigit)
            append((byte & 15).upperHexDigit)
        }
    }
}
