// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience
import ResilienceAsync
import Testing

struct Broken: Error, Equatable { var number = 0 }

typealias Upstream = AsyncGuard<ManualClock>

/// Counts and remembers across tasks.
final class Recorder<Element: Sendable>: Sendable {
    private let list = GuardLock([Element]())
    func note(_ element: Element) { list.withLock { $0.append(element) } }
    var all: [Element] { list.withLock { $0 } }
}

/// Suspends whoever enters until it is opened; heeds cancellation.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var inside: [UInt64: CheckedContinuation<Void, any Error>] = [:]
        var cancelled: Set<UInt64> = []
        var serial: UInt64 = 0
        var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }
    private let state = GuardLock(State())

    func pass() async throws {
        let serial = state.withLock { state in
            state.serial += 1
            return state.serial
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let (result, arrived) = state.withLock { state -> (Result<Void, any Error>?, [CheckedContinuation<Void, Never>]) in
                    if state.cancelled.remove(serial) != nil { return (.failure(CancellationError()), []) }
                    if state.isOpen { return (.success(()), []) }
                    state.inside[serial] = continuation
                    let due = state.watchers.filter { $0.count <= state.inside.count }.map(\.continuation)
                    state.watchers.removeAll { $0.count <= state.inside.count }
                    return (nil, due)
                }
                if let result { continuation.resume(with: result) }
                for watcher in arrived { watcher.resume() }
            }
        } onCancel: {
            let continuation = state.withLock { state in
                let continuation = state.inside.removeValue(forKey: serial)
                if continuation == nil { state.cancelled.insert(serial) }
                return continuation
            }
            continuation?.resume(throwing: CancellationError())
        }
    }

    func open() {
        let all = state.withLock { state in
            state.isOpen = true
            let all = Array(state.inside.values)
            state.inside = [:]
            return all
        }
        for continuation in all { continuation.resume() }
    }

    /// Suspends until `count` are inside.
    func holds(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isTrue = state.withLock { state in
                if state.inside.count >= count { return true }
                state.watchers.append((count, continuation))
                return false
            }
            if isTrue { continuation.resume() }
        }
    }
}

/// Settings with round numbers: no ramp, no jitter of the opening, no limits of time, retries bounded by attempts.
func settings(_ change: (inout GuardSettings) -> Void = { _ in }) -> GuardSettings {
    var settings = GuardSettings()
    settings.timeouts.total = nil
    settings.timeouts.perTry = nil
    settings.breaker.window = .count(calls: 4)
    settings.breaker.minimumCalls = 4
    settings.breaker.openJitter = Share(tenThousandths: 0)
    settings.breaker.ramp = .zero
    settings.breaker.halfOpenCalls = 1
    settings.retries.budget.ratio = Share(tenThousandths: 10_000)
    change(&settings)
    return settings
}

func rejection(_ body: () async throws -> some Sendable) async -> GuardRejection? {
    do { _ = try await body() } catch { return error as? GuardRejection }
    return nil
}

