// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Scans that look at sixteen bytes at a time: where the parts of a head end is decided by what its bytes are, so these
/// loops are the parser's speed.
///
/// Each is arithmetic on two words of eight octets whose high bits then mark the hits (Warren, "Hacker's Delight", 6-1). No sum or
/// difference goes beyond its octet, so the marks are exact. This way and not by comparing `SIMD16` lanes, because Swift
/// 6.3 makes a loop over the lanes of those.
extension Span<UInt8> {
    /// The first byte at or after `start` that `hits` marks, or `count`.
    @inline(__always)
    private func scan(from start: Int, _ hits: (Octets) -> Octets) -> Int {
        let n = count
        var i = start
        while i &+ 16 <= n {
            let lane = hits(octets(at: i)).firstHit
            if lane < 16 { return i &+ lane }
            i &+= 16
        }
        if i >= n { return n }
        if n >= 16 {
            // The last sixteen once more, without those that were looked at.
            let lane = hits(octets(at: n &- 16)).withoutHits(below: 16 &- (n &- i)).firstHit
            return lane < 16 ? n &- 16 &+ lane : n
        }
        let lane = hits(fewerThanSixteen).withoutHits(below: i).firstHit
        return Swift.min(lane, n)
    }

    /// All bytes of a span that has fewer than sixteen, and zeros behind them.
    @inline(__always)
    private var fewerThanSixteen: Octets {
        let n = count
        if n >= 8 { return Octets(word(at: 0), word(at: n &- 8) >> UInt64(8 &* (16 &- n))) }
        var low: UInt64 = 0
        var k = n
        while k > 0 {
            k &-= 1
            low = low << 8 | UInt64(self[k])
        }
        return Octets(low, 0)
    }

    /// Sixteen bytes from `i`; the load checks that they are there.
    @inline(__always)
    func octets(at i: Int) -> Octets {
        let words = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: i, as: Octets.self)
        return Octets(UInt64(littleEndian: words[0]), UInt64(littleEndian: words[1]))
    }

    /// Eight bytes from `i`, the first of them the lowest; the load checks that they are there.
    @inline(__always)
    func word(at i: Int) -> UInt64 {
        UInt64(littleEndian: unsafe bytes.unsafeLoadUnaligned(fromByteOffset: i, as: UInt64.self))
    }

    /// The first line feed at or after `start`, or `count`.
    func lineFeed(from start: Int) -> Int { scan(from: start) { $0.equal(to: 10) } }

    /// The first byte at or after `start` that may not stand in a field name (RFC 9110 §5.6.2), or `count`.
    @inline(__always)
    func endOfToken(from start: Int) -> Int {
        var isUnusual = false
        return endOfToken(from: start, isUnusual: &isUnusual)
    }

    /// As above; `isUnusual` is set if the token has other characters than letters and hyphens.
    @inline(__always)
    func endOfToken(from start: Int, isUnusual: inout Bool) -> Int {
        var i = start
        while true {
            // Letters and hyphens are nearly all of every name; what else a token may hold is looked at by itself.
            i = scan(from: i) { octets in
                let fast: Octets = octets.letters | octets.equal(to: 45)
                return fast ^ .highs
            }
            if i >= count || !self[i].isTokenOctet { return i }
            isUnusual = true
            i &+= 1
        }
    }

    /// The first byte at or after `start` that may not stand in a host name as we take it, or `count`: see `isHostOctet`.
    func endOfHostName(from start: Int) -> Int {
        var i = start
        while true {
            i = scan(from: i) { octets in
                let marks: Octets = octets.equal(to: 45) | octets.equal(to: 46)
                let fast: Octets = octets.letters | octets.digits | marks
                return fast ^ .highs
            }
            if i >= count || !self[i].isHostOctet { return i }
            i &+= 1
        }
    }

    /// The first byte at or after `start` that may not stand in a field value, or `count`: a control other than HTAB, or
    /// DEL (RFC 9110 §5.5; obs-text is let through).
    @inline(__always)
    func endOfFieldValue(from start: Int) -> Int {
        var i = start
        while true {
            i = scan(from: i) { octets in
                let hits: Octets = octets.below(32) | octets.equal(to: 127)
                return hits
            }
            if i >= count || self[i] != 9 { return i }
            i &+= 1
        }
    }

    /// The first byte at or after `start` that is not a visible ASCII character, or is `#` or `?`; or `count`.
    @inline(__always)
    func endOfTargetPart(from start: Int) -> Int {
        scan(from: start) { octets in
            let marks: Octets = octets.equal(to: 35) | octets.equal(to: 63)
            let others: Octets = octets.below(33) | octets.equal(to: 127) | (octets & .highs)
            return marks | others
        }
    }
}

