// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// How producers wake the writer of a log: rarely.
///
/// The writer gathers lines for some milliseconds before it writes them, so a producer makes a system call only for the
/// first line after quiet, and when a lane is half full.
final class LogBell: Sendable {
    /// What the writer is doing.
    private enum Mode {
        static let awake: UInt32 = 0
        /// Waits until any line comes.
        static let idle: UInt32 = 1
        /// Waits for more lines, for a bounded time.
        static let gathering: UInt32 = 2
    }

    private let mode = Atomic<UInt32>(Mode.awake)
    private let signal = Semaphore()

    init() {}

    /// Wakes the writer if it sleeps and this is a reason to wake.
    func ring(isUrgent: Bool) {
        let seen = mode.load(ordering: .sequentiallyConsistent)
        guard seen == Mode.idle || (seen == Mode.gathering && isUrgent) else { return }
        if mode.compareExchange(expected: seen, desired: Mode.awake, ordering: .sequentiallyConsistent).exchanged {
            signal.post()
        }
    }

    /// Wakes the writer, whatever it does; if it is awake its next wait ends at once.
    func ringAlways() {
        mode.store(Mode.awake, ordering: .sequentiallyConsistent)
        signal.post()
    }

    /// For the writer: waits until it is rung, or until `nanoseconds` have passed. `isQuiet` is asked once more after
    /// producers can see that the writer is about to sleep.
    func wait(nanoseconds: Int64?, unless isBusy: () -> Bool) {
        mode.store(nanoseconds == nil ? Mode.idle : Mode.gathering, ordering: .sequentiallyConsistent)
        if !isBusy() {
            if let nanoseconds { _ = signal.wait(nanoseconds: nanoseconds) } else { signal.wait() }
        }
        mode.store(Mode.awake, ordering: .sequentiallyConsistent)
    }
}
