// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// The last elements of a comma-separated field that may stand in several lines (RFC 9110 §5.6.1), read from the end.
///
/// Each proxy adds its element behind what it was given, so the end is what the trusted peer wrote and the front may be
/// anything. Reading from the end means that an opening quote or parenthesis which a client left in the front cannot swallow
/// what trusted proxies added behind it; for well-formed text both directions find the same elements. A chain without end
/// costs nothing beyond its last 32 elements.
struct FieldList: ~Copyable {
    static let capacity = 32

    private var slices = InlineArray<32, Slice>(repeating: .empty)
    private(set) var count = 0
    /// Commas in quoted strings do not divide (`Forwarded`).
    private let hasQuotes: Bool
    /// Commas in comments do not divide (`Via`).
    private let hasComments: Bool

    /// 0 is the last element.
    func fromEnd(_ i: Int) -> Slice { slices[i] }

    init(_ name: FieldName, in fields: borrowing FieldSection) {
        hasQuotes = name == .forwarded
        hasComments = name == .via
        for position in fields.entries.indices.reversed() {
            let entry = fields.entries[position]
            if entry.known != name || entry.isRemoved || count == FieldList.capacity { continue }
            fields.withBytes(entry.value) { split($0, at: entry.value.range.lowerBound) }
        }
    }

    private mutating func split(_ value: Span<UInt8>, at offset: Int) {
        var end = value.count
        var i = end
        while i > 0 && count < FieldList.capacity {
            i -= 1
            switch value[i] {
            case UInt8(ascii: ","):
                add(value, i + 1, end, at: offset)
                end = i
            case UInt8(ascii: "\"") where hasQuotes:
                i = startOfQuotes(value, closedAt: i)
            case UInt8(ascii: ")") where hasComments:
                i = startOfComment(value, closedAt: i)
            default: break
            }
        }
        if i == 0 { add(value, 0, end, at: offset) }
    }

    /// Where the quoted string that ends at `close` begins; 0 if it does not.
    private func startOfQuotes(_ value: Span<UInt8>, closedAt close: Int) -> Int {
        var i = close
        while i > 0 {
            i -= 1
            if value[i] == UInt8(ascii: "\"") && !isEscaped(value, i) { return i }
        }
        return 0
    }

    /// Comments nest (RFC 9110 §5.6.5).
    private func startOfComment(_ value: Span<UInt8>, closedAt close: Int) -> Int {
        var depth = 1
        var i = close
        while i > 0 {
            i -= 1
            if value[i] == UInt8(ascii: ")") && !isEscaped(value, i) { depth += 1 }
            if value[i] == UInt8(ascii: "(") && !isEscaped(value, i) { depth -= 1 }
            if depth == 0 { return i }
        }
        return 0
    }

    /// Whether an odd number of backslashes stands before the byte.
    private func isEscaped(_ value: Span<UInt8>, _ position: Int) -> Bool {
        var i = position
        while i > 0 && value[i - 1] == UInt8(ascii: "\\") { i -= 1 }
        return (position - i) % 2 == 1
    }

    /// Empty elements do not count (RFC 9110 §5.6.1.2).
    private mutating func add(_ value: Span<UInt8>, _ start: Int, _ end: Int, at offset: Int) {
        var low = start
        var high = end
        while low < high && value[low].isFieldSpace { low += 1 }
        while high > low && value[high - 1].isFieldSpace { high -= 1 }
        if low == high || count == FieldList.capacity { return }
        slices[count] = Slice(offset: offset + low, length: high - low)
        count += 1
    }
}
