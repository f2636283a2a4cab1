// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

extension FieldSection {
    /// The value of the first cookie of exactly this name (RFC 6265 §4.2.1: pairs with "; " between them; HTTP/2 may have each in a field of
    /// its own).
    package func cookie(named name: [UInt8]) -> Slice? { cookie(named: name.span) }

    package func cookie(named name: Span<UInt8>) -> Slice? {
        var next = first(.cookie)
        while let i = next {
            let start = Int(entries[i].value.offset)
            if let range = withValue(i, { $0.cookie(named: name) }) {
                return Slice(offset: start + range.lowerBound, length: range.count)
            }
            next = first(.cookie, from: i + 1)
        }
        return nil
    }
}

extension Span<UInt8> {
    fileprivate func cookie(named name: Span<UInt8>) -> Range<Int>? {
        var start = 0
        while start < count {
            while start < count, self[start] == 0x20 || self[start] == 0x09 { start += 1 }
            var end = start
            while end < count, self[end] != UInt8(ascii: ";") { end += 1 }
            let value = start + name.count + 1
            if value <= end, self[value - 1] == UInt8(ascii: "="), extracting(start..<(value - 1)).equals(name) {
                return value..<end
            }
            start = end + 1
        }
        return nil
    }
}
