// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Base64 as it is spelled once (RFC 4648 §3.5): each value has one text and each text one value. A lenient decoder lets two
/// texts stand for one token, which is how a revoked one comes back under another name.
package enum Base64 {
    package enum Alphabet: Sendable {
        /// `+ /`, padded to a multiple of four with `=` (RFC 4648 §4): Basic credentials.
        case standard
        /// `- _`, never padded (RFC 7515 §2): tokens and keys.
        case url
        /// `. /`, never padded: passlib's hashes.
        case adapted
    }

    /// The bytes that `text` stands for; nil if a character, the padding, the length or a spare bit is not as it must be.
    package static func decode(_ text: Span<UInt8>, _ alphabet: Alphabet) -> [UInt8]? {
        var count = text.count
        if alphabet == .standard {
            if count % 4 != 0 { return nil }
            var padding = 0
            while padding < 2, count > 0, text[count - 1] == UInt8(ascii: "=") {
                count -= 1
                padding += 1
            }
        }
        let rest = count % 4
        if rest == 1 { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count / 4 * 3 + 2)
        var held: UInt32 = 0
        var bits: UInt32 = 0
        for i in 0..<count {
            guard let value = sextet(text[i], alphabet) else { return nil }
            held = held << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: held >> bits))
                held &= (1 << bits) - 1
            }
        }
        // What is left of the last character must be zero.
        return held == 0 ? bytes : nil
    }

    private static func sextet(_ c: UInt8, _ alphabet: Alphabet) -> UInt8? {
        switch c {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): c - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): c - 71
        case UInt8(ascii: "0")...UInt8(ascii: "9"): c + 4
        case alphabet.characters.0: 62
        case alphabet.characters.1: 63
        default: nil
        }
    }

    package static func encode(_ bytes: [UInt8], _ alphabet: Alphabet) -> String {
        var text: [UInt8] = []
        var held: UInt32 = 0
        var bits: UInt32 = 0
        func character(_ value: UInt32) -> UInt8 {
            switch value & 63 {
            case 0..<26: UInt8(truncatingIfNeeded: value & 63) + 65
            case 26..<52: UInt8(truncatingIfNeeded: value & 63) + 71
            case 52..<62: UInt8(truncatingIfNeeded: value & 63) - 4
            case 62: alphabet.characters.0
            default: alphabet.characters.1
            }
        }
        for byte in bytes {
            held = (held << 8 | UInt32(byte)) & 0xFFFF
            bits += 8
            while bits >= 6 {
                bits -= 6
                text.append(character(held >> bits))
            }
        }
        if bits > 0 { text.append(character(held << (6 - bits))) }
        if alphabet == .standard { while text.count % 4 != 0 { text.append(UInt8(ascii: "=")) } }
        return String(decoding: text, as: UTF8.self)
    }
}

extension Base64.Alphabet {
    /// What stands for 62 and 63.
    fileprivate var characters: (UInt8, UInt8) {
        switch self {
        case .standard: (UInt8(ascii: "+"), UInt8(ascii: "/"))
        case .url: (UInt8(ascii: "-"), UInt8(ascii: "_"))
        case .adapted: (UInt8(ascii: "."), UInt8(ascii: "/"))
        }
    }
}
