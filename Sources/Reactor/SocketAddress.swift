// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Where a socket is: IPv4, IPv6 or a path. A value without heap memory but for a path.
public struct SocketAddress: Hashable, Sendable {
    enum Host: Hashable, Sendable {
        /// In host byte order.
        case v4(UInt32)
        /// Two halves in host byte order; the scope is an interface's index, 0 for none.
        case v6(high: UInt64, low: UInt64, scope: UInt32)
        case unix(String)
    }

    var host: Host
    /// 0 for a path.
    package var port: UInt16

    init(host: Host, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// The longest path that fits a `sockaddr_un` with its ending NUL.
    static let maximumPathBytes = 107

    /// 127.0.0.1
    package static func loopback(port: UInt16) -> SocketAddress { SocketAddress(host: .v4(0x7F00_0001), port: port) }

    /// Four numbers, for tables and tests: `.v4(10, 0, 0, 1, port: 80)`.
    package static func v4(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, port: UInt16) -> SocketAddress {
        SocketAddress(host: .v4(UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)), port: port)
    }

    package var isUnix: Bool {
        if case .unix = host { return true }
        return false
    }

    package var isLoopback: Bool {
        switch folded.host {
        case .v4(let bits): bits >> 24 == 127
        case .v6(let high, let low, _): high == 0 && low == 1
        case .unix: true
        }
    }

    /// All zeros: every address of the machine.
    package var isWildcard: Bool {
        switch folded.host {
        case .v4(let bits): bits == 0
        case .v6(let high, let low, _): high == 0 && low == 0
        case .unix: false
        }
    }

    /// An IPv4-mapped IPv6 address (::ffff:a.b.c.d, RFC 4291 §2.5.5.2) as the IPv4 address that it is; others as they are.
    package var folded: SocketAddress {
        if case .v6(0, let low, _) = host, low >> 32 == 0xFFFF {
            return SocketAddress(host: .v4(UInt32(truncatingIfNeeded: low)), port: port)
        }
        return self
    }
}

extension SocketAddress: CustomStringConvertible {
    /// As `parse` reads it: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
    public var description: String {
        var text = ByteBuffer()
        let isBracketed = if case .v6 = folded.host { true } else { false }
        if isBracketed { text.append(UInt8(ascii: "[")) }
        writeHost(into: &text)
        if isBracketed { text.append(UInt8(ascii: "]")) }
        if !isUnix {
            text.append(UInt8(ascii: ":"))
            text.append(decimal: port)
        }
        return unsafe text.withUnsafeReadable { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Writes the address without its port and without brackets, IPv6 as RFC 5952 wants it and an IPv4-mapped address as IPv4.
    /// Makes no `String`.
    package func writeHost(into text: inout ByteBuffer) {
        switch folded.host {
        case .v4(let bits):
            for shift: UInt32 in [24, 16, 8] {
                text.append(decimal: (bits >> shift) & 255)
                text.append(UInt8(ascii: "."))
            }
            text.append(decimal: bits & 255)
        case .v6(let high, let low, let scope):
            SocketAddress.writeGroups(high: high, low: low, into: &text)
            if scope != 0 {
                text.append(UInt8(ascii: "%"))
                text.append(decimal: scope)
            }
        case .unix(let path):
            text.append("unix:")
            text.append(utf8: path)
        }
    }

    private static func writeGroups(high: UInt64, low: UInt64, into text: inout ByteBuffer) {
        func group(_ i: Int) -> UInt64 { ((i < 4 ? high : low) >> UInt64((3 - i & 3) * 16)) & 0xFFFF }
        // The longest run of two or more zero groups, the first of equals, becomes "::" (RFC 5952 §4.2).
        var best = 0..<0
        var start = 0
        for i in 0...8 where i == 8 || group(i) != 0 {
            if i - start > max(best.count, 1) { best = start..<i }
            start = i + 1
        }
        var i = 0
        while i < 8 {
            if !best.isEmpty && i == best.lowerBound {
                text.append("::")
                i = best.upperBound
                continue
            }
            if i > 0 && i != best.upperBound { text.append(UInt8(ascii: ":")) }
            text.append(hexadecimal: group(i))
            i += 1
        }
    }
}
