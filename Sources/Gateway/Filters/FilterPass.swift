// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import Credentials
package import HTTP
import Reactor
package import TLS
import Transport
import Upstream

/// One request's way through the filters of its route: what they share, and what each keeps for itself. Made for a request whose route has
/// filters, and never used for another, so that a call that comes late finds that it is over.
package final class FilterPass {
    /// `nil` once the request is over.
    private(set) var proxy: ProxyExchange?
    package let home: GatewayReactor
    package let head: RequestHead
    package let snapshot: GatewaySnapshot
    let match: RouteTable.Match?
    package let route: RoutePlan?
    private(set) var filters: [RankedFilter]

    /// The filter that is being asked, or waits.
    package internal(set) var position = 0
    /// How many have been asked.
    var entered = 0
    /// Position of the filter that the answer is at.
    var answerPosition = -1
    var isCalling = false
    var isWaiting = false
    private var early: FilterStep?
    private var states: [AnyObject?] = []

    // What filters found out.

    /// Who it is, once a filter has made sure of it.
    package var consumer: Consumer?
    /// What its token says, once it was found right.
    package var claims: ClaimObject?
    /// Where the request goes in place of the route's upstream: a position in the snapshot.
    package var target: Int?
    /// In place of `limits.body_bytes`.
    package var bodyLimit: UInt64?
    /// Whether the answer under way is the gateway's own.
    package internal(set) var isLocalAnswer = false
    /// Whether a body follows the answer's head.
    package internal(set) var answerHasBody = false

    var taps: [any RequestTap] = []
    var stages: [any ResponseStage] = []
    /// Between the stages.
    private var scratch = ByteBuffer()
    private var output = ByteBuffer()

    init(
        _ proxy: ProxyExchange, home: GatewayReactor, head: RequestHead, snapshot: GatewaySnapshot, match: RouteTable.Match?,
        route: RoutePlan?, chain: FilterChain
    ) {
        self.proxy = proxy
        self.home = home
        self.head = head
        self.snapshot = snapshot
        self.match = match
        self.route = route
        filters = chain.filters
    }

    // MARK: For filters

    /// What the filter that is being asked keeps for this request.
    package var state: AnyObject? {
        get { states.indices.contains(current) ? states[current] : nil }
        set {
            while states.count <= current { states.append(nil) }
            states[current] = newValue
        }
    }

    /// Goes on with a request whose filter said `.wait`. Too late, it does nothing.
    package func resume(_ step: FilterStep) {
        guard let proxy else { return }
        if isCalling {
            early = step
        } else if isWaiting {
            isWaiting = false
            proxy.filtersGoOn(self, with: step)
        }
    }

    /// Makes the request's head what an upstream is told, for a filter that sends requests of its own in place of this one, and gives what
    /// the caller said of its patience. Once, and only if the request goes no further.
    func prepareForUpstreams() -> CallerTerms {
        guard let proxy, let exchange = proxy.exchange, let listener = proxy.listener else { return CallerTerms() }
        proxy.prepareRequest(exchange, listener, snapshot)
        let terms = CallerTerms(takingFrom: head, isTrusted: isTrusted)
        head.fields.removeAll(.xHoldfastExplain)
        return terms
    }

    /// Shows the request's body to `tap` as it passes.
    package func watchBody(_ tap: any RequestTap) { taps.append(tap) }

    /// The client, behind trusted peers: an IPv4 address is in its mapped form.
    package var clientAddress: UInt128 { proxy?.facts.identity?.address.bits ?? 0 }
    package var isTrusted: Bool { proxy?.facts.identity?.isTrusted ?? false }
    /// Whether the client's own connection is TLS.
    package var isSecure: Bool { proxy?.facts.identity?.isSecure ?? false }
    /// The TLS session of the connection; `nil`: clear.
    package var tls: TLSEngine? { proxy?.exchange?.info.connection.tls }
    package var requestID: Slice { proxy?.facts.id ?? .empty }
    /// What draws about this request are keyed by.
    package var key: UInt64 { proxy?.facts.key ?? 0 }
    package var isOver: Bool { proxy == nil }

    /// The value of one of the route's path parameters, as it stands in the path.
    package func parameter(_ i: Int) -> Slice {
        guard let match, i < match.captureCount else { return .empty }
        return match.captures[i]
    }

    // MARK: For the proxy

    /// The filter that is called: the one that the answer is at, once there is one.
    private var current: Int { answerPosition >= 0 ? answerPosition : position }

    func append(_ chain: FilterChain) { filters += chain.filters }

    /// Asks the filter at `position`.
    func ask(_ call: (any Filter) -> FilterStep) -> FilterStep {
        isCalling = true
        entered = max(entered, position + 1)
        var step = call(filters[position].filter)
        isCalling = false
        if case .wait = step {
            if let early = early.take() { step = early } else { isWaiting = true }
        }
        early = nil
        return step
    }

    func count(_ result: FilterMetrics.Result) { filters[current].metrics.count(result, shard: home.shard) }

    /// Asks filters, from the last one on, for an answer in place of the upstream's that there is none of.
    func answer(inPlaceOf failure: GuardedFailure) -> LocalAnswer? {
        defer { answerPosition = -1 }
        for i in stride(from: entered - 1, through: 0, by: -1) {
            answerPosition = i
            if let answer = filters[i].filter.failed(self, failure) {
                count(.answered)
                return answer
            }
        }
        return nil
    }

    /// Runs bytes of the answer through the stages.
    func stream(_ bytes: Span<UInt8>, from first: Int = 0, isLast: Bool = false, _ write: (Span<UInt8>) -> Void) {
        output.removeAll()
        output.append(bytes)
        for stage in stages[first...] {
            scratch.removeAll()
            if !output.isEmpty { output.withReadable { stage.body($0, into: &scratch) } }
            if isLast { stage.end(into: &scratch) }
            swap(&output, &scratch)
        }
        if !output.isEmpty { output.withReadable(write) }
        output.removeAll()
    }

    /// The request is over.
    func end() {
        guard proxy != nil else { return }
        for stage in stages { stage.aborted() }
        stages = []
        taps = []
        for i in 0..<entered {
            position = i
            answerPosition = -1
            filters[i].filter.ended(self)
        }
        proxy = nil
        states = []
        isWaiting = false
    }
}

/// Who sends a request, as an authentication filter has found out.
package struct Consumer: Equatable, Sendable {
    /// As the configuration or the credential names it.
    package var name: [UInt8]

    package init(name: [UInt8]) { self.name = name }
}
