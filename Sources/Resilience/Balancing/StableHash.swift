// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A hash of bytes that is the same in every process and release, unlike the standard library's. Not against an adversary:
/// who chooses keys can choose an endpoint, as with any unkeyed hash.
///
/// FNV-1a (Fowler, Noll, Vo) and the finaliser of SplitMix64, since FNV alone leaves the high bits of short keys alike.
public struct StableHash: Sendable {
    private var state: UInt64

    /// - Parameter salt: different ones give independent hashes of the same bytes.
    public init(salt: UInt64 = 0) { state = 0xCBF2_9CE4_8422_2325 ^ Self.mix(salt) }

    public mutating func combine(_ byte: UInt8) { state = (state ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }

    /// Little-endian, whatever the machine's order.
    public mutating func combine(_ word: UInt64) {
        for shift in stride(from: 0 as UInt64, to: 64, by: 8) { combine(UInt8(truncatingIfNeeded: word >> shift)) }
    }

    public consuming func finalize() -> UInt64 { Self.mix(state) }

    /// The hash of a key: a header's value, a cookie, an address.
    public static func key(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var hash = StableHash()
        for byte in bytes { hash.combine(byte) }
        return hash.finalize()
    }

    static func mix(_ input: UInt64) -> UInt64 {
        var z = input
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
