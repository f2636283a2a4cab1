// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Policy, slow start, ejection, probes and reloads as one thing.
@Suite struct EndpointBalancerTests {
    private static let draw = Draw(seed: 11)
    private static let failed = Outcome(.failure, reason: .statusFailure, processed: .yes)

    private static func settings(_ policy: BalancingPolicy = .roundRobin) -> BalancerSettings {
        var settings = BalancerSettings()
        settings.policy = policy
        return settings
    }

    private static func balancer(
        _ names: [String] = ["a", "b", "c"], _ settings: BalancerSettings = Self.settings(),
        after previous: EndpointBalancer? = nil,
        keepsHealth: Bool = false, now: Instant = .origin
    ) -> EndpointBalancer {
        EndpointBalancer(settings, names: names, draw: draw, after: previous, keepsHealth: keepsHealth, now: now)
    }

    private static func choose(
        _ balancer: EndpointBalancer, _ request: UInt64 = 1, tried: TriedEndpoints = TriedEndpoints(), key: UInt64? = nil,
        mayProbe: Bool = true, at now: Instant = .origin
    ) -> EndpointBalancer.Choice? {
        balancer.choose(
            request: request, attempt: 0, draw: draw, tried: tried, key: key, now: now, mayProbe: { mayProbe }, load: { _ in 0 })
    }

    /// Lets an endpoint fail until it is ejected; the others succeed.
    private static func fell(_ victim: Int, _ balancer: EndpointBalancer, at now: Instant = .origin) {
        for request in 0..<100 {
            guard !balancer.picker.isEjected(victim), let choice = choose(balancer, UInt64(request), at: now) else { return }
            balancer.report(choice, choice.endpoint == victim ? failed : .success, latencyNanoseconds: 1_000_000, now: now)
        }
    }

