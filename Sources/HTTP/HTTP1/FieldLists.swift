// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Fields whose value is a list of words (RFC 9110 §5.6.1), and numbers.
extension Span<UInt8> {
    /// The next non-empty element of a comma-separated list at or after `position`, without the space around it.
    func nextListElement(_ position: inout Int) -> Range<Int>? {
        let n = count
        while position < n {
            var start = position
            while position < n && self[position] != 44 { position += 1 }
            var end = position
            position += 1
            while start < end && self[start].isSpaceOrTab { start += 1 }
            while end > start && self[end - 1].isSpaceOrTab { end -= 1 }
            if start < end { return start..<end }
        }
        return nil
    }

    /// 1*DIGIT below 2^63, and nothing else: no sign, no list, no space (RFC 9110 §8.6). The bound is Int64's, so that sums
    /// of lengths stay representable wherever they are made.
    var decimalLength: UInt64? {
        if isEmpty { return nil }
        var value: UInt64 = 0
        for i in 0..<count {
            let byte = self[i]
            guard byte.isDigit else { return nil }
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = scaled.addingReportingOverflow(UInt64(byte &- 48))
            if overflow || carried || sum > UInt64(Int64.max) { return nil }
            value = sum
        }
        return value
    }
}

/// What the Connection fields of a message say (RFC 9110 §7.6.1).
struct ConnectionOptions {
    /// More options than any real message has; it bounds the work of stripping the nominated fields.
    static let limit = 32

    var close = false
    var keepAlive = false
    var isAboveLimit = false

    init(of fields: borrowing FieldSection) {
        var count = 0
        var next = fields.first(.connection)
        while let i = next {
            fields.withValue(i) { value in
                if value.equalsIgnoringCase("keep-alive") {  // what nearly all of those say that say anything
                    count += 1
                    keepAlive = true
                    return
                }
                var position = 0
                while let range = value.nextListElement(&position) {
                    count += 1
                    let option = value.extracting(range)
                    switch range.count {
                    case 5: if option.equalsIgnoringCase("close") { close = true }
                    case 10: if option.equalsIgnoringCase("keep-alive") { keepAlive = true }
                    default: break
                    }
                }
            }
            next = fields.first(.connection, from: i + 1)
        }
        isAboveLimit = count > ConnectionOptions.limit
    }

    /// RFC 9112 §9.3.
    func keepsConnection(_ version: HTTPVersion) -> Bool { !close && (version != .http10 || keepAlive) }
}
