// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A point on the monotonic clock of a reactor, in nanoseconds since that clock's origin.
///
/// No policy reads a clock: an `Instant` is always handed in. Arithmetic saturates, because a deadline may be computed
/// from a number that a peer chose, and an overflow trap would be a remote kill switch.
public struct Instant: Comparable, Hashable, Sendable {
    /// Nanoseconds since the clock's origin.
    public var nanoseconds: Int64

    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    public static let origin = Instant(nanoseconds: 0)
    /// Later than every instant that a clock can show: "no deadline".
    public static let never = Instant(nanoseconds: .max)

    @inlinable public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The instant `nanoseconds` later; saturates at `never`.
    @inlinable public func advanced(byNanoseconds delta: Int64) -> Instant {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(delta)
        return Instant(nanoseconds: overflow ? (delta > 0 ? .max : .min) : sum)
    }

    @inlinable public func advanced(by duration: Duration) -> Instant { advanced(byNanoseconds: duration.wholeNanoseconds) }

    /// Nanoseconds from `earlier` to this instant; saturates.
    @inlinable public func nanoseconds(since earlier: Instant) -> Int64 {
        let (difference, overflow) = nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        return overflow ? (nanoseconds > earlier.nanoseconds ? .max : .min) : difference
    }
}

extension Duration {
    /// This duration in nanoseconds, rounded towards zero; saturates at the ends of `Int64` (292 years).
    @inlinable public var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, carried) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        return carried ? (seconds < 0 ? .min : .max) : sum
    }
}
