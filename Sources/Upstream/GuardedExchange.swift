// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
package import Reactor
import Resilience
import Transport

/// Whoever wants the answer of a guarded exchange: the gateway's proxy.
package protocol GuardedExchangeClient: AnyObject {
    func upstreamInformed(_ head: ResponseHead)
    /// The answer begins; no further attempt is made. `head` is valid until the exchange ends.
    func upstreamAnswered(_ head: ResponseHead, endStream: Bool)
    /// What is not given back by `responseConsumed` holds the upstream back.
    func upstreamBody(_ bytes: Span<UInt8>)
    func upstreamEnded(trailers: borrowing FieldSection)
    /// Where the request goes instead, once it is sure that the upstream does not answer it; `nil`: nowhere. It can be sent whole.
    func upstreamFallback(for reason: Reason) -> (pools: UpstreamPools, limits: AttemptLimits)?
    /// No (further) answer: refused by the guard, or the last attempt failed. After `upstreamAnswered` the answer is cut short.
    func upstreamFailed(_ failure: GuardedFailure)
    /// An attempt can take the request's body now: a client that waits for 100-continue may go on.
    func upstreamReady()
    /// `n` bytes of the request's body are done with.
    func upstreamTookBody(_ n: Int)
}

/// How a guarded exchange ended without an answer.
package struct GuardedFailure: Sendable {
    package var reason: Reason
    /// Why no further attempt was made, if one was thinkable.
    package var retryReason: Reason?
    package var retryAfterNanoseconds: Int64?
    /// For the log.
    package var detail: String
}

