// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import TLS
import Testing

@testable import Transport
@testable import Upstream

/// Extra attempts as the upstream counts them: none without a budget, none too late, none of what may have been done, and no storm of them
/// (semantics, sections 2 and 3; cases E06 to E08; promises P11 and P13).
@Suite struct RepetitionTests {
    static let ok = GuardOnTheWireTests.ok
    static let no = GuardOnTheWireTests.no

    private func over(_ lab: UpstreamLab) {
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    // MARK: The budget

    /// Ratio 0 and no floor: nothing is sent twice but what a stale connection may have lost.
    @Test func R5_withoutABudgetOnlyWhatIsFreeIsSentAgain() throws {
        let lab = try UpstreamLab {
            $0.breaker.disabled = true
            $0.retries.attempts = 5
            $0.retries.budget.ratio = Share(tenThousandths: 0)
            $0.retries.budget.minimumPerSecondThousandths = 0
        }
        lab.upstream.answer = { peer, _ in peer.say(Self.no) }
        for _ in 0..<100 {
            let asker = lab.ask()
            lab.finish(asker)
            #expect(asker.said == "503 " && asker.guarded.retryReason == .retryBudget)
            lab.world.run(for: .milliseconds(200))
        }
        #expect(lab.upstream.requests.count == 100 && lab.guardState.counters.refusedRetryBudget == 100)
        // Every third request is cut off, on a connection that was kept.
        lab.upstream.answer = { peer, n in if n % 3 == 0 { peer.reset() } else { peer.say(Self.ok) } }
        let askers = (0..<20).map { _ in
            let asker = lab.ask()
            lab.finish(asker)
            return asker
        }
        let free = Int(lab.guardState.retriesFree)
        #expect(free > 3 && lab.upstream.requests.count == 120 + free && askers.allSatisfy { $0.said == "200 ok" })
        #expect(lab.guardState.retriesGranted == 0)
        over(lab)
    }

    /// E06: what waits in its back-off counts as outstanding, so that a thousand failures at once are not hundreds of retries.
    @Test func E06_R3_backingOffCountsAsOutstanding() throws {
        let lab = try UpstreamLab {
            $0.breaker.disabled = true
            $0.bulkhead.concurrent = 1_000
            $0.retries.budget.ratio = Share(tenThousandths: 200)
            $0.retries.budget.minimumPerSecondThousandths = 0
        }
        lab.upstream.answer = { peer, n in
            peer.say(n <= 2_000 ? Self.ok : "HTTP/1.1 503 No\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n")
        }
        for _ in 0..<2 {
            let good = (0..<1_000).map { _ in lab.ask() }
            for asker in good { lab.finish(asker) }
        }
        // 3,000 firsts pay for 60 extras, but no more than 2 % of 1,000 permits may be outstanding.
        let askers = (0..<1_000).map { _ in lab.ask() }
        lab.world.run(for: .seconds(1))
        var state = lab.guardState
        #expect(state.retriesOutstanding == 20 && state.retriesGranted == 20, "they wait for 2 s, and hold their tokens")
        #expect(askers.count { $0.isOver } == 980 && lab.upstream.requests.count == 3_000)
        lab.world.run(for: .seconds(3))
        state = lab.guardState
        #expect(lab.upstream.requests.count == 3_020 && state.retriesOutstanding == 0 && askers.allSatisfy { $0.isOver })
        over(lab)
    }

    // MARK: When

    /// A retry that waits is not sent once the breaker has opened, and none begins that the deadline would cut.
    @Test func T4_noRetryAfterTheBreakerOpenedOrTheDeadline() throws {
        let lab = try UpstreamLab {
            $0.breaker.consecutiveFailures = 3
            $0.breaker.openFor = .seconds(30)
            $0.retries.budget.minimumPerSecondThousandths = 100_000
        }
        lab.upstream.answer = { peer, n in
            peer.say(
                n == 1
                    ? "HTTP/1.1 503 No\r\nRetry-After: 2\r\nContent-Length: 2\r\n\r\nno"
                    : "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        }
        let waiting = lab.ask()
        lab.world.run(for: .seconds(1))
        #expect(!waiting.isOver && lab.guardState.retriesOutstanding == 1)
        for _ in 0..<2 { lab.finish(lab.ask(.post, body: "x")) }
        if case .open = lab.guardState.breaker {} else { Issue.record("not open") }
        lab.finish(waiting)
        #expect(waiting.said == "503 no" && lab.upstream.requests.count == 3 && lab.guardState.retriesRefunded == 1)
        over(lab)

        // Answers that come so late that no back-off and try fit.
        for (lateness, retried) in [(7_000, true), (7_960, true), (7_998, false)] as [(Int64, Bool)] {
            let lab = try UpstreamLab {
                $0.timeouts.total = .seconds(8)
                $0.timeouts.perTry = nil
                $0.retries.backoffBase = .milliseconds(1)
            }
            var seen: [Instant] = []
            lab.upstream.answer = { peer, n in
                seen.append(lab.world.now)
                if n == 1 { lab.world.after(.milliseconds(lateness)) { peer.say(Self.no) } }
            }
            let asker = lab.ask()
            lab.finish(asker)
            lab.world.run(for: .seconds(1))
            #expect(seen.count == (retried ? 2 : 1), "\(lateness) ms")
            #expect(seen.allSatisfy { $0 < lab.at(8) } && asker.endedAt! <= lab.at(8) && asker.said == "503 ", "\(lateness) ms")
            if !retried { #expect(asker.guarded.retryReason == .retryDeadline) }
            over(lab)
        }
    }

    // MARK: What

    /// E07: where a POST is cut, and whether it is sent again; beside it a PUT, which always is.
    enum Cut: CaseIterable, Sendable { case beforeConnect, afterConnect, headWritten, bodyHalf, bodyWhole, headHalf }

    @Test(arguments: Cut.allCases, [HTTP.Method.post, .put])
    func E07_T1_aPostIsSentAgainOnlyIfNoneOfItWasSent(cut: Cut, method: HTTP.Method) throws {
        let tls = cut == .afterConnect ? try ClientTLSContext(settings: ClientTLSSettings()) : nil
        let lab = try UpstreamLab(endpoints: 1, missing: cut == .beforeConnect ? 1 : 0, tls: tls) {
            $0.retries.budget.minimumPerSecondThousandths = 100_000
        }
        let edge = lab.world.host("10.0.0.1")
        let origin = lab.world.host("10.0.0.10")
        var conditions = LinkConditions()
        let body = String(repeating: "b", count: 6_000)
        switch cut {
        case .beforeConnect: break
        case .afterConnect: lab.upstream.act = { $0.reset() }
        case .headWritten: conditions.resetAfter = 600
        case .bodyHalf: conditions.resetAfter = 3_000
        case .bodyWhole: lab.upstream.answer = { peer, n in if n == 1 { peer.reset() } else { peer.say(Self.ok) } }
        case .headHalf:
            lab.upstream.answer = { peer, n in
                peer.say(n == 1 ? "HTTP/1.1 200 OK\r\nContent-Le" : Self.ok)
                if n == 1 { peer.close() }
            }
        }
        lab.world.setConditions(conditions, from: edge, to: origin)
        lab.world.after(.microseconds(350)) { lab.world.setConditions(nil, from: edge, to: origin) }
        let asker = lab.ask(method, body: body)
        lab.finish(asker)
        let isUnsent = cut == .beforeConnect || cut == .afterConnect
        let isRetried = isUnsent || method == .put
        #expect(asker.guarded.attempts == (isRetried ? 2 : 1), "\(cut)")
        switch cut {
        case .beforeConnect: #expect(asker.said == "200 ok" && lab.upstream.requests.count == 1)
        case .afterConnect: #expect(asker.failure?.reason == .connectFailed && lab.upstream.peers.count == 2, "\(asker.said)")
        case .headWritten, .bodyHalf:
            #expect(lab.upstream.requests.count == (isRetried ? 1 : 0) && (asker.said == "200 ok") == isRetried)
        case .bodyWhole, .headHalf:
            #expect(lab.upstream.requests.count == (isRetried ? 2 : 1) && (asker.said == "200 ok") == isRetried)
        }
        #expect(Set(lab.upstream.requests.map { $0.suffix(6_004) }).count <= 1)
        over(lab)
    }

    /// E08: a body that still streams when its first attempt fails. While all of it is kept the next attempt gets it from the first byte and
    /// goes on with what comes; once some is gone there is no next attempt.
    @Test(arguments: [(10, true), (60_000, true), (65_536, true), (65_537, false), (200_000, false)])
    func E08_T2_neverHalfABody(before: Int, retried: Bool) throws {
        let lab = try UpstreamLab { $0.retries.budget.minimumPerSecondThousandths = 100_000 }
        var whole: [String] = []
        // Fails while the client is still sending.
        lab.upstream.act = { peer in
            if peer.number == 0 {
                if peer.heard.utf8.count >= before { peer.say("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno") }
            } else {
                if peer.heard.hasSuffix("end") {
                    whole.append(peer.heard)
                    peer.say(Self.ok)
                }
            }
        }
        let body = (0..<before).map { String($0 % 10) }.joined()
        let asker = lab.ask(.put, body: body + "end", sendsBody: false)
        asker.guarded.write(body.utf8Bytes.span)
        lab.world.run(for: .milliseconds(500))
        asker.guarded.write("end".utf8Bytes.span)
        asker.guarded.finishRequest(trailers: FieldSection())
        lab.finish(asker)
        if retried {
            #expect(asker.said == "200 ok" && whole.count == 1 && lab.upstream.peers.count == 2)
            #expect(whole.allSatisfy { $0.hasSuffix("\r\n\r\n" + body + "end") }, "from its first byte, and to its last")
        } else {
            #expect(asker.said == "503 no" && asker.guarded.retryReason == .retryBody && lab.upstream.peers.count == 1)
        }
        over(lab)
    }

    // MARK: Storms

    /// P13: an upstream that answers 503 to everything for a minute, asked 100 times a second. While the breaker is closed it sees no more than
    /// 1.2 times what was asked and the floor; while it is not, a hundredth.
    @Test func P13_noRetryStorm() throws {
        let lab = try UpstreamLab { $0.retries.attempts = 5 }
        lab.upstream.answer = { peer, _ in peer.say(Self.no) }
        var asked = (closed: 0, open: 0)
        var seen = (closed: 0, open: 0)
        var askers: [Asker] = []
        for _ in 0..<6_000 {
            let isClosed = lab.guardState.breaker == .closed
            let before = lab.requestsSeen
            askers.append(lab.ask())
            lab.world.run(for: .milliseconds(10))
            if isClosed { asked.closed += 1 } else { asked.open += 1 }
            if isClosed { seen.closed += lab.requestsSeen - before } else { seen.open += lab.requestsSeen - before }
        }
        #expect(asked.closed >= 15 && asked.open > 5_000, "\(asked)")
        #expect(Double(seen.closed) <= 1.2 * Double(asked.closed) + 2, "\(seen) of \(asked)")
        #expect(Double(seen.open) <= 0.01 * Double(asked.open) && seen.open > 0, "\(seen) of \(asked)")
        #expect(
            askers.allSatisfy { $0.said == "503 " || $0.failure?.reason == .breakerOpen || $0.failure?.reason == .breakerHalfOpen })
        over(lab)
    }

    /// P13, with a breaker that does not judge: the budget alone holds the whole minute.
    @Test func P13_R2_noRetryStormWithoutABreaker() throws {
        let lab = try UpstreamLab {
            $0.retries.attempts = 5
            $0.breaker.disabled = true
        }
        lab.upstream.answer = { peer, _ in peer.say(Self.no) }
        var askers: [Asker] = []
        var everySecond: [Int] = []
        for step in 0..<3_000 {
            askers.append(lab.ask())
            lab.world.run(for: .milliseconds(20))
            if step % 50 == 49 { everySecond.append(lab.requestsSeen) }
        }
        lab.world.run(for: .seconds(1))
        #expect(lab.requestsSeen > 3_400, "it does try again")
        for (second, seen) in everySecond.enumerated() {
            #expect(Double(seen) <= 1.2 * Double((second + 1) * 50) + Double(second + 1) + 1, "after \(second + 1) s: \(seen)")
        }
        over(lab)
    }

    /// P11: one of four endpoints dies under 500 GETs a second, with nothing but what is on by default. Of what follows no more than a
    /// thousandth fails.
    @Test func P11_oneOfFourDies() throws {
        let lab = try UpstreamLab(endpoints: 4, balancing: BalancerSettings())
        for upstream in lab.upstreams {
            upstream.answer = { peer, _ in lab.world.after(.milliseconds(3)) { peer.say(Self.ok) } }
        }
        var askers: [Asker] = []
        func load(_ requests: Int) {
            for _ in 0..<requests {
                askers.append(lab.ask())
                lab.world.run(for: .milliseconds(2))
            }
        }
        load(1_000)
        lab.world.crash(lab.world.host("10.0.0.12"))
        let (upTo, seen) = (askers.count, lab.upstreams[2].requests.count)
        load(5_000)
        lab.world.run(for: .seconds(10))
        #expect(askers.prefix(upTo - 10).allSatisfy { $0.said == "200 ok" })
        let failed = askers.dropFirst(upTo - 10).count { $0.said != "200 ok" }
        #expect(failed * 1_000 <= 5_000, "\(failed) of 5,000")
        let state = lab.guardState
        #expect(state.retriesGranted > 3 && lab.upstreams[2].requests.count == seen, "it was missed, and it was gone")
        #expect(state.breaker == .closed && seen > 200)
        over(lab)
    }

    /// P11, one of one: refused at once while it is down, and served again no later than an opening and the ramp after it is back.
    @Test func P11_oneOfOneIsRefusedFastAndComesBack() throws {
        let lab = try UpstreamLab { $0.breaker.ramp = .zero }
        var askers: [(asker: Asker, at: Instant)] = []
        func load(_ requests: Int) {
            for _ in 0..<requests {
                let now = lab.edge.reactor.now
                askers.append((lab.ask(), now))
                lab.world.run(for: .milliseconds(5))
            }
        }
        load(400)
        #expect(askers.allSatisfy { $0.asker.said == "200 ok" })
        let isDown = { (peer: Peer, _: Int) in peer.reset() }
        lab.upstream.answer = isDown
        let down = askers.count
        load(400)
        lab.upstream.answer = { peer, _ in peer.say(Self.ok) }
        let back = lab.world.now
        let isBack = askers.count
        load(3_000)
        let late = askers[down..<isBack].filter { $0.asker.failure?.reason == .breakerOpen && $0.asker.guarded.attempts == 0 }
        #expect(late.count > 200 && late.allSatisfy { $0.asker.endedAt == $0.at }, "refused at once")
        let served = askers.suffix(from: isBack).first { $0.asker.said == "200 ok" }
        // An opening of 5 s and a fifth of it.
        #expect(served.map { $0.at.nanoseconds(since: back) <= 6_010_000_000 } == true)
        #expect(askers.suffix(1_500).allSatisfy { $0.asker.said == "200 ok" })
        over(lab)
    }
}
