// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Finds what belongs to a server name, exact before wildcard, without making a string or an array.
///
/// A wildcard stands for exactly one whole label at the left (RFC 9525 §6.3): "*.example.com" covers "a.example.com", not
/// "a.b.example.com" and not "example.com". Open addressing over one array of bytes; the names come from our own
/// certificates, so nobody can choose them to collide.
struct ServerNameTable: Sendable {
    private struct Slot: Sendable {
        var start: Int32 = 0
        var length: Int32 = -1
        var value: Int32 = 0
    }

    private var bytes: [UInt8] = []
    private var slots: [Slot]

    /// `entries` in order of precedence: the first of equal names wins. Names in lower case.
    init(_ entries: [(name: String, value: Int)]) {
        var capacity = 8
        while capacity < entries.count * 2 { capacity *= 2 }
        slots = Array(repeating: Slot(), count: capacity)
        for (name, value) in entries {
            let utf8 = Array(name.utf8)
            let index = position(of: utf8.span)
            guard slots[index].length < 0 else { continue }
            slots[index] = Slot(start: Int32(bytes.count), length: Int32(utf8.count), value: Int32(value))
            bytes += utf8
        }
    }

    /// The value for `name`, which is in lower case and at most 255 bytes long.
    func value(for name: Span<UInt8>) -> Int? {
        let exact = slots[position(of: name)]
        if exact.length >= 0 { return Int(exact.value) }
        // A query that itself begins with "*" was found above only if such a name is served, and means nothing more.
        var dot = 0
        while dot < name.count && name[dot] != UInt8(ascii: ".") { dot += 1 }
        guard dot > 0, dot < name.count else { return nil }
        let wild = slots[position(of: name.extracting(dot..<name.count), afterStar: true)]
        return wild.length >= 0 ? Int(wild.value) : nil
    }

    /// Where `name` is, or the free slot where it would be.
    private func position(of name: Span<UInt8>, afterStar: Bool = false) -> Int {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325  // FNV-1a
        if afterStar { hash = (hash ^ UInt64(UInt8(ascii: "*"))) &* 0x100_0000_01B3 }
        for i in 0..<name.count { hash = (hash ^ UInt64(name[i])) &* 0x100_0000_01B3 }
        var index = Int(truncatingIfNeeded: (hash ^ (hash >> 32)) & UInt64(slots.count - 1))
        // Ends: at most half of the slots are taken.
        while slots[index].length >= 0 && !matches(slots[index], name, afterStar: afterStar) {
            index = (index + 1) & (slots.count - 1)
        }
        return index
    }

    private func matches(_ slot: Slot, _ name: Span<UInt8>, afterStar: Bool) -> Bool {
        let skipped = afterStar ? 1 : 0
        guard Int(slot.length) == name.count + skipped else { return false }
        let start = Int(slot.start)
        if afterStar && bytes[start] != UInt8(ascii: "*") { return false }
        for i in 0..<name.count where bytes[start + skipped + i] != name[i] { return false }
        return true
    }
}
