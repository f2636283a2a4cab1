// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// Endpoints that come from a name, and come and go, in memory on virtual time: what becomes of requests, connections, counts and
/// verdicts.
@Suite struct NamesAtWorkTests {
    /// One edge reactor with one upstream by name, whose hosts 10.0.0.11 and so on all listen.
    private final class House: NameObserver {
        let world = SimulatedWorld(seed: 9)
        let edge: TransportContext
        let resolver: SimulatedResolver
        let origins: [ScriptedUpstream]
        let monitor: NameMonitor
        let checks: HealthMonitor
        private(set) var configured: UpstreamCluster
        private(set) var pools: UpstreamPools
        private(set) var told: [String] = []
        /// What the newest endpoints' availability was when every reactor got them, before any check of theirs.
        private(set) var handedOver: [Bool] = []
        /// Kept, since an exchange does not keep its client.
        private(set) var askers: [Asker] = []
        private var keys: UInt64 = 0

        init(
            _ record: NameSettings.Record = .address, balancing: BalancingPolicy = .roundRobin, health: HealthSettings? = nil,
            wanted: UpstreamProtocol = .http1, begins: Bool = true, _ adjust: (inout GuardSettings) -> Void = { _ in }
        ) throws {
            edge = TransportContext(reactor: world.makeReactor(host: "10.0.0.1"))
            resolver = SimulatedResolver(reactor: edge.reactor)
            var origins: [ScriptedUpstream] = []
            for i in 0..<4 {
                let host = "10.0.0.\(11 + i)"
                origins.append(try ScriptedUpstream("\(host):9001", TransportContext(reactor: world.makeReactor(host: host))))
            }
            self.origins = origins
            var settings = GuardSettings()
            settings.retries.attempts = 1
            adjust(&settings)
            var pool = PoolSettings()
            pool.connectTimeout = settings.timeouts.connect
            configured = UpstreamCluster(
                name: "users", endpoints: [], guardian: Guard(settings, draw: world.draw), settings: settings,
                balancer: EndpointBalancer(.lab(balancing), names: [], draw: world.draw, now: .origin),
                pool: pool, client: ClientConnection.Settings(wanted: wanted, maximumExchanges: .max),
                connectOptions: ConnectOptions(), tls: nil, serverName: "", hostField: .upstream, attemptFields: false,
                health: health,
                identity: "users", naming: UpstreamName(NameSettings(name: "users.internal", port: 9001, record: record)))
            pools = UpstreamPools(cluster: configured, context: edge)
            monitor = NameMonitor(reactor: edge.reactor, resolver: resolver)
            checks = HealthMonitor(context: edge)
            monitor.observer = self
            if begins { monitor.follow([configured]) }
        }

        func nameLookedUp(_ cluster: UpstreamCluster, _ settlement: NameRefresh.Settlement, _ status: UpstreamName.Status) {
            if settlement.isNews { told.append(settlement.failure?.rawValue ?? "answered") }
            pools.wake()
        }

        func endpointsChanged(from before: UpstreamCluster, to next: UpstreamCluster) {
            told.append(next.endpoints.map { String($0.label.dropFirst("10.0.0.".count).prefix(2)) }.joined(separator: " "))
            handedOver = next.endpoints.indices.map { next.picker.isAvailable($0) }
            pools = pools.adopting(next)
            checks.follow([next])
        }

        func set(_ hosts: [Int], timeToLive: Duration = .seconds(5)) {
            resolver.set("users.internal", hosts.map { "10.0.0.\($0)" }, timeToLive: timeToLive)
        }

        func ask() -> Asker {
            let asker = Asker(edge.reactor)
            askers.append(asker)
            keys += 1
            asker.guarded.start(
                UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: keys, isIdempotent: false,
                limits: pools.cluster.limits,
                over: pools)
            return asker
        }

        func run(_ milliseconds: Int64) { world.run(for: .milliseconds(milliseconds)) }
        var requests: [Int] { origins.map { $0.requests.count } }
        var labels: [String] { pools.cluster.endpoints.map(\.label) }
        var guardState: GuardSnapshot { configured.guardian.snapshot(now: world.now) }

        func end() {
            monitor.stop()
            checks.stop()
            pools.drain()
            run(5_000)
            let state = guardState
            #expect(state.permitsInUse == 0 && state.queued == 0)
            #expect(pools.cluster.endpoints.allSatisfy { $0.exchangesUnderWay == 0 })
            #expect(edge.openConnections == 0)
            for origin in origins { origin.close() }
        }
    }

    // MARK: Before the first answer

