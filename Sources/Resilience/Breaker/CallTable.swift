// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The calls that a breaker has let through and not yet heard the end of, with their slow clocks in order of expiry.
///
/// A slab: a call is a slot number and a serial, so a handle that is used twice or too late finds nothing. Running clocks
/// form a doubly linked list through the slots, sorted by the instant of crossing. All clocks have one length, so a new
/// one belongs at the end, and the walk for its place ends at once; only a clock that stood still, or a reactor
/// whose idea of now lags, takes a step or two. Grows (and only then allocates) when more calls are under way than ever.
///
///     slots   [ 0 ][ 1 ][ 2 ][ 3 ]…      first ─► 2 ⇄ 0 ⇄ 3 ◄─ last        free ─► 1 ─► …
struct CallTable: Sendable {
    struct Marks: OptionSet, Sendable {
        let rawValue: UInt8
        static let inUse = Marks(rawValue: 1)
        static let isProbe = Marks(rawValue: 2)
        static let clockRuns = Marks(rawValue: 4)
        static let headCame = Marks(rawValue: 8)
        static let wasSlow = Marks(rawValue: 16)
        /// Its outcome is in the window, or its half-open permit has come back.
        static let isSettled = Marks(rawValue: 32)
        static let countedFast = Marks(rawValue: 64)
        static let countedSuccess = Marks(rawValue: 128)
    }

    struct Slot: Sendable {
        var marks: Marks = []
        var serial: UInt32 = 0
        var next: Int32 = -1
        var previous: Int32 = -1
        var generation: UInt64 = 0
        /// While the clock runs, the instant at which the call becomes slow; while it stands, the time left. Negative: never started.
        var clock: Int64 = -1
        /// When a half-open permit counts as lost.
        var reclaimAt: Int64 = .max
    }

    private(set) var slots: [Slot]
    private var free: Int32
    private var first: Int32 = -1
    private var last: Int32 = -1
    private(set) var count = 0

    init(capacity: Int) {
        slots = []
        free = -1
        grow(to: max(1, capacity))
    }

    /// The instant of the next crossing; `.max` if no clock runs.
    var nextCrossing: Int64 { first < 0 ? .max : slots[Int(first)].clock }

    /// The slot of a call, or `nil` for a stranger.
    func index(_ call: CircuitBreaker.Call) -> Int? {
        let index = Int(call.slot)
        guard index >= 0, index < slots.count, slots[index].serial == call.serial else { return nil }
        return index
    }

    mutating func insert(generation: UInt64) -> CircuitBreaker.Call {
        if free < 0 { grow(to: slots.count * 2) }
        let index = Int(free)
        free = slots[index].next
        let serial = slots[index].serial
        slots[index] = Slot(marks: .inUse, serial: serial, generation: generation)
        count += 1
        return CircuitBreaker.Call(slot: Int32(index), serial: serial)
    }

    mutating func remove(_ index: Int) {
        if slots[index].marks.contains(.clockRuns) { unlink(index) }
        slots[index].marks = []
        slots[index].serial &+= 1
        slots[index].next = free
        free = Int32(index)
        count -= 1
    }

    mutating func insertMarks(_ marks: Marks, _ index: Int) { slots[index].marks.formUnion(marks) }
    mutating func removeMarks(_ marks: Marks, _ index: Int) { slots[index].marks.subtract(marks) }

    mutating func makeProbe(_ index: Int, reclaimAt: Int64) {
        slots[index].marks.insert(.isProbe)
        slots[index].reclaimAt = reclaimAt
    }

    /// Starts the clock, or lets it go on. `threshold` is used only at the first start.
    mutating func startClock(_ index: Int, now: Int64, threshold: Int64) {
        if slots[index].marks.contains(.clockRuns) { return }
        let left = slots[index].clock < 0 ? threshold : slots[index].clock
        let (sum, overflow) = now.addingReportingOverflow(left)
        slots[index].clock = overflow ? .max : sum
        link(index)
    }

    mutating func stopClock(_ index: Int, now: Int64) {
        guard slots[index].marks.contains(.clockRuns) else { return }
        unlink(index)
        slots[index].clock = max(0, slots[index].clock - now)
    }

    /// Takes the call whose clock ran out first off the list.
    mutating func popCrossing() -> Int? {
        guard first >= 0 else { return nil }
        let index = Int(first)
        unlink(index)
        slots[index].marks.insert(.wasSlow)
        return index
    }

    mutating func reserve(_ capacity: Int) {
        if capacity > slots.count { grow(to: capacity) }
    }

    private mutating func grow(to capacity: Int) {
        let old = slots.count
        slots.reserveCapacity(capacity)
        for index in old..<capacity { slots.append(Slot(next: index + 1 < capacity ? Int32(index + 1) : free)) }
        free = Int32(old)
    }

    private mutating func link(_ index: Int) {
        let clock = slots[index].clock
        var after = last
        while after >= 0 && slots[Int(after)].clock > clock { after = slots[Int(after)].previous }
        let before = after < 0 ? first : slots[Int(after)].next
        slots[index].previous = after
        slots[index].next = before
        if after < 0 { first = Int32(index) } else { slots[Int(after)].next = Int32(index) }
        if before < 0 { last = Int32(index) } else { slots[Int(before)].previous = Int32(index) }
        slots[index].marks.insert(.clockRuns)
    }

    private mutating func unlink(_ index: Int) {
        let (next, previous) = (slots[index].next, slots[index].previous)
        if previous < 0 { first = next } else { slots[Int(previous)].next = next }
        if next < 0 { last = previous } else { slots[Int(next)].previous = previous }
        slots[index].next = -1
        slots[index].previous = -1
        slots[index].marks.remove(.clockRuns)
    }
}
