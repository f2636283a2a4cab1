// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Names one waiter in a bulkhead's queue; of no use once it was granted, refused or cancelled.
public struct WaitTicket: Equatable, Sendable {
    var slot: Int32
    var serial: UInt32
}

/// A number for each class of priority.
typealias ByRank = InlineArray<4, Int32>

/// The waiters of a bulkhead, a queue for each class of priority, and those that were decided on but not yet told, as lists
/// through one slab.
///
/// Joining, leaving from the middle and moving to the outbox cost the same however many wait. Grows only when more wait than ever.
///
///     queues   oldest[rank] ⇄ … ⇄ newest[rank]         outbox   first decided → … → last decided
struct WaitList<Waiter: Sendable>: Sendable {
    struct Slot: Sendable {
        var waiter: Waiter?
        var serial: UInt32 = 0
        var next: Int32 = -1
        var previous: Int32 = -1
        var isQueued = false
        var priority = Priority.critical
        var queuedAt: Int64 = 0
        var expiry: Int64 = .max
        /// In the outbox: why it was refused; `nil` if it was granted.
        var verdict: Reason?
    }

    private(set) var slots: [Slot] = []
    private var free: Int32 = -1
    /// By rank; −1 where nobody waits.
    private(set) var oldest = ByRank(repeating: -1)
    private(set) var newest = ByRank(repeating: -1)
    private(set) var counts = ByRank(repeating: 0)
    private(set) var count = 0
    private var outFirst: Int32 = -1
    private var outLast: Int32 = -1

    init(capacity: Int) { grow(to: capacity) }

    var hasOutbox: Bool { outFirst >= 0 }

    /// Who has waited longest of all; of several, one of the least important. −1: nobody.
    var longestWaiting: Int32 {
        var found = oldest[0]
        for rank in 1..<4 where oldest[rank] >= 0 {
            if found < 0 || slots[Int(oldest[rank])].queuedAt <= slots[Int(found)].queuedAt { found = oldest[rank] }
        }
        return found
    }

    mutating func join(_ waiter: Waiter, _ priority: Priority, at now: Int64, expiry: Int64) -> WaitTicket {
        let rank = priority.rank
        if free < 0 { grow(to: max(8, slots.count * 2)) }
        let index = Int(free)
        free = slots[index].next
        slots[index].waiter = waiter
        slots[index].next = -1
        slots[index].previous = newest[rank]
        slots[index].priority = priority
        slots[index].isQueued = true
        slots[index].queuedAt = now
        slots[index].expiry = expiry
        slots[index].verdict = nil
        if newest[rank] >= 0 { slots[Int(newest[rank])].next = Int32(index) } else { oldest[rank] = Int32(index) }
        newest[rank] = Int32(index)
        counts[rank] += 1
        count += 1
        return WaitTicket(slot: Int32(index), serial: slots[index].serial)
    }

    /// Takes a waiter out of the queue for good. `nil`: it is not in the queue any more.
    mutating func leave(_ ticket: WaitTicket) -> Waiter? {
        let index = Int(ticket.slot)
        guard index >= 0, index < slots.count, slots[index].serial == ticket.serial, slots[index].isQueued else { return nil }
        unlink(index)
        return recycle(index)
    }

    /// Moves a waiter of the queue to the outbox, granted or refused.
    mutating func decide(_ slot: Int32, _ verdict: Reason?) {
        let index = Int(slot)
        unlink(index)
        slots[index].verdict = verdict
        if outLast >= 0 { slots[Int(outLast)].next = slot } else { outFirst = slot }
        outLast = slot
    }

    /// The next waiter to be told.
    mutating func popOutbox() -> (waiter: Waiter, priority: Priority, verdict: Reason?)? {
        guard outFirst >= 0 else { return nil }
        let index = Int(outFirst)
        outFirst = slots[index].next
        if outFirst < 0 { outLast = -1 }
        let (priority, verdict) = (slots[index].priority, slots[index].verdict)
        return recycle(index).map { ($0, priority, verdict) }
    }

    private mutating func unlink(_ index: Int) {
        let (next, previous, rank) = (slots[index].next, slots[index].previous, slots[index].priority.rank)
        if previous >= 0 { slots[Int(previous)].next = next } else { oldest[rank] = next }
        if next >= 0 { slots[Int(next)].previous = previous } else { newest[rank] = previous }
        counts[rank] -= 1
        slots[index].next = -1
        slots[index].previous = -1
        slots[index].isQueued = false
        count -= 1
    }

    private mutating func recycle(_ index: Int) -> Waiter? {
        let waiter = slots[index].waiter.take()
        slots[index].serial &+= 1
        slots[index].next = free
        free = Int32(index)
        return waiter
    }

    private mutating func grow(to capacity: Int) {
        let old = slots.count
        slots.reserveCapacity(capacity)
        for index in old..<max(old, capacity) {
            slots.append(Slot(next: index + 1 < capacity ? Int32(index + 1) : free))
        }
        if capacity > old { free = Int32(old) }
    }
}
