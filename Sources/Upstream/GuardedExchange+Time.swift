// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import Reactor
import Resilience
import Transport

/// Where the time of a request went, in nanoseconds, over all its attempts.
package struct StageTimings: Sendable {
    package var queue: Int64 = 0
    package var lease: Int64 = 0
    package var connect: Int64 = 0
    package var tls: Int64 = 0
    /// Of the last attempt: from its admission to its response head.
    package var firstByte: Int64 = 0
}

/// The clocks of a guarded exchange, all on one timer: the earliest deadline is armed, and moving it later costs nothing.
extension GuardedExchange: TimerOwner {
    func armTimer() {
        let total = waitingForClientSince == nil ? totalDeadline : .never
        var next = min(min(total, perTryDeadline), min(stageDeadline, idleDeadline))
        next = min(next, hedgeAt)
        if isHedging, let leg { next = min(next, leg.deadline) }
        if next == .never { timer.cancel() } else { reactor.schedule(timer, at: next) }
    }

    func armIdle() {
        idleDeadline = reactor.now.advanced(byNanoseconds: limits.idle)
        armTimer()
    }

    /// The clocks of the try and of the whole stand still while we wait for the client's body: its slowness is its own
    /// (semantics, section 4 and D4), and has a limit of its own. They run while the upstream holds us back.
    func updateTryClock() {
        guard phase == .awaitingHead else { return }
        let waitsForClient = !bodyEnded && !(exchange?.isCongested ?? false)
        let now = reactor.now
        if waitsForClient {
            if waitingForClientSince == nil {
                waitingForClientSince = now
                perTryDeadline = .never
                armTimer()
            }
        } else if let since = waitingForClientSince {
            waitingForClientSince = nil
            totalDeadline = totalDeadline.advanced(byNanoseconds: now.nanoseconds(since: since))
            perTryDeadline = now.advanced(byNanoseconds: limits.perTry)
            armTimer()
        }
    }

    package func timerFired(_ timer: Timer, now: Instant) {
        if phase == .leasing || phase == .awaitingHead { lookAfterHedge(now: now) }
        switch phase {
        case .idle: return
        case .queued:
            if now >= stageDeadline || now >= totalDeadline { queueExpired(now: now) }
        case .backingOff:
            if now >= stageDeadline {
                stageDeadline = .never
                beginAttempt()
                return
            }
        case .naming:
            if now >= stageDeadline || now >= totalDeadline { namingExpired(now: now) }
        case .leasing:
            if now >= totalDeadline || now >= perTryDeadline { attemptExpired(beforeFirstByte: true, now: now) }
        case .awaitingHead where heldHead != nil:
            if now >= stageDeadline || now >= totalDeadline { commitHeldHead() }
        case .awaitingHead:
            if (now >= totalDeadline && waitingForClientSince == nil) || now >= perTryDeadline || now >= stageDeadline {
                attemptExpired(beforeFirstByte: false, now: now)
            }
        case .relaying:
            if now >= idleDeadline {
                cutShort(.timeoutIdle, "the upstream fell silent inside its response")
            } else if now >= totalDeadline {
                cutShort(.deadline, "the deadline passed inside the response")
            }
        }
        if phase != .idle { armTimer() }
    }

    func queueExpired(now: Instant) {
        let isDeadline = now >= totalDeadline
        guard let ticket = waiting.take() else { return }
        note(.refused, isDeadline ? .deadline : .bulkheadQueueTimeout)
        pools?.cluster.bulkhead.abandon(ticket)
        timings.queue += now.nanoseconds(since: startedAt)
        fail(isDeadline ? .deadline : .bulkheadQueueTimeout, detail: "no permit came free in time")
    }

    /// An attempt ran out of time: the stage names the outcome, and the answer says which limit it was.
    func attemptExpired(beforeFirstByte: Bool, now: Instant) {
        let isTotal = now >= totalDeadline
        let isFirstByte = !isTotal && now >= stageDeadline && now < perTryDeadline
        // A caller that wants less time than the route gives is not the upstream's fault (semantics, section 4).
        let outcomeClass: Outcome.Class = isTotal && terms.timeout < limits.total ? .neutral : .failure
        let outcome =
            beforeFirstByte
            ? Outcome(outcomeClass, reason: .connectTimeout, processed: .no)
            : Outcome(outcomeClass, reason: isFirstByte ? .timeoutFirstByte : .timeoutPerTry, processed: .maybe)
        let answer: Reason = isTotal ? .deadline : isFirstByte ? .timeoutFirstByte : .timeoutPerTry
        let end = AttemptEnd(outcome: outcome, status: nil, detail: "the attempt took too long", answerReason: answer)
        note(.failed, answer)
        if !isTotal && isHedging {
            endOwnAttempt(outcome, cancelling: true)
            promoteHedge()
            return
        }
        endAttempt(outcome, cancelling: true)
        switch isTotal ? RetryDecision.no(.retryDeadline) : decideRetry(end, pushback: .none) {
        case .retry(let delay):
            note(.retry, value: delay)
            backOff(delay)
        case .no(let reason):
            note(.final, reason)
            fail(answer, retryReason: reason, detail: end.detail)
        }
    }

    func cutShort(_ reason: Reason, _ detail: String) {
        note(.failed, reason)
        endAttempt(Outcome(.failure, reason: reason, processed: .yes), cancelling: true)
        finish()
        client?.upstreamFailed(GuardedFailure(reason: reason, retryReason: .retryCommitted, detail: detail))
    }
}
