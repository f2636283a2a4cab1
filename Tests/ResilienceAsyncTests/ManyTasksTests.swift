// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience
import ResilienceAsync
import Synchronization
import Testing

/// What the world counts by itself.
private final class Tally: Sendable {
    let inside = Atomic<Int>(0), most = Atomic<Int>(0)
    let served = Atomic<Int>(0), refused = Atomic<Int>(0), failed = Atomic<Int>(0), cancelled = Atomic<Int>(0)
}

/// Real tasks on the real pool of threads.
@Suite(.timeLimit(.minutes(5))) struct ManyTasksTests {
    @Test func K1_K2_sixtyFourTasksNeverExceedTheBulkhead() async {
        let upstream = AsyncGuard(
            settings {
                $0.bulkhead.concurrent = 5
                $0.bulkhead.queue = 40
                $0.bulkhead.queueTimeout = .seconds(30)
                $0.bulkhead.congestionInterval = nil
                $0.breaker.disabled = true
                $0.retries.backoffBase = .microseconds(50)
                $0.retries.backoffCap = .microseconds(100)
                $0.timeouts.perTry = .seconds(20)
            }, clock: ContinuousClock(), seed: 3)
        let tally = Tally()
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<64 {
                group.addTask {
                    for round in 0..<40 {
                        let call = Task {
                            try await upstream.run(idempotent: true) { _ in
                                let now = tally.inside.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
                                tally.most.max(now, ordering: .relaxed)
                                defer { tally.inside.wrappingSubtract(1, ordering: .acquiringAndReleasing) }
                                for _ in 0..<(task + round) % 7 { await Task.yield() }
                                if (task + round) % 11 == 0 { throw Broken() }
                            }
                        }
                        if (task * 40 + round) % 13 == 0 {
                            await Task.yield()
                            call.cancel()
                        }
                        do {
                            try await call.value
                            tally.served.wrappingAdd(1, ordering: .relaxed)
                        } catch is CancellationError {
                            tally.cancelled.wrappingAdd(1, ordering: .relaxed)
                        } catch is GuardRejection {
                            tally.refused.wrappingAdd(1, ordering: .relaxed)
                        } catch {
                            tally.failed.wrappingAdd(1, ordering: .relaxed)
                        }
                    }
                }
            }
        }
        let snapshot = upstream.snapshot()
        let counters = snapshot.counters
        #expect(tally.most.load(ordering: .relaxed) <= 5 && snapshot.highWater == 5)
        #expect(snapshot.permitsInUse == 0 && snapshot.queued == 0 && snapshot.retriesOutstanding == 0)
        #expect(counters.queued == counters.grantedFromQueue + counters.cancelledInQueue + counters.refusedQueueTimeout)
        let (good, bad) = (tally.served.load(ordering: .relaxed), tally.failed.load(ordering: .relaxed))
        let (none, gone) = (tally.refused.load(ordering: .relaxed), tally.cancelled.load(ordering: .relaxed))
        #expect(good + bad + none + gone == 64 * 40)
        #expect(good > 0 && counters.grantedFromQueue > 0)
    }
}
