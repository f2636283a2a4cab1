// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Scans that look at eight bytes at a time: what a head's bytes are made of decides where its parts end, so these loops are
/// the parser's speed.
///
/// The tests for "a byte below n" and "a byte equal to n" are the usual ones on words (Warren, "Hacker's Delight", 6-1):
/// a borrow can mark only bytes *above* a true hit, and the first hit is all that is used. Bytes are taken as
/// little-endian, so that the first byte of memory is the lowest of the word.
extension Span<UInt8> {
    /// Eight bytes from `i`; `i + 8 <= count` is checked by the load itself.
    @inline(__always)
    func word(at i: Int) -> UInt64 {
        UInt64(littleEndian: unsafe bytes.unsafeLoadUnaligned(fromByteOffset: i, as: UInt64.self))
    }

    /// The first line feed at or after `start`, or `count`.
    func lineFeed(from start: Int) -> Int {
        let n = count
        var i = start
        while i &+ 8 <= n {
            let x = word(at: i) ^ Octets.all(10)
            let hit = (x &- Octets.all(1)) & ~x & Octets.highs
            if hit != 0 { return i &+ (hit.trailingZeroBitCount >> 3) }
            i &+= 8
        }
        while i < n {
            if self[i] == 10 { return i }
            i &+= 1
        }
        return n
    }

    /// The first byte at or after `start` that may not stand in a field name (RFC 9110 §5.6.2), or `count`.
    @inline(__always)
    func endOfToken(from start: Int) -> Int {
        let n = count
        var i = start
        while i &+ 8 <= n {
            // Letters and hyphens are nearly all of every name; what else a token may hold is looked at by itself.
            let x = word(at: i)
            let letter = Octets.letters(x)
            let hyphen = ~(((x & Octets.lows) ^ Octets.all(45)) &+ Octets.lows)
            let rest = ~((letter | hyphen) & ~x) & Octets.highs
            if rest == 0 {
                i &+= 8
                continue
            }
            let at = i &+ (rest.trailingZeroBitCount >> 3)
            if !self[at].isTokenOctet { return at }
            i = at &+ 1
        }
        while i < n {
            if !self[i].isTokenOctet { return i }
            i &+= 1
        }
        return n
    }

    /// The first byte at or after `start` that may not stand in a field value, or `count`: a control other than HTAB, or
    /// DEL (RFC 9110 §5.5; obs-text is let through).
    @inline(__always)
    func endOfFieldValue(from start: Int) -> Int {
        let n = count
        var i = start
        while i &+ 8 <= n {
            let x = word(at: i)
            let hit = ((x &- Octets.all(32)) | ((x ^ Octets.all(127)) &- Octets.all(1))) & ~x & Octets.highs
            if hit == 0 {
                i &+= 8
                continue
            }
            let at = i &+ (hit.trailingZeroBitCount >> 3)
            if self[at] != 9 { return at }
            i = at &+ 1
        }
        while i < n {
            let byte = self[i]
            if (byte < 32 && byte != 9) || byte == 127 { return i }
            i &+= 1
        }
        return n
    }

    /// The first byte at or after `start` that is not a visible ASCII character, or is `#` or `?`; or `count`.
    @inline(__always)
    func endOfTargetPart(from start: Int) -> Int {
        let n = count
        var i = start
        while i &+ 8 <= n {
            let x = word(at: i)
            let low = (x &- Octets.all(33)) & ~x
            let delete = (x ^ Octets.all(127)) &- Octets.all(1)
            let hash = (x ^ Octets.all(35)) &- Octets.all(1)
            let question = (x ^ Octets.all(63)) &- Octets.all(1)
            let hit = (low | ((delete | hash | question) & ~x) | x) & Octets.highs
            if hit != 0 { return i &+ (hit.trailingZeroBitCount >> 3) }
            i &+= 8
        }
        while i < n {
            let byte = self[i]
            if byte < 33 || byte > 126 || byte == 35 || byte == 63 { return i }
            i &+= 1
        }
        return n
    }
}

/// Words of eight equal octets.
enum Octets {
    @inline(__always) static func all(_ octet: UInt64) -> UInt64 { octet &* 0x0101_0101_0101_0101 }
    @inline(__always) static var highs: UInt64 { 0x8080_8080_8080_8080 }
    @inline(__always) static var lows: UInt64 { 0x7f7f_7f7f_7f7f_7f7f }

    /// The high bit of each octet whose lower seven bits are an ASCII letter; the octet's own high bit is the caller's to
    /// look at.
    @inline(__always) static func letters(_ x: UInt64) -> UInt64 {
        let folded = (x & lows) | all(0x20)
        return (folded &+ all(0x80 - 0x61)) & ~(folded &+ all(0x80 - 0x7b)) & highs
    }

    /// `x` with its ASCII letters in lower case. Other octets stay as they are: the bit is set in letters only.
    @inline(__always) static func lowercased(_ x: UInt64) -> UInt64 { x | ((letters(x) & ~x) >> 2) }
}

extension UInt8 {
    /// tchar (RFC 9110 §5.6.2).
    @inline(__always) var isTokenOctet: Bool {
        isMember(below64: 0x03ff_6cfa_0000_0000, below128: 0x57ff_ffff_c7ff_fffe)
    }

    /// A character of a host name: unreserved (RFC 3986 §2.3). Percent-encoding and sub-delims, which no real host name
    /// has, are refused, so that an authority can be written into any field without quoting.
    @inline(__always) var isHostOctet: Bool {
        isMember(below64: 0x03ff_6000_0000_0000, below128: 0x47ff_fffe_87ff_fffe)
    }

    @inline(__always) var isDigit: Bool { self &- 48 < 10 }
    @inline(__always) var isSpaceOrTab: Bool { self == 32 || self == 9 }

    /// One bit a character, so that no table is loaded through a lazy global.
    @inline(__always) private func isMember(below64: UInt64, below128: UInt64) -> Bool {
        let bits = self < 64 ? below64 : self < 128 ? below128 : 0
        return (bits >> UInt64(self & 63)) & 1 == 1
    }

    /// The value of a hexadecimal digit.
    @inline(__always) var hexadecimalValue: UInt8? {
        switch self {
        case 48...57: self &- 48
        case 65...70: self &- 55
        case 97...102: self &- 87
        default: nil
        }
    }
}

extension MutableSpan<UInt8> {
    /// Puts the ASCII letters of a range into lower case.
    @_lifetime(self: copy self)
    @inline(__always)
    mutating func lowercase(_ range: Range<Int>) {
        var i = range.lowerBound
        let end = range.upperBound
        while i &+ 8 <= end {
            let folded = Octets.lowercased(span.word(at: i)).littleEndian
            var raw = unsafe mutableBytes
            raw.storeBytes(of: folded, toByteOffset: i, as: UInt64.self)
            i &+= 8
        }
        if i == end { return }
        if i &+ 8 <= count {
            // The word reaches beyond the name: only the name's octets are changed.
            let word = span.word(at: i)
            let mask = ~UInt64(0) >> UInt64(64 &- 8 &* (end &- i))
            let folded = ((Octets.lowercased(word) & mask) | (word & ~mask)).littleEndian
            var raw = unsafe mutableBytes
            raw.storeBytes(of: folded, toByteOffset: i, as: UInt64.self)
            return
        }
        while i < end {
            self[i] = self[i].asciiLowercased
            i &+= 1
        }
    }
}
