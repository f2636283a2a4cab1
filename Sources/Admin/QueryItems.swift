// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// The parameters of an admin request's query, decoded as forms are (`+` is a blank, `%41` is A). The first of a name counts.
struct QueryItems {
    private var items: [(name: String, value: String)] = []

    init(_ query: Span<UInt8>) {
        var start = 0
        for i in 0...query.count where i == query.count || query[i] == UInt8(ascii: "&") {
            let part = query.extracting(start..<i)
            start = i + 1
            if part.isEmpty { continue }
            var equals = 0
            while equals < part.count && part[equals] != UInt8(ascii: "=") { equals += 1 }
            let value = equals < part.count ? QueryItems.decode(part.extracting((equals + 1)..<part.count)) : ""
            items.append((QueryItems.decode(part.extracting(0..<equals)), value))
        }
    }

    subscript(_ name: String) -> String? { items.first { $0.name == name }?.value }

    /// What is there beside these names.
    func unknown(beside names: [String]) -> String? { items.first { !names.contains($0.name) }?.name }

    static func decode(_ text: Span<UInt8>) -> String {
        var bytes: [UInt8] = []
        var i = 0
        while i < text.count {
            if text[i] == UInt8(ascii: "%"), i + 2 < text.count, let high = digit(text[i + 1]), let low = digit(text[i + 2]) {
                bytes.append(high << 4 | low)
                i += 3
            } else {
                bytes.append(text[i] == UInt8(ascii: "+") ? 32 : text[i])
                i += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }
}
