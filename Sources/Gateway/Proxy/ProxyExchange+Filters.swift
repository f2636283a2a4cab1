// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Transport
import Upstream

/// A request's way through the filters of its route, and its answer's way back.
extension ProxyExchange {
    func beginFilters(
        _ chain: FilterChain, _ match: RouteTable.Match?, _ exchange: ServerExchange, _ snapshot: GatewaySnapshot
    ) {
        // Before any filter writes a field: else a client could have it removed by naming it in Connection (case A17).
        exchange.head.stripConnectionFields()
        let pass = FilterPass(
            self, home: home, head: exchange.head, snapshot: snapshot, match: match, route: route, chain: chain)
        self.pass = pass
        runFilters(pass)
    }

    private func runFilters(_ pass: FilterPass) {
        while pass.position < pass.filters.count {
            let step = pass.ask { $0.request(pass) }
            guard take(step, pass) else { return }
        }
        filtersAreThrough(pass)
    }

    /// What a filter that waited has decided.
    func filtersGoOn(_ pass: FilterPass, with step: FilterStep) {
        guard take(step, pass) else { return }
        runFilters(pass)
    }

    /// True: the next filter is asked.
    private func take(_ step: FilterStep, _ pass: FilterPass) -> Bool {
        switch step {
        case .next:
            pass.count(.passed)
            pass.position += 1
            return true
        case .wait: return false
        case .collect(let limit, let overflow): return collectRequest(pass, limit, overflow)
        case .refuse(let refusal):
            pass.count(.refused)
            refuse(refusal)
            return false
        case .answer(let answer):
            pass.count(.answered)
            respond(with: answer)
            return false
        }
    }

    private func filtersAreThrough(_ pass: FilterPass) {
        guard let exchange, let listener, let snapshot else { return }
        guard let match = pass.match, let route else {
            refuse(.routeNone, detail: "no route matches")
            return
        }
        if !isUpstreamChainAppended, let index = target(of: route, pass) {
            isUpstreamChainAppended = true
            pass.target = index
            if let chain = snapshot.upstreamChains[index] {
                pass.append(chain)
                runFilters(pass)
                return
            }
        }
        act(match, route: route, exchange, listener, snapshot)
    }

    private func target(of route: RoutePlan, _ pass: FilterPass) -> Int? {
        if let target = pass.target { return target }
        switch route.action {
        case .upstream(let index): return index
        case .split(let weights, let upstreams): return upstreams[weights.choose(home.reactor.draw, request: facts.key)]
        case .redirect, .answer: return nil
        }
    }

    func refuse(_ refusal: FilterRefusal) {
        refuse(
            refusal.reason, detail: refusal.detail.isEmpty ? nil : refusal.detail,
            retryAfterNanoseconds: refusal.retryAfterNanoseconds, fields: refusal.fields)
    }

    // MARK: The request's body

    private func collectRequest(_ pass: FilterPass, _ limit: Int, _ overflow: ResponseStep.Overflow) -> Bool {
        guard let exchange else { return false }
        var isTooLong = heldBody.count > limit
        if case .length(let n) = exchange.head.framing, n > UInt64(max(0, limit)) { isTooLong = true }
        if isTooLong { return requestIsTooLong(pass, limit, overflow) }
        if exchange.requestIsComplete || exchange.head.framing == .none { return bodyIsCollected(pass) }
        collectLimit = limit
        collectOverflow = overflow
        giveCredit(creditOwed)
        exchange.sendContinue()
        waitForBody()
        return false
    }

    /// True: the filter is passed over, and the next one is asked. What is here of the body waits with it, and goes on first.
    private func requestIsTooLong(_ pass: FilterPass, _ limit: Int, _ overflow: ResponseStep.Overflow) -> Bool {
        collectLimit = nil
        switch overflow {
        case .passOn: return take(.next, pass)
        case .fail:
            refuse(
                FilterRefusal(
                    .requestBodyTooLarge, detail: "the body is longer than \(limit) bytes, which a filter of this route takes"))
            return false
        }
    }

    private func bodyIsCollected(_ pass: FilterPass) -> Bool {
        collectLimit = nil
        let before = heldBody.count
        let step = pass.ask { $0.collected(pass, &heldBody) }
        guard let exchange else { return false }
        if exchange.head.framing != .none || !heldBody.isEmpty || before > 0 {
            exchange.head.framing = .length(UInt64(heldBody.count))
        }
        return take(step, pass)
    }

