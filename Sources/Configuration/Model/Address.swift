// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Where to listen or to connect: `10.0.0.1:9001`, `[::1]:9001`, `unix:/run/users.sock`.
public enum Address: Hashable, Sendable, CustomStringConvertible {
    case ip(IPAddress, port: UInt16)
    /// An absolute path of at most 107 octets (unix(7)).
    case unix(String)

    public var description: String {
        switch self {
        case .ip(let address, let port): address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// An IPv4 or IPv6 address in network order.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// 4 or 16.
    public let bytes: [UInt8]

    public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) { bytes = [a, b, c, d] }

    /// Reads a literal: four decimal numbers, or RFC 4291 §2.2 without a zone.
    public init?(_ text: some StringProtocol) {
        guard let bytes = text.contains(":") ? IPAddress.version6(text) : IPAddress.version4(text) else { return nil }
        self.bytes = bytes
    }

    public var isIPv4: Bool { bytes.count == 4 }

    /// 127.0.0.0/8 or ::1.
    public var isLoopback: Bool { isIPv4 ? bytes[0] == 127 : bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1 }

    /// IPv6 in full groups without `::`, but for the longest run of zeros (RFC 5952 §4).
    public var description: String {
        if isIPv4 { return bytes.map(String.init).joined(separator: ".") }
        let groups = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            let end = groups[start...].firstIndex { $0 != 0 } ?? 8
            if end - start > max(1, best.count) { best = start..<end }
            start = max(end, start + 1)
        }
        func hex(_ range: Range<Int>) -> String { groups[range].map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? hex(0..<8) : hex(0..<best.lowerBound) + "::" + hex(best.upperBound..<8)
    }

    private static func version4(_ text: some StringProtocol) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            // A leading zero is octal to some readers: refused.
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                part == "0" || part.first != "0",
                let byte = UInt8(part)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func version6(_ text: some StringProtocol) -> [UInt8]? {
        let characters = Array(text.utf8)
        let gap = characters.indices.dropLast().first { characters[$0] == 0x3A && characters[$0 + 1] == 0x3A }
        guard let gap else {
            guard let bytes = groups(characters[...]), bytes.count == 16 else { return nil }
            return bytes
        }
        guard let head = groups(characters[..<gap], mayEndInIPv4: false), let tail = groups(characters[(gap + 2)...]),
            head.count + tail.count <= 14
        else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    /// Groups of hexadecimal digits between colons; the last may be an IPv4 address.
    private static func groups(_ text: ArraySlice<UInt8>, mayEndInIPv4: Bool = true) -> [UInt8]? {
        if text.isEmpty { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: 0x3A, omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            let group = String(decoding: part, as: UTF8.self)
            if mayEndInIPv4, index == parts.count - 1, group.contains("."), let ending = version4(group) {
                bytes += ending
            } else {
                guard (1...4).contains(part.count), !group.hasPrefix("+"), let value = UInt16(group, radix: 16) else { return nil }
                bytes += [UInt8(value >> 8), UInt8(value & 0xFF)]
            }
            if bytes.count > 16 { return nil }
        }
        return bytes
    }
}

/// Addresses with a common prefix, as in `10.0.0.0/8`.
public struct IPNetwork: Hashable, Sendable, CustomStringConvertible {
    public let address: IPAddress
    /// 0 to 32 or 128.
    public let prefixLength: Int

    /// Reads `address/length`, or one address. No bit may be set behind the prefix.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPAddress(parts[0]) else { return nil }
        let bits = address.bytes.count * 8
        var length = bits
        if parts.count == 2 {
            guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let given = Int(parts[1]), given <= bits else {
                return nil
            }
            length = given
        }
        self.address = address
        prefixLength = length
        guard address.bytes.indices.allSatisfy({ address.bytes[$0] & ~mask(of: $0) == 0 }) else { return nil }
    }

    /// Whether an address is of this network. An IPv4-mapped IPv6 address counts as its IPv4 address (RFC 4291 §2.5.5.2).
    public func contains(_ other: IPAddress) -> Bool {
        var bytes = other.bytes[...]
        if bytes.count == 16, address.isIPv4, bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF {
            bytes = bytes.suffix(4)
        }
        guard bytes.count == address.bytes.count else { return false }
        return zip(bytes, address.bytes).enumerated().allSatisfy { ($1.0 ^ $1.1) & mask(of: $0) == 0 }
    }

    public var description: String { "\(address)/\(prefixLength)" }

    private func mask(of index: Int) -> UInt8 {
        let bits = min(8, max(0, prefixLength - index * 8))
        return bits == 0 ? 0 : ~0 << UInt8(8 - bits)
    }
}
