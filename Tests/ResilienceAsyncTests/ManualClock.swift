// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// A clock that moves only when it is told to. Whoever tests waits for a sleeper to be there, then jumps to its instant.
final class ManualClock: Clock, Sendable {
    struct Instant: InstantProtocol {
        var offset: Duration
        func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        func duration(to other: Instant) -> Duration { other.offset - offset }
        static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    }

    private struct Sleeper {
        var until: Instant
        var continuation: CheckedContinuation<Void, any Error>
    }

    private struct Watcher {
        var isTrue: @Sendable ([Duration]) -> Bool
        var continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var now = Instant(offset: .zero)
        var serial: UInt64 = 0
        var sleepers: [UInt64: Sleeper] = [:]
        var cancelled: Set<UInt64> = []
        var watchers: [Watcher] = []

        /// Watchers whose condition has come true; to be resumed outside the lock.
        mutating func takeSatisfied() -> [Watcher] {
            let wakes = sleepers.values.map(\.until.offset).sorted()
            let due = watchers.filter { $0.isTrue(wakes) }
            watchers.removeAll { $0.isTrue(wakes) }
            return due
        }
    }

    private let state = GuardLock(State())

    var now: Instant { state.withLock { $0.now } }
    var minimumResolution: Duration { .nanoseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        try Task.checkCancellation()
        let serial = state.withLock { state in
            state.serial += 1
            return state.serial
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                enum Start { case sleeps([Watcher]), isDue, isCancelled }
                let start: Start = state.withLock { state in
                    if state.cancelled.remove(serial) != nil { return .isCancelled }
                    if deadline <= state.now { return .isDue }
                    state.sleepers[serial] = Sleeper(until: deadline, continuation: continuation)
                    return .sleeps(state.takeSatisfied())
                }
                switch start {
                case .sleeps(let watchers): for watcher in watchers { watcher.continuation.resume() }
                case .isDue: continuation.resume()
                case .isCancelled: continuation.resume(throwing: CancellationError())
                }
            }
        } onCancel: {
            let (sleeper, watchers) = state.withLock { state in
                let sleeper = state.sleepers.removeValue(forKey: serial)
                if sleeper == nil { state.cancelled.insert(serial) }
                return (sleeper, state.takeSatisfied())
            }
            sleeper?.continuation.resume(throwing: CancellationError())
            for watcher in watchers { watcher.continuation.resume() }
        }
    }

    /// Moves on, and wakes whoever is due.
    func advance(to offset: Duration) {
        let (due, watchers) = state.withLock { state in
            state.now = max(state.now, Instant(offset: offset))
            let due = state.sleepers.filter { $0.value.until <= state.now }
            for serial in due.keys { state.sleepers[serial] = nil }
            return (due.values.sorted { $0.until < $1.until }, state.takeSatisfied())
        }
        for sleeper in due { sleeper.continuation.resume() }
        for watcher in watchers { watcher.continuation.resume() }
    }

    /// Suspends until somebody sleeps until exactly `offset`, `count` of them.
    func sleeper(until offset: Duration, count: Int = 1) async {
        await sleepers { wakes in wakes.count { $0 == offset } >= count }
    }

    /// Suspends until `isTrue` of the sleepers' instants.
    func sleepers(_ isTrue: @escaping @Sendable ([Duration]) -> Bool) async {
        await withCheckedContinuation { continuation in
            let isTrueNow = state.withLock { state in
                if isTrue(state.sleepers.values.map(\.until.offset).sorted()) { return true }
                state.watchers.append(Watcher(isTrue: isTrue, continuation: continuation))
                return false
            }
            if isTrueNow { continuation.resume() }
        }
    }

    /// Waits for a sleeper until `offset` and jumps there.
    func pass(_ offset: Duration) async {
        await sleeper(until: offset)
        advance(to: offset)
    }
}
