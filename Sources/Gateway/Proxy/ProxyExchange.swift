// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Telemetry
import Transport
import Upstream

/// One request on its way through the gateway: from the client's exchange, over the route, to the guarded exchange with the
/// upstream, and the answer back.
///
///     ServerExchange ──request──► ProxyExchange ──► GuardedExchange ──► upstream
///          client    ◄──answer───      │        ◄──
///                                  local answer (redirect, fixed answer, refusal)
///
/// It holds no policy: routing is the table's, resilience the guard's. What it sees to is that every request is answered
/// once, counted once and logged once, and that each side waits for the other. Reused from a list of its reactor.
final class ProxyExchange: RequestHandler, GuardedExchangeClient {
    let home: GatewayReactor
    let guarded: GuardedExchange
    private let bodyTimer = Timer()
    private let clientTimer = Timer()

    // The request under way.
    var exchange: ServerExchange?
    var listener: ListenerPlan?
    var snapshot: GatewaySnapshot?
    var route: RoutePlan?
    var facts = RequestFacts()

    // Where its route has filters.
    var pass: FilterPass?
    /// Bytes of the body that came while filters decide, and what they made of them.
    var heldBody = ByteBuffer()
    /// A filter waits for the whole body, of at most so many bytes.
    var collectLimit: Int?
    /// What becomes of a longer one.
    var collectOverflow = ResponseStep.Overflow.fail
    /// A filter waits for the whole answer.
    var heldAnswer: HeldAnswer?
    /// The client got another answer; what still comes from the upstream is dropped.
    var isDiscarding = false
    private var discarded = 0
    private var alone: ProxyExchange?
    var isUpstreamChainAppended = false

    /// What is left to be written of an answer of the gateway's own.
    var localBody: ArraySlice<UInt8> = []
    private(set) var isUpstream = false
    /// Request bytes that the client has no credit for yet.
    private(set) var creditOwed = 0
    /// Response bytes that the client's side holds and the upstream has no credit for yet.
    private var heldCredit = 0
    private var pace = BodyPace()
    /// What the client had taken of the answer when it was last looked at.
    private var takenByClient: UInt64 = 0

    init(home: GatewayReactor) {
        self.home = home
        guarded = GuardedExchange(reactor: home.reactor, replay: home.replay)
        guarded.client = self
        bodyTimer.owner = self
        clientTimer.owner = self
    }

    // MARK: The request

    func start(_ exchange: ServerExchange, listener: ListenerPlan, snapshot: GatewaySnapshot) {
        self.exchange = exchange
        self.listener = listener
        self.snapshot = snapshot
        begin(exchange)
        if exchange.head.framing != .none {
            pace.bodyBegins()
            // One that waits to be told to go on is not slow.
            if !exchange.head.expectsContinue { waitForBody() }
        }
        admit(exchange, listener, snapshot)
    }

    /// A request that was refused before it was one.
    func startRefused(
        _ exchange: ServerExchange, listener: ListenerPlan, snapshot: GatewaySnapshot, reason: Reason, detail: StaticString
    ) {
        self.exchange = exchange
        self.listener = listener
        self.snapshot = snapshot
        begin(exchange)
        refuse(reason, detail: "\(detail)")
    }

    private func begin(_ exchange: ServerExchange) {
        exchange.handler = self
        heldCredit = 0
        creditOwed = 0
        isUpstream = false
        isUpstreamChainAppended = false
        isDiscarding = false
        discarded = 0
        route = nil
        facts = RequestFacts(exchange, home: home)
        pace = BodyPace()
    }

    private func admit(_ exchange: ServerExchange, _ listener: ListenerPlan, _ snapshot: GatewaySnapshot) {
        let head = exchange.head
        snapshot.identityFields?.strip(from: &head.fields)
        if let refusal = identify(exchange, listener, snapshot) {
            refuse(refusal.reason, detail: "\(refusal.detail)")
            return
        }
        if case .length(let n) = head.framing, n > snapshot.bodyLimit {
            refuse(.requestBodyTooLarge, detail: "the body is longer than limits.body_bytes")
            return
        }
        let hasEncodedSlash: Bool
        switch RequestPath.normalise(head, emptySegments: snapshot.emptySegments) {
        case .normal: hasEncodedSlash = false
        case .encodedSlash: hasEncodedSlash = true
        case .refused:
            refuse(.requestTarget, detail: "the path cannot be read in one way only")
            return
        }
        switch snapshot.table.match(head, hasEncodedSlash: hasEncodedSlash) {
        case .route(let match): take(match, exchange, listener, snapshot)
        case .encodedSlashRefused: refuse(.requestTarget, detail: "the path has an encoded slash, which this route does not allow")
        case .methodNotAllowed(let allowed):
            if let match = preflighted(head, hasEncodedSlash, snapshot) {
                take(match, exchange, listener, snapshot)
            } else {
                refuse(.requestMethod, detail: "no route for this method", allowed: allowed)
            }
        case .none:
            if let chain = listener.unroutedChain {
                beginFilters(chain, nil, exchange, snapshot)
            } else {
                refuse(.routeNone, detail: "no route matches")
            }
        }
    }

