// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// Bounds how many exchanges with one upstream are under way, and how many wait for their turn (semantics, section 5).
///
/// A pure value. A permit that comes free goes to the next waiter in the same step, so nobody can barge in between, and a free
/// permit never coexists with a live waiter. Whoever was decided on, granted or refused, lies in an outbox until
/// `nextDelivery` hands it out, so that it can be told after the lock around this value is let go.
///
/// The most important class of waiters goes first, and before it one that has fewer permits than its guaranteed share. A share
/// is lent while its class does not ask for it, and comes back permit by permit as they are given back; nothing is revoked. A class that has
/// not got its share finds a place to wait, if need be that of the newest waiter of the least important class that has
/// its own.
///
/// Within a class the order is first in, first out. When the queue has not been empty for `congestionInterval` the upstream is not keeping
/// up, and a long queue would only serve answers that nobody waits for any more: then the newest goes first and nobody waits
/// longer than `congestionTarget` (CoDel with adaptive LIFO, as in Maurer: "Fail at scale", ACM Queue 13(8), 2015), until no
/// wait has reached the target for one interval.
public struct BulkheadState<Waiter: Sendable>: Sendable {
    /// The answer to an attempt that wants a permit now.
    public enum Take: Equatable, Sendable {
        case granted
        /// No permit is free, but a place in the queue is.
        case mustWait
        case full
    }

    public enum Join: Equatable, Sendable {
        /// A permit came free since `take`, so nobody has to wait.
        case granted
        case waiting(WaitTicket)
        case full
    }

    /// A waiter and what was decided about it.
    public struct Delivery: Sendable {
        public let waiter: Waiter
        public let priority: Priority
        /// `nil`: granted, the permit is the waiter's.
        public let refusal: Reason?
    }

    public private(set) var permits: Int
    public private(set) var places: Int
    public private(set) var inUse = 0
    /// By rank.
    private var inUseOf = ByRank(repeating: 0)
    private var shares: ByRank
    /// The most permits ever in use at once.
    public private(set) var highWater = 0
    public private(set) var isCongested = false
    private var waiters: WaitList<Waiter>
    private var interval: Int64
    private var target: Int64
    /// No waiter's own limit is before this: spares a walk.
    private var earliestExpiry: Int64 = .max
    private var nonEmptySince: Int64 = .max
    /// When the congested mode began and when a wait last reached the target.
    private var congestedSince: Int64 = .max
    private var lastLongWait: Int64 = .min
    private var clock: Int64 = 0

    public init(_ settings: BulkheadSettings = BulkheadSettings()) {
        permits = max(1, settings.concurrent)
        places = max(0, settings.queuePlaces)
        shares = settings.shares.byRank
        interval = settings.congestionInterval.map { max(1, $0.wholeNanoseconds) } ?? .max
        target = max(0, settings.congestionTarget.wholeNanoseconds)
        waiters = WaitList(capacity: min(places, 1_024))
    }

    /// Waiters in the queue.
    public var queued: Int { waiters.count }
    var inUseByRank: SIMD4<Int32> { SIMD4(inUseOf[0], inUseOf[1], inUseOf[2], inUseOf[3]) }
    /// Permits that attempts of a class hold.
    public func inUse(by priority: Priority) -> Int { Int(inUseOf[priority.rank]) }
    /// Whether a class has fewer permits, with those that it waits for, than its guaranteed share.
    public func isOwedShare(_ priority: Priority) -> Bool {
        inUseOf[priority.rank] + waiters.counts[priority.rank] < shares[priority.rank]
    }
    /// Whether somebody has been decided on and not yet told.
    public var hasDeliveries: Bool { waiters.hasOutbox }

    /// Takes a permit if one is free and nobody waits.
    public mutating func take(now: Instant, priority: Priority = .critical) -> Take {
        if waiters.count == 0 {
            if inUse < permits {
                occupy(priority.rank)
                return .granted
            }
        } else {
            expire(now: now)
            grantFree()
            if waiters.count == 0 && inUse < permits {
                occupy(priority.rank)
                return .granted
            }
        }
        return waiters.count < places || (isOwedShare(priority) && displaceable != nil) ? .mustWait : .full
    }

    /// Joins the queue until `expiry`.
    public mutating func join(_ waiter: Waiter, now: Instant, expiry: Instant, priority: Priority = .critical) -> Join {
        switch take(now: now, priority: priority) {
        case .granted: return .granted
        case .full: return .full
        case .mustWait:
            see(now)
            if waiters.count == 0 {
                // A congestion of before may have ended while nobody waited and nobody looked.
                followCongestion()
                nonEmptySince = clock
            }
            if waiters.count >= places, let slot = displaceable { waiters.decide(slot, .bulkheadFull) }
            earliestExpiry = min(earliestExpiry, expiry.nanoseconds)
            return .waiting(waiters.join(waiter, priority, at: clock, expiry: expiry.nanoseconds))
        }
    }

    /// A permit came back: it goes to the next live waiter, if there is one.
    public mutating func release(now: Instant, priority: Priority = .critical) {
        inUse -= 1
        inUseOf[priority.rank] -= 1
        if waiters.count > 0 {
            expire(now: now)
            grantFree()
        }
    }

