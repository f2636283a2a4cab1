// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Transport

/// The second attempt that a guarded exchange sends beside a slow one (semantics, section 7), until it is clear which of the two
/// the answer comes from.
///
///     idle ─► leasing ─► awaitingHead ─► an answer that will do, or the first attempt failed: it becomes the exchange's own attempt
///               └──────────────┴───────► the first attempt answered: cancelled, neutral; or it failed itself: forgotten
///
/// Lives as long as its exchange, and serves one request after the other. It holds tokens of its own, so that every way out gives them
/// back.
final class HedgeLeg: PoolWaiter, ResponseHandler {
    enum Phase { case idle, leasing, awaitingHead }

    private unowned let owner: GuardedExchange
    private(set) var phase = Phase.idle
    /// It became the exchange's attempt while it still waited for a connection.
    private var isPromoted = false

    private var permit: AttemptPermit?
    private var token: RetryToken?
    private var pool: EndpointPool?
    private var cluster: UpstreamCluster?
    private(set) var exchange: ClientExchange?
    private(set) var endpointIndex = -1
    private(set) var choice: EndpointBalancer.Choice?
    private(set) var startedAt = Instant.origin
    private(set) var deadline = Instant.never
    private(set) var isReusedConnection = false
    private(set) var requestSentWhole = false

    init(owner: GuardedExchange) { self.owner = owner }

    var isRunning: Bool { phase != .idle }

    // MARK: Beginning

    func begin(
        _ choice: EndpointBalancer.Choice, over pools: UpstreamPools, permit: consuming AttemptPermit, token: consuming RetryToken,
        deadline: Instant, now: Instant
    ) {
        phase = .leasing
        isPromoted = false
        self.choice = choice
        endpointIndex = choice.endpoint
        cluster = pools.cluster
        self.permit = consume permit
        token.sent()
        self.token = consume token
        startedAt = now
        self.deadline = deadline
        exchange = nil
        isReusedConnection = false
        requestSentWhole = false
        pools.cluster.endpoints[endpointIndex].exchangeBegan()
        let pool = pools.pools[endpointIndex]
        self.pool = pool
        pool.lease(self)
    }

    // MARK: Ending

    /// Gives the leg up: the other one answered, or the whole request is over.
    func cancel(_ outcome: Outcome, now: Instant) {
        guard phase != .idle else { return }
        let given = exchange.take()
        if phase == .leasing { pool?.cancel(self) }
        settle(outcome, now: now)
        given?.cancel()
    }

    private func settle(_ outcome: Outcome, now: Instant) {
        phase = .idle
        exchange = nil
        pool = nil
        if let cluster = cluster.take() {
            cluster.endpoints[endpointIndex].exchangeEnded()
            if outcome.reason == .hedgeLost, let settings = cluster.settings.hedging {
                // A lower bound of what it would have taken.
                cluster.guardian.hedging.record(nanoseconds: now.nanoseconds(since: startedAt), now: now, settings: settings)
            }
            if let choice = choice.take() {
                cluster.balancer.report(choice, outcome, latencyNanoseconds: now.nanoseconds(since: startedAt), now: now)
            }
        }
        if let permit = permit.take() { permit.report(outcome, now: now) }
        if let token = token.take() { token.finished(now: now) }
    }

    func takePermit() -> AttemptPermit? { permit.take() }
    func takeToken() -> RetryToken? { token.take() }

    /// The exchange has taken over all that this leg held; the leg is free then, unless it still waits for a connection.
    func becomeAttempt() {
        if let exchange { exchange.handOver(to: owner) }
        isPromoted = phase == .leasing
        if !isPromoted { phase = .idle }
        exchange = nil
        choice = nil
        cluster = nil
    }

    /// A promoted leg that still waits for its connection waits no more.
    func stopWaiting() {
        guard isPromoted else { return }
        pool?.cancel(self)
        release()
    }

    private func release() {
        phase = .idle
        isPromoted = false
        pool = nil
    }

    // MARK: PoolWaiter

    var responseHandler: any ResponseHandler { self }

    func leased(_ exchange: ClientExchange, on connection: ClientConnection, reused: Bool) {
        guard phase == .leasing else {
            exchange.cancel()
            return
        }
        if isPromoted {
            release()
            exchange.handOver(to: owner)
            owner.leased(exchange, on: connection, reused: reused)
            return
        }
        self.exchange = exchange
        isReusedConnection = reused
        phase = .awaitingHead
        owner.deliver(to: exchange, endpoint: endpointIndex, deadline: deadline)
    }

    func leaseFailed(_ failure: LeaseFailure) {
        guard phase == .leasing else { return }
        if isPromoted {
            release()
            owner.leaseFailed(failure)
        } else {
            failed(AttemptEnd(failure))
        }
    }

    // MARK: ResponseHandler

    func requestDrained() {}

    func requestFlushed() {
        guard phase == .awaitingHead, !requestSentWhole else { return }
        requestSentWhole = true
        permit?.requestSent(now: owner.reactor.now)
    }

    /// Only the attempt that the answer comes from may speak to the client.
    func informational(_ head: ResponseHead) {}

    func responseHead(_ head: ResponseHead, endStream: Bool) {
        guard phase == .awaitingHead else { return }
        let outcome = StatusClassifier.classify(head)
        if owner.isWorthAnother(outcome, status: head.status) {
            failed(AttemptEnd(outcome: outcome, status: head.status, detail: "the hedge was answered \(head.status)"))
            return
        }
        owner.hedgeAnswered(head, endStream: endStream)
    }

    // After the head it is the exchange's own.
    func responseBody(_ bytes: Span<UInt8>) {}
    func responseEnded(trailers: borrowing FieldSection) {}

    func exchangeFailed(_ failure: ExchangeFailure) {
        guard phase == .awaitingHead else { return }
        exchange = nil
        failed(AttemptEnd(failure))
    }

    /// The first attempt goes on alone.
    private func failed(_ end: AttemptEnd) {
        let given = exchange.take()
        owner.noteHedge(.failed, end.outcome.reason, endpoint: endpointIndex)
        settle(end.outcome, now: owner.reactor.now)
        if end.outcome.processed != .no { owner.mayBeProcessed = true }
        given?.cancel()
    }

    func expired(now: Instant) {
        let outcome =
            phase == .leasing
            ? Outcome(.failure, reason: .connectTimeout, processed: .no)
            : Outcome(.failure, reason: .timeoutPerTry, processed: .maybe)
        owner.noteHedge(.failed, .timeoutPerTry, endpoint: endpointIndex)
        if outcome.processed != .no { owner.mayBeProcessed = true }
        cancel(outcome, now: now)
    }
}
