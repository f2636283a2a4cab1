// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// Bounds how much a retrying gateway adds to the load of a failing upstream (semantics, section 2).
///
/// Three bounds together, all in integers: extras are at most `ratio` of the first attempts of the last `window` (ten
/// slots); beside them a small bucket that always refills, so that a quiet route can retry at all; and a cap on how many
/// extras wait or run at once. A share of the *window*, because a share of the *active* calls collapses just when
/// calls fail together (Envoy #30205). Pure: instants come in and must not run backwards by more than a slot.
public struct RetryBudget: Sendable {
    public static let slotCount = 10

    /// What one granted extra took, for its refund.
    public struct Grant: Equatable, Sendable {
        /// The slot it is booked in; `nil`: paid from the floor bucket.
        var epoch: Int64?
    }

    private struct Slot: Sendable {
        var epoch = Int64.min
        var firsts = 0
        var extras = 0
    }

    /// Thousandths of a token are kept in units of 10^-9, so that a refill loses nothing to rounding.
    private static let unit: Int64 = 1_000_000_000
    private static let token = 1_000 * unit

    private var settings: RetryBudgetSettings
    private var slotWidth: Int64
    private var slots = Array(repeating: Slot(), count: slotCount)
    private var newestEpoch = Int64.min
    private var firsts = 0
    private var extras = 0
    private var floorLevel: Int64
    private var floorRefilledAt: Int64 = 0
    private var cap: Int

    /// Extras granted and neither finished nor refunded.
    public private(set) var outstanding = 0
    public private(set) var granted: UInt64 = 0
    public private(set) var refunded: UInt64 = 0
    public private(set) var refused: UInt64 = 0
    /// Attempts that were free of charge because the upstream had surely done nothing.
    public private(set) var free: UInt64 = 0

    /// - Parameter permits: of the bulkhead; the cap on extras at once is the greater of 3 and `ratio` of them.
    public init(_ settings: RetryBudgetSettings = RetryBudgetSettings(), permits: Int) {
        self.settings = settings
        slotWidth = Self.width(settings)
        cap = Self.cap(settings, permits)
        floorLevel = Self.burst(settings)
    }

    /// One first attempt was handed to the network.
    public mutating func depositFirst(now: Instant) {
        let epoch = roll(to: now)
        slots[Self.index(epoch)].firsts += 1
        firsts += 1
    }

    /// Asks for one extra attempt, when it is scheduled. `nil`: refused, and nothing was taken.
    public mutating func withdraw(now: Instant) -> Grant? {
        let epoch = roll(to: now)
        if outstanding < cap {
            if ratioAllowsOneMore {
                slots[Self.index(epoch)].extras += 1
                extras += 1
                return grant(epoch: epoch)
            }
            if settings.minimumPerSecondThousandths > 0 && floorLevel >= Self.token {
                floorLevel -= Self.token
                return grant(epoch: nil)
            }
        }
        refused += 1
        return nil
    }

    /// The extra was never sent: what it took comes back, if its slot is still live.
    public mutating func refund(_ grant: Grant, now: Instant) {
        _ = roll(to: now)
        outstanding -= 1
        refunded += 1
        if let epoch = grant.epoch {
            let index = Self.index(epoch)
            guard slots[index].epoch == epoch else { return }
            slots[index].extras -= 1
            extras -= 1
        } else {
            floorLevel = min(Self.burst(settings), floorLevel + Self.token)
        }
    }

    /// The extra was sent and is over.
    public mutating func finish(_ grant: Grant) { outstanding -= 1 }

    /// An attempt was made anew without charge (stale connection, unprocessed by GOAWAY or REFUSED_STREAM).
    public mutating func noteFree() { free += 1 }

    /// Changes the settings in place. A new window starts its slots anew; extras under way stay counted.
    public mutating func apply(_ settings: RetryBudgetSettings, permits: Int, now: Instant) {
        _ = roll(to: now)
        if Self.width(settings) != slotWidth {
            slotWidth = Self.width(settings)
            slots = Array(repeating: Slot(), count: Self.slotCount)
            newestEpoch = .min
            firsts = 0
            extras = 0
        }
        self.settings = settings
        cap = Self.cap(settings, permits)
        floorLevel = min(floorLevel, Self.burst(settings))
    }

    /// Extras that would be granted now, one after the other.
    public mutating func available(now: Instant) -> Int {
        _ = roll(to: now)
        let byRatio = max(0, firsts.multipliedSaturating(by: ratio) / 10_000 - extras)
        let byFloor = settings.minimumPerSecondThousandths > 0 ? Int(floorLevel / Self.token) : 0
        return max(0, min(cap - outstanding, byRatio + byFloor))
    }

    // MARK: Inside

    private var ratio: Int { max(0, settings.ratio.tenThousandths) }

    private var ratioAllowsOneMore: Bool {
        (extras + 1).multipliedFullWidth(by: 10_000) <= ratio.multipliedFullWidth(by: firsts)
    }

    private mutating func grant(epoch: Int64?) -> Grant {
        outstanding += 1
        granted += 1
        return Grant(epoch: epoch)
    }

    /// Brings slots and floor bucket to `now`; the current slot's epoch.
    private mutating func roll(to now: Instant) -> Int64 {
        let instant = max(0, now.nanoseconds)
        refillFloor(instant)
        let epoch = max(instant / slotWidth, newestEpoch)
        if epoch == newestEpoch { return epoch }
        newestEpoch = epoch
        for index in slots.indices where slots[index].epoch <= epoch - Int64(Self.slotCount) && slots[index].epoch != .min {
            firsts -= slots[index].firsts
            extras -= slots[index].extras
            slots[index] = Slot()
        }
        slots[Self.index(epoch)].epoch = epoch
        return epoch
    }

    private mutating func refillFloor(_ instant: Int64) {
        let rate = Int64(max(0, settings.minimumPerSecondThousandths))
        let elapsed = instant - floorRefilledAt
        guard elapsed > 0 else { return }
        floorRefilledAt = instant
        let (gain, overflow) = elapsed.multipliedReportingOverflow(by: rate)
        let (level, carried) = floorLevel.addingReportingOverflow(overflow ? .max : gain)
        floorLevel = min(Self.burst(settings), carried ? .max : level)
    }

    private static func index(_ epoch: Int64) -> Int { Int(epoch % Int64(slotCount)) }

    private static func width(_ settings: RetryBudgetSettings) -> Int64 {
        max(1, settings.window.wholeNanoseconds / Int64(slotCount))
    }

    private static func burst(_ settings: RetryBudgetSettings) -> Int64 {
        Int64(min(max(1_000, settings.minimumPerSecondThousandths), 1_000_000_000)) * unit
    }

    private static func cap(_ settings: RetryBudgetSettings, _ permits: Int) -> Int {
        max(3, permits.multipliedSaturating(by: max(0, settings.ratio.tenThousandths)) / 10_000)
    }
}

extension Int {
    fileprivate func multipliedSaturating(by other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
