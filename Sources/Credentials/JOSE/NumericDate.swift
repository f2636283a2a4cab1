// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A point in Unix time as a token names it (RFC 7519 §2): exact, to the nanosecond, from the number as it was written.
///
/// Through a `Double`, 1e300 would trap on its way to an integer and a fraction would round over the edge of the skew.
struct NumericDate: Equatable, Sendable {
    /// Nanoseconds since 1970; the reader lets no date through that does not fit.
    var nanoseconds: Int64

    /// Year 2255: later dates are no dates, and leave room below 2^63 ns for every skew.
    static let latestSeconds: Int64 = 9_000_000_000

    /// Reads a JSON number (RFC 8259 §6); nil if it is negative or beyond `latestSeconds`. Digits behind the nanosecond are cut off.
    init?(_ number: Span<UInt8>) {
        if number.count == 0 || number.count > 64 { return nil }
        var i = 0
        // 0.ddd × 10^point
        var digits: [UInt8] = []
        var point = 0
        while i < number.count, let digit = NumericDate.digit(number[i]) {
            digits.append(digit)
            i += 1
        }
        if digits.isEmpty { return nil }  // a minus sign, too
        point = digits.count
        if i < number.count && number[i] == UInt8(ascii: ".") {
            i += 1
            while i < number.count, let digit = NumericDate.digit(number[i]) {
                digits.append(digit)
                i += 1
            }
        }
        if i < number.count {
            guard number[i] | 0x20 == UInt8(ascii: "e") else { return nil }
            i += 1
            var isNegative = false
            if i < number.count && (number[i] == UInt8(ascii: "+") || number[i] == UInt8(ascii: "-")) {
                isNegative = number[i] == UInt8(ascii: "-")
                i += 1
            }
            if i == number.count || number.count - i > 4 { return nil }
            var exponent = 0
            while i < number.count {
                guard let digit = NumericDate.digit(number[i]) else { return nil }
                exponent = exponent * 10 + Int(digit)  // at most 9,999
                i += 1
            }
            point += isNegative ? -exponent : exponent
        }
        let significant = digits.drop { $0 == 0 }
        point -= digits.count - significant.count
        if significant.isEmpty {
            nanoseconds = 0
            return
        }
        if point > 10 { return nil }
        var value: Int64 = 0
        var place = 0
        // Ten digits before the point and nine behind it are below 2^63 · 1.1, so the last step is checked.
        while place < point + 9 {
            let digit = place < significant.count ? significant[significant.startIndex + place] : 0
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = scaled.addingReportingOverflow(Int64(digit))
            if overflow || carried { return nil }
            value = sum
            place += 1
        }
        if value > NumericDate.latestSeconds * 1_000_000_000 { return nil }
        nanoseconds = value
    }

    private static func digit(_ c: UInt8) -> UInt8? { (48...57).contains(c) ? c - 48 : nil }
}
