// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// Outlier ejection, keys and panic with real exchanges, on virtual time.
@Suite struct OutliersAtWorkTests {
    private static func fails(_ peer: Peer, _ place: Int) {
        peer.say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    }

    private static func watched(_ policy: BalancingPolicy = .roundRobin) -> BalancerSettings {
        var settings = BalancerSettings()
        settings.policy = policy
        settings.slowStart = nil
        return settings
    }

    private func lab(_ settings: BalancerSettings = Self.watched(), key: BalancingKey? = nil, missing: Int = 0) throws
        -> UpstreamLab
    {
        try UpstreamLab(endpoints: 3, missing: missing, balancing: settings, balancingKey: key) {
            $0.breaker.disabled = true
            $0.retries.attempts = 1
        }
    }

    private func askInTurn(_ lab: UpstreamLab, _ n: Int, _ method: HTTP.Method = .get) -> [String] {
        (0..<n).map { _ in
            let asker = lab.ask(method, body: method == .post ? "x" : nil)
            lab.finish(asker)
            return asker.said
        }
    }

    @Test func E3_theBadOneOfThreeGetsFiveRequestsAndThenOneProbeAnEjection() throws {
        let lab = try lab()
        lab.upstreams[1].answer = Self.fails
        let said = askInTurn(lab, 60)
        #expect(said.count { $0 == "503 " } == 5 && lab.upstreams[1].requests.count == 5)
        #expect(lab.cluster.picker.isEjected(1))
        // Longer than any first ejection: the probe fails, and it is out again for longer.
        lab.world.run(for: .seconds(37))
        #expect(askInTurn(lab, 30).count { $0 == "503 " } == 1 && lab.upstreams[1].requests.count == 6)
        lab.world.run(for: .seconds(37))
        #expect(askInTurn(lab, 30).count { $0 == "503 " } == 0, "60 s and more the second time")
        lab.upstreams[1].answer = { peer, _ in peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
        lab.world.run(for: .seconds(37))
        #expect(askInTurn(lab, 30).allSatisfy { $0 == "200 ok" })
        #expect(!lab.cluster.picker.isEjected(1) && lab.upstreams[1].requests.count > 10)
        lab.expectNothingHeld()
        lab.end()
    }

    /// A POST may have been done by the endpoint that fails it: it is no probe.
    @Test func onlyRequestsThatCanBeTriedAgainProbe() throws {
        let lab = try lab()
        lab.upstreams[0].answer = Self.fails
        _ = askInTurn(lab, 30)
        #expect(lab.upstreams[0].requests.count == 5)
        lab.world.run(for: .seconds(40))
        #expect(askInTurn(lab, 30, .post).allSatisfy { $0 == "200 ok" } && lab.upstreams[0].requests.count == 5)
        #expect(askInTurn(lab, 1) == ["503 "] && lab.upstreams[0].requests.count == 6)
        lab.end()
    }

    @Test func E3_anEndpointThatRefusesConnectionsIsOutAfterFive() throws {
        let lab = try lab(missing: 1)
        let said = askInTurn(lab, 80)
        #expect(said.count { $0 == "connect.refused" } == 5, "\(said)")
        #expect(lab.cluster.picker.isEjected(0))
        lab.end()
    }

    /// All of them fail: some are ejected, never all, and the rest serves whatever comes (panic is what is left when most are out).
    @Test func E10_E1_allFailingNeverLeavesNone() throws {
        let lab = try lab()
        for upstream in lab.upstreams { upstream.answer = Self.fails }
        for _ in 0..<40 {
            #expect(askInTurn(lab, 30).allSatisfy { $0 == "503 " }, "an answer of theirs, and never lb.no_healthy")
            #expect((0..<3).count { lab.cluster.picker.isEjected($0) } <= 1)
            lab.world.run(for: .seconds(7))
        }
        // The checks take the others out too: nothing is left, so all of them are asked.
        for endpoint in 0..<3 { lab.cluster.balancer.setAvailable(false, endpoint, now: lab.world.now) }
        let before = lab.upstreams.map(\.requests.count)
        #expect(lab.cluster.picker.isPanicking && askInTurn(lab, 30).allSatisfy { $0 == "503 " })
        #expect(zip(before, lab.upstreams).allSatisfy { $1.requests.count - $0 > 5 })
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func E5_clientsThatGoEjectNobody() throws {
        let lab = try lab()
        lab.upstreams[2].answer = { _, _ in }
        for _ in 0..<60 {
            let asker = lab.ask()
            lab.world.run(for: .milliseconds(20))
            if !asker.isOver { asker.guarded.cancel(.clientCancelled) }
        }
        #expect(lab.upstreams[2].requests.count == 20 && (0..<3).allSatisfy { !lab.cluster.picker.isEjected($0) })
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func aSlowEndpointIsFoundByItsPeers() throws {
        let lab = try lab()
        let slow = lab.upstreams[0]
        slow.answer = { [unowned lab] peer, _ in
            lab.world.after(.milliseconds(400)) { peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
        }
        var askers: [Asker] = []
        for _ in 0..<3 {
            for _ in 0..<200 {
                askers.append(lab.ask())
                lab.world.run(for: .milliseconds(50))
            }
            lab.cluster.balancer.outliers?.evaluate(now: lab.world.now)
        }
        lab.world.run(for: .seconds(1))
        #expect(lab.cluster.picker.isEjected(0) && lab.cluster.balancer.outliers?.ejections(by: .latency) == 1)
        #expect(askers.allSatisfy { $0.said == "200 ok" })
        lab.end()
    }

    @Test func oneClientGoesToOneEndpoint() throws {
        let lab = try lab(Self.watched(.hash), key: .header(Array("x-user".utf8)))
        for user in ["anna", "ben", "clara", "dora", "emil"] {
            let before = lab.upstreams.map(\.requests.count)
            for _ in 0..<12 {
                let head = UpstreamLab.head(.get, "/", length: nil)
                head.fields.append("x-user", user)
                lab.finish(lab.ask(head))
            }
            let asked = zip(before, lab.upstreams).map { $1.requests.count - $0 }
            #expect(asked.sorted() == [0, 0, 12], "\(user)")
        }
        _ = askInTurn(lab, 30)
        #expect(lab.upstreams.allSatisfy { $0.requests.count >= 4 }, "requests without the key are spread")
        lab.end()
    }

    @Test func theTrailTellsOfProbesAndPanic() throws {
        let lab = try lab()
        lab.upstreams[1].answer = Self.fails
        _ = askInTurn(lab, 30)
        lab.world.run(for: .seconds(40))
        let probe = lab.ask()
        lab.finish(probe)
        #expect(probe.guarded.trail.decisions.first?.step == .probing && probe.said == "503 ")
        for endpoint in [0, 2] { lab.cluster.balancer.setAvailable(false, endpoint, now: lab.world.now) }
        let panicking = lab.ask()
        lab.finish(panicking)
        #expect(panicking.guarded.trail.decisions.first?.step == .panicking && panicking.guarded.trail.isUnusual)
        lab.end()
    }
}

@Suite struct BalancingKeyTests {
    private func head(_ path: String = "/", _ fields: [(String, String)] = []) -> RequestHead {
        let head = UpstreamLab.head(.get, path, length: nil)
        for (name, value) in fields { head.fields.append(name, value) }
        return head
    }

    private func hash(_ key: BalancingKey, _ head: RequestHead, client: UInt128? = nil) -> UInt64? {
        key.hash(of: head, clientAddress: client)
    }

    @Test func pathsWithoutTheirQuery() {
        #expect(hash(.path, head("/a?x=1")) == hash(.path, head("/a?x=2")))
        #expect(hash(.path, head("/a")) == hash(.path, head("/a?")))
        #expect(hash(.path, head("/a")) != hash(.path, head("/b")))
    }

    @Test func addresses() {
        #expect(hash(.clientAddress, head(), client: 7) == hash(.clientAddress, head("/other"), client: 7))
        #expect(hash(.clientAddress, head(), client: 7) != hash(.clientAddress, head(), client: 7 << 64))
        #expect(hash(.clientAddress, head()) == nil && hash(.clientAddress, head(), client: 0) == nil)
    }

    @Test func headers() {
        let key = BalancingKey.header(Array("x-user".utf8))
        #expect(hash(key, head("/", [("x-user", "a")])) == StableHash.key("a".utf8))
        #expect(hash(key, head("/", [("x-user", "a"), ("x-user", "b")])) == StableHash.key("a".utf8))
        #expect(hash(key, head("/", [("x-users", "a")])) == nil && hash(key, head("/", [("x-user", "")])) == nil)
    }

    /// However many fields and pairs there are; a name that only begins or ends like it is another.
    @Test(
        arguments: [
            ("id=a", "a"), ("x=1; id=a; y=2", "a"), ("id=a=b", "a=b"), ("x=1;id=a", "a"), ("  id=a", "a"), ("id=\"a\"", "\"a\""),
            ("ids=a", nil), ("xid=a", nil), ("id", nil), ("id=", nil), ("", nil), (";;;", nil), ("x=id=a", nil), ("i", nil),
            ("x=1;", nil),
        ] as [(String, String?)])
    func cookies(text: String, value: String?) {
        let key = BalancingKey.cookie(Array("id".utf8))
        #expect(hash(key, head("/", [("cookie", text)])) == value.map { StableHash.key($0.utf8) })
        #expect(hash(key, head("/", [("cookie", "other=1"), ("cookie", text)])) == value.map { StableHash.key($0.utf8) })
    }
}
