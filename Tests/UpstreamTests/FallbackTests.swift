// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// A request that its upstream cannot serve goes to another one, whole, under that one's guard and in the time that is left.
@Suite struct FallbackTests {
    private func two(_ adjust: (inout GuardSettings) -> Void = { _ in }) throws -> (
        first: UpstreamLab, other: UpstreamPools, UpstreamCluster
    ) {
        let lab = try UpstreamLab(endpoints: 2, adjust)
        // The second endpoint is another upstream's.
        let cluster = UpstreamCluster(
            name: "other", endpoints: [lab.cluster.endpoints[1]], guardian: Guard(draw: lab.world.draw), settings: GuardSettings(),
            balancer: EndpointBalancer(names: [lab.cluster.endpoints[1].label], draw: lab.world.draw, now: .origin),
            pool: PoolSettings(), client: ClientConnection.Settings(), connectOptions: ConnectOptions(),
            tls: nil, serverName: "", hostField: .upstream, identity: "other")
        lab.cluster.picker.setAvailable(false, 1)
        lab.upstreams[1].answer = { peer, _ in peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother") }
        return (lab, UpstreamPools(cluster: cluster, context: lab.edge), cluster)
    }

    private func ask(_ lab: UpstreamLab, _ other: UpstreamPools, _ method: HTTP.Method = .get, body: String? = nil) -> Asker {
        let asker = Asker(lab.edge.reactor)
        asker.fallback = other
        asker.guarded.start(
            UpstreamLab.head(method, "/", length: body?.utf8.count), hasBody: body != nil, key: 5, isIdempotent: false,
            limits: lab.cluster.limits, over: lab.pools)
        if let body { lab.send(body, asker) }
        return asker
    }

    private func over(_ lab: UpstreamLab, _ other: UpstreamPools, _ asker: Asker) {
        lab.finish(asker)
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        let state = other.cluster.guardian.snapshot(now: lab.world.now)
        #expect(state.permitsInUse == 0 && other.cluster.endpoints.allSatisfy { $0.exchangesUnderWay == 0 })
        other.drain()
        lab.end()
    }

    @Test func anOpenBreakerSendsItElsewhere() throws {
        let (lab, other, cluster) = try two()
        lab.cluster.guardian.force(.forcedOpen, now: lab.world.now)
        let asker = ask(lab, other, .post, body: "hello")
        over(lab, other, asker)
        #expect(asker.said == "200 other" && asker.fellBackFor == .breakerForced)
        #expect(lab.upstreams[0].requests.isEmpty && lab.upstreams[1].requests.count == 1)
        #expect(lab.upstreams[1].requests[0].hasSuffix("\r\n\r\nhello"))
        #expect(lab.upstreams[1].requests[0].contains("host: 10.0.0.11:9001\r\n"), "the other one's idea of Host")
        #expect(cluster.guardian.snapshot(now: lab.world.now).counters.admitted == 1, "its own guard counts it")
    }

    @Test func aTimeoutSendsItElsewhereInTheTimeThatIsLeft() throws {
        let (lab, other, _) = try two {
            $0.retries.attempts = 1
            $0.timeouts.total = .seconds(6)
        }
        lab.upstreams[0].answer = { _, _ in }
        lab.upstreams[1].answer = { _, _ in }
        let asker = ask(lab, other)
        over(lab, other, asker)
        #expect(asker.fellBackFor == .timeoutPerTry)
        #expect(asker.failure?.reason == .deadline && asker.endedAt == lab.at(6), "5 s of a try, and the second that was left")
        let seen = lab.upstreams[1].requests.first ?? ""
        #expect(seen.contains("x-request-timeout-ms: 999\r\n") && seen.contains("x-holdfast-attempt: 1\r\n"), "\(seen)")
        #expect(seen.components("x-holdfast-attempt") == 1)
    }

    /// T1: nobody else is given to do what may have been done.
    @Test func T1_aPostThatMayBeProcessedGoesNowhere() throws {
        let (lab, other, _) = try two { $0.retries.attempts = 1 }
        lab.upstreams[0].answer = { _, _ in }
        let asker = ask(lab, other, .post, body: "hello")
        over(lab, other, asker)
        #expect(asker.failure?.reason == .timeoutPerTry && asker.fellBackFor == nil && lab.upstreams[1].requests.isEmpty)
    }

    @Test func withNoTimeLeftItGoesNowhere() throws {
        let (lab, other, _) = try two {
            $0.retries.attempts = 1
            $0.timeouts.total = .seconds(3)
        }
        lab.upstreams[0].answer = { _, _ in }
        let asker = ask(lab, other)
        over(lab, other, asker)
        #expect(asker.failure?.reason == .deadline && asker.fellBackFor == nil)
    }

    /// A body that is not here any more cannot be sent to anybody else.
    @Test func aBodyThatIsGoneGoesNowhere() throws {
        let (lab, other, _) = try two { $0.retries.replayBodyBytes = 4 }
        lab.upstreams[0].answer = { peer, _ in peer.close() }
        let asker = ask(lab, other, .put, body: "hello")
        over(lab, other, asker)
        #expect(asker.failure?.reason == .resetBeforeHeaders && asker.fellBackFor == nil)
    }

    /// Nothing of the first upstream is held while it waits for the second one: it had a permit from the queue, and found no endpoint.
    @Test func K2_aPermitWithoutAnEndpointGoesBackBeforeItGoesElsewhere() throws {
        var none = BalancerSettings.lab(.roundRobin)
        none.panicThreshold = Share(tenThousandths: 0)
        let lab = try UpstreamLab(endpoints: 2, balancing: none) {
            $0.bulkhead.concurrent = 1
            $0.bulkhead.queue = 1
        }
        for upstream in lab.upstreams { upstream.answer = { _, _ in } }
        var full = GuardSettings()
        full.bulkhead.concurrent = 1
        full.bulkhead.queue = 1
        let cluster = UpstreamCluster(
            name: "other", endpoints: [lab.cluster.endpoints[1]], guardian: Guard(full, draw: lab.world.draw), settings: full,
            balancer: EndpointBalancer(.lab(.roundRobin), names: ["other"], draw: lab.world.draw, now: .origin),
            pool: PoolSettings(),
            client: ClientConnection.Settings(), connectOptions: ConnectOptions(), tls: nil, serverName: "", hostField: .upstream,
            identity: "other")
        let other = UpstreamPools(cluster: cluster, context: lab.edge)
        let holders = [lab.ask(), Asker(lab.edge.reactor)]
        holders[1].guarded.start(
            UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: 9, isIdempotent: false, limits: cluster.limits,
            over: other)
        let asker = ask(lab, other)
        lab.world.run(for: .milliseconds(1))
        #expect(lab.guardState.queued == 1 && cluster.guardian.snapshot().permitsInUse == 1)
        for endpoint in 0..<2 { lab.cluster.balancer.setAvailable(false, endpoint, now: lab.world.now) }
        holders[0].guarded.cancel(.clientCancelled)
        lab.world.run(for: .milliseconds(1))
        #expect(asker.fellBackFor == .loadBalancerNoHealthy && cluster.guardian.snapshot().queued == 1)
        #expect(lab.guardState.permitsInUse == 0, "it waits for the other one's permit, and holds the first one's")
        lab.finish(asker)
        #expect(asker.failure?.reason == .bulkheadQueueTimeout)
        holders[1].guarded.cancel(.clientCancelled)
        over(lab, other, asker)
    }

    @Test func itFallsBackOnce() throws {
        let (lab, other, cluster) = try two()
        lab.cluster.guardian.force(.forcedOpen, now: lab.world.now)
        cluster.guardian.force(.forcedOpen, now: lab.world.now)
        let asker = ask(lab, other)
        over(lab, other, asker)
        #expect(asker.failure?.reason == .breakerForced && asker.ends == 1)
    }
}

extension String {
    /// How often `part` stands in it.
    fileprivate func components(_ part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
