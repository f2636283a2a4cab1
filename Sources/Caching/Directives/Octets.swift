// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Classes of octets in field values (RFC 9110 §5.6).
extension UInt8 {
    var isDigit: Bool { self &- 48 < 10 }
    var isBlank: Bool { self == 32 || self == 9 }

    /// tchar of RFC 9110 §5.6.2.
    var isToken: Bool {
        switch self {
        case 48...57, 65...90, 97...122: true
        case 33, 35, 36, 37, 38, 39, 42, 43, 45, 46, 94, 95, 96, 124, 126: true
        default: false
        }
    }
}

extension Span<UInt8> {
    /// The next element of a comma-separated list at or after `position` (RFC 9110 §5.6.1), without the space around it. Commas inside quoted
    /// strings do not separate.
    func nextElement(_ position: inout Int) -> Range<Int>? {
        let n = count
        while position < n {
            var start = position
            var isQuoted = false
            while position < n {
                let byte = self[position]
                if byte == 34 { isQuoted.toggle() }
                if byte == 92 && isQuoted { position += 1 }
                if byte == 44 && !isQuoted { break }
                position += 1
            }
            var end = Swift.min(position, n)
            position += 1
            while start < end && self[start].isBlank { start += 1 }
            while end > start && self[end - 1].isBlank { end -= 1 }
            if start < end { return start..<end }
        }
        return nil
    }
}

extension [UInt8] {
    /// A copy of bytes that belong to a head.
    package init(copying bytes: Span<UInt8>) {
        self.init()
        reserveCapacity(bytes.count)
        for i in 0..<bytes.count { append(bytes[i]) }
    }
}
