// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// The last elements of a comma-separated field that may stand in several lines (RFC 9110 §5.6.1), commas in quoted strings
/// and in comments not counted. Forwarding chains are read from their end, so only the last ones matter; a chain that grows
/// without bound costs nothing beyond them.
struct FieldList: ~Copyable {
    static let capacity = 32

    private var slices = InlineArray<32, Slice>(repeating: .empty)
    private var total = 0

    /// How many of the last elements are here.
    var count: Int { min(total, FieldList.capacity) }

    /// 0 is the last element.
    func fromEnd(_ i: Int) -> Slice { slices[(total - 1 - i) % FieldList.capacity] }

    init(_ name: FieldName, in fields: borrowing FieldSection) {
        var i = fields.first(name)
        while let position = i {
            let value = fields.entries[position].value
            fields.withBytes(value) { split($0, at: value.range.lowerBound) }
            i = fields.first(name, from: position + 1)
        }
    }

    private mutating func split(_ value: Span<UInt8>, at offset: Int) {
        var start = 0
        var i = 0
        var inQuotes = false
        var commentDepth = 0
        while i <= value.count {
            if i == value.count || (value[i] == UInt8(ascii: ",") && !inQuotes && commentDepth == 0) {
                add(value, start, i, at: offset)
                start = i + 1
            } else if value[i] == UInt8(ascii: "\\") && (inQuotes || commentDepth > 0) {
                i += 1
                // A backslash at the very end escapes nothing; the element is malformed and ends with the value.
                if i == value.count { add(value, start, i, at: offset) }
            } else if value[i] == UInt8(ascii: "\"") && commentDepth == 0 {
                inQuotes.toggle()
            } else if value[i] == UInt8(ascii: "(") && !inQuotes {
                commentDepth += 1
            } else if value[i] == UInt8(ascii: ")") && !inQuotes && commentDepth > 0 {
                commentDepth -= 1
            }
            i += 1
        }
    }

    /// Empty elements do not count (RFC 9110 §5.6.1.2).
    private mutating func add(_ value: Span<UInt8>, _ start: Int, _ end: Int, at offset: Int) {
        var low = start
        var high = end
        while low < high && value[low].isFieldSpace { low += 1 }
        while high > low && value[high - 1].isFieldSpace { high -= 1 }
        if low == high { return }
        slices[total % FieldList.capacity] = Slice(offset: offset + low, length: high - low)
        total += 1
    }
}
