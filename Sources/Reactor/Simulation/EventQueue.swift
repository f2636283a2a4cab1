// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// What happens next in the simulated world: ordered by time, and at one time by when it was planned.
struct EventQueue {
    enum Action {
        /// A connect's packet reaches the other host; the number of packets before it.
        case knock(SimulatedSocket, attempt: Int)
        /// The answer to a connect reaches its maker: 0 or an `errno`.
        case answered(SimulatedSocket, errno: Int32)
        /// The first item on the socket's way out arrives.
        case arrival(SimulatedSocket)
        /// The receiver has made room: sending goes on.
        case room(SimulatedSocket)
        /// Readiness is looked at anew.
        case notice(SimulatedSocket)
        /// A reset reaches the socket.
        case reset(SimulatedSocket)
        /// Keep-alive probes have not been answered for long enough.
        case silence(SimulatedSocket)
        case script(() -> Void)
    }

    struct Event {
        let time: Instant
        let sequence: UInt64
        let action: Action

        func isBefore(_ other: Event) -> Bool { time == other.time ? sequence < other.sequence : time < other.time }
    }

    /// A binary heap, the first event at its root.
    private var heap: [Event] = []
    private var planned: UInt64 = 0

    var next: Instant? { heap.first?.time }

    mutating func plan(_ action: Action, at time: Instant) {
        planned += 1
        heap.append(Event(time: time, sequence: planned, action: action))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// Takes the first event if its time has come.
    mutating func take(until now: Instant) -> Event? {
        guard let first = heap.first, first.time <= now else { return nil }
        let last = heap.removeLast()
        if heap.isEmpty { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].isBefore(heap[least]) {
                least = child
            }
            if least == parent { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