    /// The route of the request that a CORS preflight asks about, if that route answers preflights.
    private func preflighted(_ head: RequestHead, _ hasEncodedSlash: Bool, _ snapshot: GatewaySnapshot) -> RouteTable.Match? {
        guard snapshot.answersPreflights, let method = CORSFilter.method(askedForBy: head) else { return nil }
        let (own, text) = (head.method, head.methodText)
        head.method = method
        defer { (head.method, head.methodText) = (own, text) }
        guard case .route(let match) = snapshot.table.match(head, hasEncodedSlash: hasEncodedSlash),
            snapshot.routes[match.route].answersPreflights
        else { return nil }
        return match
    }

    private func take(_ match: RouteTable.Match, _ exchange: ServerExchange, _ listener: ListenerPlan, _ snapshot: GatewaySnapshot)
    {
        let route = snapshot.routes[match.route]
        self.route = route
        if home.overload.isShedding, sheds(route, exchange, snapshot) { return }
        if let chain = listener.chains.isEmpty ? route.chain : listener.chains[match.route] {
            beginFilters(chain, match, exchange, snapshot)
        } else {
            act(match, route: route, exchange, listener, snapshot)
        }
    }

    /// Does what the route says, once its filters let the request pass.
    func act(
        _ match: RouteTable.Match, route: RoutePlan, _ exchange: ServerExchange, _ listener: ListenerPlan,
        _ snapshot: GatewaySnapshot
    ) {
        switch route.action {
        case .answer(let answer):
            respond(with: answer, exchange, snapshot)
        case .redirect(let redirect):
            respond(with: redirect, match: match, exchange, snapshot)
        case .upstream(let index):
            forward(exchange, to: pass?.target ?? index, match: match, route: route, listener, snapshot)
        case .split(let weights, let upstreams):
            let index = pass?.target ?? upstreams[weights.choose(home.reactor.draw, request: facts.key)]
            forward(exchange, to: index, match: match, route: route, listener, snapshot)
        }
    }

    private func forward(
        _ exchange: ServerExchange, to index: Int, match: RouteTable.Match, route: RoutePlan, _ listener: ListenerPlan,
        _ snapshot: GatewaySnapshot
    ) {
        let head = exchange.head
        head.path = route.rewrite.apply(to: head, match)
        prepareRequest(exchange, listener, snapshot)
        let terms = CallerTerms(takingFrom: head, isTrusted: facts.identity?.isTrusted ?? false)
        takeExplainWish(head)
        if terms.isMalformed { snapshot.metrics.malformedTimeouts.add(shard: home.shard) }
        let pools = home.pools(for: index, in: snapshot)
        facts.upstreamIndex = index
        isUpstream = true
        guarded.start(
            head, hasBody: head.framing != .none, key: facts.key, isIdempotent: route.isIdempotent,
            limits: route.limits[index] ?? pools.cluster.limits, terms: terms,
            clientAddress: facts.identity.map { $0.address.bits },
            detail: home.explainDetail(facts.key, asked: facts.wantsExplanation, snapshot), over: pools)
        if pass != nil, self.exchange === exchange, guarded.isRunning { forwardHeldBody(exchange) }
    }

    func requestBody(_ bytes: Span<UInt8>) {
        guard let exchange, let snapshot else { return }
        pace.received(bytes.count, now: home.reactor.now)
        creditOwed += bytes.count
        if exchange.bodyBytesReceived > pass?.bodyLimit ?? snapshot.bodyLimit {
            bodyTooLarge()
            return
        }
        if pace.isTooSlow(total: exchange.bodyBytesReceived, snapshot.bodyLimits) {
            clientIsSlow()
            return
        }
        if let pass, !takeBody(bytes, pass) { return }
        if isUpstream && guarded.isRunning {
            guarded.write(bytes)
        } else {
            giveCredit(bytes.count)
        }
    }

