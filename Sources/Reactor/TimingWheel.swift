// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Finds due timers at a cost that does not depend on how many are armed: eight levels of 64 slots, a tick of 2^20 ns
/// (1.05 ms), after Varghese and Lauck ("Hashed and hierarchical timing wheels", SOSP 1987).
///
///     level 0   64 slots of 1.05 ms     level 2   64 slots of 4.3 s      …     level 7   beyond 146 years
///
/// Cancelling and moving a timer later only write its deadline: the node stays where it is and is sorted anew when the wheel
/// comes to its slot. Within a slot deadlines are compared to the nanosecond, so nothing fires early, and what is due at one
/// time fires in order of (deadline, scheduling).
@safe final class TimingWheel {
    typealias Node = UnsafeMutablePointer<TimerNode>

    private static let tickBits: Int64 = 20
    private static let levelBits = 6
    private static let levels = 8
    private static let slots = 64

    /// First nodes of all slots, level by level, then of the list of due timers.
    private let heads: UnsafeMutablePointer<Node?>
    private let due: UnsafeMutablePointer<Node?>
    /// One bit a slot that may hold nodes. A timer that dies leaves its slot's bit behind.
    private let occupied: UnsafeMutablePointer<UInt64>
    /// No node lies in a slot before this tick.
    private var tick: Int64 = 0
    private var sequence: UInt64 = 0
    private var sorting: ContiguousArray<Node>

    /// Nothing is due before this (nanoseconds); `.max`: no timer is linked. May be earlier than the first deadline.
    private(set) var wakeAt = Int64.max

    init() {
        let count = TimingWheel.levels * TimingWheel.slots + 1
        unsafe heads = .allocate(capacity: count)
        unsafe heads.initialize(repeating: nil, count: count)
        unsafe due = heads + (count - 1)
        unsafe sorting = []
        unsafe occupied = .allocate(capacity: TimingWheel.levels)
        unsafe occupied.initialize(repeating: 0, count: TimingWheel.levels)
    }

    deinit {
        // Timers that outlive the wheel must not touch its heads any more.
        for i in 0...(TimingWheel.levels * TimingWheel.slots) {
            while let node = unsafe heads[i] { unsafe TimingWheel.unlink(node) }
        }
        unsafe heads.deallocate()
        unsafe occupied.deallocate()
    }

    // MARK: Scheduling

    /// Arms `node` for `deadline` (nanoseconds), wherever it was before. `.max` cancels.
    @inline(__always)
    func schedule(_ node: Node, at deadline: Int64) {
        sequence &+= 1
        unsafe node.pointee.deadline = deadline
        unsafe node.pointee.sequence = sequence
        if deadline < wakeAt { wakeAt = deadline }
        if unsafe node.pointee.back != nil && deadline >> TimingWheel.tickBits >= node.pointee.place { return }
        unsafe place(node)
    }

    private func place(_ node: Node) {
        unsafe TimingWheel.unlink(node)
        if unsafe node.pointee.deadline != .max { unsafe insert(node) }
    }

    /// Puts an unlinked node into the slot of its deadline.
    private func insert(_ node: Node) {
        let wanted = unsafe max(node.pointee.deadline >> TimingWheel.tickBits, tick)
        // The highest group of six bits in which the two ticks differ is the level.
        let difference = UInt64(bitPattern: wanted ^ tick) | 63
        let level = (63 - difference.leadingZeroBitCount) / TimingWheel.levelBits
        let shift = Int64(level * TimingWheel.levelBits)
        let slot = Int(wanted >> shift) & 63
        unsafe node.pointee.place = (wanted >> shift) << shift
        unsafe occupied[level] |= 1 << UInt64(slot)
        unsafe TimingWheel.link(node, at: heads + (level * TimingWheel.slots + slot))
    }

    // MARK: Firing

    /// Moves what is due at `now` to the list that `popDue` takes from. Cheap when nothing can be.
    @inline(__always)
    func collectDue(at now: Int64) {
        if now >= wakeAt { collect(at: now) }
    }

    private func collect(at now: Int64) {
        let target = now >> TimingWheel.tickBits
        while let (level, slot, start) = earliestSlot(), start <= target {
            tick = max(tick, start)
            let head = unsafe heads + (level * TimingWheel.slots + slot)
            var list = unsafe head.pointee
            unsafe head.pointee = nil
            unsafe occupied[level] &= ~(1 << UInt64(slot))
            while let node = unsafe list {
                unsafe list = node.pointee.next
                unsafe node.pointee.back = nil
                if unsafe node.pointee.deadline == .max { continue }
                if unsafe node.pointee.deadline <= now {
                    unsafe sorting.append(node)
                } else {
                    unsafe insert(node)
                }
            }
            // What remains in the present tick's own slot is due later in it.
            if level == 0 && start == target { break }
        }
        tick = max(tick, target)
        linkDue()
        findWake()
    }

