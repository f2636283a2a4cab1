// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP
import Reactor
import Resilience
package import Transport

extension GuardedExchange: PoolWaiter {
    package var responseHandler: any ResponseHandler { self }

    package func leased(_ exchange: ClientExchange, on connection: ClientConnection, reused: Bool) {
        guard phase == .leasing else {
            exchange.cancel()
            return
        }
        let now = reactor.now
        waitsInLeg = false
        self.exchange = exchange
        isReusedConnection = reused
        phase = .awaitingHead
        if !reused, let connection = connection.connection, let connected = connection.connectedAt {
            timings.connect += connected.nanoseconds(since: connection.openedAt)
            if let established = connection.establishedAt { timings.tls += established.nanoseconds(since: connected) }
        }
        timings.lease += now.nanoseconds(since: attemptStartedAt)
        deliverRequest()
        updateTryClock()
        if phase == .awaitingHead && hasBody { client?.upstreamReady() }
    }

    package func leaseFailed(_ failure: LeaseFailure) {
        guard phase == .leasing else { return }
        waitsInLeg = false
        attemptFailed(AttemptEnd(failure))
    }
}

extension GuardedExchange: ResponseHandler {

    package func requestDrained() {
        guard phase == .awaitingHead || phase == .relaying else { return }
        settleOwed()
        updateTryClock()
    }

    package func requestFlushed() {
        guard phase == .awaitingHead, bodyEnded, !requestSentWhole else { return }
        requestSentWhole = true
        let now = reactor.now
        permit?.requestSent(now: now)
        if limits.firstByte != .max {
            stageDeadline = now.advanced(byNanoseconds: limits.firstByte)
            armTimer()
        }
    }

    package func informational(_ head: ResponseHead) {
        guard phase == .awaitingHead else { return }
        client?.upstreamInformed(head)
    }

    package func responseHead(_ response: ResponseHead, endStream: Bool) {
        guard phase == .awaitingHead else { return }
        let now = reactor.now
        timings.firstByte = now.nanoseconds(since: attemptStartedAt)
        let outcome = StatusClassifier.classify(response)
        answerOutcome = outcome
        // The breaker hears of it before the question whether to try again.
        if outcome.outcomeClass == .success {
            permit?.headArrived(StatusClassifier.isGRPC(response.fields) ? nil : outcome, now: now)
        }
        if outcome.outcomeClass != .success || isRetried(response.status) {
            let pushback = StatusClassifier.pushback(response.fields, unix: reactor.unixNanoseconds / 1_000_000_000)
            if outcome.outcomeClass != .success {
                var retryAfter: Int64?
                if case .after(let nanoseconds) = pushback { retryAfter = nanoseconds }
                permit?.headArrived(outcome, retryAfterNanoseconds: retryAfter, now: now)
                permit?.settle(outcome, retryAfterNanoseconds: retryAfter, now: now)
            }
            note(.answered, outcome.reason, value: Int64(response.status))
            let end = AttemptEnd(outcome: outcome, status: response.status, detail: "")
            if isHedging && isWorthAnother(outcome, status: response.status) {
                // The other leg is the further attempt. This answer is kept, in case that one has none.
                kept?.giveUp()
                kept = exchange.take().map { KeptAnswer(response, of: $0) }
                settleAttempt(outcome)
                promoteHedge()
                return
            }
            switch decideRetry(end, pushback: pushback) {
            case .no(let reason):
                note(.final, reason)
                retryReason = reason
            case .retry(let delay):
                note(.retry, value: delay)
                // The request was fine, the connection was not (RFC 9110 §15.5.20).
                if response.status == 421 { exchange?.retireConnection() }
                kept?.giveUp()
                kept = exchange.take().map { KeptAnswer(response, of: $0) }
                settleAttempt(outcome)
                backOff(delay)
                return
            }
        }
        if holdsHead(response, endStream: endStream) {
            holdHead(response, now: now)
            return
        }
        if outcome.outcomeClass == .success && !isRetried(response.status) { note(.answered, value: Int64(response.status)) }
        commit(response, endStream: endStream, now: now)
    }

    func commit(_ response: ResponseHead, endStream: Bool, now: Instant) {
        dropHedge(Outcome(.neutral, reason: .hedgeLost, processed: .maybe))
        // Committed: from here the answer is the client's, whatever happens.
        phase = .relaying
        dropKept()
        keepsForReplay = false
        releaseReplay()
        body.consume(bodyDelivered)
        bodyDelivered = 0
        if body.isEmpty { body.releaseStorage() }
        leaveClientWait(now: now)
        perTryDeadline = .never
        stageDeadline = .never
        if !limits.totalIncludesBody { totalDeadline = .never }
        if !endStream { armIdle() }
        client?.upstreamAnswered(response, endStream: endStream)
    }

