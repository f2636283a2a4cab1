// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc

/// A decaying number and when it was last changed, in one word that threads can exchange: a `Float` (24 bits are plenty for a
/// measurement) and a tick of 16 µs. Zero: no number yet.
///
/// Ticks wrap in 19.5 hours: a number that is left alone for just so long does not look older than it is young, once.
struct DatedAverage {
    var value: Float
    var tick: UInt32

    private static let tickShift: Int64 = 14
    /// Instants of threads differ by their cached clocks: up to a second behind counts as now.
    private static let behind = UInt32.max - 65_536

    init(_ value: Double, at now: Instant) {
        self.value = Float(value)
        tick = Self.tick(now)
    }

    init?(word: UInt64) {
        if word == 0 { return nil }
        value = Float(bitPattern: UInt32(truncatingIfNeeded: word))
        tick = UInt32(truncatingIfNeeded: word >> 32)
    }

    var word: UInt64 { UInt64(tick) << 32 | UInt64(value.bitPattern) }

    /// What is left of 1 after the time since the last change, if 1/e is left after `decayNanoseconds`.
    func remainder(at now: Instant, decayNanoseconds: Double) -> Double {
        let elapsed = Self.tick(now) &- tick
        if elapsed == 0 || elapsed > Self.behind { return 1 }
        return exp(-Double(Int64(elapsed) << Self.tickShift) / decayNanoseconds)
    }

    /// The same with another value; its time does not run backwards.
    func changed(to value: Double, at now: Instant) -> DatedAverage {
        var changed = DatedAverage(value, at: now)
        if changed.tick &- tick > Self.behind { changed.tick = tick }
        return changed
    }

    private static func tick(_ now: Instant) -> UInt32 { UInt32(truncatingIfNeeded: now.nanoseconds >> tickShift) }
}