    private func linkDue() {
        if unsafe sorting.count > 1 {
            unsafe sorting.sort { left, right in
                let (l, r) = unsafe (left.pointee.deadline, right.pointee.deadline)
                return unsafe l == r ? left.pointee.sequence < right.pointee.sequence : l < r
            }
        }
        while let node = unsafe sorting.popLast() {
            // Whoever schedules it now puts it into the wheel: it fires in a later turn.
            unsafe node.pointee.place = .max
            unsafe TimingWheel.link(node, at: due)
        }
    }

    /// The next due timer, disarmed. Those that were cancelled meanwhile are passed over.
    @inline(__always)
    func popDue() -> (timer: Timer, deadline: Int64)? {
        while let node = unsafe due.pointee {
            unsafe TimingWheel.unlink(node)
            let deadline = unsafe node.pointee.deadline
            if deadline == .max { continue }
            unsafe node.pointee.deadline = .max
            if let timer = unsafe node.pointee.timer { return unsafe (timer.takeUnretainedValue(), deadline) }
        }
        return nil
    }

    // MARK: Looking ahead

    /// Sets `wakeAt`: the first deadline if it is within the lowest level, else the start of the first slot that is taken.
    private func findWake() {
        while let (level, slot, start) = earliestSlot() {
            if level > 0 {
                wakeAt = start << TimingWheel.tickBits
                return
            }
            let first = unsafe firstDeadline(in: heads + slot, tick: start)
            if first != .max {
                wakeAt = first
                return
            }
            unsafe occupied[0] &= ~(1 << UInt64(slot))
        }
        wakeAt = .max
    }

    /// The first deadline of a slot of the lowest level, which loses what was cancelled or moved later.
    private func firstDeadline(in head: UnsafeMutablePointer<Node?>, tick slotTick: Int64) -> Int64 {
        var first = Int64.max
        var next = unsafe head.pointee
        while let node = unsafe next {
            unsafe next = node.pointee.next
            let deadline = unsafe node.pointee.deadline
            if deadline == .max {
                unsafe TimingWheel.unlink(node)
            } else if deadline >> TimingWheel.tickBits > slotTick {
                unsafe TimingWheel.unlink(node)
                unsafe insert(node)
            } else {
                first = min(first, deadline)
            }
        }
        return first
    }

    /// Whether any timer is armed, at the cost of a look at every one. Unlinks what was cancelled, so that `wakeAt` holds for
    /// armed timers only: for the simulated world, which asks before it calls itself idle.
    func findArmed() -> Bool {
        var found = false
        for i in 0..<(TimingWheel.levels * TimingWheel.slots) {
            var next = unsafe heads[i]
            while let node = unsafe next {
                unsafe next = node.pointee.next
                if unsafe node.pointee.deadline == .max { unsafe TimingWheel.unlink(node) } else { found = true }
            }
            if unsafe heads[i] == nil { unsafe occupied[i / TimingWheel.slots] &= ~(1 << UInt64(i % TimingWheel.slots)) }
        }
        findWake()
        return found
    }

    /// The slot that comes first among those that may hold nodes: no slot of a level comes before one of a lower level.
    private func earliestSlot() -> (level: Int, slot: Int, start: Int64)? {
        for level in 0..<TimingWheel.levels {
            let bits = unsafe occupied[level]
            if bits == 0 { continue }
            let slot = bits.trailingZeroBitCount
            let shift = Int64(level * TimingWheel.levelBits)
            let block = (tick >> shift) & ~63
            return (level, slot, (block | Int64(slot)) << shift)
        }
        return nil
    }

    // MARK: Links

    @inline(__always)
    private static func link(_ node: Node, at head: UnsafeMutablePointer<Node?>) {
        let first = unsafe head.pointee
        unsafe node.pointee.next = first
        unsafe node.pointee.back = head
        unsafe head.pointee = node
        if let first = unsafe first { unsafe first.pointee.back = linkField(of: node) }
    }

    /// Takes a node out of whatever list it is in.
    @inline(__always)
    static func unlink(_ node: Node) {
        guard let back = unsafe node.pointee.back else { return }
        let next = unsafe node.pointee.next
        unsafe back.pointee = next
        if let next = unsafe next { unsafe next.pointee.back = back }
        unsafe node.pointee.back = nil
        unsafe node.pointee.next = nil
    }

    /// Where `node.next` lies: it is the node's first field.
    @inline(__always)
    private static func linkField(of node: Node) -> UnsafeMutablePointer<Node?> {
        unsafe UnsafeMutableRawPointer(node).assumingMemoryBound(to: Node?.self)
    }
}