    package func responseBody(_ bytes: Span<UInt8>) {
        if heldHead != nil { commitHeldHead() }
        guard phase == .relaying else { return }
        if idleDeadline != .never { armIdle() }
        client?.upstreamBody(bytes)
    }

    package func responseEnded(trailers: borrowing FieldSection) {
        if let heldHead {
            if isTriedAnew(after: heldHead, trailers: trailers) { return }
            commitHeldHead(isNoted: retryReason != nil)
        }
        guard phase == .relaying else { return }
        exchange = nil
        settleAttempt(StatusClassifier.refine(answerOutcome, trailers: trailers))
        finish()
        client?.upstreamEnded(trailers: trailers)
    }

    package func exchangeFailed(_ failure: ExchangeFailure) {
        exchange = nil
        // It began to answer: the client hears as much, and that it broke off.
        if heldHead != nil { commitHeldHead() }
        switch phase {
        case .awaitingHead: attemptFailed(AttemptEnd(failure))
        case .relaying:
            note(.failed, failure.reason)
            let reason: Reason =
                failure.reason == .bodyTruncated || failure.reason == .protocolError ? failure.reason : .resetAfterHeaders
            settleAttempt(Outcome(.failure, reason: reason, processed: .yes))
            finish()
            client?.upstreamFailed(GuardedFailure(reason: reason, retryReason: .retryCommitted, detail: failure.detail))
        case .idle, .queued, .naming, .leasing, .backingOff: break
        }
    }

    // MARK: The end of an attempt

    /// An attempt ended without a response head.
    func attemptFailed(_ end: AttemptEnd) {
        note(.failed, end.outcome.reason)
        settleAttempt(end.outcome)
        if isHedging {
            promoteHedge()
            return
        }
        switch decideRetry(end, pushback: .none) {
        case .retry(let delay):
            note(.retry, value: delay)
            backOff(delay)
        case .no(let reason):
            note(.final, reason)
            fail(end.answerReason, retryReason: reason, detail: end.detail)
        }
    }

    func decideRetry(_ end: AttemptEnd, pushback: RetryPushback) -> RetryDecision {
        guard let pools, let head else { return .no(.internal) }
        let guardian = pools.cluster.guardian
        let now = reactor.now
        // One lost or refused attempt a request is replaced free of charge where the upstream surely did nothing, or where a
        // kept-alive connection went stale under an idempotent request (case B05).
        let isFree =
            !usedFreeRetry
            && (end.isFreeOfCharge || (end.onReusedConnection && (head.method.isIdempotent || isIdempotent)))
        if isFree && canReplay && now < totalDeadline {
            usedFreeRetry = true
            freeAttempts += 1
            guardian.noteFreeRetry()
            return .retry(delayNanoseconds: 0)
        }
        // The hop before us is trying again itself: tries must not multiply (T8).
        if terms.isRepeat { return .no(.retryMax) }
        let decision = RetryPolicy.decide(
            RetryQuestion(
                outcome: end.outcome, status: end.status,
                method: methodClass(head),
                attemptsUsed: attempts - freeAttempts, isCommitted: false, isBodyReplayable: canReplay, pushback: pushback,
                isBreakerClosed: guardian.isClosed(now: now), hasEndpoint: !pools.cluster.endpoints.isEmpty,
                hasUntriedEndpoint: hasUntriedEndpoint(pools),
                remainingNanoseconds: totalDeadline.nanoseconds(since: now),
                minimumTryNanoseconds: limits.minimumTry),
            settings: retrySettings(pools), draw: reactor.draw, request: key)
        guard case .retry = decision else { return decision }
        guard let token = guardian.withdrawRetry(now: now) else { return .no(.retryBudget) }
        nextRetryToken = consume token
        return decision
    }

    func methodClass(_ head: RequestHead) -> MethodClass {
        head.method.isSafe ? .safe : (head.method.isIdempotent || isIdempotent) ? .idempotent : .other
    }

    /// A status that is no failure of the upstream and is tried again all the same: 421, 425, and what `retry_on` lists.
    func isRetried(_ status: Int) -> Bool {
        status == 421 || status == 425 || pools.flatMap { retrySettings($0).retryOn }?.contains(.status(status)) ?? false
    }

    /// Whether the request can be sent once more from its first byte.
    var canReplay: Bool { !hasBody || keepsForReplay || bodyDelivered == 0 && !bodyWasDropped }

    /// The whole's clock goes on from where it stood.
    func leaveClientWait(now: Instant) {
        guard let since = waitingForClientSince.take() else { return }
        totalDeadline = totalDeadline.advanced(byNanoseconds: now.nanoseconds(since: since))
    }

