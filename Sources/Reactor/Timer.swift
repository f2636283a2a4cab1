// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Is told when a timer of its own is due.
package protocol TimerOwner: AnyObject {
    /// On the reactor, not before the deadline. The timer is no longer armed and may be armed again.
    func timerFired(_ timer: Timer, now: Instant)
}

/// One deadline that can be moved and cancelled at no cost worth counting: a request arms several.
///
/// Owned by its owner and not by the wheel: a timer that dies never fires. It belongs to the first reactor that schedules it,
/// and it dies on that reactor's thread.
@safe public final class Timer {
    /// Set once, before the timer is armed. Apart from `init`, so that an owner holds its timers in constants and not lazily: each look at
    /// a lazy property costs about 70 instructions, and a request looks at twenty.
    package unowned var owner: (any TimerOwner)?
    let node: TimingWheel.Node

    package convenience init(owner: any TimerOwner) {
        self.init()
        self.owner = owner
    }

    package init() {
        unsafe node = .allocate(capacity: 1)
        unsafe node.initialize(to: TimerNode())
        // The node never outlives the timer, which is why an unretained reference back is enough.
        unsafe node.pointee.timer = Unmanaged.passUnretained(self)
    }

    deinit {
        unsafe TimingWheel.unlink(node)
        unsafe node.deinitialize(count: 1)
        unsafe node.deallocate()
    }

    package var isArmed: Bool { unsafe node.pointee.deadline != .max }

    /// When it is due; `never` if it is not armed.
    package var deadline: Instant { unsafe Instant(nanoseconds: node.pointee.deadline) }

    /// It will not fire. The wheel finds out when it comes to the old place.
    package func cancel() { unsafe node.pointee.deadline = .max }
}

/// A timer as the wheel sees it: memory at a fixed address, linked without reference counts.
@unsafe struct TimerNode {
    // `next` is first, so that a pointer to it and a pointer to the node are one address.
    var next: UnsafeMutablePointer<TimerNode>?
    /// The link that points here: a slot's head or the previous node's `next`. `nil`: in no list.
    var back: UnsafeMutablePointer<UnsafeMutablePointer<TimerNode>?>?
    /// Nanoseconds; `.max`: not armed.
    var deadline = Int64.max
    /// First tick of the slot that it lies in. A deadline at or after it may be set without moving the node.
    var place: Int64 = 0
    /// Orders timers with one deadline by when they were scheduled.
    var sequence: UInt64 = 0
    var timer: Unmanaged<Timer>?
}
