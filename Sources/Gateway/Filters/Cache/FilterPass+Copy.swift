// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP
import Reactor
import Upstream

/// What a filter needs that sends the request once more by itself, as the gateway would have sent it.
extension FilterPass {
    var listenerName: [UInt8] { proxy?.listener?.nameBytes ?? [] }

    /// Where the request goes, as far as that is settled; of several upstreams one is drawn.
    var upstreamIndex: Int? {
        if let target { return target }
        switch route?.action {
        case .upstream(let index): return index
        case .split(let weights, let upstreams): return upstreams[weights.choose(home.reactor.draw, request: key)]
        case .redirect, .answer, nil: return nil
        }
    }

    /// Whether who asks was asked, by whatever means: what comes is then somebody's (RFC 9111 §3.5), also where that left no name.
    var isBehindAuthentication: Bool {
        consumer != nil || filters[..<position].contains { (.clientCertificate ... .forwardAuth).contains($0.rank) }
    }

    /// Whether the answer under way comes from where the route falls back to.
    var isDegraded: Bool { proxy?.facts.degradedBy != nil }

    /// Whether nothing behind this filter changes the request, so that a copy sent from here is what the upstream would get.
    var isLastOfChain: Bool {
        guard let upstreamIndex else { return false }
        let changes = filters[(position + 1)...].contains { $0.rank != .mirror }
        return !changes && (proxy?.isUpstreamChainAppended == true || snapshot.upstreamChains[upstreamIndex] == nil)
    }

    /// Makes a copy of the request's head, its fields included, what the route's upstream is sent.
    func prepareCopy(_ head: RequestHead) {
        guard let proxy, let listener = proxy.listener else { return }
        // The copy's arena begins with the original's bytes, so that slices of the one are slices of the other.
        if let route, let match { head.path = route.rewrite.apply(to: head, match) }
        let version = head.version
        if let identity = proxy.facts.identity { listener.forwarding.write(to: head, for: identity) }
        snapshot.via.append(to: &head.fields, received: version)
        _ = CallerTerms(takingFrom: head, isTrusted: false)
        head.fields.removeAll(.xHoldfastExplain)
    }
}
