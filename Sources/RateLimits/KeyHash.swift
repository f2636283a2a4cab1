// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A key of a limit as the table holds it: 128 bits that stand for any number of bytes.
package struct LimitKey: Hashable, Sendable, BitwiseCopyable {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// SipHash-2-4 with 128 bits of output (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012, and the authors' reference code), keyed
/// by two words that no client knows: so none can make two keys that share a bucket, nor fill one shard of the table.
package struct KeyHasher: Sendable {
    private let key0: UInt64
    private let key1: UInt64

    package init(key0: UInt64, key1: UInt64) {
        self.key0 = key0
        self.key1 = key1
    }

    package func hash(_ bytes: Span<UInt8>) -> LimitKey {
        var v0 = key0 ^ 0x736f_6d65_7073_6575
        var v1 = key1 ^ 0x646f_7261_6e64_6f6d ^ 0xee
        var v2 = key0 ^ 0x6c79_6765_6e65_7261
        var v3 = key1 ^ 0x7465_6462_7974_6573

        func rounds(_ n: Int) {
            for _ in 0..<n {
                v0 &+= v1
                v1 = v1 << 13 | v1 >> 51
                v1 ^= v0
                v0 = v0 << 32 | v0 >> 32
                v2 &+= v3
                v3 = v3 << 16 | v3 >> 48
                v3 ^= v2
                v0 &+= v3
                v3 = v3 << 21 | v3 >> 43
                v3 ^= v0
                v2 &+= v1
                v1 = v1 << 17 | v1 >> 47
                v1 ^= v2
                v2 = v2 << 32 | v2 >> 32
            }
        }
        func take(_ word: UInt64) {
            v3 ^= word
            rounds(2)
            v0 ^= word
        }

        var i = 0
        while i + 8 <= bytes.count {
            var word: UInt64 = 0
            for j in 0..<8 { word |= UInt64(bytes[i + j]) << UInt64(8 * j) }
            take(word)
            i += 8
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        for j in i..<bytes.count { last |= UInt64(bytes[j]) << UInt64(8 * (j - i)) }
        take(last)
        v2 ^= 0xee
        rounds(4)
        let first = v0 ^ v1 ^ v2 ^ v3
        v1 ^= 0xdd
        rounds(4)
        return LimitKey(high: first, low: v0 ^ v1 ^ v2 ^ v3)
    }
}

/// A client's address as limits know it (case E14): who has an IPv6 address has a whole network of them, and an IPv4 address may come mapped
/// into IPv6 (RFC 4291 §2.5.5.2).
package struct AddressFold: Equatable, Sendable {
    /// 1 to 128. Default 64: what a host is given.
    package var ipv6Prefix = 64
    /// 1 to 32. Default 32.
    package var ipv4Prefix = 32

    package init(ipv6Prefix: Int = 64, ipv4Prefix: Int = 32) {
        self.ipv6Prefix = min(max(ipv6Prefix, 1), 128)
        self.ipv4Prefix = min(max(ipv4Prefix, 1), 32)
    }

    package static func isIPv4(_ address: UInt128) -> Bool { address >> 32 == 0xFFFF }

    /// The network that stands for the address; an IPv4 one in its mapped form.
    package func fold(_ address: UInt128) -> UInt128 {
        let host = AddressFold.isIPv4(address) ? 32 - ipv4Prefix : 128 - ipv6Prefix
        return host == 0 ? address : (address >> UInt128(host)) << UInt128(host)
    }
}
