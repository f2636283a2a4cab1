// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Strings (RFC 8259 §7 and §8): escapes and UTF-8 are checked here once, so that whoever reads one later cannot fail.
extension JSONParser {
    /// Goes over the string that begins here. True if it has escapes.
    mutating func skipString() throws(JSONError) -> Bool {
        let start = position
        var isEscaped = false
        position &+= 1
        while position < text.count {
            let byte = text[position]
            switch byte {
            case UInt8(ascii: "\""):
                position &+= 1
                return isEscaped
            case UInt8(ascii: "\\"):
                isEscaped = true
                try skipEscape()
            case 0..<0x20:
                throw JSONError(.controlCharacter, at: position)
            case 0x20..<0x80:
                position &+= 1
            default:
                let length = text.span.utf8Length(at: position)
                guard length > 0 else { throw JSONError(.utf8, at: position) }
                position &+= length
            }
        }
        throw JSONError(.unendedString, at: start)
    }

    private mutating func skipEscape() throws(JSONError) {
        let start = position
        position &+= 1
        guard position < text.count else { throw JSONError(.escape, at: start) }
        switch text[position] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"),
            UInt8(ascii: "r"), UInt8(ascii: "t"):
            position &+= 1
        case UInt8(ascii: "u"):
            let unit = try skipUnit(from: start)
            switch unit {
            case 0xD800..<0xDC00:
                // The other half must follow, itself an escape.
                guard text.count &- position >= 2, text[position] == UInt8(ascii: "\\"), text[position &+ 1] == UInt8(ascii: "u")
                else { throw JSONError(.loneSurrogate, at: start) }
                let half = position
                position &+= 1
                guard 0xDC00..<0xE000 ~= (try skipUnit(from: half)) else { throw JSONError(.loneSurrogate, at: start) }
            case 0xDC00..<0xE000:
                throw JSONError(.loneSurrogate, at: start)
            default:
                break
            }
        default:
            throw JSONError(.escape, at: start)
        }
    }

    /// From the `u` over its four digits.
    private mutating func skipUnit(from start: Int) throws(JSONError) -> UInt32 {
        guard let unit = text.span.hexadecimalUnit(at: position &+ 1) else { throw JSONError(.unicodeEscape, at: start) }
        position &+= 5
        return unit
    }
}

extension Span<UInt8> {
    /// The length of the UTF-8 sequence at `i`, or 0 if there is none (RFC 3629 §4: no overlong form, no surrogate, nothing above U+10FFFF).
    func utf8Length(at i: Int) -> Int {
        guard i < count else { return 0 }
        let first = self[i]
        func tail(_ k: Int, _ allowed: ClosedRange<UInt8> = 0x80...0xBF) -> Bool {
            i &+ k < count && allowed.contains(self[i &+ k])
        }
        switch first {
        case 0..<0x80: return 1
        case 0xC2...0xDF: return tail(1) ? 2 : 0
        case 0xE0: return tail(1, 0xA0...0xBF) && tail(2) ? 3 : 0
        case 0xED: return tail(1, 0x80...0x9F) && tail(2) ? 3 : 0
        case 0xE1...0xEF: return tail(1) && tail(2) ? 3 : 0
        case 0xF0: return tail(1, 0x90...0xBF) && tail(2) && tail(3) ? 4 : 0
        case 0xF1...0xF3: return tail(1) && tail(2) && tail(3) ? 4 : 0
        case 0xF4: return tail(1, 0x80...0x8F) && tail(2) && tail(3) ? 4 : 0
        default: return 0
        }
    }

    /// Four hexadecimal digits from `i`.
    func hexadecimalUnit(at i: Int) -> UInt32? {
        guard i >= 0, count &- i >= 4 else { return nil }
        var unit: UInt32 = 0
        for k in 0..<4 {
            let byte = self[i &+ k]
            let digit: UInt8
            switch byte {
            case 48...57: digit = byte &- 48
            case 65...70: digit = byte &- 55
            case 97...102: digit = byte &- 87
            default: return nil
            }
            unit = unit << 4 | UInt32(digit)
        }
        return unit
    }

    /// Gives `emit` the bytes of a checked string's contents (without its quotes) with their escapes resolved.
    func unescape(_ emit: (UInt8) -> Void) {
        var i = 0
        while i < count {
            let byte = self[i]
            guard byte == UInt8(ascii: "\\"), i &+ 1 < count else {
                emit(byte)
                i &+= 1
                continue
            }
            i &+= 2
            switch self[i &- 1] {
            case UInt8(ascii: "b"): emit(0x08)
            case UInt8(ascii: "f"): emit(0x0C)
            case UInt8(ascii: "n"): emit(0x0A)
            case UInt8(ascii: "r"): emit(0x0D)
            case UInt8(ascii: "t"): emit(0x09)
            case UInt8(ascii: "u"):
                var scalar = hexadecimalUnit(at: i) ?? 0xFFFD
                i &+= 4
                if 0xD800..<0xDC00 ~= scalar, let low = hexadecimalUnit(at: i &+ 2), 0xDC00..<0xE000 ~= low {
                    scalar = 0x10000 &+ (scalar &- 0xD800) << 10 &+ (low &- 0xDC00)
                    i &+= 6
                }
                Span.encode(scalar, emit)
            case let other: emit(other)
            }
        }
    }

    private static func encode(_ scalar: UInt32, _ emit: (UInt8) -> Void) {
        func continuation(_ shift: UInt32) { emit(UInt8(truncatingIfNeeded: 0x80 | scalar >> shift & 0x3F)) }
        switch scalar {
        case 0..<0x80: emit(UInt8(truncatingIfNeeded: scalar))
        case 0x80..<0x800:
            emit(UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6))
            continuation(0)
        case 0x800..<0x1_0000:
            emit(UInt8(truncatingIfNeeded: 0xE0 | scalar >> 12))
            continuation(6)
            continuation(0)
        default:
            emit(UInt8(truncatingIfNeeded: 0xF0 | scalar >> 18))
            continuation(12)
            continuation(6)
            continuation(0)
        }
    }
}
