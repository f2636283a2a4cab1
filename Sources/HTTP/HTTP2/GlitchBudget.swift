// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// How much a peer may do that is legal, cheap for it and work for us: a token bucket on the reactor's clock (cases C01, C02
/// and C05; promise P18). nghttp2 1.52 limits only resets that it *receives*, and reads the real clock for it.
///
/// What ordinary clients do in proportion to their requests is free in that proportion: two WINDOW_UPDATEs for each frame
/// with a head or data, two PRIORITYs for each head, one PING for each burst of traffic (gRPC measures bandwidth so), one
/// cancelled exchange for each one completed.
struct GlitchBudget {
    /// The bucket counts 10^-12 glitches: a thousandth of one a second is then 1 a nanosecond.
    private static let glitch: Int64 = 1_000_000_000_000
    private static let creditLimit = 512

    private let capacity: Int64
    private let perNanosecond: Int64
    private var level: Int64
    private var filledAt: Instant
    private var windowCredit = 16
    private var priorityCredit = 16
    private var pingIsFree = true
    /// Whether more was spent than there was. It stays so.
    private(set) var isOverdrawn = false

    init(burst: Int, perSecond: Double, now: Instant) {
        capacity = Int64(min(max(burst, 1), 1_000_000)) * GlitchBudget.glitch
        perNanosecond = perSecond.isFinite ? Int64((min(max(perSecond, 0), 1_000_000) * 1_000).rounded()) : 0
        level = capacity
        filledAt = now
    }

    /// Glitches left at the latest instant seen.
    var left: Int { Int(level / GlitchBudget.glitch) }

    mutating func spend(_ count: Int32 = 1, at now: Instant) {
        if isOverdrawn { return }
        refill(at: now)
        level -= Int64(count) * GlitchBudget.glitch
        if level < 0 { isOverdrawn = true }
    }

    private mutating func refill(at now: Instant) {
        let elapsed = now.nanoseconds(since: filledAt)
        guard elapsed > 0 else { return }
        filledAt = now
        let (earned, overflow) = elapsed.multipliedReportingOverflow(by: perNanosecond)
        let room = capacity - level
        level = overflow || earned >= room ? capacity : level + earned
    }

    /// A head or data came or went.
    mutating func sawTraffic(isHead: Bool) {
        windowCredit = min(windowCredit + 2, GlitchBudget.creditLimit)
        if isHead { priorityCredit = min(priorityCredit + 2, GlitchBudget.creditLimit) }
        pingIsFree = true
    }

    /// An exchange came to its proper end on both sides.
    mutating func sawCompletedExchange() { level = min(level + GlitchBudget.glitch, capacity) }

    mutating func sawWindowUpdate(at now: Instant) {
        if windowCredit > 0 { windowCredit -= 1 } else { spend(at: now) }
    }

    mutating func sawPriority(at now: Instant) {
        if priorityCredit > 0 { priorityCredit -= 1 } else { spend(at: now) }
    }

    mutating func sawPing(at now: Instant) {
        if pingIsFree { pingIsFree = false } else { spend(at: now) }
    }
}