    @Test func aRequestWaitsForTheFirstAnswer() throws {
        let house = try House()
        house.set([11])
        let early = house.ask()
        house.run(4)
        let (isOver, held) = (early.isOver, house.guardState.permitsInUse)
        #expect(!isOver && held == 1)
        house.run(500)
        #expect(early.said == "200 ok" && house.origins[0].requests[0].contains("host: users.internal:9001\r\n"))
        #expect(early.guarded.timings.lease >= 5_000_000, "the wait is in its account")
        house.end()
    }

    /// Once it is known that there is no address now, nobody waits for one.
    @Test func withoutAnAddressItIsRefused() throws {
        let house = try House()
        house.resolver.failure = .servfail
        let early = house.ask()
        house.run(6)
        #expect(early.said == "dns" && early.guarded.attempts == 0)
        let next = house.ask()
        #expect(next.said == "dns", "at once")
        let retryAfter = try #require(next.failure?.retryAfterNanoseconds)
        #expect((1...1_000_000_000).contains(retryAfter), "until the next look")
        #expect(house.guardState.evidence.failed == 0, "no evidence against the upstream")
        house.resolver.failure = nil
        house.set([11])
        house.run(1_100)
        let late = house.ask()
        house.run(100)
        #expect(late.said == "200 ok")
        house.end()
    }

    @Test func itWaitsNoLongerThanForAConnection() throws {
        let house = try House(begins: false) { $0.timeouts.connect = .milliseconds(300) }
        house.resolver.latency = .seconds(9)
        house.monitor.follow([house.configured])
        let asker = house.ask()
        house.run(299)
        let waits = !asker.isOver
        house.run(2)
        let (said, at) = (asker.said, asker.endedAt)
        #expect(waits && said == "dns" && at == Instant(nanoseconds: 300_000_000))
        let hurried = try House(begins: false) { $0.timeouts.total = .milliseconds(200) }
        hurried.resolver.latency = .seconds(9)
        hurried.monitor.follow([hurried.configured])
        let short = hurried.ask()
        hurried.run(201)
        let cut = short.said
        #expect(cut == "deadline")
        let left = house.ask()
        left.guarded.cancel(.clientCancelled)
        house.run(10_000)
        let (ends, held) = (left.ends, house.guardState.permitsInUse)
        #expect(ends == 0 && held == 0, "who left is not woken")
        house.end()
        hurried.end()
    }

    // MARK: Time

    /// Asked again exactly when the time to live has passed, and the answer before holds until the new one is there.
    @Test func timesToLiveAreKept() throws {
        let house = try House()
        house.set([11], timeToLive: .seconds(3))
        house.run(7_000)
        house.set([12], timeToLive: .seconds(7))
        house.run(20_000)
        let asked = house.resolver.asked.filter { $0.question.record == .a }.map { $0.at.nanoseconds / 1_000_000 }
        #expect(asked == [0, 3_005, 6_010, 9_015, 16_020, 23_025])
        #expect(house.told == ["answered", "11", "12"])
        house.end()
    }

