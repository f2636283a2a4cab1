// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience
import Synchronization

/// One attempt: in through breaker and bulkhead, and against the clock.
extension AsyncGuard {
    /// How long an attempt may take, and which of the limits that is.
    struct TimeLimit {
        var until: Core.Instant
        var limitedBy: Deadline.Limit
    }

    enum Entry: ~Copyable {
        case admitted(AttemptPermit, TimeLimit)
        case refused(Refusal)
        case cancelled
    }

    struct Ended<Value: Sendable> {
        var result: Result<Value, any Error>
        var verdict: Verdict
        /// The calling task was cancelled, and the operation threw.
        var wasCancelled = false
    }

    private enum Event<Value: Sendable>: Sendable {
        case finished(Result<Value, any Error>)
        case timeIsUp
        /// The timer was cancelled together with the operation, which will say what became of it.
        case timerEnded
    }

    /// Deadline, breaker, bulkhead with its queue, and the breaker once more after a wait (semantics, section 0.0).
    func enter(
        _ request: UInt64, isFirstAttempt: Bool, priority: Priority, client: UInt64?, _ deadline: Deadline,
        _ settings: GuardSettings
    ) async -> Entry {
        if Task.isCancelled { return .cancelled }
        let now = timeline.now
        if deadline.attempt(at: now, settings.timeouts) == .insufficient { return .refused(Refusal(.deadlineInsufficient)) }
        switch guardian.admit(
            now: now, request: request, isFirstAttempt: isFirstAttempt, priority: priority, client: client)
        {
        case .refused(let refusal): return .refused(refusal)
        case .admitted(let permit): return limited(permit, deadline, settings)
        case .mustWait: break
        }
        let expiry = deadline.queueExpiry(
            at: now, maximumWait: settings.bulkhead.queueTimeout, minimumTry: settings.timeouts.minimumTry)
        switch await bulkheadPermit(now: now, expiry: expiry, priority: priority) {
        case .abandoned: return .cancelled
        case .refused(let refusal): return .refused(refusal)
        case .granted(let permit):
            if Task.isCancelled { return .cancelled }
            switch guardian.reserve(permit, now: timeline.now, request: request, isFirstAttempt: isFirstAttempt) {
            case .admitted(let permit): return limited(permit, deadline, settings)
            case .refused(let refusal): return .refused(refusal)
            // Whoever holds a permit is not sent to the queue.
            case .mustWait: return .refused(Refusal(.internal))
            }
        }
    }

    private func bulkheadPermit(
        now: Core.Instant, expiry: Core.Instant, priority: Priority
    ) async -> TaskWaiter.Grant {
        let waiter = TaskWaiter()
        switch guardian.wait(waiter, now: now, expiry: expiry, priority: priority) {
        case .granted(let permit): return .granted(permit)
        case .refused(let refusal): return .refused(refusal)
        case .waiting(let ticket):
            timer.arm()
            return await waiter.grant(ticket, of: guardian)
        }
    }

    /// The attempt's time, counted from its admission. A permit that comes too late goes back unused.
    private func limited(_ permit: consuming AttemptPermit, _ deadline: Deadline, _ settings: GuardSettings) -> Entry {
        switch deadline.attempt(at: timeline.now, settings.timeouts) {
        case .until(let until, let limit): .admitted(permit, TimeLimit(until: until, limitedBy: limit))
        case .insufficient: .refused(Refusal(.deadlineInsufficient))
        }
    }

    /// Runs the operation once, in a child task beside its timer, and tells the breaker how it went.
    func attempt<Value: Sendable>(
        _ number: Int, _ permit: consuming AttemptPermit, _ limit: TimeLimit, _ deadline: Deadline,
        _ operation: @escaping @Sendable (Attempt) async throws -> Value, _ classify: (Result<Value, any Error>) -> Verdict
    ) async -> Ended<Value> {
        let attempt = Attempt(number: number, deadline: timeline.clockInstant(limit.until))
        let timeline = timeline
        var permit = permit
        permit.requestSent(now: timeline.now)
        let ended: Ended<Value> = await withTaskGroup(of: Event<Value>.self) { group in
            // It begins here and now, on the caller's thread; one that comes to its end without waiting needs no timer.
            let isOver = Flag()
            group.addImmediateTask {
                defer { isOver.raise() }
                do { return .finished(.success(try await operation(attempt))) } catch { return .finished(.failure(error)) }
            }
            if limit.until != .never && !isOver.isRaised {
                group.addTask {
                    do { try await timeline.sleep(until: limit.until) } catch { return .timerEnded }
                    return .timeIsUp
                }
            }
            while let event = await group.next() {
                switch event {
                case .timerEnded: continue
                case .finished(let result):
                    group.cancelAll()
                    var ended = Ended(result: result, verdict: .neutral)
                    if case .failure = result, Task.isCancelled {
                        ended.wasCancelled = true
                        ended.verdict.outcome.reason = .clientCancelled
                    } else {
                        ended.verdict = classify(result)
                    }
                    let verdict = ended.verdict
                    permit.settle(
                        verdict.outcome, retryAfterNanoseconds: verdict.retryAfterNanoseconds, now: timeline.now)
                    return ended
                case .timeIsUp:
                    // The breaker need not wait for an operation that does not heed its cancellation; leaving the group does.
                    let expiry = deadline.expiry(of: limit.limitedBy, during: .awaitingHead)
                    permit.settle(expiry.outcome, now: timeline.now)
                    group.cancelAll()
                    let rejection = GuardRejection(expiry.answer, attempts: number)
                    return Ended(result: .failure(rejection), verdict: Verdict(expiry.outcome))
                }
            }
            // Not reached: the operation's own event ends the loop.
            return Ended(result: .failure(CancellationError()), verdict: .neutral)
        }
        return ended
    }
}

/// Something that happens once.
private final class Flag: Sendable {
    private let word = Atomic<Bool>(false)
    func raise() { word.store(true, ordering: .releasing) }
    var isRaised: Bool { word.load(ordering: .acquiring) }
}