    /// Bytes of the body that came while the request is not with its upstream, or that taps want to see. False: they are dealt with.
    func takeBody(_ bytes: Span<UInt8>, _ pass: FilterPass) -> Bool {
        for tap in pass.taps {
            if let refusal = tap.body(bytes) {
                give(up: refusal)
                return false
            }
        }
        guard !isUpstream, let exchange, !exchange.hasResponded else { return true }
        heldBody.append(bytes)
        if let collectLimit {
            if heldBody.count > collectLimit {
                if requestIsTooLong(pass, collectLimit, collectOverflow) { runFilters(pass) }
            } else {
                giveCredit(bytes.count)
            }
        }
        return false
    }

    /// False: the request is not to go on.
    func bodyEnded(_ pass: FilterPass) -> Bool {
        for tap in pass.taps {
            if let refusal = tap.end() {
                give(up: refusal)
                return false
            }
        }
        if collectLimit != nil {
            if bodyIsCollected(pass) { runFilters(pass) }
            return false
        }
        return true
    }

    /// A request that may be with its upstream already is refused.
    private func give(up refusal: FilterRefusal) {
        guard let exchange else { return }
        if isUpstream { guarded.cancel(refusal.reason) }
        if exchange.hasResponded { end(aborting: refusal.reason) } else { refuse(refusal) }
    }

    /// What of the body is here already goes to the upstream.
    func forwardHeldBody(_ exchange: ServerExchange) {
        if !heldBody.isEmpty {
            heldBody.withReadable { guarded.write($0) }
            heldBody.removeAll()
            heldBody.releaseStorage()
        }
        guard self.exchange === exchange, guarded.isRunning, exchange.requestIsComplete else { return }
        finishUpstream(exchange)
    }

    // MARK: The answer

    func answerBegins(_ head: ResponseHead, hasBody: Bool, _ pass: FilterPass) {
        pass.isLocalAnswer = false
        pass.answerHasBody = hasBody
        pass.answerPosition = pass.entered - 1
        if takeHead(head, pass) { sendHead(head, pass) }
    }

    /// Takes a head through the filters that are left. False: it waits for its body, or is replaced.
    private func takeHead(_ head: ResponseHead, _ pass: FilterPass) -> Bool {
        while pass.answerPosition >= 0 {
            let step = pass.filters[pass.answerPosition].filter.response(pass, head)
            guard take(step, head, pass) else { return false }
        }
        return true
    }

    private func take(_ step: ResponseStep, _ head: ResponseHead, _ pass: FilterPass) -> Bool {
        switch step {
        case .next: break
        case .stage(let stage):
            assert(pass.answerHasBody, "a stage without a body")
            pass.count(.transformed)
            pass.stages.append(stage)
        case .collect(let limit, let overflow):
            if pass.answerHasBody {
                heldAnswer = HeldAnswer(head: head, limit: limit, overflow: overflow)
                return false
            }
            var none = ByteBuffer()
            let step = pass.filters[pass.answerPosition].filter.collectedResponse(pass, head, &none)
            if case .collect = step { break }
            return take(step, head, pass)
        case .replace(let answer):
            pass.count(.answered)
            replaceAnswer(with: answer, pass)
            return false
        }
        pass.answerPosition -= 1
        return true
    }

    /// The upstream's answer is not the client's: what is left of it is read so that the attempt is counted as what it was.
    private func replaceAnswer(with answer: LocalAnswer, _ pass: FilterPass) {
        heldAnswer = nil
        isDiscarding = guarded.isRunning
        respond(with: answer)
    }

    private func sendHead(_ head: ResponseHead, _ pass: FilterPass) {
        guard let exchange, let snapshot else { return }
        facts.status = head.status
        finishHead(head, exchange, snapshot)
        exchange.respond(head, endStream: !pass.answerHasBody)
    }

    /// Bytes of the upstream's answer. False: they are dealt with.
    func takeAnswerBody(_ bytes: Span<UInt8>, _ pass: FilterPass) -> Bool {
        guard let held = heldAnswer else {
            if pass.stages.isEmpty { return true }
            pass.stream(bytes) { exchange?.write($0) }
            creditUpstream(bytes.count)
            return false
        }
        pass.stream(bytes) { held.body.append($0) }
        guarded.responseConsumed(bytes.count)
        if held.body.count > held.limit { answerIsTooLong(held, pass) }
        return false
    }

