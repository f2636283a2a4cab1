// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

/// The one timer of a guard's queue: refuses waiters whose time is up, by their own limits and by the congestion rule's.
///
/// It sleeps only while somebody waits. Whoever joins arms it for the queue's next expiry, so it is never later than that; a
/// congestion that another thread notices begins no earlier than the instant that it was armed for.
final class QueueTimer<TimeSource: Clock>: Sendable where TimeSource.Duration == Duration {
    private struct State {
        var due = Core.Instant.never
        var serial: UInt64 = 0
        var task: Task<Void, Never>?
    }

    private let guardian: Guard
    private let timeline: Timeline<TimeSource>
    private let state = GuardLock(State())

    init(_ guardian: Guard, _ timeline: Timeline<TimeSource>) {
        self.guardian = guardian
        self.timeline = timeline
    }

    /// Makes sure that it goes off when the queue next has something to expire.
    func arm() {
        let due = guardian.nextExpiry
        let replaced: Task<Void, Never>? = state.withLock { state in
            guard due < state.due else { return nil }
            let old = state.task
            state.due = due
            state.serial += 1
            let serial = state.serial
            state.task = Task { await self.goOff(at: due, serial) }
            return old
        }
        replaced?.cancel()
    }

    /// For the owner's end.
    func stop() {
        let task = state.withLock { $0.task.take() }
        task?.cancel()
    }

    private func goOff(at due: Core.Instant, _ serial: UInt64) async {
        do { try await timeline.sleep(until: due) } catch { return }
        let isCurrent = state.withLock { state in
            guard state.serial == serial else { return false }
            state.due = .never
            state.task = nil
            return true
        }
        guard isCurrent else { return }
        guardian.expireWaiters(now: timeline.now)
        arm()
    }
}
