// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Transport

/// A gRPC answer tells in its trailers how it went. Where such a failure may be tried again, its head waits for what follows it: with the
/// first byte of a message the answer is the client's, with trailers alone the call may be made anew (semantics, section 3).
extension GuardedExchange {
    /// No longer than this: a server that streams sends its head long before its first message, and clients may wait for it.
    static let peekNanoseconds: Int64 = 100_000_000

    /// Whether the head is held. Not while the client is still sending: the two may be talking to each other.
    func holdsHead(_ response: ResponseHead, endStream: Bool) -> Bool {
        guard !endStream, heldHead == nil, bodyEnded, canReplay, let pools, StatusClassifier.isGRPC(response.fields) else {
            return false
        }
        let retries = retrySettings(pools)
        guard attempts - freeAttempts < retries.attempts, !terms.isRepeat else { return false }
        return isWorthAnother(Outcome(.failure, reason: .grpcFailure, processed: .yes), status: nil)
    }

    func holdHead(_ response: ResponseHead, now: Instant) {
        heldHead = response
        // The head has come: what is left of the try's time is not the question any more.
        perTryDeadline = .never
        stageDeadline = now.advanced(byNanoseconds: Self.peekNanoseconds)
        hedgeAt = .never
        armTimer()
    }

    /// More than a head has come, or the time to look is over: the answer is the client's.
    func commitHeldHead(isNoted: Bool = false) {
        guard let head = heldHead.take() else { return }
        if !isNoted { note(.answered, value: Int64(head.status)) }
        commit(head, endStream: false, now: reactor.now)
    }

    /// Trailers came right after the head. True: the call is made anew.
    func isTriedAnew(after head: ResponseHead, trailers: borrowing FieldSection) -> Bool {
        let outcome = StatusClassifier.refine(answerOutcome, trailers: trailers)
        if outcome.outcomeClass == .success { return false }
        note(.answered, outcome.reason, value: Int64(head.status))
        let pushback = StatusClassifier.pushback(trailers, unix: reactor.unixNanoseconds / 1_000_000_000)
        let wasHedging = isHedging
        let decision =
            wasHedging
            ? RetryDecision.retry(delayNanoseconds: 0)
            : decideRetry(AttemptEnd(outcome: outcome, status: nil, detail: ""), pushback: pushback)
        switch decision {
        case .no(let reason):
            note(.final, reason)
            retryReason = reason
            return false
        case .retry(let delay):
            kept?.giveUp()
            kept = KeptAnswer(head, trailers: trailers)
            exchange = nil
            settleAttempt(outcome)
            if wasHedging {
                promoteHedge()
            } else {
                note(.retry, value: delay)
                backOff(delay)
            }
            return true
        }
    }
}