    private func answerIsTooLong(_ held: HeldAnswer, _ pass: FilterPass) {
        heldAnswer = nil
        switch held.overflow {
        case .fail:
            guarded.cancel(.responseTooLarge)
            refuse(
                FilterRefusal(
                    .responseTooLarge,
                    detail: "the service's answer is longer than \(held.limit) bytes, which a filter of this route takes"))
        case .passOn:
            let first = pass.stages.count
            pass.answerPosition -= 1
            guard takeHead(held.head, pass) else {
                // Another filter collects: what is here is the beginning of it.
                guard let next = heldAnswer else { return }
                held.body.withReadable { next.body.append($0) }
                if next.body.count > next.limit { answerIsTooLong(next, pass) }
                return
            }
            sendHead(held.head, pass)
            held.body.withReadable { bytes in pass.stream(bytes, from: first) { exchange?.write($0) } }
        }
    }

    /// The upstream's answer is complete. False: what remains to be done with it is done.
    func answerEnded(_ pass: FilterPass, trailers: borrowing FieldSection) -> Bool {
        while let held = heldAnswer {
            heldAnswer = nil
            pass.stream(Span(), isLast: true) { held.body.append($0) }
            pass.stages = []
            let step = pass.filters[pass.answerPosition].filter.collectedResponse(pass, held.head, &held.body)
            held.head.framing = .length(UInt64(held.body.count))
            pass.answerHasBody = !held.body.isEmpty
            if case .collect = step { pass.answerPosition -= 1 } else if !take(step, held.head, pass) { return false }
            guard takeHead(held.head, pass) else {
                guard let next = heldAnswer else { return false }
                held.body.withReadable { next.body.append($0) }
                continue
            }
            sendHead(held.head, pass)
            if pass.answerHasBody { held.body.withReadable { bytes in pass.stream(bytes) { exchange?.write($0) } } }
        }
        if !pass.stages.isEmpty {
            pass.stream(Span(), isLast: true) { exchange?.write($0) }
            pass.stages = []
        }
        return true
    }

    // MARK: Answers of filters

    func respond(with answer: LocalAnswer) {
        guard let exchange, let snapshot else { return }
        if let reason = answer.reason { facts.reason = reason }
        // A 304 tells no length: it would be that of what it does not send (RFC 9110 §8.6).
        answer.head.framing = answer.head.status == 304 ? .none : .length(UInt64(answer.body.count))
        localBody = answer.body
        respondLocally(answer.head, exchange, snapshot)
    }

    /// Gives an answer of the gateway's own, whose body is in `localBody`.
    func respondLocally(_ head: ResponseHead, _ exchange: ServerExchange, _ snapshot: GatewaySnapshot) {
        var hasBody = !localBody.isEmpty && exchange.head.method != .head
        if let pass {
            for stage in pass.stages { stage.aborted() }
            pass.stages = []
            heldAnswer = nil
            pass.isLocalAnswer = true
            pass.answerHasBody = hasBody
            takeLocalHead(head, pass)
            hasBody = pass.answerHasBody
        }
        finishHead(head, exchange, snapshot)
        facts.status = head.status
        facts.answeredAt = home.reactor.now
        exchange.respond(head, endStream: !hasBody)
        if !hasBody { localBody = [] }
        sendLocalBody()
    }

    /// An answer of the gateway's own is whole already: nothing is waited for, and none is put in its place.
    private func takeLocalHead(_ head: ResponseHead, _ pass: FilterPass) {
        pass.answerPosition = pass.entered - 1
        while pass.answerPosition >= 0 {
            let filter = pass.filters[pass.answerPosition].filter
            switch filter.response(pass, head) {
            case .stage(let stage) where pass.answerHasBody: pass.stages.append(stage)
            case .next, .collect, .replace, .stage: break
            }
            pass.answerPosition -= 1
        }
    }

    /// Writes as much as the client takes, and ends the exchange once all is written.
    func sendLocalBody() {
        guard let exchange else { return }
        while !localBody.isEmpty {
            let piece = localBody.prefix(65_536)
            localBody = localBody.dropFirst(piece.count)
            if let pass, !pass.stages.isEmpty {
                pass.stream(piece.span) { exchange.write($0) }
            } else {
                exchange.write(piece.span)
            }
            guard self.exchange === exchange else { return }
            if exchange.isCongested && !localBody.isEmpty {
                armClientTimer()
                return
            }
        }
        if let pass, !pass.stages.isEmpty {
            pass.stream(Span(), isLast: true) { exchange.write($0) }
            pass.stages = []
        }
        guard self.exchange === exchange else { return }
        conclude(exchange, status: facts.status)
        exchange.finish()
    }
}

/// An upstream's answer that a filter wants whole.
final class HeldAnswer {
    let head: ResponseHead
    let limit: Int
    let overflow: ResponseStep.Overflow
    var body = ByteBuffer()

    init(head: ResponseHead, limit: Int, overflow: ResponseStep.Overflow) {
        self.head = head
        self.limit = limit
        self.overflow = overflow
    }
}