@Suite(.timeLimit(.minutes(5))) struct AsyncGuardTests {
    let clock = ManualClock()

    @Test func theMoreImportantIsServedFirstAndTheLeastIsShed() async throws {
        let upstream = Upstream(
            settings {
                $0.bulkhead.concurrent = 1
                $0.bulkhead.queue = 3
                $0.bulkhead.queueTimeout = .seconds(10)
            }, clock: clock, seed: 1)
        let gate = Gate()
        let order = Recorder<String>()
        let holder = Task { try await upstream.run { _ in try await gate.pass() } }
        await gate.holds(1)
        let normal = Task { try await upstream.run(priority: .normal) { _ in order.note("normal") } }
        while upstream.snapshot().queued < 1 { await Task.yield() }
        // Half of permits and places are taken.
        let bulk = await rejection { try await upstream.run(priority: .bulk) { _ in } }
        #expect(bulk?.reason == .shedOccupancy)
        let critical = Task { try await upstream.run(priority: .critical) { _ in order.note("critical") } }
        while upstream.snapshot().queued < 2 { await Task.yield() }
        gate.open()
        try await holder.value
        try await normal.value
        try await critical.value
        #expect(order.all == ["critical", "normal"])
        #expect(upstream.snapshot().permitsInUse == 0)
    }

    @Test func clientsOfAnUpstreamThatFailsAreThrottledAsAWhole() async throws {
        let upstream = Upstream(
            settings {
                $0.breaker.disabled = true
                $0.retries.attempts = 1
                $0.throttle = ThrottleSettings()
            }, clock: clock, seed: 1)
        for _ in 0..<20 { _ = try? await upstream.run { _ in throw Broken() } }
        var answers: [UInt64: Set<Bool>] = [:]
        for client in (0..<40 as Range<UInt64>) {
            for _ in 0..<3 {
                let reason = await rejection { try await upstream.run(client: client) { _ in throw Broken() } }?.reason
                answers[client, default: []].insert(reason == .shedThrottle)
            }
        }
        #expect(answers.values.allSatisfy { $0.count == 1 } && Set(answers.values).count == 2)
    }

    @Test func aValueComesBackAndEveryPermitToo() async throws {
        let upstream = Upstream(settings(), clock: clock, seed: 1)
        let value = try await upstream.run { attempt in
            #expect(attempt.number == 1 && attempt.deadline == nil)
            return "served"
        }
        #expect(value == "served")
        let snapshot = upstream.snapshot()
        #expect(snapshot.permitsInUse == 0 && snapshot.counters.admitted == 1 && snapshot.evidence.completed == 1)
    }

    @Test func anErrorIsRethrownAsItIs() async throws {
        let upstream = Upstream(settings(), clock: clock, seed: 1)
        await #expect(throws: Broken(number: 1)) { try await upstream.run { throw Broken(number: $0.number) } }
        let snapshot = upstream.snapshot()
        #expect(snapshot.evidence.failed == 1 && snapshot.permitsInUse == 0 && snapshot.retriesGranted == 0)
    }

    // MARK: Retries

    @Test func retriesAtTheExactInstantsOfTheirBackOff() async throws {
        let upstream = Upstream(
            settings {
                $0.retries.attempts = 3
                $0.breaker.disabled = true
            }, clock: clock, seed: 7)
        let starts = Recorder<Duration>()
        let clock = clock
        let running = Task {
            try await upstream.run(idempotent: true) { attempt in
                starts.note(clock.now.offset)
                if attempt.number < 3 { throw Broken() }
                return attempt.number
            }
        }
        // Full jitter: uniform in 0 … 25 ms, then in 0 … 50 ms, by the draws of the first request.
        let draw = Draw(seed: 7)
        let first = Duration.nanoseconds(draw.below(25_000_001, request: 1, .backoff, 1))
        let second = first + .nanoseconds(draw.below(50_000_001, request: 1, .backoff, 2))
        await clock.pass(first)
        await clock.pass(second)
        #expect(try await running.value == 3)
        #expect(starts.all == [.zero, first, second])
        let snapshot = upstream.snapshot()
        #expect(snapshot.retriesGranted == 2 && snapshot.retriesRefunded == 0 && snapshot.retriesOutstanding == 0)
        #expect(snapshot.permitsInUse == 0)
    }

    @Test func whatIsNotIdempotentIsRepeatedOnlyIfNothingWasSent() async throws {
        let upstream = Upstream(settings { $0.retries.backoffBase = .zero }, clock: clock, seed: 1)
        await #expect(throws: Broken(number: 1)) { try await upstream.run { throw Broken(number: $0.number) } }
        let number = try await upstream.run { attempt in
            if attempt.number == 1 { throw Broken() }
            return attempt.number
        } classify: { result in
            if case .failure = result { .failureBeforeSending } else { .success }
        }
        #expect(number == 2)
    }

    @Test func anAnswerThatCountsAsFailureIsTriedAgainAndComesBackIfNothingBetterDoes() async throws {
        let upstream = Upstream(settings { $0.retries.backoffBase = .zero }, clock: clock, seed: 1)
        let status = try await upstream.run(idempotent: true) { attempt in
            attempt.number == 1 ? 503 : 502
        } classify: { result in
            if case .success(let status) = result, status >= 500 { .failure(status: status) } else { Verdict(result) }
        }
        #expect(status == 502)
        #expect(upstream.snapshot().evidence.failed == 2 && upstream.snapshot().retriesGranted == 1)
    }

    @Test func aPermanentFailureIsNotTriedAgain() async {
        let upstream = Upstream(settings(), clock: clock, seed: 1)
        await #expect(throws: Broken(number: 1)) {
            try await upstream.run(idempotent: true) { attempt in
                throw Broken(number: attempt.number)
            } classify: { _ in
                .permanentFailure
            }
        }
    }

    @Test func whatTheUpstreamAskedForIsWaitedFor() async throws {
        let upstream = Upstream(settings { $0.retries.backoffBase = .zero }, clock: clock, seed: 1)
        let clock = clock
        let running = Task {
            try await upstream.run(idempotent: true) { attempt in
                if attempt.number == 1 { throw Broken() }
                return clock.now.offset
            } classify: { result in
                if case .failure = result { .backpressure(retryAfter: .seconds(2)) } else { .success }
            }
        }
        // Two seconds and up to a tenth.
        await clock.sleepers { $0.contains { $0 >= .seconds(2) && $0 <= .milliseconds(2_200) } }
        clock.advance(to: .milliseconds(2_200))
        #expect(try await running.value == .milliseconds(2_200))
        #expect(upstream.snapshot().evidence.failed == 0, "back-pressure is no evidence")
    }

    @Test func R_theBudgetRefusesTheRest() async throws {
        let upstream = Upstream(
            settings {
                $0.retries.budget.ratio = Share(tenThousandths: 0)
                $0.retries.budget.minimumPerSecondThousandths = 1_000
                $0.retries.backoffBase = .zero
                $0.breaker.disabled = true
            }, clock: clock, seed: 1)
        let attempts = Recorder<Int>()
        for _ in 0..<5 {
            _ = try? await upstream.run(idempotent: true) { attempt in
                attempts.note(attempt.number)
                throw Broken()
            }
        }
        #expect(attempts.all == [1, 2, 1, 1, 1, 1], "one token of the floor, and no more")
        #expect(upstream.snapshot().counters.refusedRetryBudget == 4)
    }

    // MARK: Breaker

    @Test func theBreakerOpensRefusesProbesAndCloses() async throws {
        let upstream = Upstream(settings(), clock: clock, seed: 1)
        for _ in 0..<2 { _ = try? await upstream.run { _ in throw Broken() } }
        for _ in 0..<2 { _ = try await upstream.run { _ in 1 } }
        #expect(upstream.snapshot().breaker == .open(until: Instant(nanoseconds: 5_000_000_000)))
        clock.advance(to: .seconds(1))
        let refused = await rejection { try await upstream.run { _ in Issue.record("it is open") } }
        #expect(refused == GuardRejection(.breakerOpen, retryAfter: .seconds(4), attempts: 0))
        clock.advance(to: .seconds(5))
        // The one probe is under way: all others are refused, and its success closes.
        let gate = Gate()
        let probe = Task { try await upstream.run { _ in try await gate.pass() } }
        await gate.holds(1)
        #expect(await rejection { try await upstream.run { _ in 1 } }?.reason == .breakerHalfOpen)
        gate.open()
        try await probe.value
        #expect(upstream.snapshot().breaker == .closed)
        #expect(try await upstream.run { _ in 2 } == 2)
        #expect(upstream.snapshot().permitsInUse == 0)
    }

    @Test func theAttemptThatOpensTheBreakerIsNotTriedAgain() async throws {
        let upstream = Upstream(
            settings {
                $0.breaker.consecutiveFailures = 1
                $0.retries.backoffBase = .zero
            }, clock: clock, seed: 1)
        await #expect(throws: Broken(number: 1)) {
            try await upstream.run(idempotent: true) { throw Broken(number: $0.number) }
        }
        #expect(upstream.snapshot().retriesGranted == 0)
    }

    @Test func aRejectionInsideIsNoEvidenceOutside() async throws {
        let inner = Upstream(settings(), clock: clock, seed: 1)
        inner.force(.forcedOpen)
        let outer = Upstream(settings(), clock: clock, seed: 2)
        let refused = await rejection { try await outer.run(idempotent: true) { _ in try await inner.run { _ in 1 } } }
        #expect(refused?.reason == .breakerForced)
        #expect(outer.snapshot().evidence.completed == 0 && outer.snapshot().retriesGranted == 0)
        inner.reset()
        #expect(try await outer.run { _ in try await inner.run { _ in 1 } } == 1)
    }

    // MARK: Bulkhead

    private func oneAtATime() -> Upstream {
        Upstream(
            settings {
                $0.bulkhead.concurrent = 1
                $0.bulkhead.queue = 1
                $0.retries.attempts = 1
            }, clock: clock, seed: 1)
    }

    @Test func aWaiterIsGrantedWhatComesFree() async throws {
        let upstream = oneAtATime()
        let gate = Gate()
        let holder = Task { try await upstream.run { _ in try await gate.pass() } }
        await gate.holds(1)
        let waiter = Task { try await upstream.run { _ in "waited" } }
        await clock.sleeper(until: .milliseconds(50))
        #expect(upstream.snapshot().queued == 1)
        let full = await rejection { try await upstream.run { _ in Issue.record("it is full") } }
        #expect(full?.reason == .bulkheadFull && full?.attempts == 0)
        #expect((full?.retryAfter).map { $0 >= .seconds(1) && $0 <= .seconds(2) } == true)
        gate.open()
        #expect(try await waiter.value == "waited")
        try await holder.value
        let snapshot = upstream.snapshot()
        #expect(snapshot.permitsInUse == 0 && snapshot.queued == 0 && snapshot.highWater == 1)
        #expect(snapshot.counters.grantedFromQueue == 1)
    }

    @Test func K3_aWaiterTimesOutAtItsInstant() async throws {
        let upstream = oneAtATime()
        let gate = Gate()
        let holder = Task { try await upstream.run { _ in try await gate.pass() } }
        await gate.holds(1)
        let waiter = Task { await rejection { try await upstream.run { _ in Issue.record("nobody is free") } } }
        await clock.pass(.milliseconds(50))
        #expect(await waiter.value?.reason == .bulkheadQueueTimeout)
        #expect(clock.now.offset == .milliseconds(50))
        gate.open()
        try await holder.value
        #expect(upstream.snapshot().permitsInUse == 0)
    }

    @Test func aCancelledWaiterLeavesTheQueue() async throws {
        let upstream = oneAtATime()
        let gate = Gate()
        let holder = Task { try await upstream.run { _ in try await gate.pass() } }
        await gate.holds(1)
        let waiter = Task { try await upstream.run { _ in Issue.record("it was cancelled") } }
        await clock.sleeper(until: .milliseconds(50))
        waiter.cancel()
        await #expect(throws: CancellationError.self) { try await waiter.value }
        #expect(upstream.snapshot().queued == 0 && upstream.snapshot().counters.cancelledInQueue == 1)
        gate.open()
        try await holder.value
        #expect(upstream.snapshot().permitsInUse == 0)
    }

    @Test func congestionRefusesByTheOneTimerWithoutAnyOtherEvent() async throws {
        let upstream = Upstream(
            settings {
                $0.bulkhead.concurrent = 1
                $0.bulkhead.queue = 4
                $0.bulkhead.queueTimeout = .seconds(1)
            }, clock: clock, seed: 1)
        let gate = Gate()
        let holder = Task { try await upstream.run { _ in try await gate.pass() } }
        await gate.holds(1)
        let early = Task { await rejection { try await upstream.run { _ in 1 } } }
        // The queue has not been empty for 100 ms: who has waited for more than 5 ms is refused.
        await clock.pass(.milliseconds(100))
        #expect(await early.value?.reason == .bulkheadCoDel)
        let late = Task { await rejection { try await upstream.run { _ in 1 } } }
        await clock.pass(.milliseconds(105))
        #expect(await late.value?.reason == .bulkheadCoDel)
        gate.open()
        try await holder.value
        #expect(upstream.snapshot().permitsInUse == 0)
    }

    @Test func morePermitsWakeWaitersAtOnce() async throws {
        let upstream = oneAtATime()
        let gate = Gate()
        let holder = Task { try await upstream.run { _ in try await gate.pass() } }
        await gate.holds(1)
        let waiter = Task { try await upstream.run { _ in "in" } }
        await clock.sleeper(until: .milliseconds(50))
        upstream.apply(settings { $0.bulkhead.concurrent = 2 })
        #expect(try await waiter.value == "in")
        gate.open()
        try await holder.value
    }

    // MARK: Deadlines

    @Test func anAttemptIsCancelledAtItsLimitAndTheNextOneServes() async throws {
        let upstream = Upstream(
            settings {
                $0.timeouts.perTry = .seconds(1)
                $0.retries.backoffBase = .zero
            }, clock: clock, seed: 1)
        let clock = clock
        let gate = Gate()
        let running = Task {
            try await upstream.run(idempotent: true) { attempt in
                if attempt.number == 1 { try await gate.pass() }
                return (attempt.number, attempt.deadline?.offset, clock.now.offset)
            }
        }
        await gate.holds(1)
        await clock.pass(.seconds(1))
        let (number, deadline, at) = try await running.value
        #expect(number == 2 && deadline == .seconds(2) && at == .seconds(1))
        let snapshot = upstream.snapshot()
        #expect(snapshot.evidence.failed == 1 && snapshot.evidence.completed == 2 && snapshot.permitsInUse == 0)
    }

    @Test func theBreakerLearnsOfATimeoutAlthoughTheOperationGoesOn() async throws {
        let upstream = Upstream(settings { $0.timeouts.perTry = .seconds(1) }, clock: clock, seed: 1)
        let gate = Gate()
        let running = Task { await rejection { try await upstream.run { _ in try await Task { try await gate.pass() }.value } } }
        await gate.holds(1)
        await clock.pass(.seconds(1))
        while upstream.snapshot().evidence.failed == 0 { await Task.yield() }
        #expect(upstream.snapshot().permitsInUse == 1, "the permit stays as long as the work does")
        gate.open()
        #expect(await running.value == GuardRejection(.timeoutPerTry, attempts: 1))
        #expect(upstream.snapshot().permitsInUse == 0)
    }

    @Test func D1_theTotalBoundsAttemptsAndBackOffTogether() async throws {
        let upstream = Upstream(
            settings {
                $0.timeouts.total = .seconds(3)
                $0.timeouts.perTry = .seconds(2)
                $0.retries.attempts = 5
                $0.retries.backoffBase = .zero
            }, clock: clock, seed: 1)
        let starts = Recorder<Duration>()
        let gate = Gate()
        let clock = clock
        let running = Task {
            await rejection {
                try await upstream.run(idempotent: true) { _ in
                    starts.note(clock.now.offset)
                    try await gate.pass()
                }
            }
        }
        await clock.pass(.seconds(2))
        await clock.pass(.seconds(3))
        #expect(await running.value == GuardRejection(.deadline, attempts: 2))
        #expect(starts.all == [.zero, .seconds(2)])
        #expect(upstream.snapshot().permitsInUse == 0 && upstream.snapshot().retriesOutstanding == 0)
    }

    @Test func aCallersOwnShorterLimitIsNoEvidence() async throws {
        let upstream = Upstream(settings { $0.timeouts.total = .seconds(3) }, clock: clock, seed: 1)
        let gate = Gate()
        let running = Task {
            await rejection { try await upstream.run(timeout: .seconds(1)) { _ in try await gate.pass() } }
        }
        await clock.pass(.seconds(1))
        #expect(await running.value?.reason == .deadline)
        #expect(upstream.snapshot().evidence.completed == 0)
        let none = await rejection { try await upstream.run(timeout: .milliseconds(4)) { _ in 1 } }
        #expect(none == GuardRejection(.deadlineInsufficient), "under the smallest useful try nothing is started")
    }

    // MARK: Cancellation

    @Test func cancellationReturnsPermitAndTokenWhereverItComes() async throws {
        let upstream = Upstream(settings(), clock: clock, seed: 7)
        // While the operation runs: neutral.
        let gate = Gate()
        let running = Task { try await upstream.run { _ in try await gate.pass() } }
        await gate.holds(1)
        running.cancel()
        await #expect(throws: CancellationError.self) { try await running.value }
        #expect(upstream.snapshot().evidence.completed == 0 && upstream.snapshot().permitsInUse == 0)
        // In back-off: the token is refunded.
        let waiting = Task { try await upstream.run(idempotent: true) { _ in throw Broken() } }
        await clock.sleepers { !$0.isEmpty }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        let snapshot = upstream.snapshot()
        #expect(snapshot.retriesGranted == 1 && snapshot.retriesRefunded == 1 && snapshot.retriesOutstanding == 0)
        // Before it began.
        let never = Task {
            unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
            return try await upstream.run { _ in 1 }
        }
        await #expect(throws: CancellationError.self) { try await never.value }
        #expect(upstream.snapshot().permitsInUse == 0)
    }

    @Test func aCancellationErrorThatNobodyAskedForIsAFailure() async {
        let upstream = Upstream(settings(), clock: clock, seed: 1)
        await #expect(throws: CancellationError.self) { try await upstream.run { _ in throw CancellationError() } }
        #expect(upstream.snapshot().evidence.failed == 1)
    }
}