    private func bodyTooLarge() {
        guard let exchange else { return }
        if isUpstream { guarded.cancel(.requestBodyTooLarge) }
        if exchange.hasResponded {
            end(aborting: .requestBodyTooLarge)
        } else {
            refuse(.requestBodyTooLarge, detail: "the body is longer than limits.body_bytes")
        }
    }

    func requestEnded() {
        pace.bodyEnded()
        bodyTimer.cancel()
        if let pass, !bodyEnded(pass) { return }
        guard let exchange, isUpstream, guarded.isRunning else { return }
        finishUpstream(exchange)
    }

    /// The request is complete. Trailers tell an upstream no more than the head may: some read both as one.
    func finishUpstream(_ exchange: ServerExchange) {
        let identity = snapshot?.identityFields
        exchange.withTrailers { trailers in
            guard let identity, !trailers.isEmpty else {
                guarded.finishRequest(trailers: trailers)
                return
            }
            var stripped = FieldSection()
            stripped.append(contentsOf: trailers)
            identity.strip(from: &stripped)
            guarded.finishRequest(trailers: stripped)
        }
    }

    func requestWithdrawn() {
        if isUpstream { guarded.cancel(.requestMalformed) }
        release()
    }

    func requestAborted(_ reason: Reason, detail: StaticString) {
        guard let exchange else { return }
        if isUpstream { guarded.cancel(reason) }
        facts.reason = reason
        conclude(exchange, status: exchange.hasResponded ? facts.status : reason.httpStatus)
    }

    func responseDrained() {
        clientTimer.cancel()
        if !localBody.isEmpty { sendLocalBody() }
        guard heldCredit > 0 else { return }
        let n = heldCredit
        heldCredit = 0
        guarded.clientStalled(false)
        guarded.responseConsumed(n)
    }

    // MARK: GuardedExchangeClient

    func upstreamReady() {
        exchange?.sendContinue()
        waitForBody()
    }

    func upstreamTookBody(_ n: Int) { giveCredit(n) }

    func upstreamInformed(_ head: ResponseHead) {
        head.stripConnectionFields()
        exchange?.inform(head)
    }

    func upstreamAnswered(_ head: ResponseHead, endStream: Bool) {
        guard let exchange, let snapshot else { return }
        facts.status = head.status
        facts.answeredAt = home.reactor.now
        facts.retryReason = guarded.retryReason
        prepareResponse(head, snapshot)
        if let pass {
            answerBegins(head, hasBody: !endStream, pass)
            return
        }
        finishHead(head, exchange, snapshot)
        exchange.respond(head, endStream: endStream)
    }

    func upstreamBody(_ bytes: Span<UInt8>) {
        if isDiscarding {
            discard(bytes.count)
            return
        }
        if let pass, !takeAnswerBody(bytes, pass) { return }
        exchange?.write(bytes)
        creditUpstream(bytes.count)
    }

    /// The upstream waits until the client has taken enough; its silence is then not its own (semantics, D4).
    func creditUpstream(_ n: Int) {
        guard let exchange else { return }
        if exchange.isCongested {
            if heldCredit == 0 {
                guarded.clientStalled(true)
                armClientTimer()
            }
            heldCredit += n
        } else {
            guarded.responseConsumed(n)
        }
    }

    func upstreamEnded(trailers: borrowing FieldSection) {
        if isDiscarding {
            discardingEnded()
            return
        }
        if let pass, !answerEnded(pass, trailers: trailers) { return }
        guard let exchange else { return }
        // Counted first: the end of an HTTP/1 exchange takes its head away.
        conclude(exchange, status: facts.status)
        exchange.finish(trailers: trailers)
    }

    func upstreamFallback(for reason: Reason) -> (pools: UpstreamPools, limits: AttemptLimits)? {
        guard let snapshot, let route, let fallback = route.fallback, facts.degradedBy == nil, fallback.reasons.contains(reason),
            case .upstream(let index) = fallback.action
        else { return nil }
        if let before = facts.upstreamIndex {
            snapshot.metrics.upstreams[before].count(attempts: guarded.attempts, shard: home.shard)
        }
        facts.degradedBy = reason
        facts.reason = reason
        facts.upstreamIndex = index
        route.metrics.degraded.add(shard: home.shard)
        let pools = home.pools(for: index, in: snapshot)
        return (pools, route.limits[index] ?? pools.cluster.limits)
    }

