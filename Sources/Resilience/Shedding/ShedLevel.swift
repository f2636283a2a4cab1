// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// How many classes of priority one signal has turned away (semantics, section 10).
///
///     reading       0 ─────────────── 50 % ──────── 75 % ──── 90 % ─── 100 %
///     shed                             │ bulk        │ normal   │ high    │ critical
///     until below                    45 %          70 %       85 %      95 %
///
/// Rule: a class is admitted while the reading is below its cap. The level, which is how many classes are shed, rises at once, and
/// falls by one class, the most important first, when the reading has stayed five points below that class's cap for one
/// second. It is a level and not a threshold for each class, so whoever is shed, all the less important are (S1). Cold start: nothing is
/// shed. Recovery: one class a second (S4). Between two looks nothing is assumed but what the caller says by `advance`.
/// Source: Google's SRE book, "Handling overload" (criticality); Envoy's overload manager for levels that fall late.
///
/// Pure: every look brings its instant. Instants that run backwards count as the latest one seen.
public struct ShedLevel: Sendable {
    /// From critical to bulk.
    private static let caps = [10_000, 9_000, 7_500, 5_000].map { Share(tenThousandths: $0) }
    private static let margin = 500
    static let dwell: Int64 = 1_000_000_000

    /// Classes that are shed, least important first, 0 to 4, as of the latest look.
    public private(set) var level = 0
    /// The most that it rises to: 3 where critical has its own reason to be refused.
    private let highest: Int
    private var clock: Int64 = 0
    /// When the level falls by one, unless the reading is too near its cap before.
    private var fallsAt: Int64 = .max

    public init(highest: Int = 4) { self.highest = min(max(highest, 0), ShedLevel.caps.count) }

    /// Takes a reading, as a part of a whole.
    public mutating func look(_ used: Int, of whole: Int, now: Instant) {
        advance(to: now)
        let classes = Self.caps.count
        // Each class from the most important: the first whose cap is reached takes all behind it along.
        let reached = min(highest, Self.caps.firstIndex { $0.isReached(by: used, of: whole) }.map { classes - $0 } ?? 0)
        if reached > level {
            level = reached
            fallsAt = clock &+ Self.dwell
        } else if level > 0 {
            let limit = Share(tenThousandths: Self.caps[classes - level].tenThousandths - Self.margin)
            if limit.isReached(by: used, of: whole) { fallsAt = clock &+ Self.dwell }
        }
    }

    /// Whether a class is turned away.
    public func sheds(_ priority: Priority) -> Bool { priority.rank >= Self.caps.count - level }

    /// Lets the level fall as far as it was due until `now`.
    public mutating func advance(to now: Instant) {
        clock = max(clock, now.nanoseconds)
        while level > 0 && fallsAt <= clock {
            level -= 1
            fallsAt = fallsAt &+ Self.dwell
        }
    }
}
