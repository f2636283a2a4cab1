// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Transport

/// A second attempt beside a slow first one (semantics, section 7). At most one a request, at once or not at all, to another endpoint,
/// paid from the retry budget, and only of a request that may be sent twice and whose body is there whole.
extension GuardedExchange {
    /// When the attempt that is sent now is to get company.
    func planHedge(now: Instant) {
        hedgeAt = .never
        guard attempts == 1, let pools, let settings = pools.cluster.settings.hedging, !terms.isRepeat else { return }
        guard pools.cluster.endpoints.count > 1, isIdempotent || head?.method.isIdempotent ?? false else { return }
        let delay = pools.cluster.guardian.hedging.delay(now: now, settings: settings, perTry: limits.perTry)
        hedgeAt = now.advanced(byNanoseconds: delay)
    }

    func launchHedge(now: Instant) {
        hedgeAt = .never
        guard let pools, bodyEnded, canReplay, !isHedging, attempts - freeAttempts < retrySettings(pools).attempts,
            totalDeadline.nanoseconds(since: now) >= limits.minimumTry
        else { return }
        let cluster = pools.cluster
        let guardian = cluster.guardian
        guard guardian.isClosed(now: now) else { return }
        let choice = cluster.balancer.choose(
            request: key, attempt: attempts, draw: reactor.draw, tried: tried, key: balancingKey, now: now, mayProbe: { false },
            load: { cluster.endpoints[$0].exchangesUnderWay })
        guard let choice, !choice.isPanic, !tried.contains(choice.endpoint) else { return }
        // What is not granted costs nothing: the token is refunded as it goes.
        guard let token = guardian.withdrawRetry(now: now) else {
            guardian.hedging.noteUnpaid()
            return
        }
        switch guardian.admit(now: now, request: key, isFirstAttempt: false, priority: priority) {
        case .admitted(let permit):
            hedge(choice, over: pools, permit: consume permit, token: consume token, now: now)
        case .mustWait: guardian.hedging.noteUnpaid()
        case .refused: guardian.hedging.noteUnpaid()
        }
    }

    private func hedge(
        _ choice: EndpointBalancer.Choice, over pools: UpstreamPools, permit: consuming AttemptPermit, token: consuming RetryToken,
        now: Instant
    ) {
        attempts += 1
        tried.insert(choice.endpoint)
        noteHedge(.hedged, nil, endpoint: choice.endpoint)
        pools.cluster.guardian.hedging.noteLaunched()
        let leg = self.leg ?? HedgeLeg(owner: self)
        self.leg = leg
        leg.begin(
            choice, over: pools, permit: consume permit, token: consume token,
            deadline: now.advanced(byNanoseconds: limits.perTry), now: now)
    }

    /// A second attempt is under way beside the exchange's own.
    var isHedging: Bool { !waitsInLeg && leg?.isRunning ?? false }

    func lookAfterHedge(now: Instant) {
        if now >= hedgeAt { launchHedge(now: now) }
        if isHedging, let leg, now >= leg.deadline { leg.expired(now: now) }
    }

    /// Whether an answer would be tried again if nothing stood in the way: then the other leg's may be better.
    func isWorthAnother(_ outcome: Outcome, status: Int?) -> Bool {
        guard let pools, let head else { return false }
        let question = RetryQuestion(
            outcome: outcome, status: status, method: methodClass(head), attemptsUsed: 1, isCommitted: false,
            isBodyReplayable: true, pushback: .none, isBreakerClosed: true, hasEndpoint: true, remainingNanoseconds: .max,
            minimumTryNanoseconds: 0)
        guard outcome.outcomeClass != .success || status.map({ isRetried($0) }) ?? false else { return false }
        let decision = RetryPolicy.decide(question, settings: retrySettings(pools), draw: reactor.draw, request: key)
        if case .retry = decision { return true }
        return false
    }

    /// Sends the request on a hedge's connection.
    func deliver(to exchange: ClientExchange, endpoint: Int, deadline: Instant) {
        guard let head else { return }
        prepare(head, for: endpoint, deadline: deadline)
        exchange.send(head, endStream: !hasBody)
        guard hasBody else { return }
        if !body.isEmpty { body.withReadable { exchange.write($0) } }
        exchange.finish(trailers: trailers)
    }

    /// The hedge has an answer that will do: the first attempt is given up, and is nobody's fault.
    func hedgeAnswered(_ response: ResponseHead, endStream: Bool) {
        note(.cancelled, .hedgeLost)
        let lost = Outcome(.neutral, reason: .hedgeLost, processed: phase == .leasing ? .no : .maybe)
        pools?.cluster.guardian.hedging.noteWon()
        endOwnAttempt(lost, cancelling: true)
        promoteHedge()
        responseHead(response, endStream: endStream)
    }

    /// The first attempt is over; the hedge is the attempt now.
    func promoteHedge() {
        guard let leg, isHedging, let pools else { return }
        exchange = leg.exchange
        choice = leg.choice
        endpointIndex = leg.endpointIndex
        endpoint = pools.cluster.endpoints[endpointIndex]
        attemptStartedAt = leg.startedAt
        perTryDeadline = leg.deadline
        isReusedConnection = leg.isReusedConnection
        requestSentWhole = leg.requestSentWhole
        waitsInLeg = leg.phase == .leasing
        phase = waitsInLeg ? .leasing : .awaitingHead
        if requestSentWhole && limits.firstByte != .max { stageDeadline = reactor.now.advanced(byNanoseconds: limits.firstByte) }
        permit = leg.takePermit()
        retryToken = leg.takeToken()
        leg.becomeAttempt()
        armTimer()
    }

    /// The other one has answered, or the whole request is over.
    func dropHedge(_ outcome: Outcome) {
        hedgeAt = .never
        guard let leg, isHedging else { return }
        if outcome.reason == .hedgeLost { noteHedge(.cancelled, .hedgeLost, endpoint: leg.endpointIndex) }
        if outcome.processed != .no { mayBeProcessed = true }
        leg.cancel(outcome, now: reactor.now)
    }

    func noteHedge(_ step: DecisionTrail.Step, _ reason: Reason?, endpoint: Int) {
        let first = endpointIndex
        endpointIndex = endpoint
        note(step, reason)
        endpointIndex = first
    }

    /// What an attempt's time to its head says about when to hedge: one that lost or ran out of time would have taken longer still.
    func recordFirstByte(_ outcome: Outcome, elapsed: Int64) {
        guard let pools, let settings = pools.cluster.settings.hedging else { return }
        // A failure that came quickly says nothing of how long an answer takes.
        let isKnown = timings.firstByte > 0 && outcome.outcomeClass == .success
        guard isKnown || outcome.reason == .hedgeLost || outcome.reason == .timeoutPerTry else { return }
        pools.cluster.guardian.hedging.record(
            nanoseconds: isKnown ? timings.firstByte : elapsed, now: reactor.now, settings: settings)
    }
}
