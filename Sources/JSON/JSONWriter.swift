// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Writes one JSON text, compact, onto the end of a buffer: it sees to commas and escapes, the caller to that what is opened is closed.
///
///     var writer = JSONWriter()
///     writer.beginObject()
///     writer.name("id")
///     writer.value(7)
///     writer.endObject()
///     let body = writer.finish()
package struct JSONWriter: ~Copyable {
    private var out: ByteBuffer
    private var needsComma = false

    /// Goes on at the end of `buffer`.
    package init(appendingTo buffer: consuming ByteBuffer = ByteBuffer()) { out = buffer }

    package consuming func finish() -> ByteBuffer { out }

    /// Bytes so far, with those that were there before: for whoever bounds them.
    package var byteCount: Int { out.count }

    package mutating func beginObject() { begin(UInt8(ascii: "{")) }
    package mutating func endObject() { end(UInt8(ascii: "}")) }
    package mutating func beginArray() { begin(UInt8(ascii: "[")) }
    package mutating func endArray() { end(UInt8(ascii: "]")) }

    private mutating func begin(_ bracket: UInt8) {
        separate()
        out.append(bracket)
        needsComma = false
    }

    private mutating func end(_ bracket: UInt8) {
        out.append(bracket)
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { out.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    // MARK: Names

    package mutating func name(_ name: String) { self.name(Array(name.utf8).span) }

    package mutating func name(_ name: [UInt8]) { self.name(name.span) }

    package mutating func name(_ name: Span<UInt8>) {
        separate()
        out.append(jsonString: name)
        out.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// A name as it stands in another document.
    package mutating func name(_ name: JSONValue) {
        separate()
        name.append(to: &out)
        out.append(UInt8(ascii: ":"))
        needsComma = false
    }

    // MARK: Values

    package mutating func null() {
        separate()
        out.append("null")
    }

    package mutating func value(_ value: Bool) {
        separate()
        out.append(value ? "true" : "false" as StaticString)
    }

    package mutating func value(_ value: Int64) {
        separate()
        if value < 0 { out.append(UInt8(ascii: "-")) }
        out.append(decimal: value.magnitude)
    }

    package mutating func value(_ value: Int) { self.value(Int64(value)) }

    /// JSON has no infinity and no NaN: those are written as null.
    package mutating func value(_ value: Double) {
        guard value.isFinite else { return null() }
        separate()
        out.append(utf8: "\(value)")
    }

    package mutating func value(_ value: String) { string(Array(value.utf8).span) }

    /// A string of bytes from anywhere: what is no UTF-8 in it becomes U+FFFD.
    package mutating func string(_ bytes: Span<UInt8>) {
        separate()
        out.append(jsonString: bytes)
    }

    /// A copy of a value of any document, as it stands there.
    package mutating func value(_ value: JSONValue) {
        separate()
        value.append(to: &out)
    }

    /// Text that is known to be one whole JSON value.
    package mutating func verbatim(_ text: Span<UInt8>) {
        separate()
        out.append(text)
    }
}

extension ByteBuffer {
    /// Appends `bytes` as a JSON string with its quotes. Whatever they are, the result is one: control characters are escaped, and
    /// each byte that belongs to no UTF-8 sequence becomes U+FFFD.
    package mutating func append(jsonString bytes: Span<UInt8>) {
        reserve(bytes.count &+ 2)
        append(UInt8(ascii: "\""))
        var copied = 0
        var i = 0
        while i < bytes.count {
            let byte = bytes[i]
            if byte >= 0x20 && byte < 0x80 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") {
                i &+= 1
                continue
            }
            if byte >= 0x80 {
                let length = bytes.utf8Length(at: i)
                if length > 0 {
                    i &+= length
                    continue
                }
            }
            append(bytes.extracting(copied..<i))
            append(jsonEscapeOf: byte)
            i &+= 1
            copied = i
        }
        append(bytes.extracting(copied..<bytes.count))
        append(UInt8(ascii: "\""))
    }

    private mutating func append(jsonEscapeOf byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): append("\\\"")
        case UInt8(ascii: "\\"): append("\\\\")
        case 0x08: append("\\b")
        case 0x09: append("\\t")
        case 0x0A: append("\\n")
        case 0x0C: append("\\f")
        case 0x0D: append("\\r")
        case 0x80...: append("\u{FFFD}")
        default:
            append("\\u00")
            append(byte < 16 ? UInt8(ascii: "0") : UInt8(ascii: "1"))
            append(hexadecimal: UInt64(byte & 15))
        }
    }
}
