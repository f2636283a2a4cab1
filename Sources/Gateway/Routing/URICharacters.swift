// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The character classes of RFC 3986 that paths, hosts and templates are judged by. Two words of bits instead of a table in
/// memory: the test is a shift and a mask.
extension UInt8 {
    @inline(__always)
    private func isIn(_ low: UInt64, _ high: UInt64) -> Bool {
        self < 128 && (self < 64 ? low : high) >> UInt64(self & 63) & 1 == 1
    }

    /// ALPHA / DIGIT / `-` / `.` / `_` / `~` (§2.3).
    var isUnreserved: Bool { isIn(0x03FF_6000_0000_0000, 0x47FF_FFFE_87FF_FFFE) }

    /// What may stand in a path as it is: pchar without `%`, and `/` (§3.3).
    @inline(__always)
    var isPlainInPath: Bool { isIn(0x2FFF_FFD2_0000_0000, 0x47FF_FFFE_87FF_FFFF) }

    /// What a path must not carry in any spelling: controls, the space, `#`, `?`, the backslash, DEL.
    var isForbiddenInPath: Bool {
        self <= 0x20 || self == 0x7F || self == UInt8(ascii: "#") || self == UInt8(ascii: "?") || self == UInt8(ascii: "\\")
    }

    /// What may stand in `host[:port]`: unreserved, sub-delims, `:`, `[`, `]` and `%` (§3.2.2).
    var isPlainInAuthority: Bool {
        self != UInt8(ascii: "/") && self != UInt8(ascii: "@")
            && (isPlainInPath || self == UInt8(ascii: "[") || self == UInt8(ascii: "]") || self == UInt8(ascii: "%"))
    }

    /// tchar (RFC 9110 §5.6.2).
    var isTokenCharacter: Bool { isIn(0x03FF_6CFA_0000_0000, 0x57FF_FFFF_C7FF_FFFE) }

    var isASCIIDigit: Bool { self >= 48 && self <= 57 }

    /// Optional white space between the parts of a field value (RFC 9110 §5.6.3).
    var isFieldSpace: Bool { self == 0x20 || self == 0x09 }

    /// The value of a hexadecimal digit in either case.
    var hexDigitValue: UInt8? {
        switch self {
        case 48...57: self - 48
        case 65...70: self - 55
        case 97...102: self - 87
        default: nil
        }
    }

    /// The digit of a value below 16, in upper case as §2.1 asks.
    var upperHexDigit: UInt8 { self < 10 ? 48 + self : 55 + self }
}
