// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// How a log line writes bytes that it cannot trust, so that nothing a peer sends ends a field, a line, or reaches a
/// terminal as a command (CWE-117, CWE-150; case E22).
package enum LogEscaping: Sendable {
    /// Inside a JSON string (RFC 8259 §7): `\"`, `\\`, `\u00XX`; a byte that is no UTF-8 becomes `\ufffd`.
    case json
    /// Inside the quotes of a text line, as nginx does it: each such byte as `\xHH`.
    case text
    /// For a text token without quotes: a blank and everything but `[0-9A-Za-z._:/@%+-]`, brackets and `*` is `\xHH` too.
    case bare

    /// Whether the bytes stand for themselves as a text token.
    static func isToken(_ bytes: Span<UInt8>) -> Bool { bytes.tokenRun(from: 0, to: bytes.count) == bytes.count }
}

extension ByteBuffer {
    /// Appends at most `limit` of `bytes` escaped, then `…` if some were left out. Never splits a character.
    ///
    /// Escaped are controls (C0, DEL, C1), quote, backslash, bytes that are not UTF-8, line and paragraph separators, and
    /// the invisible and bidirectional controls with which a line could look like another one.
    package mutating func append(escaping bytes: Span<UInt8>, as escaping: LogEscaping, limit: Int = .max) {
        var end = bytes.count
        let isCut = end > limit
        if isCut { end = bytes.characterBoundary(before: max(limit, 0)) }
        reserve(end + 3)
        var i = 0
        while i < end {
            let run = escaping == .bare ? bytes.tokenRun(from: i, to: end) : bytes.plainRun(from: i, to: end)
            if run > i {
                append(bytes.extracting(i..<run))
                i = run
                if i == end { break }
            }
            if bytes[i] < 0x80 {
                append(escapedByte: bytes[i], as: escaping)
                i += 1
                continue
            }
            let (scalar, length) = bytes.scalar(at: i, before: end)
            if length == 0 {
                if escaping == .json { append("\\ufffd") } else { append(hexByte: bytes[i]) }
                i += 1
            } else if escaping == .bare || isDeceptive(scalar) {
                if escaping == .json {
                    append("\\u")
                    for shift in [12, 8, 4, 0] { append(hexDigit(UInt8(truncatingIfNeeded: scalar >> UInt32(shift)))) }
                } else {
                    for at in i..<i + length { append(hexByte: bytes[at]) }
                }
                i += length
            } else {
                append(bytes.extracting(i..<i + length))
                i += length
            }
        }
        if isCut { append("…") }
    }

    private mutating func append(escapedByte byte: UInt8, as escaping: LogEscaping) {
        guard escaping == .json else {
            append(hexByte: byte)
            return
        }
        switch byte {
        case UInt8(ascii: "\""): append("\\\"")
        case UInt8(ascii: "\\"): append("\\\\")
        case UInt8(ascii: "\n"): append("\\n")
        case UInt8(ascii: "\r"): append("\\r")
        case UInt8(ascii: "\t"): append("\\t")
        default:
            append("\\u00")
            append(hexDigit(byte >> 4))
            append(hexDigit(byte))
        }
    }

    private mutating func append(hexByte byte: UInt8) {
        append("\\x")
        append(hexDigit(byte >> 4))
        append(hexDigit(byte))
    }

    private func hexDigit(_ nibble: UInt8) -> UInt8 {
        let n = nibble & 15
        return n < 10 ? 48 + n : 87 + n
    }

    /// Characters that are valid and yet may not stand in a line as they are; all below U+10000.
    private func isDeceptive(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0x80...0x9F: true  // C1 controls: U+009B starts a terminal sequence, U+0085 is a line end
        case 0x61C, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x206F, 0xFEFF: true
        default: false
        }
    }
}

extension Span<UInt8> {
    /// The end of the run from `start` of bytes that stand for themselves in JSON and in quoted text alike.
    ///
    /// Eight bytes at a step: the lowest bit set is right in each term (borrows only disturb bytes above a true hit).
    fileprivate func plainRun(from start: Int, to end: Int) -> Int {
        var i = start
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        return unsafe withUnsafeBytes { raw in
            while i + 8 <= end {
                let word = unsafe UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: i, as: UInt64.self))
                let quote = word ^ (ones &* 0x22)
                let backslash = word ^ (ones &* 0x5C)
                let delete = word ^ (ones &* 0x7F)
                let hits =
                    (((word &- ones &* 0x20) & ~word) | ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash)
                        | ((delete &- ones) & ~delete) | word) & highs
                if hits != 0 { return i + hits.trailingZeroBitCount / 8 }
                i += 8
            }
            while i < end {
                let byte = unsafe raw[i]
                if byte < 0x20 || byte >= 0x7F || byte == 0x22 || byte == 0x5C { return i }
                i += 1
            }
            return i
        }
    }

    fileprivate func tokenRun(from start: Int, to end: Int) -> Int {
        var i = start
        while i < end {
            switch self[i] {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: break
            case 0x2E, 0x5F, 0x3A, 0x2F, 0x40, 0x25, 0x2B, 0x2D, 0x5B, 0x5D, 0x2A: break  // . _ : / @ % + - [ ] *
            default: return i
            }
            i += 1
        }
        return i
    }

    /// `limit`, or up to three bytes less where a character would be cut in two.
    fileprivate func characterBoundary(before limit: Int) -> Int {
        var at = limit
        while at > 0 && limit - at < 4 && self[at] & 0xC0 == 0x80 { at -= 1 }
        // A run of stray continuation bytes is not a character: cut where asked.
        return at < count && self[at] & 0xC0 != 0x80 ? at : limit
    }

    /// The scalar that begins at `i` and its length, or length 0 where the bytes are not well-formed (Unicode, table 3-7).
    fileprivate func scalar(at i: Int, before end: Int) -> (value: UInt32, length: Int) {
        let lead = self[i]
        let length: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch lead {
        case 0xC2...0xDF: length = 2
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: length = 3
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        case 0xF1...0xF3: length = 4
        default: return (0, 0)
        }
        guard i + length <= end, second.contains(self[i + 1]) else { return (0, 0) }
        var value = UInt32(lead & (0x7F >> UInt8(length)))
        value = value << 6 | UInt32(self[i + 1] & 0x3F)
        for at in (i + 2)..<max(i + length, i + 2) {
            guard self[at] & 0xC0 == 0x80 else { return (0, 0) }
            value = value << 6 | UInt32(self[at] & 0x3F)
        }
        return (value, length)
    }
}
