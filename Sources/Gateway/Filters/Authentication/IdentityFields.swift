// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// The fields by which upstreams are told who somebody is. The gateway alone writes them: they are taken off every request before any
/// filter sees it, on every route, also one that asks nobody who they are, since its upstream may believe them all the same.
///
/// In every spelling that an upstream could take for the same name: CGI and its heirs read `X_Consumer` and `X-Consumer` alike
/// (RFC 3875 §4.1.18), some read a point or a space so as well.
package struct IdentityFields: Sendable {
    private let names: [[UInt8]]
    /// One bit for each length below 64: a cheap "surely none".
    private var lengths: UInt64 = 0

    /// `nil` where there are none. Names in lower case.
    init?(_ names: some Sequence<String>) {
        var seen: [[UInt8]] = []
        for name in names {
            let folded = name.utf8.map { IdentityFields.fold($0) }
            if !seen.contains(folded) { seen.append(folded) }
            lengths |= 1 << UInt64(min(folded.count, 63))
        }
        if seen.isEmpty { return nil }
        self.names = seen
    }

    private static func fold(_ c: UInt8) -> UInt8 {
        switch c {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): c | 0x20
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): c
        default: UInt8(ascii: "-")
        }
    }

    /// Removes them, and says how many there were.
    @discardableResult
    func strip(from fields: inout FieldSection) -> Int {
        var count = 0
        for i in 0..<fields.count {
            let entry = fields.entries[i]
            if entry.isRemoved || lengths & (1 << UInt64(min(entry.name.length, 63))) == 0 { continue }
            guard fields.withBytes(entry.name, { matches($0) }) else { continue }
            fields.remove(at: i)
            count += 1
        }
        return count
    }

    private func matches(_ name: Span<UInt8>) -> Bool {
        for candidate in names where candidate.count == name.count {
            var isSame = true
            for k in 0..<candidate.count where candidate[k] != IdentityFields.fold(name[k]) {
                isSame = false
                break
            }
            if isSame { return true }
        }
        return false
    }
}