    func settleAttempt(_ outcome: Outcome) {
        leaveClientWait(now: reactor.now)
        if outcome.processed != .no { mayBeProcessed = true }
        endpoint?.exchangeEnded()
        recordFirstByte(outcome, elapsed: reactor.now.nanoseconds(since: attemptStartedAt))
        if let choice = choice.take() {
            // To the head if one came, else to the failure.
            let latency = timings.firstByte > 0 ? timings.firstByte : reactor.now.nanoseconds(since: attemptStartedAt)
            pools?.cluster.balancer.report(choice, outcome, latencyNanoseconds: latency, now: reactor.now)
        }
        if let permit = permit.take() { permit.report(outcome, now: reactor.now) }
        if let token = retryToken.take() { token.finished(now: reactor.now) }
        perTryDeadline = .never
        stageDeadline = .never
        idleDeadline = .never
        hedgeAt = .never
        heldHead = nil
    }

    /// Ends whatever the attempt and its hedge hold, in any phase.
    func endAttempt(_ outcome: Outcome, cancelling: Bool) {
        dropHedge(outcome)
        endOwnAttempt(outcome, cancelling: cancelling)
    }

    func endOwnAttempt(_ outcome: Outcome, cancelling: Bool) {
        let given = exchange
        exchange = nil
        switch phase {
        case .queued:
            if let ticket = waiting.take() { pools?.cluster.bulkhead.abandon(ticket) }
            // Granted, and then there was no endpoint: it goes back before the request goes elsewhere.
            permit = nil
        case .naming:
            pools?.stopWaiting(self)
            permit = nil
        case .leasing:
            if waitsInLeg {
                waitsInLeg = false
                leg?.stopWaiting()
            } else if let pools, pools.pools.indices.contains(endpointIndex) {
                pools.pools[endpointIndex].cancel(self)
            }
            settleAttempt(outcome)
        case .awaitingHead, .relaying:
            settleAttempt(outcome)
        case .idle, .backingOff:
            permit = nil
        }
        retryToken = nil
        nextRetryToken = nil
        given?.cancel()
    }

    func backOff(_ delayNanoseconds: Int64) {
        retryToken = nextRetryToken.take()
        if delayNanoseconds <= 0 {
            beginAttempt()
            return
        }
        phase = .backingOff
        stageDeadline = reactor.now.advanced(byNanoseconds: delayNanoseconds)
        armTimer()
    }

    func fail(_ reason: Reason, retryReason: Reason? = nil, retryAfter: Int64? = nil, detail: String) {
        if goesElsewhere(reason) { return }
        if let kept, kept.isWhole {
            self.kept = nil
            self.retryReason = retryReason ?? reason
            finish()
            answer(kept)
            return
        }
        finish()
        client?.upstreamFailed(
            GuardedFailure(reason: reason, retryReason: retryReason, retryAfterNanoseconds: retryAfter, detail: detail))
    }

    /// Begins anew with the upstream that the route falls back to, in the time that is left, under that upstream's guard.
    private func goesElsewhere(_ reason: Reason) -> Bool {
        // What may have been done once is not given to another to do (T1).
        guard let head, !mayBeProcessed || isIdempotent || head.method.isIdempotent else { return false }
        guard canReplay, totalDeadline.nanoseconds(since: reactor.now) >= limits.minimumTry,
            let next = client?.upstreamFallback(for: reason)
        else { return false }
        note(.elsewhere, reason)
        dropKept()
        pools = next.pools
        lastCluster = next.pools.cluster
        balancingKey = next.pools.cluster.balancingKey?.hash(of: head, clientAddress: clientAddress)
        limits = next.limits
        attempts = 0
        freeAttempts = 0
        usedFreeRetry = false
        tried.removeAll()
        retryReason = nil
        retryToken = nil
        nextRetryToken = nil
        bodyDelivered = 0
        endpoint = nil
        beginAttempt()
        return true
    }

    /// The client gets the upstream's own answer to an earlier attempt.
    private func answer(_ kept: KeptAnswer) {
        let hasNoMore = kept.body.isEmpty && kept.trailers.isEmpty
        client?.upstreamAnswered(kept.head, endStream: hasNoMore)
        if !kept.body.isEmpty { kept.body.withReadable { client?.upstreamBody($0) } }
        client?.upstreamEnded(trailers: kept.trailers)
    }

    private func dropKept() { kept.take()?.giveUp() }

    /// Back to the start, holding nothing.
    func finish() {
        dropHedge(Outcome(.neutral, reason: .hedgeLost, processed: .maybe))
        phase = .idle
        dropKept()
        permit = nil
        retryToken = nil
        nextRetryToken = nil
        timer.cancel()
        totalDeadline = .never
        perTryDeadline = .never
        stageDeadline = .never
        idleDeadline = .never
        releaseReplay()
        body.removeAll()
        body.releaseStorage()
        bodyDelivered = 0
        owed = 0
        exchange = nil
        head = nil
        pools = nil
    }
}