    @Test func ejectsAndTakesBackByOneProbe() throws {
        let balancer = Self.balancer()
        Self.fell(1, balancer)
        #expect(balancer.picker.isEjected(1) && balancer.picker.availableCount == 2)
        let watch = try #require(balancer.outliers)
        let (events, dropped) = watch.takeEvents()
        guard case .ejected(let until, .consecutive) = events.first?.kind else {
            Issue.record("\(events)")
            return
        }
        #expect(events.count == 1 && events[0].endpoint == "b" && dropped == 0)
        #expect(watch.ejections(by: .consecutive) == 1 && watch.ejections(by: .latency) == 0 && watch.ejected == (1, 1))
        #expect(until >= .seconds(30) && until <= .seconds(36))
        for request in 0..<50 { #expect(Self.choose(balancer, UInt64(request), at: .seconds(29))?.endpoint != 1) }

        // Its time is over: a request that could not be tried again does not go there, the next one does, and only that one.
        #expect(Self.choose(balancer, 60, mayProbe: false, at: until)?.endpoint != 1)
        let probe = try #require(Self.choose(balancer, 61, at: until))
        #expect(probe.isProbe && probe.endpoint == 1 && !probe.isPanic)
        for request in 62..<90 { #expect(Self.choose(balancer, UInt64(request), at: until)?.endpoint != 1) }
        balancer.report(probe, .success, latencyNanoseconds: 1_000_000, now: until)
        #expect(!balancer.picker.isEjected(1))
        #expect(watch.takeEvents().events == [OutlierEvent(endpoint: "b", kind: .readmitted)])
        #expect(try #require(balancer.slowStart).isUnderWay(now: until), "back by slow start")
    }

    @Test func aProbeThatSaysNothingMakesTheNextRequestTheProbe() throws {
        let balancer = Self.balancer()
        Self.fell(0, balancer)
        let probe = try #require(Self.choose(balancer, 1, at: .seconds(40)))
        #expect(probe.isProbe)
        balancer.report(
            probe, Outcome(.neutral, reason: .clientCancelled, processed: .maybe), latencyNanoseconds: 1, now: .seconds(40))
        #expect(balancer.picker.isEjected(0))
        #expect(try #require(Self.choose(balancer, 2, at: .seconds(40))).isProbe)
    }

    @Test func noProbeWhereChecksFailOrItWasTried() throws {
        let balancer = Self.balancer()
        Self.fell(0, balancer)
        balancer.setAvailable(false, 0, now: .seconds(40))
        #expect(try !#require(Self.choose(balancer, 1, at: .seconds(40))).isProbe)
        balancer.setAvailable(true, 0, now: .seconds(41))
        var tried = TriedEndpoints()
        tried.insert(0)
        #expect(try !#require(Self.choose(balancer, 2, tried: tried, at: .seconds(41))).isProbe)
        #expect(try #require(Self.choose(balancer, 3, at: .seconds(41))).isProbe)
    }

    @Test func anEndpointThatPassesItsChecksAgainStartsSlowlyAndAnew() throws {
        let balancer = Self.balancer(["a", "b"], Self.settings(.peakEWMA))
        for request in 0..<20 {
            let choice = try #require(Self.choose(balancer, UInt64(request)))
            balancer.report(choice, .success, latencyNanoseconds: 1_000_000, now: .origin)
        }
        balancer.setAvailable(true, 0, now: .seconds(1))
        #expect(try !#require(balancer.slowStart).isUnderWay(now: .seconds(1)), "it was well before")
        balancer.setAvailable(false, 0, now: .seconds(2))
        balancer.setAvailable(true, 0, now: .seconds(3))
        #expect(try #require(balancer.slowStart).factor(of: 0, now: .seconds(3)) == 0.1)
        let latencies = try #require(balancer.latencies)
        #expect(latencies.averageNanoseconds(0) == nil && latencies.averageNanoseconds(1) != nil)
    }

    /// The one and only endpoint is the breaker's.
    @Test func oneEndpointIsNotWatched() throws {
        let balancer = Self.balancer(["a"])
        Self.fell(0, balancer)
        #expect(balancer.outliers == nil && !balancer.picker.isEjected(0))
    }

    @Test func panicIsMarked() throws {
        let balancer = Self.balancer()
        for endpoint in [0, 1] { balancer.setAvailable(false, endpoint, now: .origin) }
        var marked: Set<Int> = []
        var plain: Set<Int> = []
        for request in 0..<60 {
            let choice = try #require(Self.choose(balancer, UInt64(request)))
            if choice.isPanic { marked.insert(choice.endpoint) } else { plain.insert(choice.endpoint) }
        }
        #expect(marked == [0, 1] && plain == [2])
    }

    @Test func keysKeepTheirEndpointAndRequestsWithoutOneAreSpread() throws {
        let balancer = Self.balancer(["a", "b", "c"], Self.settings(.hash))
        let key = StableHash.key("anna".utf8)
        let own = try #require(Self.choose(balancer, 1, key: key)).endpoint
        for request in 0..<50 { #expect(Self.choose(balancer, UInt64(request), key: key)?.endpoint == own) }
        #expect(Set((0..<50).compactMap { Self.choose(balancer, $0)?.endpoint }) == [0, 1, 2])
    }

    @Test func theQuickerEndpointIsAskedMore() throws {
        let balancer = Self.balancer(["a", "b"], Self.settings(.peakEWMA))
        var asked = [0, 0]
        for request in 0..<2_000 {
            let now = Instant(nanoseconds: Int64(request) * 1_000_000)
            let choice = try #require(Self.choose(balancer, UInt64(request), at: now))
            asked[choice.endpoint] += 1
            balancer.report(choice, .success, latencyNanoseconds: choice.endpoint == 0 ? 50_000_000 : 5_000_000, now: now)
        }
        #expect(asked[0] < 200, "\(asked)")
    }

    // MARK: Reloads

    @Test func aReloadKeepsWhatIsKnownOfEndpointsThatRemain() throws {
        let old = Self.balancer()
        Self.fell(1, old)
        old.setAvailable(false, 2, now: .origin)
        // In another order, with a new one, without "a".
        let next = Self.balancer(["c", "d", "b"], after: old, keepsHealth: true, now: .seconds(1))
        #expect(next.picker.isEjected(2) && !next.picker.isWell(0) && next.picker.isAvailable(1))
        #expect(try #require(next.slowStart).isUnderWay(now: .seconds(1)), "d is new")
        next.activate(now: .seconds(1))
        #expect(next.picker.isEjected(2) && next.outliers === old.outliers)
        next.setAvailable(true, 0, now: .seconds(2))
        let probe = try #require(Self.choose(next, 5, at: .seconds(40)))
        #expect(probe.isProbe && probe.endpoint == 2)
        next.report(probe, .success, latencyNanoseconds: 1, now: .seconds(40))
        #expect(!next.picker.isEjected(2))
    }

    /// What was sent by the old configuration counts for the endpoint it went to, whatever its number is now.
    @Test func attemptsUnderWayAreReportedAcrossAReload() throws {
        let old = Self.balancer()
        var underWay: [EndpointBalancer.Choice] = []
        for request in 0..<15 { underWay.append(try #require(Self.choose(old, UInt64(request)))) }
        let next = Self.balancer(["c", "b", "a"], after: old, now: .seconds(1))
        next.activate(now: .seconds(1))
        // What the old one chooses from now on is not watched: its numbers mean other endpoints.
        for request in 100..<130 {
            let choice = try #require(Self.choose(old, UInt64(request)))
            old.report(choice, Self.failed, latencyNanoseconds: 1, now: .seconds(1))
        }
        #expect(next.picker.availableCount == 3)
        for choice in underWay where choice.endpoint == 0 {
            old.report(choice, Self.failed, latencyNanoseconds: 1, now: .seconds(1))
        }
        #expect((0..<3).map { next.picker.isEjected($0) } == [false, false, true])
        #expect(try !#require(Self.choose(old, 99, at: .seconds(100))).isProbe)
        #expect(try #require(Self.choose(next, 100, at: .seconds(100))).isProbe)
    }

    @Test func ejectionsBeyondTheCapOfFewerEndpointsEnd() throws {
        var wide = Self.settings()
        wide.outliers?.maximumEjected = Share(tenThousandths: 10_000)
        let old = Self.balancer(["a", "b", "c", "d"], wide)
        for victim in [0, 1, 2] { Self.fell(victim, old) }
        #expect(old.picker.availableCount == 1)
        let next = Self.balancer(["a", "b"], wide, after: old, now: .seconds(1))
        next.activate(now: .seconds(1))
        #expect(next.picker.availableCount == 1, "one of two may be out")
        let off = Self.balancer(
            ["a", "b"],
            {
                var settings = wide
                settings.outliers = nil
                return settings
            }(), after: next, now: .seconds(2))
        #expect(off.picker.availableCount == 2 && off.outliers == nil, "not watched, so nobody would take it back")
    }

    @Test func eventsThatNobodyTakesAreBounded() throws {
        var settings = Self.settings()
        settings.outliers?.enforce = false
        settings.outliers?.consecutiveFailures = 1
        settings.outliers?.consecutiveLocalOrigin = nil
        let balancer = Self.balancer(["a", "b"], settings)
        for request in 0..<2_000 {
            let choice = try #require(Self.choose(balancer, UInt64(request)))
            balancer.report(
                choice, request % 4 < 2 ? Self.failed : .success, latencyNanoseconds: 1, now: .origin)
        }
        let (events, dropped) = try #require(balancer.outliers).takeEvents()
        #expect(events.count == 256 && dropped > 0)
        #expect(try #require(balancer.outliers).takeEvents() == ([], 0))
    }

    /// A forgotten probe must not keep its endpoint out for ever.
    @Test func fourThreadsLoseNoEjection() async throws {
        let balancer = Self.balancer(["a", "b", "c", "d"])
        await withTaskGroup { group in
            for thread in 0..<4 {
                group.addTask {
                    for i in 0..<20_000 {
                        let now = Instant(nanoseconds: Int64(i) * 20_000_000)
                        let request = UInt64(thread) << 32 | UInt64(i)
                        guard let choice = Self.choose(balancer, request, at: now) else { continue }
                        let isBad = choice.endpoint == 2 && i < 15_000
                        balancer.report(choice, isBad ? Self.failed : .success, latencyNanoseconds: 1_000, now: now)
                        if i % 500 == 0 { balancer.outliers?.evaluate(now: now) }
                    }
                }
            }
        }
        for i in 20_000..<20_100 {
            let now = Instant(nanoseconds: Int64(i) * 1_000_000_000)
            guard let choice = Self.choose(balancer, UInt64(i), at: now) else { continue }
            balancer.report(choice, .success, latencyNanoseconds: 1_000, now: now)
        }
        #expect(balancer.picker.availableCount == 4)
        #expect(try #require(balancer.outliers).ejections(by: .consecutive) >= 1)
    }
}
