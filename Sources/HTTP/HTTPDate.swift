// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Dates as HTTP writes and reads them (RFC 9110 §5.6.7). Pure: seconds since 1970-01-01T00:00:00Z come in.
package enum HTTPDate {
    /// Length of an IMF-fixdate.
    package static let length = 29

    /// Years 1 to 9999; a time outside is written as the nearest inside.
    static let range: ClosedRange<Int64> = -62_135_596_800...253_402_300_799

    private static let days: [StaticString] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let longDays: [StaticString] = [
        "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    ]
    private static let months: [StaticString] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    // MARK: Writing

    /// Writes an IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    package static func write(seconds: Int64, into out: inout ByteBuffer) {
        let clamped = min(max(seconds, range.lowerBound), range.upperBound)
        let (day, second) = divide(clamped, by: 86_400)
        let (year, month, dayOfMonth) = civil(fromDays: day)
        // 1970-01-01 was a Thursday.
        out.append(days[Int(divide(day + 4, by: 7).remainder)])
        out.append(", ")
        append(dayOfMonth, width: 2, to: &out)
        out.append(UInt8(ascii: " "))
        out.append(months[Int(month) - 1])
        out.append(UInt8(ascii: " "))
        append(year, width: 4, to: &out)
        out.append(UInt8(ascii: " "))
        append(second / 3_600, width: 2, to: &out)
        out.append(UInt8(ascii: ":"))
        append(second / 60 % 60, width: 2, to: &out)
        out.append(UInt8(ascii: ":"))
        append(second % 60, width: 2, to: &out)
        out.append(" GMT")
    }

    private static func append(_ value: Int64, width: Int, to out: inout ByteBuffer) {
        var unit: Int64 = width == 4 ? 1_000 : 10
        while unit > 0 {
            out.append(UInt8(truncatingIfNeeded: 48 + value / unit % 10))
            unit /= 10
        }
    }

    /// Division that rounds down.
    private static func divide(_ value: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let remainder = (value % divisor + divisor) % divisor
        return ((value - remainder) / divisor, remainder)
    }

    /// Howard Hinnant, "chrono-compatible low-level date algorithms" (2013): the Gregorian date so many days after 1970-01-01.
    private static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = divide(shifted, by: 146_097).quotient
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// The inverse of `civil`.
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = divide(shifted, by: 400).quotient
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    // MARK: Reading

    /// Reads all three formats: IMF-fixdate, RFC 850 and asctime. Nil for anything else. `now` tells which century a year of
    /// two digits is in: not more than 50 years ahead.
    package static func parse(_ text: Span<UInt8>, now: Int64) -> Int64? {
        var reader = Reader(end: text.count)
        if reader.name(of: longDays, text) != nil { return parseRFC850(text, &reader, now: now) }
        guard reader.name(of: days, text) != nil else { return nil }
        return reader.take(",", text) ? parseFixed(text, &reader) : parseAsctime(text, &reader)
    }

    private static func parseFixed(_ text: Span<UInt8>, _ reader: inout Reader) -> Int64? {
        guard reader.take(" ", text), let day = reader.number(2, text), reader.take(" ", text),
            let month = reader.name(of: months, text), reader.take(" ", text), let year = reader.number(4, text),
            reader.take(" ", text), let time = reader.time(text), reader.take(" GMT", text), reader.isAtEnd
        else { return nil }
        return seconds(year, month + 1, day, time)
    }

    private static func parseRFC850(_ text: Span<UInt8>, _ reader: inout Reader, now: Int64) -> Int64? {
        guard reader.take(", ", text), let day = reader.number(2, text), reader.take("-", text),
            let month = reader.name(of: months, text), reader.take("-", text), let short = reader.number(2, text),
            reader.take(" ", text), let time = reader.time(text), reader.take(" GMT", text), reader.isAtEnd
        else { return nil }
        let thisYear = civil(fromDays: divide(min(max(now, range.lowerBound), range.upperBound), by: 86_400).quotient).year
        var year = thisYear - thisYear % 100 + short
        if year > thisYear + 50 { year -= 100 }
        if year <= thisYear - 50 { year += 100 }
        return seconds(year, month + 1, day, time)
    }

    private static func parseAsctime(_ text: Span<UInt8>, _ reader: inout Reader) -> Int64? {
        guard reader.take(" ", text), let month = reader.name(of: months, text), reader.take(" ", text) else { return nil }
        let day = reader.take(" ", text) ? reader.number(1, text) : reader.number(2, text)
        guard let day, reader.take(" ", text), let time = reader.time(text), reader.take(" ", text),
            let year = reader.number(4, text), reader.isAtEnd
        else { return nil }
        return seconds(year, month + 1, day, time)
    }

    private static func seconds(_ year: Int64, _ month: Int64, _ day: Int64, _ time: Int64) -> Int64? {
        let start = days(year: year, month: month, day: 1)
        guard year >= 1, day >= 1, day <= 31, civil(fromDays: start + day - 1).month == month else { return nil }
        return (start + day - 1) * 86_400 + time
    }

    /// A place in the text that moves on over what it was asked for.
    private struct Reader {
        var at = 0
        let end: Int

        init(end: Int) { self.end = end }

        var isAtEnd: Bool { at == end }

        mutating func take(_ expected: StaticString, _ text: Span<UInt8>) -> Bool {
            let n = expected.utf8CodeUnitCount
            guard end - at >= n, text.extracting(at..<(at + n)).equals(expected) else { return false }
            at += n
            return true
        }

        mutating func name(of names: [StaticString], _ text: Span<UInt8>) -> Int64? {
            for i in names.indices where take(names[i], text) { return Int64(i) }
            return nil
        }

        mutating func number(_ digits: Int, _ text: Span<UInt8>) -> Int64? {
            guard end - at >= digits else { return nil }
            var value: Int64 = 0
            for i in at..<(at + digits) {
                guard text[i].isDigit else { return nil }
                value = value * 10 + Int64(text[i] - 48)
            }
            at += digits
            return value
        }

        /// `hh:mm:ss`; a leap second counts as the one before it.
        mutating func time(_ text: Span<UInt8>) -> Int64? {
            guard let hour = number(2, text), take(":", text), let minute = number(2, text), take(":", text),
                let second = number(2, text), hour < 24, minute < 60, second <= 60
            else { return nil }
            return hour * 3_600 + minute * 60 + min(second, 59)
        }
    }
}

/// The text of the current `Date`, made once a second; one a reactor.
package struct DateCache: ~Copyable {
    private var second = Int64.min
    private var text = ByteBuffer()

    package init() {}

    /// Appends the IMF-fixdate of that second.
    package mutating func append(seconds: Int64, to out: inout ByteBuffer) {
        if seconds != second || text.isEmpty {
            text.removeAll()
            HTTPDate.write(seconds: seconds, into: &text)
            second = seconds
        }
        out.append(text.readable)
    }
}
