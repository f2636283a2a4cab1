// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// Turns less important attempts away before the bulkhead is full of them (semantics, section 10).
///
/// The reading of this ``ShedLevel`` is the occupancy (in use + queued) / (permits + places); critical has all of it and meets
/// `bulkhead.full` instead. Statistic: the occupancy of this instant; it is looked at only where an attempt cannot be
/// granted at once, so what finds a free permit is never shed and pays nothing. Recovery: at once for what finds a free permit; the
/// level follows within a second for each class (S4). Between two looks every attempt found a permit, which counts as below.
public struct OccupancyShedder: Sendable {
    private var state = ShedLevel(highest: 3)

    /// Classes that are shed, least important first, 0 to 3, as of the latest look.
    public var level: Int { state.level }

    public init() {}

    /// Looks at the occupancy, when an attempt of a class could not be granted at once. True: it is turned away.
    public mutating func sheds(_ priority: Priority, used: Int, capacity: Int, now: Instant) -> Bool {
        state.look(used, of: capacity, now: now)
        return state.sheds(priority)
    }

    /// Lets the level fall as far as it was due until `now`.
    public mutating func advance(to now: Instant) { state.advance(to: now) }
}
