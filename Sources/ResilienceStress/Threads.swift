// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// Real threads that start together and meet at a barrier.
enum Threads {
    private final class Start {
        let index: Int
        let body: @Sendable (Int) -> Void
        init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
            self.index = index
            self.body = body
        }
    }

    /// Runs `body` on `count` threads of their own and waits for all.
    static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        var threads: [pthread_t] = []
        for index in 0..<count {
            var thread = pthread_t()
            // The retained reference is taken over by the thread, which releases it.
            let start = unsafe Unmanaged.passRetained(Start(index, body)).toOpaque()
            let failure = unsafe pthread_create(
                &thread, nil,
                { raw in
                    guard let raw = unsafe raw else { return nil }
                    let start = unsafe Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
                    start.body(start.index)
                    return nil
                }, start)
            precondition(failure == 0, "the system gives no thread")
            threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
    }
}

/// Where all threads wait for each other, again and again.
final class Barrier: Sendable {
    private let count: Int
    private let arrived = Atomic<Int>(0)
    private let round = Atomic<Int>(0)

    init(_ count: Int) { self.count = count }

    /// The last to arrive runs `alone` before any of them goes on.
    func meet(_ alone: () -> Void = {}) {
        let mine = round.load(ordering: .acquiring)
        if arrived.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue == count {
            alone()
            arrived.store(0, ordering: .relaxed)
            round.store(mine + 1, ordering: .releasing)
        } else {
            while round.load(ordering: .acquiring) == mine { sched_yield() }
        }
    }
}
