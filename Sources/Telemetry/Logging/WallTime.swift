// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Writes wall-clock times in UTC, and remembers the second it wrote last, so that most lines copy its digits.
///
/// Times are nanoseconds since 1970 and are handed in, since no policy reads a clock. Years are clamped to 1970–9999.
package struct WallTimeFormat {
    private var second: Int64 = -1
    /// `2026-11-25T04:03:00`
    private var date = InlineArray<19, UInt8>(repeating: 0)
    /// `25/Nov/2026:04:03:00 +0000`
    private var common = InlineArray<26, UInt8>(repeating: 0)

    package init() {}

    /// The end of the year 9999.
    private static var lastSecond: Int64 { 253_402_300_799 }

    /// RFC 3339 with milliseconds: `2026-11-25T04:03:00.123Z`.
    package mutating func appendRFC3339(_ unixNanoseconds: Int64, to output: inout ByteBuffer) {
        let (second, rest) = WallTimeFormat.split(unixNanoseconds)
        if second != self.second { format(second) }
        output.append(date.span)
        let milliseconds = Int(rest / 1_000_000)
        output.append(UInt8(ascii: "."))
        output.append(WallTimeFormat.digit(milliseconds / 100))
        output.append(WallTimeFormat.digit(milliseconds / 10))
        output.append(WallTimeFormat.digit(milliseconds))
        output.append(UInt8(ascii: "Z"))
    }

    /// The time of the common log format, without its brackets: `25/Nov/2026:04:03:00 +0000`.
    package mutating func appendCommonLog(_ unixNanoseconds: Int64, to output: inout ByteBuffer) {
        let (second, _) = WallTimeFormat.split(unixNanoseconds)
        if second != self.second { format(second) }
        output.append(common.span)
    }

    private static func split(_ unixNanoseconds: Int64) -> (second: Int64, rest: Int64) {
        let (second, rest) = max(unixNanoseconds, 0).quotientAndRemainder(dividingBy: 1_000_000_000)
        return (min(second, lastSecond), rest)
    }

    private static func digit(_ n: Int) -> UInt8 { UInt8(truncatingIfNeeded: 48 + n % 10) }

    private mutating func format(_ second: Int64) {
        self.second = second
        let (year, month, day) = WallTimeFormat.civil(day: Int(second / 86_400))
        let inDay = Int(second % 86_400)
        let (hour, minute, rest) = (inDay / 3_600, inDay / 60 % 60, inDay % 60)
        func put(_ bytes: inout InlineArray<19, UInt8>, _ at: Int, _ n: Int) {
            bytes[at] = WallTimeFormat.digit(n / 10)
            bytes[at + 1] = WallTimeFormat.digit(n)
        }
        put(&date, 0, year / 100)
        put(&date, 2, year % 100)
        date[4] = UInt8(ascii: "-")
        put(&date, 5, month)
        date[7] = UInt8(ascii: "-")
        put(&date, 8, day)
        date[10] = UInt8(ascii: "T")
        put(&date, 11, hour)
        date[13] = UInt8(ascii: ":")
        put(&date, 14, minute)
        date[16] = UInt8(ascii: ":")
        put(&date, 17, rest)

        let names: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
        let zone: StaticString = " +0000"
        for i in 0..<2 { common[i] = date[8 + i] }
        common[2] = UInt8(ascii: "/")
        for i in 0..<3 { common[3 + i] = unsafe names.utf8Start[(month - 1) * 3 + i] }
        common[6] = UInt8(ascii: "/")
        for i in 0..<4 { common[7 + i] = date[i] }
        common[11] = UInt8(ascii: ":")
        for i in 0..<8 { common[12 + i] = date[11 + i] }
        for i in 0..<6 { common[20 + i] = unsafe zone.utf8Start[i] }
    }

    /// The date of a day since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms", days counted from
    /// 1 March of year 0, so that the leap day comes last).
    static func civil(day: Int) -> (year: Int, month: Int, day: Int) {
        let z = day + 719_468
        let era = z / 146_097
        let ofEra = z % 146_097
        let yearOfEra = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * ofYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - (153 * shifted + 2) / 5 + 1)
    }
}
