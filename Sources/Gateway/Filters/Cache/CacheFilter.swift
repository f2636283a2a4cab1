// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Caching
import Configuration
import Core
import HTTP
import Reactor
import Resilience
import Telemetry
import Upstream

/// Serves stored answers and stores those that come (RFC 9111). It runs after whatever asks who somebody is, and stores what the filters behind
/// it made of the upstream's answer, before any compression. What it decides is `CacheVisit`'s; here is only where that meets a request.
final class CacheFilter: Filter {
    let policy: CachePolicy
    let store: CacheStore
    let metrics: CacheMetrics
    private let refreshes: [Refreshes]

    /// Fetches behind clients' backs that one reactor has under way.
    final class Refreshes: @unchecked Sendable {
        /// Touched on its own reactor only.
        var count = 0
        static let limit = 64
    }

    init(_ settings: Configuration.CacheFilter, store: CacheStore, scope: FilterScope, registry: MetricsRegistry) {
        policy = CachePolicy(settings)
        self.store = store
        metrics = CacheMetrics(store, scope: scope, registry: registry)
        refreshes = (0..<registry.shards).map { _ in Refreshes() }
    }

    func request(_ pass: FilterPass) -> FilterStep {
        let call = CacheCall(visit(pass.head, pass), pass, self)
        pass.state = call
        return call.begin(pass)
    }

    func visit(_ head: RequestHead, _ pass: FilterPass) -> CacheVisit {
        CacheVisit(
            head, policy: policy, store: store, namespace: CacheFilter.namespace(pass), isSecure: pass.isSecure,
            isAuthenticated: pass.isBehindAuthentication, mayRefresh: pass.isLastOfChain)
    }

    /// Listener, route and the upstream that a canary chose: filters before this one may differ by each of them.
    private static func namespace(_ pass: FilterPass) -> [UInt8] {
        var out = pass.listenerName
        out.append(0)
        if let route = pass.route { out += route.identity }
        out.append(0)
        if let target = pass.target { out += Array(pass.snapshot.upstreams[target].name.utf8) }
        out.append(0)
        return out
    }

    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        guard !pass.isLocalAnswer, let call = pass.state as? CacheCall else { return .next }
        return call.answered(pass, head)
    }

    func collectedResponse(_ pass: FilterPass, _ head: ResponseHead, _ body: inout ByteBuffer) -> ResponseStep {
        guard let call = pass.state as? CacheCall else { return .next }
        return call.collected(pass, body)
    }

    func failed(_ pass: FilterPass, _ failure: GuardedFailure) -> LocalAnswer? {
        guard let call = pass.state as? CacheCall else { return nil }
        return call.failed(pass, failure)
    }

    func ended(_ pass: FilterPass) { (pass.state as? CacheCall)?.ended(pass) }

    /// Begins a fetch behind the client's back; one more than there may be hands its ticket back.
    func refresh(_ answer: StoredAnswer, with ticket: FillTicket, for pass: FilterPass) {
        let counting = refreshes[pass.home.shard]
        guard counting.count < Refreshes.limit, let refresh = CacheRefresh(answer, ticket, pass, self) else { return }
        counting.count += 1
        refresh.start { counting.count -= 1 }
    }
}

extension CachePolicy {
    init(_ settings: Configuration.CacheFilter) {
        self.init()
        objectBytes = settings.objectBytes
        defaultLifetime = settings.defaultTTL?.components.seconds
        heuristicShare = Int64(settings.heuristic.tenThousandths)
        answersHead = settings.methods.contains(.head)
        ignoredParameters = settings.ignoreQuery.map { Array($0.utf8) }
        vary = settings.vary.map { Array($0.utf8) }
        staleWhileRevalidate = settings.staleWhileRevalidate.components.seconds
        staleIfError = settings.staleIfError.components.seconds
        collapses = settings.collapse
        collapseWait = settings.collapseWait.wholeNanoseconds
        passFor = settings.uncacheableFor.wholeNanoseconds
        storesCookieSetters = settings.allowSetCookie
        heedsRequests = settings.requestDirectives
    }
}

/// What one cache filter counts, and what all of them share.
struct CacheMetrics: Sendable {
    enum Result: String, CaseIterable {
        /// Served from the store.
        case hit
        /// Served from the store past its lifetime: while a fresh one was fetched, or because none could be had.
        case stale
        /// Served from the store after the upstream confirmed it.
        case revalidated
        /// Served what another request fetched.
        case collapsed
        case miss
        /// Not a request for a cache.
        case bypass
    }

    private let counters: [Counter]

    init(_ store: CacheStore, scope: FilterScope, registry: MetricsRegistry) {
        counters = Result.allCases.map {
            registry.counter(
                "holdfast_cache_requests_total", help: "Requests that met a cache filter, by what became of them.",
                labels: [("scope", scope.description), ("result", $0.rawValue)])
        }
        registry.gauge("holdfast_cache_bytes", help: "Bytes of stored answers, bookkeeping included.") { Double(store.usage.bytes) }
        registry.gauge("holdfast_cache_limit_bytes", help: "Bytes that stored answers may take.") { Double(store.usage.limit) }
        registry.gauge("holdfast_cache_answers", help: "Stored answers.") { Double(store.usage.answers) }
        registry.counter("holdfast_cache_evictions_total", help: "Stored answers that made room for others.") {
            store.usage.evictions
        }
    }

    func count(_ result: Result, shard: Int) {
        switch result {
        case .hit: counters[0].add(shard: shard)
        case .stale: counters[1].add(shard: shard)
        case .revalidated: counters[2].add(shard: shard)
        case .collapsed: counters[3].add(shard: shard)
        case .miss: counters[4].add(shard: shard)
        case .bypass: counters[5].add(shard: shard)
        }
    }
}
