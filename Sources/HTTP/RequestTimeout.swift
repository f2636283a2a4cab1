// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// How long a caller waits for an answer, as it says in its request: `grpc-timeout` (gRPC over HTTP/2: at most eight digits and a unit)
/// and `X-Request-Timeout-ms` (a decimal number of milliseconds, at most eight digits).
package enum RequestTimeout {
    /// Units from the finest to the coarsest, with their nanoseconds.
    private static let units: [(letter: UInt8, nanoseconds: Int64)] = [
        (UInt8(ascii: "n"), 1), (UInt8(ascii: "u"), 1_000), (UInt8(ascii: "m"), 1_000_000), (UInt8(ascii: "S"), 1_000_000_000),
        (UInt8(ascii: "M"), 60_000_000_000), (UInt8(ascii: "H"), 3_600_000_000_000),
    ]
    private static let greatest: Int64 = 99_999_999

    /// Nanoseconds; `nil` for what is malformed.
    package static func parseGRPC(_ text: Span<UInt8>) -> Int64? {
        guard text.count >= 2 else { return nil }
        let letter = text[text.count - 1]
        guard let value = decimal(text.extracting(0..<(text.count - 1))) else { return nil }
        for unit in units where unit.letter == letter {
            let (nanoseconds, overflow) = value.multipliedReportingOverflow(by: unit.nanoseconds)
            return overflow ? .max : nanoseconds
        }
        return nil
    }

    /// Nanoseconds; `nil` for what is malformed.
    package static func parseMilliseconds(_ text: Span<UInt8>) -> Int64? { decimal(text).map { $0 * 1_000_000 } }

    /// The longest time not above `nanoseconds` that `grpc-timeout` can say, in the finest unit that holds it.
    package static func writeGRPC(_ nanoseconds: Int64, into output: inout ByteBuffer) {
        let time = max(0, nanoseconds)
        for unit in units where time / unit.nanoseconds <= greatest {
            append(time / unit.nanoseconds, to: &output)
            output.append(unit.letter)
            return
        }
        append(greatest, to: &output)
        output.append(UInt8(ascii: "H"))
    }

    /// Whole milliseconds, rounded down, and no more than can be said.
    package static func milliseconds(_ nanoseconds: Int64) -> UInt64 {
        UInt64(min(greatest, max(0, nanoseconds) / 1_000_000))
    }

    private static func decimal(_ text: Span<UInt8>) -> Int64? {
        guard text.count >= 1, text.count <= 8 else { return nil }
        var value: Int64 = 0
        for i in text.indices {
            guard text[i].isDigit else { return nil }
            value = value * 10 + Int64(text[i] - 48)
        }
        return value
    }

    private static func append(_ value: Int64, to output: inout ByteBuffer) { output.append(decimal: UInt64(value)) }
}
