// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import TLS
import Transport
import Upstream

/// What the gateway does to heads on their way: who is asking, what an upstream is told, what a client is told.
extension ProxyExchange {
    /// Settles the request's id and whose request it is; refuses loops and hosts that this connection must not serve.
    func identify(_ exchange: ServerExchange, _ listener: ListenerPlan, _ snapshot: GatewaySnapshot) -> Refusal? {
        let head = exchange.head
        let identity = listener.forwarding.identify(head, peer: IPAddress(exchange.info.peer), isSecure: exchange.info.isTLS)
        facts.identity = identity
        let keepsID =
            switch snapshot.requestID.keep {
            case .always: true
            case .trusted: identity.isTrusted
            case .never: false
            }
        facts.id = RequestIdentifier.settle(head, isTrusted: keepsID, draw: home.reactor.draw, request: facts.key)
        if snapshot.via.isLoop(head.fields) {
            return Refusal(reason: .requestLoop, detail: "the request has passed this gateway before (Via)")
        }
        if let tls = exchange.info.connection.tls, !head.authority.isEmpty,
            !head.withBytes(head.authority, { tls.serves(authority: $0) })
        {
            return Refusal(reason: .routeMisdirected, detail: "this connection's certificate is not for that host")
        }
        return nil
    }

    /// Makes the client's head the upstream's.
    func prepareRequest(_ exchange: ServerExchange, _ listener: ListenerPlan, _ snapshot: GatewaySnapshot) {
        let head = exchange.head
        let version = head.version
        head.stripConnectionFields()
        if let identity = facts.identity { listener.forwarding.write(to: head, for: identity) }
        snapshot.via.append(to: &head.fields, received: version)
    }

    /// A trusted caller may ask for the decisions behind its answer; the field goes no further.
    func takeExplainWish(_ head: RequestHead) {
        guard head.fields.contains(.xHoldfastExplain) else { return }
        facts.wantsExplanation = facts.identity?.isTrusted == true
        head.fields.removeAll(.xHoldfastExplain)
    }

    /// Makes the upstream's head the client's.
    func prepareResponse(_ head: ResponseHead, _ snapshot: GatewaySnapshot) {
        let version = head.version
        head.stripConnectionFields()
        snapshot.via.append(to: &head.fields, received: version)
        markExhausted(head)
    }

    /// Tells a trusted caller that this hop has tried again and got no further, or that its budget for that is spent: else each hop would add
    /// a budget of its own to the load of an upstream that fails (semantics, section 3 and T8).
    func markExhausted(_ head: ResponseHead) {
        guard let reason = facts.retryReason, guarded.attempts > 1 || reason == .retryBudget, facts.identity?.isTrusted == true
        else {
            return
        }
        head.fields.append(.xHoldfastReason, "retry.exhausted")
    }

    /// What every answer has, the gateway's own too (RFC 9110 §6.6.1: Date).
    func finishHead(_ head: ResponseHead, _ exchange: ServerExchange, _ snapshot: GatewaySnapshot) {
        if let reason = facts.degradedBy, !head.fields.contains(.xHoldfastReason) {
            head.fields.append(.xHoldfastReason) { $0.append(utf8: reason.rawValue) }
        }
        if facts.wantsExplanation {
            let explanation = Explanation(trail: guarded.trail, endpoints: guarded.lastEndpoints)
            head.fields.append(.xHoldfastExplain) { explanation.writeLine(into: &$0) }
        }
        if !head.fields.contains(.date) { head.fields.append(.date) { home.appendDate(to: &$0) } }
        if snapshot.requestID.answers && !facts.id.isEmpty && !head.fields.contains(.xRequestID) {
            exchange.head.withBytes(facts.id) { head.fields.append(.xRequestID, $0) }
        }
    }
}

extension IPAddress {
    /// A Unix socket's peer is on this machine.
    init(_ address: SocketAddress) { self.init(bits: address.hostBits ?? 0xFFFF_7F00_0001) }
}
