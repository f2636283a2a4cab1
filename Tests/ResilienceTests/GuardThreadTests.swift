// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
@testable import Resilience
import Synchronization
import Testing

/// One guard under eight real threads.
@Suite(.serialized) struct GuardThreadTests {
    static let threads = 8

    /// Runs `body` on eight threads and waits for them all.
    private func onEight(_ body: @escaping @Sendable (Int) -> Void) {
        let done = DispatchSemaphore(value: 0)
        for index in 0..<Self.threads {
            let thread = Thread {
                body(index)
                done.signal()
            }
            thread.start()
        }
        for _ in 0..<Self.threads { done.wait() }
    }

    @Test func K1_K2_exactUnderEightThreads() {
        let seed = Seed.current
        var settings = GuardSettings.small(permits: 5, places: 8)
        settings.breaker = .plain(100, minimum: 100)
        let guardian = Guard(settings, draw: Draw(seed: 1))
        let inside = Atomic<Int>(0), most = Atomic<Int>(0), admitted = Atomic<Int>(0), waited = Atomic<Int>(0),
            lost = Atomic<Int>(0)
        let clock = Atomic<Int64>(0)
        onEight { thread in
            var random = seed.random(UInt64(thread))
            @inline(__always) func work(_ permit: consuming AttemptPermit) {
                admitted.wrappingAdd(1, ordering: .relaxed)
                let now = inside.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
                most.max(now, ordering: .relaxed)
                let at = Instant(nanoseconds: clock.wrappingAdd(1_000, ordering: .relaxed).newValue)
                permit.requestSent(now: at)
                permit.headArrived(.success, now: at)
                if random.chance(10) { sched_yield() }
                inside.wrappingSubtract(1, ordering: .acquiringAndReleasing)
                if random.chance(80) { permit.report(.success, now: at) }
            }
            for operation in 0..<100_000 / Self.threads {
                let at = Instant(nanoseconds: clock.wrappingAdd(1_000, ordering: .relaxed).newValue)
                switch guardian.admit(now: at, request: UInt64(operation), isFirstAttempt: true) {
                case .admitted(let permit): work(permit)
                case .refused: break
                case .mustWait:
                    let waiter = RecordingWaiter()
                    switch guardian.wait(waiter, now: at, expiry: .never) {
                    case .granted(let permit):
                        switch guardian.reserve(permit, now: at, request: 1, isFirstAttempt: true) {
                        case .admitted(let permit): work(permit)
                        case .mustWait: break
                        case .refused: break
                        }
                    case .refused: break
                    case .waiting(let ticket):
                        waited.wrappingAdd(1, ordering: .relaxed)
                        for _ in 0..<random.below(20) { sched_yield() }
                        waiter.state.withLock { $0.hasGivenUp = true }
                        if guardian.cancelWait(ticket) { break }
                        // Granted: held already, or on its way, and then it goes on by itself.
                        if let permit = waiter.take() {
                            switch guardian.reserve(permit, now: at, request: 1, isFirstAttempt: true) {
                            case .admitted(let permit): work(permit)
                            case .mustWait: break
                            case .refused: break
                            }
                        } else {
                            lost.wrappingAdd(1, ordering: .relaxed)
                        }
                    }
                }
                if operation % 64 == 0 {
                    let snapshot = guardian.snapshot()
                    if snapshot.permitsInUse > 5 || snapshot.queued > 8 { Issue.record("\(seed): \(snapshot)") }
                }
            }
        }
        let snapshot = guardian.snapshot()
        #expect(snapshot.permitsInUse == 0 && snapshot.queued == 0 && snapshot.highWater <= 5)
        #expect(most.load(ordering: .relaxed) <= 5, "the world's own count")
        #expect(snapshot.counters.admitted == UInt64(admitted.load(ordering: .relaxed)))
        #expect(snapshot.counters.queued == snapshot.counters.grantedFromQueue + snapshot.counters.cancelledInQueue)
        #expect(snapshot.counters.queued == UInt64(waited.load(ordering: .relaxed)))
    }