    func upstreamFailed(_ failure: GuardedFailure) {
        if isDiscarding {
            discardingEnded()
            return
        }
        guard let exchange, let snapshot else { return }
        facts.retryReason = failure.retryReason
        if !exchange.hasResponded, let pass, let answer = pass.answer(inPlaceOf: failure) {
            facts.degradedBy = failure.reason
            facts.reason = failure.reason
            route?.metrics.degraded.add(shard: home.shard)
            respond(with: answer)
            return
        }
        if !exchange.hasResponded, let route, let fallback = route.fallback, facts.degradedBy == nil,
            fallback.reasons.contains(failure.reason), case .answer(let answer) = fallback.action
        {
            facts.degradedBy = failure.reason
            facts.reason = failure.reason
            route.metrics.degraded.add(shard: home.shard)
            respond(with: answer, exchange, snapshot)
            return
        }
        if exchange.hasResponded {
            facts.reason = failure.reason
            end(aborting: failure.reason)
        } else {
            refuse(failure.reason, detail: nil, retryAfterNanoseconds: failure.retryAfterNanoseconds)
        }
    }

    // MARK: The end

    /// Cuts an answer under way short.
    func end(aborting reason: Reason) {
        guard let exchange else { return }
        if isUpstream { guarded.cancel(reason) }
        facts.reason = reason
        let status = facts.status
        exchange.abort(reason)
        conclude(exchange, status: status)
    }

    /// Counts and logs, and returns this object to its reactor.
    func conclude(_ exchange: ServerExchange, status: Int) {
        facts.status = status
        home.record(self, exchange)
        release()
    }

    private func release() {
        bodyTimer.cancel()
        clientTimer.cancel()
        if let pass {
            pass.end()
            self.pass = nil
            heldAnswer = nil
            collectLimit = nil
            heldBody.removeAll()
            heldBody.releaseStorage()
        }
        localBody = []
        exchange?.handler = nil
        exchange = nil
        listener = nil
        snapshot = nil
        route = nil
        if isDiscarding && guarded.isRunning {
            // Nobody else holds it until the upstream's answer is read to its end.
            alone = self
            return
        }
        isDiscarding = false
        home.recycle(self)
    }

    // MARK: An answer that nobody waits for

    private func discard(_ n: Int) {
        discarded += n
        if discarded <= 1_048_576 {
            guarded.responseConsumed(n)
        } else {
            guarded.cancel(.clientCancelled)
            discardingEnded()
        }
    }

    private func discardingEnded() {
        isDiscarding = false
        // The client's side may still be under way.
        if let alone = alone.take() { home.recycle(alone) }
    }
}

// MARK: Time

extension ProxyExchange: TimerOwner {
    /// The client has leave to send: from now on its silence is its own (semantics, section 4: `client.slow`).
    func waitForBody() {
        guard let snapshot else { return }
        let now = home.reactor.now
        if pace.waits(from: now) {
            home.reactor.schedule(bodyTimer, at: now.advanced(byNanoseconds: snapshot.bodyLimits.idleNanoseconds))
        }
    }

    /// What a filter made longer was never the client's: credit is for what came.
    func giveCredit(_ n: Int) {
        let n = min(n, creditOwed)
        creditOwed -= n
        pace.credited(n)
        exchange?.consumed(n)
        waitForBody()
    }

    /// The client's silence while our answer waits for it.
    func armClientTimer() {
        guard let exchange, let snapshot else { return }
        takenByClient = exchange.bodyBytesTaken
        home.reactor.schedule(clientTimer, at: home.reactor.now.advanced(by: snapshot.writeTimeout))
    }

    func timerFired(_ timer: Timer, now: Instant) {
        guard let exchange else { return }
        if timer === clientTimer {
            // Slow is allowed: what it must not do is take nothing at all.
            if exchange.bodyBytesTaken != takenByClient { armClientTimer() } else { clientIsSlow() }
        } else if pace.isWaiting {
            clientIsSlow()
        }
    }

    private func clientIsSlow() {
        guard let exchange else { return }
        if isUpstream { guarded.cancel(.clientSlow) }
        if exchange.hasResponded {
            end(aborting: .clientSlow)
        } else {
            refuse(.clientSlow, detail: "the body came too slowly")
        }
    }
}
