// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// A SHA-256 value: under which a secret is stored, looked up and remembered, so that the secret itself is not.
///
/// Compared without a branch: how long it takes says nothing about how much was right.
package struct Digest256: Hashable, Sendable {
    package var words: (UInt64, UInt64, UInt64, UInt64)

    package init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

    /// Of 32 bytes; nil of any other number.
    package init?(_ bytes: Span<UInt8>) {
        if bytes.count != 32 { return nil }
        func word(_ start: Int) -> UInt64 {
            var value: UInt64 = 0
            for i in start..<(start + 8) { value = value << 8 | UInt64(bytes[i]) }
            return value
        }
        words = (word(0), word(8), word(16), word(24))
    }

    /// Of 64 hexadecimal digits, as `sha256sum` prints them; nil of anything else.
    package init?(hexadecimal text: some StringProtocol) {
        guard text.utf8.count == 64 else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for c in text.utf8 {
            guard let nibble = c.hexadecimalNibble else { return nil }
            if let first = high.take() { bytes.append(first << 4 | nibble) } else { high = nibble }
        }
        self.init(bytes.span)
    }

    package var bytes: [UInt8] {
        [words.0, words.1, words.2, words.3].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) }
        }
    }

    /// 64 digits in lower case.
    package var hexadecimal: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    package static func == (left: Digest256, right: Digest256) -> Bool {
        (left.words.0 ^ right.words.0) | (left.words.1 ^ right.words.1) | (left.words.2 ^ right.words.2)
            | (left.words.3 ^ right.words.3) == 0
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

    /// The digest of `prefix` and then `bytes`.
    package static func sha256(_ prefix: [UInt8] = [], _ bytes: Span<UInt8>) -> Digest256 {
        var hash = SHA256State()
        hash.update(prefix.span)
        hash.update(bytes)
        return hash.finish()
    }

    package static func sha256(_ bytes: [UInt8]) -> Digest256 { sha256([], bytes.span) }
}

/// SHA-256 step by step, over OpenSSL's plain context: no allocation and no look-up of an algorithm, which in OpenSSL 3 cost more
/// than hashing a token does.
struct SHA256State {
    private var context = SHA256_CTX()

    init() { unsafe SHA256_Init(&context) }

    mutating func update(_ bytes: Span<UInt8>) {
        // The context copies what it keeps; the pointer is used within the call.
        _ = unsafe bytes.withUnsafeBytes { unsafe SHA256_Update(&context, $0.baseAddress, $0.count) }
    }

    /// Adds a digest's 32 bytes.
    mutating func update(_ digest: Digest256) {
        var words = (
            digest.words.0.bigEndian, digest.words.1.bigEndian, digest.words.2.bigEndian, digest.words.3.bigEndian
        )
        _ = unsafe withUnsafeBytes(of: &words) { unsafe SHA256_Update(&context, $0.baseAddress, 32) }
    }

    /// Ends it: what is updated after this means nothing.
    mutating func finish() -> Digest256 {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        // Four words are the 32 bytes that SHA-256 writes.
        _ = unsafe withUnsafeMutableBytes(of: &words) { out in
            unsafe SHA256_Final(out.baseAddress?.assumingMemoryBound(to: UInt8.self), &context)
        }
        return Digest256(words: (words.0.bigEndian, words.1.bigEndian, words.2.bigEndian, words.3.bigEndian))
    }
}

extension UInt8 {
    /// The value of a hexadecimal digit.
    var hexadecimalNibble: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - 48
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - 87
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - 55
        default: nil
        }
    }
}

/// Bytes from OpenSSL's generator, for salts and new keys. Not for decisions that a simulation replays: those are `Draw`s.
package enum SecretBytes {
    /// Nil when the system has no randomness to give, which is a reason to stop and not to go on with less.
    package static func random(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        // The buffer is lent for the call and is as long as is said.
        let filled = unsafe bytes.withUnsafeMutableBytes { out in
            unsafe RAND_priv_bytes(out.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(clamping: out.count)) == 1
        }
        return filled ? bytes : nil
    }
}
