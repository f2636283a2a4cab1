// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// Turns less important attempts away before the bulkhead is full of them (semantics, section 10).
///
///     occupancy        0 ─────────────── 50 % ──────── 75 % ──── 90 % ─── 100 %
///     shed                                │ bulk        │ normal   │ high    │ critical: there is no room (bulkhead.full)
///     until below                       45 %          70 %       85 %
///
/// Rule: a class is admitted while the occupancy (in use + queued) / (permits + places) is below its cap. The level, which is
/// how many classes are shed, rises at once, and falls by one class, the most important first, when the occupancy has
/// stayed five points below that class's cap for one second. It is a level and not a threshold for each, so whoever
/// is shed, all the less important are (S1). Statistic: the occupancy of this instant; it is looked at only where an attempt cannot be
/// granted at once, so what finds a free permit is never shed and pays nothing. Cold start: nothing is shed. Recovery: at
/// once for what finds a free permit; the level follows within a second for each class (S4). Between two looks
/// every attempt found a permit, which counts as below.
/// Source: Google's SRE book, "Handling overload" (criticality); Envoy's overload manager for levels that fall late.
///
/// Pure: every look brings its instant. Instants that run backwards count as the latest one seen.
public struct OccupancyShedder: Sendable {
    /// Of the classes from high to bulk; critical has all.
    private static let caps = [9_000, 7_500, 5_000].map { Share(tenThousandths: $0) }
    private static let margin = 500
    static let dwell: Int64 = 1_000_000_000

    /// Classes that are shed, least important first, 0 to 3, as of the latest look.
    public private(set) var level = 0
    private var clock: Int64 = 0
    /// When the level falls by one, unless the occupancy is too near its cap before.
    private var fallsAt: Int64 = .max

    public init() {}

    /// Looks at the occupancy, when an attempt of a class could not be granted at once. True: it is turned away.
    public mutating func sheds(_ priority: Priority, used: Int, capacity: Int, now: Instant) -> Bool {
        advance(to: now)
        // Each class from the most important: the first whose cap is reached takes all behind it along.
        let reached = Self.caps.firstIndex { $0.isReached(by: used, of: capacity) }.map { Self.caps.count - $0 } ?? 0
        if reached > level {
            level = reached
            fallsAt = clock + Self.dwell
        } else if level > 0 {
            let cap = Self.caps[Self.caps.count - level]
            let limit = Share(tenThousandths: cap.tenThousandths - Self.margin)
            if limit.isReached(by: used, of: capacity) { fallsAt = clock + Self.dwell }
        }
        return priority.rank > Self.caps.count - level
    }

    /// Lets the level fall as far as it was due until `now`.
    public mutating func advance(to now: Instant) {
        clock = max(clock, now.nanoseconds)
        while level > 0 && fallsAt <= clock {
            level -= 1
            fallsAt += Self.dwell
        }
    }
}
