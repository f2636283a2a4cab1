// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// An IPv4 or IPv6 address as a number: what trust, rate limits and forwarding fields compare. No port, no zone.
///
/// IPv4 is held in its IPv4-mapped IPv6 form (RFC 4291 §2.5.5.2), so that `::ffff:192.0.2.1` and `192.0.2.1` are one
/// address however a socket or a header spells it (case E14).
package struct IPAddress: Hashable, Sendable {
    /// Network byte order read as one number.
    package var bits: UInt128

    package init(bits: UInt128) { self.bits = bits }

    /// From the four bytes of an IPv4 address, the first in the highest bits.
    package init(ipv4: UInt32) { bits = IPAddress.mappedPrefix | UInt128(ipv4) }

    static let mappedPrefix: UInt128 = 0xFFFF_0000_0000

    package var isIPv4: Bool { bits >> 32 == 0xFFFF }

    /// The address that `text` spells, without brackets, port and zone; nil if it is none. IPv4 takes no leading zeros, which
    /// some parsers read as octal.
    package static func parse(_ text: Span<UInt8>) -> IPAddress? {
        if let four = parseIPv4(text) { return IPAddress(ipv4: four) }
        return parseIPv6(text)
    }

    private static func parseIPv4(_ text: Span<UInt8>) -> UInt32? {
        if text.count < 7 || text.count > 15 { return nil }
        var address: UInt32 = 0
        var octet: UInt32 = 0
        var digits = 0
        var dots = 0
        for i in text.indices {
            let c = text[i]
            if c.isASCIIDigit {
                if digits > 0 && octet == 0 { return nil }
                octet = octet * 10 + UInt32(c - 48)
                digits += 1
                if octet > 255 { return nil }
            } else if c == UInt8(ascii: ".") {
                if digits == 0 || dots == 3 { return nil }
                address = address << 8 | octet
                octet = 0
                digits = 0
                dots += 1
            } else {
                return nil
            }
        }
        return dots == 3 && digits > 0 ? address << 8 | octet : nil
    }

    /// RFC 4291 §2.2.
    private static func parseIPv6(_ text: Span<UInt8>) -> IPAddress? {
        let n = text.count
        let colon = UInt8(ascii: ":")
        if n < 2 || n > 45 { return nil }
        var address: UInt128 = 0
        var groups = 0
        /// Number of groups before `::`.
        var gap: Int?
        var i = 0
        if text[0] == colon {
            if text[1] != colon { return nil }
            gap = 0
            i = 2
        }
        while i < n {
            let start = i
            var group: UInt128 = 0
            while i < n, let digit = text[i].hexDigitValue {
                if i - start == 4 { return nil }
                group = group << 4 | UInt128(digit)
                i += 1
            }
            if i < n && text[i] == UInt8(ascii: ".") {
                guard groups <= 6, let four = parseIPv4(text.extracting(start..<n)) else { return nil }
                address = address << 32 | UInt128(four)
                groups += 2
                i = n
                break
            }
            if i == start || groups == 8 { return nil }
            address = address << 16 | group
            groups += 1
            if i == n { break }
            if text[i] != colon { return nil }
            i += 1
            if i < n && text[i] == colon {
                if gap != nil { return nil }
                gap = groups
                i += 1
            } else if i == n {
                return nil
            }
        }
        guard let gap else { return groups == 8 ? IPAddress(bits: address) : nil }
        // `::` stands for at least one group.
        if groups > 7 { return nil }
        let behind = UInt128((groups - gap) * 16)
        let low = behind == 0 ? 0 : address & ((1 << behind) - 1)
        let high = address >> behind
        return IPAddress(bits: (gap == 0 ? 0 : high << UInt128((8 - gap) * 16)) | low)
    }

    /// Writes the address as RFC 5952 asks; IPv4 in dotted form.
    package func write(into out: inout ByteBuffer) {
        if isIPv4 {
            for i in 0..<4 {
                if i > 0 { out.append(UInt8(ascii: ".")) }
                out.append(decimal: UInt8(truncatingIfNeeded: bits >> UInt128(24 - 8 * i)))
            }
            return
        }
        let run = longestZeroRun()
        var i = 0
        while i < 8 {
            if i == run.start && run.count > 1 {
                out.append("::")
                i += run.count
                continue
            }
            if i > 0 && !(i == run.start + run.count && run.count > 1) { out.append(UInt8(ascii: ":")) }
            out.append(hexadecimal: group(i))
            i += 1
        }
    }

    private func group(_ i: Int) -> UInt64 { UInt64(truncatingIfNeeded: bits >> UInt128(112 - 16 * i) & 0xFFFF) }

    private func longestZeroRun() -> (start: Int, count: Int) {
        var best = (start: -1, count: 0)
        var i = 0
        while i < 8 {
            var end = i
            while end < 8 && group(end) == 0 { end += 1 }
            if end - i > best.count { best = (i, end - i) }
            i = max(end, i + 1)
        }
        return best
    }
}

extension IPAddress: CustomStringConvertible {
    /// For messages and tests.
    package var description: String {
        var buffer = ByteBuffer()
        write(into: &buffer)
        return buffer.withReadable { span in String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self) }
    }
}

/// A block of addresses, such as the networks whose forwarding fields are believed.
package struct IPNetwork: Hashable, Sendable {
    private let base: UInt128
    private let mask: UInt128

    /// `10.0.0.0/8`, `2001:db8::/32` or a single address; bits behind the prefix do not count. Nil if it is none of these.
    package init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts.first.map(Array.init) ?? []
        guard let address = IPAddress.parse(name.span) else { return nil }
        // `::ffff:0:0/96` is written as IPv6 and counts in IPv6's bits.
        let offset = name.contains(UInt8(ascii: ":")) ? 0 : 96
        var length = 128
        if parts.count == 2 {
            let digits = parts[1]
            guard !digits.isEmpty, digits.count <= 3, digits.allSatisfy({ $0.isASCIIDigit }) else { return nil }
            length = offset + digits.reduce(0) { $0 * 10 + Int($1 - 48) }
            guard length <= 128 else { return nil }
        }
        mask = length == 0 ? 0 : UInt128.max << UInt128(128 - length)
        base = address.bits & mask
    }

    package func contains(_ address: IPAddress) -> Bool { address.bits & mask == base }
}
