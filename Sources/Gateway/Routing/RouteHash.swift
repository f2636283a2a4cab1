// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The hash that labels of the route table are found by: eight bytes a step, the same for the compiler and for the search.
///
/// It needs no secret seed: only the configuration's labels are in the table, so a client can choose what it asks for but
/// not what it collides with, and the longest probe is fixed when the table is built.
enum RouteHash {
    /// Hashes one path segment from `start` on; also finds where it ends: at the next slash, or at `limit`.
    @inline(__always)
    static func segment(_ bytes: Span<UInt8>, from start: Int, limit: Int) -> (end: Int, hash: UInt64) {
        let raw = unsafe bytes.bytes
        var hash = seed
        var i = start
        while i &+ 8 <= bytes.count {
            // In bounds by the loop's condition; any eight bytes are a UInt64.
            let word = UInt64(littleEndian: unsafe raw.unsafeLoadUnaligned(fromByteOffset: i, as: UInt64.self))
            let difference = word ^ 0x2F2F_2F2F_2F2F_2F2F
            // The lowest set bit is in the lowest byte that is a slash.
            let slashes = (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
            let length = min(slashes.trailingZeroBitCount >> 3, limit &- i)
            if length < 8 {
                hash = mix(hash, word & ~(UInt64.max << UInt64(length * 8)))
                return (i &+ length, mix(hash, UInt64(i &+ length &- start)))
            }
            hash = mix(hash, word)
            i &+= 8
        }
        var word: UInt64 = 0
        var shift: UInt64 = 0
        while i < limit && bytes[i] != RequestPath.slash {
            word |= UInt64(bytes[i]) << shift
            shift += 8
            i &+= 1
        }
        return (i, mix(mix(hash, word), UInt64(i &- start)))
    }

    /// Hashes a host's name; letters of either case give the same.
    static func host(_ name: Span<UInt8>) -> UInt64 {
        let raw = unsafe name.bytes
        var hash = seed
        var i = 0
        while i &+ 8 <= name.count {
            // In bounds by the loop's condition.
            let word = UInt64(littleEndian: unsafe raw.unsafeLoadUnaligned(fromByteOffset: i, as: UInt64.self))
            hash = mix(hash, word | 0x2020_2020_2020_2020)
            i &+= 8
        }
        var word: UInt64 = 0
        while i < name.count {
            word = word << 8 | UInt64(name[i] | 0x20)
            i &+= 1
        }
        return mix(mix(hash, word), UInt64(name.count))
    }

    /// Where an edge of the node `parent` starts to be looked for.
    @inline(__always)
    static func place(_ hash: UInt64, parent: Int32) -> UInt64 {
        mix(hash, UInt64(UInt32(bitPattern: parent)) &+ 0x9E37_79B9_7F4A_7C15)
    }

    /// One hash step from the end of a name towards its start, for wildcard suffixes.
    @inline(__always)
    static func backwards(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        let mixed = (hash ^ UInt64(byte | 0x20)) &* 0x9E37_79B9_7F4A_7C15
        return mixed ^ mixed >> 29
    }

    static let seed: UInt64 = 0x2545_F491_4F6C_DD1D

    /// A multiplication folded on itself (as in wyhash; Wang Yi, 2019).
    @inline(__always)
    private static func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let product = (hash ^ word).multipliedFullWidth(by: 0xA076_1D64_78BD_642F)
        return product.high ^ product.low
    }
}
