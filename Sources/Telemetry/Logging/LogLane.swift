// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Synchronization

import Glibc

/// The bounded way of one thread's log lines to the writer of a `LogSink`: a ring of bytes with one producer and one
/// consumer, without a lock.
///
///     … | written | published, not yet written | free | …
///                 head (consumer)              tail (producer)
///
/// Whole lines are published at once, so the consumer never sees half a line. A line that does not fit is dropped and
/// counted; the producer never waits (case E27).
@safe package final class LogLane: @unchecked Sendable {
    // Sendable: `memory` between head and tail is read by the consumer only and the rest written by the producer only; the
    // two positions are handed over by release and acquire. `knownHead` belongs to the producer.
    private let memory: UnsafeMutableRawPointer
    private let capacity: Int
    private let bell: LogBell

    /// Bytes ever published and ever taken; a place in the ring is the position modulo the capacity, a power of two.
    private let tail = Atomic<Int>(0)
    private let head = Atomic<Int>(0)
    /// The head as the producer last saw it.
    private var knownHead = 0
    private let dropped = Atomic<UInt64>(0)

    /// `capacity` is rounded up to a power of two, at least 4 KiB.
    init(capacity: Int, bell: LogBell) {
        var size = 4_096
        while size < capacity && size < 1 << 30 { size *= 2 }
        guard let memory = unsafe malloc(size) else { preconditionFailure("out of memory for a log lane") }
        unsafe self.memory = memory
        self.capacity = size
        self.bell = bell
    }

    deinit { unsafe free(memory) }

    /// Lines dropped because the lane was full.
    package var droppedLines: UInt64 { dropped.load(ordering: .relaxed) }

    // MARK: Producer

    /// Publishes one line, which ends with its line feed. Only one thread may call this at a time. False: dropped.
    package func append(_ line: Span<UInt8>) -> Bool {
        let position = tail.load(ordering: .relaxed)
        let count = line.count
        if position - knownHead + count > capacity {
            knownHead = head.load(ordering: .acquiring)
            if position - knownHead + count > capacity {
                dropped.store(dropped.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
                bell.ring(isUrgent: true)
                return false
            }
        }
        unsafe line.withUnsafeBytes { source in
            guard let start = source.baseAddress else { return }
            let place = position & (capacity - 1)
            let first = min(count, capacity - place)
            unsafe memcpy(memory + place, start, first)
            if first < count { unsafe memcpy(memory, start + first, count - first) }
        }
        // Sequentially consistent, as is the bell's look at the writer: either the writer sees the line before it sleeps
        // or this thread sees that it sleeps.
        tail.store(position + count, ordering: .sequentiallyConsistent)
        var held = position + count - knownHead
        if held > capacity / 2 {
            knownHead = head.load(ordering: .acquiring)
            held = position + count - knownHead
        }
        bell.ring(isUrgent: held > capacity / 2)
        return true
    }

    // MARK: Consumer

    /// The end of what is published.
    var published: Int { tail.load(ordering: .sequentiallyConsistent) }
    var consumed: Int { head.load(ordering: .relaxed) }
    var isMoreThanHalfFull: Bool { published - consumed > capacity / 2 }

    /// Lends the bytes from the head to `end` (to the ring's edge, at most `maximum`) and drops as many as `body` says.
    func consume<Result>(to end: Int, maximum: Int, _ body: (UnsafeRawBufferPointer) -> (consumed: Int, Result)) -> Result {
        let position = head.load(ordering: .relaxed)
        let place = position & (capacity - 1)
        let count = min(end - position, capacity - place, maximum)
        let (consumed, result) = unsafe body(UnsafeRawBufferPointer(start: memory + place, count: count))
        head.store(position + consumed, ordering: .releasing)
        return result
    }
}