    /// The waiter gives up. `nil`: it has been decided on already, and will be told.
    public mutating func cancel(_ ticket: WaitTicket) -> Waiter? {
        let waiter = waiters.leave(ticket)
        noteIfEmpty()
        return waiter
    }

    /// Refuses every waiter whose time is up.
    public mutating func expire(now: Instant) {
        see(now)
        followCongestion()
        if earliestExpiry > clock { return }
        var earliest = Int64.max
        for rank in 0..<4 {
            var slot = waiters.oldest[rank]
            while slot >= 0 {
                let next = waiters.slots[Int(slot)].next
                let expiry = waiters.slots[Int(slot)].expiry
                if expiry <= clock { waiters.decide(slot, .bulkheadQueueTimeout) } else { earliest = min(earliest, expiry) }
                slot = next
            }
        }
        earliestExpiry = earliest
        noteIfEmpty()
    }

    /// When `expire` will have something to do, at the earliest; `.never` while nobody waits.
    public var nextExpiry: Instant {
        guard waiters.count > 0 else { return .never }
        var next = earliestExpiry
        if isCongested {
            next = min(next, congestionLimit(of: Int(waiters.longestWaiting)))
        } else if interval != .max {
            next = min(next, Self.sum(nonEmptySince, interval))
        }
        return Instant(nanoseconds: next)
    }

    /// Changes the limits: fewer permits let those in use drain, more are granted to waiters at once.
    public mutating func apply(_ settings: BulkheadSettings, now: Instant) {
        permits = max(1, settings.concurrent)
        places = max(0, settings.queuePlaces)
        shares = settings.shares.byRank
        interval = settings.congestionInterval.map { max(1, $0.wholeNanoseconds) } ?? .max
        target = max(0, settings.congestionTarget.wholeNanoseconds)
        if interval == .max { isCongested = false }
        expire(now: now)
        grantFree()
    }

    /// Changes how many permits there are, 1 or more, and nothing else: fewer let those in use drain, more go to waiters at once.
    public mutating func setPermits(_ count: Int, now: Instant) {
        permits = max(1, count)
        if waiters.count > 0 {
            expire(now: now)
            grantFree()
        }
    }

    /// Somebody to be told, in the order of the decisions.
    public mutating func nextDelivery() -> Delivery? {
        waiters.popOutbox().map { Delivery(waiter: $0.waiter, priority: $0.priority, refusal: $0.verdict) }
    }

    // MARK: Inside

    private mutating func see(_ now: Instant) {
        if now.nanoseconds > clock { clock = now.nanoseconds }
    }

    private mutating func occupy(_ rank: Int) {
        inUse += 1
        inUseOf[rank] += 1
        if inUse > highWater { highWater = inUse }
    }

    private mutating func grantFree() {
        while inUse < permits && waiters.count > 0 {
            let rank = nextRank
            occupy(rank)
            waiters.decide(isCongested ? waiters.newest[rank] : waiters.oldest[rank], nil)
        }
        noteIfEmpty()
    }

    /// The class whose waiter is next, where there is one: the most important that has not got its share, else the most important.
    private var nextRank: Int {
        var first = 3
        for rank in (0..<4).reversed() where waiters.counts[rank] > 0 { first = rank }
        for rank in first..<4 where waiters.counts[rank] > 0 && inUseOf[rank] < shares[rank] { return rank }
        return first
    }

    /// The waiter whose place a class that is owed its share may have.
    private var displaceable: Int32? {
        for rank in (0..<4).reversed() where waiters.counts[rank] > max(0, shares[rank] - inUseOf[rank]) {
            return waiters.newest[rank]
        }
        return nil
    }

    private mutating func noteIfEmpty() {
        if waiters.count == 0 {
            nonEmptySince = .max
            earliestExpiry = .max
        }
    }

    /// Enters the congested mode, refuses who has waited too long in it, and leaves it, in the order of time until `clock`.
    ///
    /// The end is dated like the rest: whoever joins after a silence in which the mode ran out is not refused by it, although
    /// nobody had looked in between.
    private mutating func followCongestion() {
        if interval == .max { return }
        while true {
            if !isCongested {
                guard waiters.count > 0, Self.sum(nonEmptySince, interval) <= clock else { return }
                isCongested = true
                congestedSince = nonEmptySince + interval
                lastLongWait = congestedSince
            }
            let end = Self.sum(lastLongWait, interval)
            let oldest = Int(waiters.longestWaiting)
            let limit = oldest >= 0 ? congestionLimit(of: oldest) : .max
            if limit <= min(clock, end) {
                lastLongWait = max(lastLongWait, limit)
                let hasOwnLimit = waiters.slots[oldest].expiry < limit
                waiters.decide(Int32(oldest), hasOwnLimit ? .bulkheadQueueTimeout : .bulkheadCoDel)
                noteIfEmpty()
            } else if end <= clock {
                isCongested = false
                if waiters.count > 0 { nonEmptySince = max(nonEmptySince, end) }
            } else {
                return
            }
        }
    }

    /// Until when a waiter may stay while the queue is congested.
    private func congestionLimit(of index: Int) -> Int64 {
        max(congestedSince, Self.sum(waiters.slots[index].queuedAt, target))
    }

    private static func sum(_ left: Int64, _ right: Int64) -> Int64 {
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? .max : sum
    }
}
