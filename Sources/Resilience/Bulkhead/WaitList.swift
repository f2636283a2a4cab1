// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Names one waiter in a bulkhead's queue; of no use once it was granted, refused or cancelled.
public struct WaitTicket: Equatable, Sendable {
    var slot: Int32
    var serial: UInt32
}

/// The waiters of a bulkhead and those that were decided on but not yet told, as two lists through one slab.
///
/// Joining, leaving from the middle and moving to the outbox cost the same however many wait. Grows only when more wait than ever.
///
///     queue    oldest ⇄ … ⇄ newest         outbox   first decided → … → last decided
struct WaitList<Waiter: Sendable>: Sendable {
    struct Slot: Sendable {
        var waiter: Waiter?
        var serial: UInt32 = 0
        var next: Int32 = -1
        var previous: Int32 = -1
        var isQueued = false
        var queuedAt: Int64 = 0
        var expiry: Int64 = .max
        /// In the outbox: why it was refused; `nil` if it was granted.
        var verdict: Reason?
    }

    private(set) var slots: [Slot] = []
    private var free: Int32 = -1
    private(set) var oldest: Int32 = -1
    private(set) var newest: Int32 = -1
    private(set) var count = 0
    private var outFirst: Int32 = -1
    private var outLast: Int32 = -1

    init(capacity: Int) { grow(to: capacity) }

    var hasOutbox: Bool { outFirst >= 0 }

    mutating func join(_ waiter: Waiter, at now: Int64, expiry: Int64) -> WaitTicket {
        if free < 0 { grow(to: max(8, slots.count * 2)) }
        let index = Int(free)
        free = slots[index].next
        slots[index].waiter = waiter
        slots[index].next = -1
        slots[index].previous = newest
        slots[index].isQueued = true
        slots[index].queuedAt = now
        slots[index].expiry = expiry
        slots[index].verdict = nil
        if newest >= 0 { slots[Int(newest)].next = Int32(index) } else { oldest = Int32(index) }
        newest = Int32(index)
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
    mutating func popOutbox() -> (waiter: Waiter, verdict: Reason?)? {
        guard outFirst >= 0 else { return nil }
        let index = Int(outFirst)
        outFirst = slots[index].next
        if outFirst < 0 { outLast = -1 }
        let verdict = slots[index].verdict
        return recycle(index).map { ($0, verdict) }
    }

    private mutating func unlink(_ index: Int) {
        let (next, previous) = (slots[index].next, slots[index].previous)
        if previous >= 0 { slots[Int(previous)].next = next } else { oldest = next }
        if next >= 0 { slots[Int(next)].previous = previous } else { newest = previous }
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
