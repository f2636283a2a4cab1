// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

extension SocketAddress {
    /// Reads `127.0.0.1:80`, `[::1]:80`, `[fe80::1%eth0]:80` or `unix:/path`. `nil` for anything else: a name is not an address.
    package static func parse(_ text: String) -> SocketAddress? {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard !path.isEmpty, path.utf8.count <= maximumPathBytes, !path.utf8.contains(0) else { return nil }
            return SocketAddress(host: .unix(path), port: 0)
        }
        guard let colon = text.lastIndex(of: ":"), let port = decimal(text[text.index(after: colon)...], below: 65_536) else {
            return nil
        }
        let host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]"), host.contains(":") {
            return parseHost(host.dropFirst().dropLast()).map { SocketAddress(host: $0, port: UInt16(port)) }
        }
        guard !host.contains(":") else { return nil }
        return parseHost(host).map { SocketAddress(host: $0, port: UInt16(port)) }
    }

    /// An address without a port and without brackets.
    package static func parse(host text: String, port: UInt16) -> SocketAddress? {
        parseHost(text[...]).map { SocketAddress(host: $0, port: port) }
    }

    static func parseHost(_ text: Substring) -> Host? {
        guard !text.utf8.contains(0) else { return nil }
        guard text.contains(":") else { return parseV4(text).map(Host.v4) }
        var address = text
        var scope: UInt32 = 0
        if let percent = text.firstIndex(of: "%") {
            address = text[..<percent]
            let zone = text[text.index(after: percent)...]
            let index = unsafe decimal(zone, below: 1 << 31).map(UInt32.init) ?? if_nametoindex(String(zone))
            guard index > 0 else { return nil }
            scope = index
        }
        var bytes = in6_addr()
        guard unsafe inet_pton(AF_INET6, String(address), &bytes) == 1 else { return nil }
        return Host(bytes, scope: scope)
    }

    /// Four decimal numbers without leading zeros: what other programs take for octal is refused.
    private static func parseV4(_ text: Substring) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard let number = decimal(part, below: 256), part.count == 1 || part.first != "0" else { return nil }
            bits = bits << 8 | UInt32(number)
        }
        return bits
    }

    /// Digits only: no sign, no space.
    static func decimal(_ text: Substring, below bound: Int) -> Int? {
        guard !text.isEmpty, text.utf8.count <= 10, text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
        guard let number = Int(text), number < bound else { return nil }
        return number
    }
}

/// A block of addresses, `10.0.0.0/8` or `2001:db8::/32`; a single address is a block of one.
package struct AddressPrefix: Hashable, Sendable, CustomStringConvertible {
    private let host: SocketAddress.Host
    package let length: Int

    /// Reads a block. Bits beyond the length are ignored; a block of IPv4-mapped addresses becomes the IPv4 block that it is.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first, let host = SocketAddress.parseHost(address) else { return nil }
        let isV4 = if case .v4 = host { true } else { false }
        let limit = isV4 ? 32 : 128
        var length = limit
        if parts.count == 2 {
            guard let given = SocketAddress.decimal(parts[1], below: limit + 1) else { return nil }
            length = given
        }
        let folded = SocketAddress(host: host, port: 0).folded.host
        if case .v4 = folded, !isV4 {
            guard length >= 96 else {
                self.host = AddressPrefix.masked(host, length)
                self.length = length
                return
            }
            length -= 96
            self.host = AddressPrefix.masked(folded, length)
        } else {
            self.host = AddressPrefix.masked(host, length)
        }
        self.length = length
    }

    /// Whether the address is in the block; an IPv4-mapped address counts as IPv4. A path is in none.
    package func contains(_ address: SocketAddress) -> Bool {
        switch (host, address.folded.host) {
        case (.v4(let network), .v4(let bits)):
            return length == 0 || (network ^ bits) >> UInt32(32 - length) == 0
        case (.v6(let high, let low, _), .v6(let otherHigh, let otherLow, _)):
            if length == 0 { return true }
            if length <= 64 { return (high ^ otherHigh) >> UInt64(64 - length) == 0 }
            return high == otherHigh && (low ^ otherLow) >> UInt64(128 - length) == 0
        default:
            return false
        }
    }

    package var description: String {
        let text = SocketAddress(host: host, port: 0).description
        let address = text.dropLast(2).filter { $0 != "[" && $0 != "]" }
        return "\(address)/\(length)"
    }

    private static func masked(_ host: SocketAddress.Host, _ length: Int) -> SocketAddress.Host {
        switch host {
        case .v4(let bits):
            return .v4(length == 0 ? 0 : bits & (UInt32.max << UInt32(32 - length)))
        case .v6(let high, let low, _):
            let highMask = length == 0 ? 0 : UInt64.max << UInt64(max(64 - length, 0))
            let lowMask = length <= 64 ? 0 : UInt64.max << UInt64(128 - length)
            return .v6(high: high & highMask, low: low & lowMask, scope: 0)
        case .unix:
            return host
        }
    }
}
