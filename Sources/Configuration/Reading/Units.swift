// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// A number and its unit, as written: `1.5s`, `64KiB`, `20%`. Exact: no floating point is on the way.
struct Quantity {
    /// The digits without the point.
    var digits: Int
    /// Ten to the number of digits behind the point.
    var divisor: Int
    var unit: Substring

    /// `nil`: does not begin with a number, or the number is too long to be meant.
    init?(_ text: String) {
        var digits = 0
        var divisor = 1
        var pointSeen = false
        var index = text.startIndex
        scan: while index < text.endIndex {
            switch text[index] {
            case let digit where digit.isASCII && digit.isNumber:
                guard digits < 100_000_000_000_000_000, divisor < 1_000_000_000, let value = digit.wholeNumberValue else {
                    return nil
                }
                digits = digits * 10 + value
                if pointSeen { divisor *= 10 }
            case "." where !pointSeen && index > text.startIndex: pointSeen = true
            default: break scan
            }
            index = text.index(after: index)
        }
        guard index > text.startIndex, !pointSeen || divisor > 1 else { return nil }
        self.digits = digits
        self.divisor = divisor
        unit = text[index...]
    }

    /// The number times `factor`; `nil` when that is no whole number that fits.
    func times(_ factor: Int) -> Int? {
        let (product, overflow) = digits.multipliedReportingOverflow(by: factor)
        guard !overflow, product % divisor == 0 else { return nil }
        return product / divisor
    }
}

extension Configuration {
    /// A duration as it is written in a configuration, such as `1.5s`; `nil` if it is none.
    public static func duration(_ text: String) -> Duration? {
        do throws(ScalarProblem) { return .nanoseconds(try Units.nanoseconds(text)) } catch { return nil }
    }
}

/// How durations, sizes, rates and shares are written.
enum Units {
    /// The largest first.
    static let times: [(unit: String, nanoseconds: Int)] = [
        ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1),
    ]
    static let sizes: [(unit: String, bytes: Int)] = [
        ("TiB", 1 << 40), ("TB", 1_000_000_000_000), ("GiB", 1 << 30), ("GB", 1_000_000_000), ("MiB", 1 << 20), ("MB", 1_000_000),
        ("KiB", 1 << 10), ("KB", 1_000), ("B", 1),
    ]
    static let periods: [(unit: String, seconds: Int)] = [("second", 1), ("minute", 60), ("hour", 3600)]

    static func nanoseconds(_ text: String) throws(ScalarProblem) -> Int {
        guard let quantity = Quantity(text) else { throw ScalarProblem("is no duration") }
        guard !quantity.unit.isEmpty else { throw ScalarProblem("has no unit") }
        guard let unit = times.first(where: { $0.unit == quantity.unit }) else {
            throw ScalarProblem("has the unknown unit \(quoted(String(quantity.unit)))")
        }
        guard let value = quantity.times(unit.nanoseconds) else {
            throw ScalarProblem("is finer than a nanosecond or longer than a lifetime")
        }
        return value
    }

    static func bytes(_ text: String) throws(ScalarProblem) -> Int {
        guard let quantity = Quantity(text) else { throw ScalarProblem("is no size") }
        guard !quantity.unit.isEmpty else { throw ScalarProblem("has no unit") }
        guard let unit = sizes.first(where: { $0.unit == quantity.unit }) else {
            throw ScalarProblem("has the unknown unit \(quoted(String(quantity.unit)))")
        }
        guard let value = quantity.times(unit.bytes) else { throw ScalarProblem("is no whole number of bytes") }
        return value
    }

    /// Thousandths a second, to the nearest.
    static func thousandthsPerSecond(_ text: String) throws(ScalarProblem) -> Int {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let quantity = Quantity(String(parts[0])), quantity.unit.isEmpty else { throw ScalarProblem("is no rate") }
        guard parts.count == 2 else { throw ScalarProblem("has no period") }
        guard let period = periods.first(where: { $0.unit == parts[1] }) else {
            throw ScalarProblem("has the unknown period \(quoted(String(parts[1])))")
        }
        let (product, overflow) = quantity.digits.multipliedReportingOverflow(by: 1_000)
        let divisor = quantity.divisor * period.seconds
        guard !overflow, product <= .max - divisor else { throw ScalarProblem("is too large") }
        return (product + divisor / 2) / divisor
    }

    static func tenThousandths(_ text: String) throws(ScalarProblem) -> Int {
        guard let quantity = Quantity(text) else { throw ScalarProblem("is no share") }
        if quantity.unit.isEmpty {
            // A fraction is what most other tools want: say what it would be here.
            let perCent = quantity.digits <= quantity.divisor ? quantity.times(10_000).map { "; did you mean \(share($0))?" } : nil
            throw ScalarProblem("has no % sign" + (perCent ?? ""))
        }
        guard quantity.unit == "%" else { throw ScalarProblem("has the unknown unit \(quoted(String(quantity.unit)))") }
        guard let value = quantity.times(100) else { throw ScalarProblem("is finer than 0.01%") }
        return value
    }

    /// A plain number in thousandths.
    static func thousandths(_ text: String) throws(ScalarProblem) -> Int {
        guard let quantity = Quantity(text), quantity.unit.isEmpty else { throw ScalarProblem("is no number") }
        guard let value = quantity.times(1_000) else { throw ScalarProblem("is finer than 0.001") }
        return value
    }

    // MARK: Writing

    static func duration(_ value: Duration) -> String {
        let nanoseconds = Int(value.wholeNanoseconds)
        if nanoseconds == 0 { return "0s" }
        for (unit, size) in times where nanoseconds % size == 0 { return "\(nanoseconds / size)\(unit)" }
        return "\(nanoseconds)ns"
    }

    /// In the largest binary unit that divides it.
    static func size(_ value: Int) -> String {
        for (unit, size) in sizes where unit.contains("i") && value != 0 && value % size == 0 { return "\(value / size)\(unit)" }
        return "\(value)B"
    }

    static func share(_ tenThousandths: Int) -> String {
        decimal(tenThousandths, places: 2) + "%"
    }

    static func rate(_ thousandthsPerSecond: Int) -> String {
        if thousandthsPerSecond % 1_000 != 0, thousandthsPerSecond * 60 % 1_000 == 0 {
            return "\(thousandthsPerSecond * 60 / 1_000)/minute"
        }
        return decimal(thousandthsPerSecond, places: 3) + "/second"
    }

    static func decimal(_ value: Int, places: Int) -> String {
        let unit = (0..<places).reduce(1) { product, _ in product * 10 }
        var fraction = String(value % unit)
        fraction = String(repeating: "0", count: places - fraction.count) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return fraction.isEmpty ? "\(value / unit)" : "\(value / unit).\(fraction)"
    }
}
