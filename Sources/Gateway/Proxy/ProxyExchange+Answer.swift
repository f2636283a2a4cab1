// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Telemetry
import Transport
import Upstream

/// Answers that the gateway gives by itself.
extension ProxyExchange {
    /// Refuses with a problem answer that names the reason. Whatever of the request's body still comes is dropped.
    func refuse(
        _ reason: Reason, detail: String?, retryAfterNanoseconds: Int64? = nil, allowed: MethodSet? = nil,
        fields: [(name: StaticString, value: [UInt8])] = []
    ) {
        guard let exchange, let snapshot else { return }
        facts.reason = reason
        var seconds = retryAfterNanoseconds.map { Int(clamping: ($0 &+ 999_999_999) / 1_000_000_000) }
        if seconds == nil, reason.isJitteredRetry {
            seconds = 1 + home.reactor.draw.below(2, request: facts.key, .retryAfterJitter)
        }
        let problem = Problem(reason, detail: detail ?? "", retryAfterSeconds: seconds)
        let answer = home.localAnswer
        problem.write(into: answer, body: &home.localBody, for: exchange.head, id: facts.id)
        if isUpstream { markExhausted(answer) }
        if let allowed { snapshot.table.writeAllow(allowed, into: &answer.fields) }
        for field in fields {
            let name = answer.fields.store(field.name)
            let value = answer.fields.store(field.value.span)
            answer.fields.append(name: name, value: value, known: .other)
        }
        respond(answer, exchange, snapshot)
    }

    /// Turns a request away while the gateway is short of time, memory or descriptors (semantics, section 10): before filters and upstream
    /// cost anything. What the gateway answers by itself costs no more than a refusal and is served. True: it has been answered.
    func sheds(_ route: RoutePlan, _ exchange: ServerExchange, _ snapshot: GatewaySnapshot) -> Bool {
        guard !route.action.upstreams.isEmpty else { return false }
        let isTrusted = facts.identity?.isTrusted ?? false
        let priority = isTrusted ? CallerTerms.priority(in: exchange.head) ?? route.priority : route.priority
        guard let reason = home.overload.reason(for: priority) else { return false }
        // Each connection is a descriptor and some memory; one that waits for its client to come back is both for nothing.
        if reason != .shedLag { exchange.info.endAfterExchanges() }
        if let fallback = route.fallback, fallback.reasons.contains(reason), case .answer(let answer) = fallback.action {
            facts.degradedBy = reason
            facts.reason = reason
            route.metrics.degraded.add(shard: home.shard)
            respond(with: answer, exchange, snapshot)
        } else {
            refuse(reason, detail: nil)
        }
        return true
    }

    func respond(with fixed: FixedAnswer, _ exchange: ServerExchange, _ snapshot: GatewaySnapshot) {
        let answer = home.localAnswer
        answer.reset()
        answer.status = fixed.status
        for field in fixed.fields { answer.fields.append(name: field.name.span, value: field.value.span) }
        home.localBody.removeAll()
        home.localBody.append(fixed.body)
        answer.framing = .length(UInt64(fixed.body.count))
        respond(answer, exchange, snapshot)
    }

    func respond(with redirect: Redirect, match: RouteTable.Match, _ exchange: ServerExchange, _ snapshot: GatewaySnapshot) {
        let answer = home.localAnswer
        guard redirect.write(into: answer, for: exchange.head, match, isSecure: facts.identity?.isSecure ?? exchange.info.isTLS)
        else {
            refuse(.requestHost, detail: "the host cannot stand in a Location")
            return
        }
        home.localBody.removeAll()
        respond(answer, exchange, snapshot)
    }

    private func respond(_ answer: ResponseHead, _ exchange: ServerExchange, _ snapshot: GatewaySnapshot) {
        if pass != nil {
            localBody = home.localBody.withReadable { span in ArraySlice(span.indices.map { span[$0] }) }
            respondLocally(answer, exchange, snapshot)
            return
        }
        finishHead(answer, exchange, snapshot)
        let hasBody = !home.localBody.isEmpty && exchange.head.method != .head
        facts.status = answer.status
        facts.answeredAt = home.reactor.now
        exchange.respond(answer, endStream: !hasBody)
        if hasBody { home.localBody.withReadable { exchange.write($0) } }
        conclude(exchange, status: answer.status)
        exchange.finish()
    }
}

extension Reason {
    /// Refusals whose clients would otherwise all come back at the same moment.
    fileprivate var isJitteredRetry: Bool {
        switch self {
        case .bulkheadFull, .bulkheadQueueTimeout, .bulkheadCoDel, .shedOccupancy, .shedLag, .shedMemory, .shedDescriptors,
            .shedThrottle:
            true
        default: false
        }
    }
}
