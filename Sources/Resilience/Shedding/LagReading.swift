// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// How late an event loop is, from how late probes ran that were due at known instants (semantics, section 10).
///
///     probes   ·  ·  ·  ·  ·│·  ·        ×│×     ×     ×│
///     worst           2 ms  │      90 ms  │     110 ms  │
///     reading         2 ms  │       2 ms  │      90 ms  │
///
/// Rule: the worst lateness of each window of 100 ms is kept; the reading is the smaller one of the last two. So one stall, however
/// long, sheds nobody, and a loop that stays late is known for it after two windows. A probe that is later than a window ends it. Between
/// turns everything that is ready is taken in, so what waits to be accepted or read waits as long as a probe does: the delay from
/// accept to dispatch is this one. Cold start: 0.
/// Source: CoDel's minimum over an interval (RFC 8289 §3), which tells a standing queue from a burst.
///
/// Pure: every probe brings its instants.
public struct LagReading: Sendable {
    static let window: Int64 = 100_000_000

    private var windowEndsAt: Int64?
    private var worst: Int64 = 0
    private var before: Int64 = 0

    public init() {}

    /// A probe that was due at `due` ran at `now`. Returns a reading, in nanoseconds, at the end of each window.
    public mutating func probed(due: Instant, now: Instant) -> Int64? {
        worst = max(worst, now.nanoseconds(since: due), 0)
        guard let end = windowEndsAt else {
            windowEndsAt = now.nanoseconds &+ Self.window
            return nil
        }
        guard now.nanoseconds >= end else { return nil }
        let reading = min(worst, before)
        before = worst
        worst = 0
        windowEndsAt = now.nanoseconds &+ Self.window
        return reading
    }
}