    @Test func theLastAnswerStaysWhileItFails() throws {
        let house = try House()
        house.set([11, 12])
        house.run(1_000)
        for failure in NameFailure.allCases {
            house.resolver.failure = failure
            house.run(60_000)
            let asker = house.ask()
            house.run(100)
            #expect(asker.said == "200 ok" && house.labels == ["10.0.0.11:9001", "10.0.0.12:9001"])
        }
        #expect(house.told == ["answered", "11 12"] + NameFailure.allCases.map(\.rawValue))
        let asked = house.resolver.asked.count
        house.run(300_000)
        #expect(
            (20...44).contains(house.resolver.asked.count - asked),
            "every 15 to 30 seconds, two questions: \(house.resolver.asked.count - asked)")
        house.resolver.failure = nil
        house.set([12, 13])
        house.run(31_000)
        #expect(house.labels == ["10.0.0.12:9001", "10.0.0.13:9001"] && house.told.suffix(2) == ["answered", "12 13"])
        house.end()
    }

    // MARK: Coming and going

    /// Under load, through changes of the whole set, of a part, of the order, and through failures: nothing fails.
    @Test(arguments: [UpstreamProtocol.http1], [BalancingPolicy.roundRobin, .leastRequest])
    func endpointsComeAndGoUnderLoad(wanted: UpstreamProtocol, balancing: BalancingPolicy) throws {
        let house = try House(balancing: balancing, wanted: wanted)
        for origin in house.origins {
            origin.answer = { peer, _ in
                // Slow enough that exchanges are under way at every change.
                house.world.after(.milliseconds(40)) { peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
            }
        }
        let sets = [[11, 12], [12, 13], [14], [14, 11, 12, 13], [13, 12, 11, 14], [], [12], [11, 12]]
        var askers: [Asker] = []
        for (step, hosts) in sets.enumerated() {
            house.set(hosts, timeToLive: .seconds(1))
            for _ in 0..<150 {
                askers.append(house.ask())
                house.run(10)
            }
            if step == 4 { house.resolver.failure = .timeout } else { house.resolver.failure = nil }
        }
        house.run(3_000)
        #expect(askers.count == 1_200 && askers.allSatisfy { $0.said == "200 ok" }, "\(Set(askers.map(\.said)))")
        #expect(house.requests.allSatisfy { $0 > 50 }, "all of them served: \(house.requests)")
        #expect(house.told.contains("14") && house.told.last == "11 12")
        house.end()
    }

    /// What leaves ends its exchange and closes; what stays keeps its connections and counts.
    @Test func whoLeavesIsDrainedAndWhoStaysIsNotTouched() throws {
        let house = try House()
        house.set([11, 12], timeToLive: .seconds(1))
        house.run(100)
        let warm = [house.ask(), house.ask()]
        house.run(100)
        #expect(warm.allSatisfy { $0.said == "200 ok" } && house.requests == [1, 1, 0, 0])
        for origin in house.origins { origin.answer = { _, _ in } }
        let slow = [house.ask(), house.ask()]
        house.run(100)
        let before = house.pools.cluster.endpoints
        #expect(before.map(\.exchangesUnderWay) == [1, 1])
        let stays = house.pools.pools[1]
        house.set([12, 13], timeToLive: .seconds(1))
        house.run(1_000)
        #expect(house.labels == ["10.0.0.12:9001", "10.0.0.13:9001"])
        #expect(house.pools.pools[0] === stays && house.pools.cluster.endpoints[0] === before[1])
        #expect(house.pools.cluster.endpoints[0].exchangesUnderWay == 1 && house.origins[0].peers.allSatisfy { !$0.isClosed })
        #expect(house.pools.cluster.guardian === house.configured.guardian)
        for i in 0..<2 { house.origins[i].peers[0].say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
        house.run(100)
        #expect(slow.allSatisfy { $0.said == "200 ok" })
        #expect(house.origins[0].peers.map(\.isClosed) == [true] && house.origins[1].peers.map(\.isClosed) == [false])
        #expect(before.map(\.exchangesUnderWay) == [0, 0])
        house.origins[1].answer = { peer, _ in peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
        house.origins[2].answer = house.origins[1].answer
        for _ in 0..<4 { _ = house.ask() }
        house.run(100)
        #expect(house.origins[1].peers.count <= 2 && house.requests[0] == 2)
        house.end()
    }

    /// An idle connection to an endpoint that left closes at once.
    @Test func idleConnectionsToWhoLeftClose() throws {
        let house = try House()
        house.set([11], timeToLive: .seconds(1))
        house.run(100)
        _ = house.ask()
        house.run(100)
        #expect(house.origins[0].peers.map(\.isClosed) == [false])
        house.set([12], timeToLive: .seconds(1))
        house.run(1_000)
        #expect(house.origins[0].peers.map(\.isClosed) == [true] && house.edge.openConnections == 0)
        house.end()
    }

    /// The next attempt goes by the endpoints of now; what was tried, and what is told of it, is by address and not by position.
    @Test func aRetryGoesToTheEndpointsOfNow() throws {
        let house = try House { settings in
            settings.retries.attempts = 3
            settings.retries.backoffBase = .milliseconds(10)
            settings.retries.budget.minimumPerSecondThousandths = 10_000
        }
        house.set([12, 13], timeToLive: .seconds(1))
        house.run(100)
        for origin in house.origins { origin.answer = { _, _ in } }
        let asker = house.ask()
        house.run(100)
        let first = try #require(house.origins.firstIndex { !$0.requests.isEmpty })
        // It keeps the one that was asked, which now stands at another position.
        house.set([11, 11 + first], timeToLive: .seconds(1))
        house.run(1_000)
        for origin in house.origins { origin.answer = { peer, _ in peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") } }
        house.origins[first].peers[0].reset()
        house.run(1_000)
        #expect(asker.said == "200 ok" && house.origins[0].requests.count == 1, "\(asker.said) \(house.requests)")
        let endpoints = asker.guarded.lastEndpoints
        let named = asker.guarded.trail.decisions.filter { $0.step == .admitted }.map { endpoints[Int($0.endpoint)].label }
        #expect(named == ["10.0.0.\(11 + first):9001", "10.0.0.11:9001"])
        house.end()
    }

    // MARK: Health and weights

    @Test func aVerdictStaysWithItsAddress() throws {
        let health = HealthSettings(
            probe: .http(path: "/healthz", host: nil, statuses: [200...299]), interval: .milliseconds(200), unhealthyAfter: 2,
            healthyAfter: 2, jitter: Share(tenThousandths: 0))
        let house = try House(health: health)
        house.origins[1].answer = { peer, _ in peer.say("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") }
        house.set([12, 13], timeToLive: .seconds(1))
        house.run(1_000)
        #expect(house.pools.cluster.endpoints.indices.map { house.pools.cluster.picker.isAvailable($0) } == [false, true])
        house.set([11, 12, 13], timeToLive: .seconds(1))
        while house.labels.count == 2 { house.run(1) }
        let picker = house.pools.cluster.picker
        #expect(house.handedOver == [true, false, true], "from the first request on")
        #expect([0, 1, 2].map { picker.isAvailable($0) } == [true, false, true], "at once")
        let checked = house.origins[1].requests.count
        house.run(1_000)
        #expect((4...6).contains(house.origins[1].requests.count - checked), "in its old rhythm")
        #expect(house.origins[0].requests.count >= 3)
        house.set([11, 13], timeToLive: .seconds(1))
        house.run(1_500)
        let gone = house.origins[1].requests.count
        house.run(1_000)
        #expect(house.origins[1].requests.count == gone, "who left is not checked")
        house.end()
    }

    @Test func servicesBringTheirPortsAndWeights() throws {
        let house = try House(.service, begins: false)
        func services(_ weights: [(Int, UInt16)]) {
            house.resolver.answers[NameQuestion("users.internal", .srv)] = .records(
                weights.map { .service(target: "u\($0).internal", port: 9001, priority: 1, weight: $1) }, timeToLive: .seconds(1))
            for (host, _) in weights { house.resolver.set("u\(host).internal", ["10.0.0.\(host)"], timeToLive: .seconds(60)) }
        }
        services([(12, 3), (11, 1)])
        house.monitor.follow([house.configured])
        house.run(100)
        for _ in 0..<40 {
            _ = house.ask()
            house.run(10)
        }
        #expect((25...35).contains(house.requests[1]) && house.requests[0] == 40 - house.requests[1], "\(house.requests)")
        #expect(house.origins[1].requests[0].contains("host: u12.internal:9001\r\n"))
        for origin in house.origins { origin.answer = { _, _ in } }
        _ = (0..<4).map { _ in house.ask() }
        house.run(50)
        let counts = house.pools.cluster.endpoints.map(\.exchangesUnderWay)
        services([(12, 1), (11, 1)])
        house.run(2_000)
        #expect(house.pools.cluster.endpoints.map(\.weight) == [1, 1])
        #expect(house.pools.cluster.endpoints.map(\.exchangesUnderWay) == counts, "another weight, the same exchanges")
        for origin in house.origins { for peer in origin.peers { peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") } }
        house.run(100)
        house.end()
    }

    // MARK: Reloads

    /// A newer configuration, made from what was known a moment before: nothing that was learnt since is lost, and nothing is asked anew.
    @Test func aReloadKeepsTheAnswer() throws {
        let house = try House()
        house.set([11, 12], timeToLive: .seconds(30))
        house.run(1_000)
        let name = try #require(house.configured.upstreamName)
        let stale = UpstreamName(name.settings)
        let next = UpstreamCluster(
            name: "users", endpoints: [], guardian: house.configured.guardian, settings: house.configured.settings,
            balancer: EndpointBalancer(.lab(.roundRobin), names: [], draw: house.world.draw, now: .origin),
            pool: house.configured.pool, client: house.configured.client, connectOptions: ConnectOptions(),
            tls: nil, serverName: "", hostField: .upstream, identity: "users", naming: stale)
        let asked = house.resolver.asked.count
        let pool = house.pools.pools[0]
        house.monitor.follow([next])
        #expect(next.current.endpoints.map(\.label) == ["10.0.0.11:9001", "10.0.0.12:9001"] && house.resolver.asked.count == asked)
        #expect(stale.status.state == .current && stale.status.next == Instant.origin.advanced(by: .milliseconds(30_005)))
        #expect(house.pools.pools[0] === pool)
        house.monitor.follow([])
        house.run(60_000)
        #expect(house.resolver.asked.count == asked, "nobody wants to know any more")
        house.end()
    }
}
