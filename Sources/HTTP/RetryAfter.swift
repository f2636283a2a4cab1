// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Reads `Retry-After` (RFC 9110 §10.2.3).
package enum RetryAfter {
    /// Longer waits are read as this: a day.
    package static let maximumSeconds: Int64 = 86_400

    /// Seconds to wait from the answer on, from 0 to `maximumSeconds`; nil if the value is malformed. A date is taken
    /// relative to the answer's own `Date`, so that a clock that differs from ours does not matter; without one, to `now`.
    package static func seconds(_ value: Span<UInt8>, responseDate: Int64?, now: Int64) -> Int64? {
        if value.isEmpty { return nil }
        if value[0].isDigit {
            var seconds: Int64 = 0
            for i in value.indices {
                guard value[i].isDigit else { return nil }
                seconds = min(seconds * 10 + Int64(value[i] - 48), maximumSeconds)
            }
            return seconds
        }
        guard let date = HTTPDate.parse(value, now: now) else { return nil }
        let (difference, overflow) = date.subtractingReportingOverflow(responseDate ?? now)
        return overflow ? nil : min(max(difference, 0), maximumSeconds)
    }
}