/// Sixteen octets in two words, the first of them the lowest of the first word.
typealias Octets = SIMD2<UInt64>

extension Octets {
    /// Sixteen times the same octet.
    @inline(__always)
    static func all(_ octet: UInt64) -> Octets { Octets(repeating: octet &* 0x0101_0101_0101_0101) }

    @inline(__always) static var highs: Octets { all(0x80) }
    @inline(__always) static var lows: Octets { all(0x7f) }

    /// Marks the octets below `limit`, which is at most 128.
    @inline(__always)
    func below(_ limit: UInt64) -> Octets {
        let difference: Octets = (self | .highs) &- Octets.all(limit)
        return (difference | self) & .highs ^ .highs
    }

    /// Marks the octets equal to an ASCII character.
    @inline(__always)
    func equal(to octet: UInt64) -> Octets {
        let other: Octets = self ^ Octets.all(octet)
        let sum: Octets = (other & .lows) &+ .lows
        return (sum | other) & .highs ^ .highs
    }

    /// Marks the ASCII letters.
    @inline(__always)
    var letters: Octets {
        let folded: Octets = (self & .lows) | Octets.all(0x20)
        let fromA: Octets = folded &+ Octets.all(0x80 - 0x61)
        let beyondZ: Octets = folded &+ Octets.all(0x80 - 0x7b)
        return fromA & (beyondZ ^ .highs) & (self ^ .highs) & .highs
    }

    /// Marks the decimal digits.
    @inline(__always)
    var digits: Octets {
        let low: Octets = self & .lows
        let from0: Octets = low &+ Octets.all(0x80 - 0x30)
        let beyond9: Octets = low &+ Octets.all(0x80 - 0x3a)
        return from0 & (beyond9 ^ .highs) & (self ^ .highs) & .highs
    }

    /// The number of the first octet that is marked, or 16.
    @inline(__always)
    var firstHit: Int {
        self[0] != 0 ? self[0].trailingZeroBitCount >> 3 : 8 &+ self[1].trailingZeroBitCount >> 3
    }

    /// Without the marks of the first `lane` octets.
    @inline(__always)
    func withoutHits(below lane: Int) -> Octets { self & (Octets.first(lane) ^ Octets.all(0xff)) }

    /// All bits of the first `count` octets.
    @inline(__always)
    static func first(_ count: Int) -> Octets {
        // Shifts of 64 and more give 0, and so do negative ones the other way.
        Octets(~(~0 << UInt64(Swift.min(count, 8) &* 8)), ~(~0 << UInt64(Swift.max(count &- 8, 0) &* 8)))
    }
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
        while i < end {
            if i &+ 16 > count {
                self[i] = self[i].asciiLowercased
                i &+= 1
                continue
            }
            // What lies behind the range is written back as it was: the bit of case is set in its own letters only.
            let octets = span.octets(at: i)
            let bits: Octets = octets.letters & Octets.first(end &- i)
            let folded: Octets = octets | (bits &>> 2)
            var raw = unsafe mutableBytes
            raw.storeBytes(
                of: Octets(folded[0].littleEndian, folded[1].littleEndian), toByteOffset: i, as: Octets.self)
            i &+= 16
        }
    }
}
