// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Numbers are digits until somebody asks, and then exactly what those say or nothing.
extension JSONValue {
    /// The number if it is an integer of 64 bits: `12`, and also `12.0` and `1.2e1`, which JSON does not tell from it.
    package var int64: Int64? {
        guard kind == .number else { return nil }
        return withText { JSONValue.integer($0) }
    }

    /// The nearest double, if the number is within a double's range: `1e999` is none.
    package var double: Double? {
        guard kind == .number, let value = Double(text), value.isFinite else { return nil }
        return value
    }

    /// The exact integer that a checked number's text means. Zeros wait, so that those at the end only count towards the exponent.
    private static func integer(_ text: Span<UInt8>) -> Int64? {
        var i = 0
        let isNegative = text[0] == UInt8(ascii: "-")
        if isNegative { i = 1 }
        var magnitude: UInt64 = 0
        var waitingZeros = 0
        var fractionDigits = 0
        var isFraction = false
        scan: while i < text.count {
            let byte = text[i]
            switch byte {
            case UInt8(ascii: "."):
                isFraction = true
            case UInt8(ascii: "0"):
                if magnitude != 0 { waitingZeros &+= 1 }
                if isFraction { fractionDigits &+= 1 }
            case UInt8(ascii: "1")...UInt8(ascii: "9"):
                guard let shifted = scaled(magnitude, byTenTo: waitingZeros &+ 1) else { return nil }
                let (sum, overflow) = shifted.addingReportingOverflow(UInt64(byte &- 48))
                if overflow { return nil }
                magnitude = sum
                waitingZeros = 0
                if isFraction { fractionDigits &+= 1 }
            default:
                break scan
            }
            i &+= 1
        }
        if magnitude == 0 { return 0 }
        let exponent = exponent(text, after: i) &- fractionDigits &+ waitingZeros
        guard exponent >= 0, let value = scaled(magnitude, byTenTo: exponent) else { return nil }
        if isNegative { return value <= Int64.min.magnitude ? Int64(truncatingIfNeeded: 0 &- value) : nil }
        return Int64(exactly: value)
    }

    /// What stands after the `e` at `i`, no farther from 0 than a text can make a difference by.
    private static func exponent(_ text: Span<UInt8>, after i: Int) -> Int {
        guard i &+ 1 < text.count else { return 0 }
        var value = 0
        let isNegative = text[i &+ 1] == UInt8(ascii: "-")
        for k in i &+ 1..<text.count where text[k] &- 48 < 10 && value < 1 << 40 { value = value &* 10 &+ Int(text[k] &- 48) }
        return isNegative ? -value : value
    }

    private static func scaled(_ value: UInt64, byTenTo power: Int) -> UInt64? {
        guard power < 20 else { return nil }
        var result = value
        for _ in 0..<power {
            let (product, overflow) = result.multipliedReportingOverflow(by: 10)
            if overflow { return nil }
            result = product
        }
        return result
    }
}