    @Test func B2_E02_exactlyTheProbesAtTheInstantOfHalfOpening() {
        for round in 0..<20 as Range<Int64> {
            var settings = GuardSettings.small(permits: 1_000, places: 0)
            settings.breaker.halfOpenCalls = 1 + Int(round % 5)
            let guardian = Guard(settings, draw: Draw(seed: 1))
            for _ in 0..<4 { guardian.run(0, failure) }
            let probes = Atomic<Int>(0)
            let kept = GuardLock([Held]())
            onEight { thread in
                for request in 0..<125 as Range<UInt64> {
                    switch guardian.admit(now: .milliseconds(5_000), request: request, isFirstAttempt: true) {
                    case .admitted(let permit):
                        probes.wrappingAdd(1, ordering: .relaxed)
                        let held = Held(permit)
                        kept.withLock { $0.append(held) }
                    case .mustWait: break
                    case .refused: break
                    }
                }
            }
            #expect(probes.load(ordering: .relaxed) == settings.breaker.halfOpenCalls, "B2")
            let all = kept.withLock { $0 }
            for held in all { held.permit = nil }
            #expect(guardian.inUse == 0)
        }
    }

    @Test func K2_E05_tenThousandWaitersCancelledAtRandomMoments() {
        let seed = Seed.current
        let settings = GuardSettings.small(permits: 8, places: 10_000)
        let guardian = Guard(settings, draw: Draw(seed: 1))
        let holders = (0..<8).map { _ in Held() }
        for holder in holders { _ = guardian.ask(0, keep: &holder.permit) }
        let waiters = (0..<10_000).map { _ in RecordingWaiter() }
        let tickets = waiters.map { guardian.join($0, 0, until: 1_000_000) }
        #expect(tickets.allSatisfy { $0 != nil } && guardian.snapshot().queued == 10_000)
        let next = Atomic<Int>(0)
        let late = Atomic<Int>(0)
        onEight { thread in
            var random = seed.random(UInt64(100 + thread))
            while true {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                if index >= 10_000 { break }
                if random.chance(20) { sched_yield() }
                let waiter = waiters[index]
                if random.chance(50), let ticket = tickets[index] {
                    waiter.state.withLock { $0.hasGivenUp = true }
                    if guardian.cancelWait(ticket) {
                        if waiter.state.withLock({ $0.grants }) > 0 { late.wrappingAdd(1, ordering: .relaxed) }
                    } else {
                        // It may have been granted before it gave up, and then it holds the permit: let it go.
                        _ = waiter.take()
                    }
                } else {
                    _ = waiter.take()
                }
                if index % 50 == 0 && index / 50 < 8 { holders[index / 50].permit = nil }
            }
        }
        // Those that never gave up hold or get their permit in turn.
        var rounds = 0
        while guardian.inUse > 0 && rounds < 20_000 {
            for waiter in waiters where waiter.isGranted { _ = waiter.take() }
            rounds += 1
        }
        let snapshot = guardian.snapshot()
        #expect(snapshot.permitsInUse == 0 && snapshot.queued == 0 && snapshot.highWater == 8, "\(seed)")
        #expect(late.load(ordering: .relaxed) == 0, "nobody is granted after the cancellation succeeded")
        #expect(waiters.allSatisfy { $0.state.withLock { $0.grants } <= 1 })
        #expect(snapshot.counters.grantedFromQueue + snapshot.counters.cancelledInQueue == 10_000)
    }

    @Test func R4_retryTokensUnderEightThreads() {
        var settings = GuardSettings.small(permits: 1_000)
        settings.retries.budget.ratio = Share(tenThousandths: 10_000)
        let guardian = Guard(settings, draw: Draw(seed: 1))
        let granted = Atomic<Int>(0)
        onEight { thread in
            for i in 0..<5_000 as Range<Int64> {
                guardian.depositFirst(now: .milliseconds(i))
                guard var token = guardian.withdrawRetry(now: .milliseconds(i)) else { continue }
                granted.wrappingAdd(1, ordering: .relaxed)
                if i % 3 == 0 { token.sent() }
                if i % 3 == 1 { token.finished(now: .milliseconds(i)) }
            }
        }
        let snapshot = guardian.snapshot()
        #expect(snapshot.retriesOutstanding == 0)
        #expect(snapshot.retriesGranted == UInt64(granted.load(ordering: .relaxed)))
        #expect(snapshot.retriesRefunded <= snapshot.retriesGranted)
    }
}