/// Runs one request under the policies of its upstream's guard (design, section 5; semantics, sections 0 to 5):
///
///     start ─► admit ─► (queue) ─► endpoint ─► lease ─► send ─► head ─► relay ─► end
///                ▲                                        │
///                └──────────── back-off ◄── retry? ◄──────┘ failure
///
/// The object is one client's exchange after the other; all of it is confined to one reactor. What an attempt holds (permit,
/// half-open slot, retry token, connection) are tokens that this object owns, so every way out gives them back.
package final class GuardedExchange {
    enum Phase { case idle, queued, naming, leasing, awaitingHead, relaying, backingOff }

    package let reactor: Reactor
    /// Set once, before the first request: the client holds this object in a constant.
    package unowned var client: (any GuardedExchangeClient)?

    var phase = Phase.idle
    var pools: UpstreamPools?
    var head: RequestHead?
    var key: UInt64 = 0
    var isIdempotent = false

    // One attempt.
    var permit: AttemptPermit?
    var retryToken: RetryToken?
    var waiting: QueuedAttempt?
    var exchange: ClientExchange?
    var endpoint: Endpoint?
    var endpointIndex = -1
    /// What the balancer waits to hear of.
    var choice: EndpointBalancer.Choice?
    /// By which a balancer of policy `hash` chooses.
    var balancingKey: UInt64?
    private(set) var clientAddress: UInt128?
    var isReusedConnection = false
    var requestSentWhole = false
    /// The host as the client asked for it.
    var clientAuthority = Slice.empty

    // A second attempt beside it.
    var hedgeAt = Instant.never
    /// Made with the first hedge, and kept.
    var leg: HedgeLeg?
    /// The attempt was a hedge and still waits for its connection: in the pool stands the leg.
    var waitsInLeg = false

    // All attempts.
    package internal(set) var attempts = 0
    var tried = TriedEndpoints()
    var usedFreeRetry = false
    /// Some attempt may have reached an application.
    var mayBeProcessed = false
    /// Attempts that the upstream surely did nothing for and that count for nothing.
    var freeAttempts = 0
    var nextRetryToken: RetryToken?
    /// The answer of an earlier attempt, for want of a better one.
    var kept: KeptAnswer?
    /// Why no further attempt followed one that ended in a failure status.
    package internal(set) var retryReason: Reason?
    /// A head that waits for what follows it.
    var heldHead: ResponseHead?
    /// What the response head said of the attempt.
    var answerOutcome = Outcome.success
    var limits = AttemptLimits(TimeoutSettings(), queueTimeout: .zero)
    var terms = CallerTerms()
    package internal(set) var trail = DecisionTrail()
    var startedAt = Instant.origin
    package internal(set) var timings = StageTimings()

    // The request's body.
    var body = ByteBuffer()
    var bodyDelivered = 0
    var keepsForReplay = false
    let replay: ReplayMemory
    /// Bytes of the body that are counted in `replay`.
    var replayReserved = 0
    /// Bytes of the body were sent and not kept, so that it cannot be sent again.
    var bodyWasDropped = false
    var bodyEnded = true
    var hasBody = false

    // Limits of time; `.never` where none runs.
    var totalDeadline = Instant.never
    var perTryDeadline = Instant.never
    var stageDeadline = Instant.never
    var idleDeadline = Instant.never
    /// Since when nothing but the client's body is waited for.
    var waitingForClientSince: Instant?
    let timer = Timer()

    package init(reactor: Reactor, replay: ReplayMemory) {
        self.reactor = reactor
        self.replay = replay
        timer.owner = self
    }

    /// The name of the upstream of the latest request.
    package var lastClusterName: String? { lastCluster?.name }
    package internal(set) var lastCluster: UpstreamCluster?
    package var lastEndpoint: Endpoint? { endpoint }
    /// The endpoints of that upstream.
    package var lastEndpoints: [Endpoint] { lastCluster?.endpoints ?? [] }
    package var isRunning: Bool { phase != .idle }

    // MARK: The request

    /// Begins. `key` identifies the request in draws; `head` is ready to be sent and stays untouched until the end.
    ///
    /// - Parameter clientAddress: an endpoint may be chosen by it.
    package func start(
        _ head: RequestHead, hasBody: Bool, key: UInt64, isIdempotent: Bool, limits: AttemptLimits,
        terms: CallerTerms = CallerTerms(), clientAddress: UInt128? = nil, detail: DecisionTrail.Detail = .steps,
        over pools: UpstreamPools
    ) {
        self.pools = pools
        lastCluster = pools.cluster
        self.head = head
        clientAuthority = head.authority
        self.key = key
        self.isIdempotent = isIdempotent
        self.clientAddress = clientAddress
        balancingKey = pools.cluster.balancingKey?.hash(of: head, clientAddress: clientAddress)
        self.hasBody = hasBody
        bodyEnded = !hasBody
        keepsForReplay = hasBody
        bodyDelivered = 0
        bodyWasDropped = false
        waitingForClientSince = nil
        attempts = 0
        freeAttempts = 0
        owed = 0
        tried.removeAll()
        usedFreeRetry = false
        mayBeProcessed = false
        retryReason = nil
        self.limits = limits
        self.terms = terms
        trail.begin(detail)
        timings = StageTimings()
        endpoint = nil
        startedAt = reactor.now
        totalDeadline = startedAt.advanced(byNanoseconds: min(limits.total, terms.timeout))
        beginAttempt()
    }

    /// Body bytes of the request, in order.
    package func write(_ bytes: Span<UInt8>) {
        guard phase != .idle, !bodyEnded else { return }
        if let exchange, phase == .awaitingHead || phase == .relaying, body.count == bodyDelivered {
            exchange.write(bytes)
            if keepsForReplay {
                body.append(bytes)
                bodyDelivered += bytes.count
                forgetBodyIfTooLong()
            } else {
                bodyWasDropped = true
            }
            updateTryClock()
            if !exchange.isCongested { client?.upstreamTookBody(bytes.count) } else { owed += bytes.count }
        } else {
            body.append(bytes)
            owed += bytes.count
            forgetBodyIfTooLong()
        }
    }

    /// The request is complete. Its trailers are asked for when they can be sent.
    package func finishRequest(trailers: borrowing FieldSection) {
        guard phase != .idle, !bodyEnded else { return }
        bodyEnded = true
        self.trailers.removeAll()
        self.trailers.append(contentsOf: trailers)
        if let exchange, phase == .awaitingHead || phase == .relaying { exchange.finish(trailers: self.trailers) }
        updateTryClock()
    }

    /// Bytes that the client sent and that wait for an attempt to take them.
    var owed = 0
    var trailers = FieldSection()

    func forgetBodyIfTooLong() {
        guard keepsForReplay else { return }
        if body.count > pools?.cluster.settings.retries.replayBodyBytes ?? 0 {
            replay.noteOverOwn()
        } else if replay.reserve(body.count - replayReserved) {
            replayReserved = body.count
            return
        }
        keepsForReplay = false
        releaseReplay()
        if bodyDelivered > 0 { bodyWasDropped = true }
        body.consume(bodyDelivered)
        bodyDelivered = 0
    }

    func releaseReplay() {
        replay.release(replayReserved)
        replayReserved = 0
    }

    /// The client is done with `n` bytes of the response's body.
    package func responseConsumed(_ n: Int) { exchange?.consumed(n) }

    /// The client took bytes again, or stopped doing so: the upstream's silence is only counted while we are reading.
    package func clientStalled(_ stalled: Bool) {
        guard phase == .relaying else { return }
        if stalled { idleDeadline = .never } else { armIdle() }
    }

    /// Gives everything up: the client is gone.
    package func cancel(_ reason: Reason) {
        guard phase != .idle else { return }
        note(.cancelled, reason)
        endAttempt(Outcome(.neutral, reason: reason, processed: .maybe), cancelling: true)
        finish()
    }

    /// Writes a step into the decision trail.
    func note(_ step: DecisionTrail.Step, _ reason: Reason? = nil, value: Int64 = 0) {
        guard let guardian = pools?.cluster.guardian else { return }
        let now = reactor.now
        trail.note(
            step, attempt: attempts, reason: reason, endpoint: step == .refused || step == .queued ? -1 : endpointIndex,
            at: now.nanoseconds(since: startedAt), value: value
        ) {
            let left = totalDeadline == .never ? .max : totalDeadline.nanoseconds(since: now)
            return DecisionTrail.Numbers(guardian.snapshot(now: now), deadlineLeft: left)
        }
    }

    // MARK: One attempt

    func beginAttempt() {
        guard let pools else { return }
        let now = reactor.now
        if totalDeadline.nanoseconds(since: now) < limits.minimumTry {
            fail(attempts == 0 ? .deadlineInsufficient : .deadline, detail: "no time left for an attempt")
            return
        }
        switch pools.cluster.guardian.admit(
            now: now, request: key, isFirstAttempt: attempts == 0, priority: priority, client: clientKey)
        {
        case .admitted(let permit):
            self.permit = consume permit
            dispatch()
        case .mustWait:
            note(.queued)
            queue(until: min(now.advanced(byNanoseconds: limits.queue), totalDeadline))
        case .refused(let refusal):
            refused(refusal)
        }
    }

    /// By which a client is throttled as a whole: its address, and of IPv6 the 64 bits that a network has for itself.
    private var clientKey: UInt64? {
        clientAddress.map { bits in
            let network = UInt64(truncatingIfNeeded: bits >> 64)
            return network == 0 ? UInt64(truncatingIfNeeded: bits) : network
        }
    }

    /// A trusted caller's word before the route's.
    var priority: Priority { terms.priority ?? limits.priority }

    /// The route's before the upstream's.
    func retrySettings(_ pools: UpstreamPools) -> RetrySettings { limits.retries?.settings ?? pools.cluster.settings.retries }

    func refused(_ refusal: Refusal) {
        retryToken = nil
        note(.refused, refusal.reason)
        fail(refusal.reason, retryAfter: refusal.retryAfterNanoseconds, detail: "refused by the guard")
    }

    // MARK: Waiting for a permit

    func queue(until expiry: Instant) {
        guard let pools else { return }
        phase = .queued
        let queuedAt = reactor.now
        stageDeadline = expiry
        armTimer()
        let ticket = QueuedAttempt()
        waiting = ticket
        let bulkhead = pools.cluster.bulkhead
        let priority = priority
        let confined = Confined(self, to: reactor)
        // The one place of the data path that suspends: it really waits.
        Task.immediate(executorPreference: reactor) {
            let grant = await bulkhead.permit(for: ticket, now: queuedAt, expiry: expiry, priority: priority)
            confined.value.queueEnded(grant, ticket: ticket, queuedAt: queuedAt)
        }
    }

    func queueEnded(_ grant: consuming QueueGrant, ticket: QueuedAttempt, queuedAt: Instant) {
        // A grant that comes after the wait was given up goes back by its own deinit.
        guard phase == .queued, waiting === ticket, let pools else { return }
        waiting = nil
        stageDeadline = .never
        timings.queue += reactor.now.nanoseconds(since: queuedAt)
        switch consume grant {
        case .abandoned:
            note(.refused, .bulkheadQueueTimeout)
            fail(.bulkheadQueueTimeout, detail: "the wait for a permit was given up")
        case .refused(let refusal):
            refused(refusal)
        case .granted(let bulkheadPermit):
            // The breaker may have opened meanwhile: it is asked again before anything is sent.
            switch pools.cluster.guardian.reserve(
                consume bulkheadPermit, now: reactor.now, request: key, isFirstAttempt: attempts == 0)
            {
            case .admitted(let permit):
                self.permit = consume permit
                note(.granted)
                dispatch()
            case .mustWait: fail(.bulkheadFull, detail: "no permit")
            case .refused(let refusal): refused(refusal)
            }
        }
    }

    // MARK: Sending

    func dispatch() {
        moveToLatestEndpoints()
        guard let pools else { return }
        let now = reactor.now
        guard let choice = chooseEndpoint(pools) else {
            if let name = pools.cluster.upstreamName, pools.cluster.endpoints.isEmpty { return awaitEndpoints(of: name, pools) }
            endAttempt(Outcome(.local, reason: .loadBalancerNoHealthy, processed: .no), cancelling: false)
            fail(.loadBalancerNoHealthy, detail: "no endpoint to send to")
            return
        }
        // A hop before us that tries again has counted its first try there.
        if attempts == 0 && !terms.isRepeat { pools.cluster.guardian.depositFirst(now: now) }
        attempts += 1
        retryToken?.sent()
        let index = choice.endpoint
        self.choice = choice
        tried.insert(index)
        endpointIndex = index
        let endpoint = pools.cluster.endpoints[index]
        self.endpoint = endpoint
        note(choice.isProbe ? .probing : choice.isPanic ? .panicking : .admitted)
        endpoint.exchangeBegan()
        bodyDelivered = 0
        requestSentWhole = false
        timings.firstByte = 0
        phase = .leasing
        attemptStartedAt = now
        perTryDeadline = now.advanced(byNanoseconds: limits.perTry)
        planHedge(now: now)
        armTimer()
        pools.pools[index].lease(self)
    }

    var attemptStartedAt = Instant.origin
    /// Since when the upstream's name is waited for.
    var namingSince = Instant.origin

    private func chooseEndpoint(_ pools: UpstreamPools) -> EndpointBalancer.Choice? {
        let cluster = pools.cluster
        return cluster.balancer.choose(
            request: key, attempt: attempts, draw: reactor.draw, tried: tried, key: balancingKey, now: reactor.now,
            mayProbe: { self.mayProbe(cluster) }, load: { cluster.endpoints[$0].exchangesUnderWay })
    }

    /// An ejected endpoint is tried with a request that loses nothing by it, and not while the breaker is about to judge by few.
    private func mayProbe(_ cluster: UpstreamCluster) -> Bool {
        attempts == 0 && !terms.isRepeat && canReplay && (isIdempotent || head?.method.isIdempotent ?? false)
            && cluster.guardian.isClosed(now: reactor.now)
    }

    func deliverRequest() {
        guard let exchange, let head else { return }
        let sendsBody = hasBody
        prepare(head, for: endpointIndex, deadline: perTryDeadline)
        exchange.send(head, endStream: !sendsBody)
        if sendsBody {
            if !body.isEmpty {
                body.withReadable { exchange.write($0) }
                if keepsForReplay {
                    bodyDelivered = body.count
                } else {
                    bodyWasDropped = true
                    body.removeAll()
                    bodyDelivered = 0
                }
            }
            if bodyEnded { exchange.finish(trailers: trailers) }
            settleOwed()
        }
    }

    /// Makes the head that of the attempt that is sent now.
    func prepare(_ head: RequestHead, for endpoint: Int, deadline: Instant) {
        if let authorities = pools?.cluster.authorities {
            let name = authorities[endpoint]
            head.authority = head.fields.store(name.span)
        } else {
            head.authority = clientAuthority
        }
        if pools?.cluster.attemptFields == true { tellOfAttempt(head, until: min(deadline, totalDeadline)) }
    }

    private func tellOfAttempt(_ head: RequestHead, until deadline: Instant) {
        let now = reactor.now
        terms.write(
            to: head, attempt: attempts, elapsed: now.nanoseconds(since: startedAt),
            wait: deadline == .never ? .max : deadline.nanoseconds(since: now),
            wholeLeft: limits.totalIncludesBody && totalDeadline != .never ? totalDeadline.nanoseconds(since: now) : .max,
            margin: limits.hopMargin)
    }

    func settleOwed() {
        guard owed > 0, let exchange, !exchange.isCongested else { return }
        let n = owed
        owed = 0
        client?.upstreamTookBody(n)
    }
}
