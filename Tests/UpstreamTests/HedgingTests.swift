// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// A second attempt beside a slow first one (semantics, section 7), on virtual time.
@Suite struct HedgingTests {
    private static let answer = "HTTP/1.1 200 OK\r\nContent-Length: "

    /// Endpoint 0 answers "slow" after `slow`, the other "fast" at once. In turn, so that each request begins with endpoint 0 and its
    /// hedge goes to the other.
    private func lab(
        endpoints: Int = 2, slow: Duration = .seconds(2), _ adjust: (inout GuardSettings) -> Void = { _ in }
    ) throws -> UpstreamLab {
        let lab = try UpstreamLab(endpoints: endpoints, balancing: .lab(.roundRobin)) {
            $0.hedging = HedgeSettings()
            // A budget that stands in nobody's way.
            $0.retries.budget.minimumPerSecondThousandths = 1_000_000
            $0.retries.backoffBase = .zero
            adjust(&$0)
        }
        lab.upstreams[0].answer = { [unowned lab] peer, _ in
            lab.world.after(slow) { peer.say(Self.answer + "4\r\n\r\nslow") }
        }
        for upstream in lab.upstreams.dropFirst() { upstream.answer = { peer, _ in peer.say(Self.answer + "4\r\n\r\nfast") } }
        return lab
    }

    private func over(_ lab: UpstreamLab, _ note: String = "") {
        lab.world.run(for: .seconds(30))
        lab.expectNothingHeld(note)
        lab.end()
    }

    /// H1, H3: the other endpoint's answer is the client's; the loser is cut and is nobody's fault.
    @Test func H1_oneAnswerAndTheLoserIsCut() throws {
        let lab = try lab()
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.said == "200 fast" && asker.guarded.attempts == 2)
        let at = try #require(asker.answeredAt)
        #expect(at >= lab.at(0.1) && at < lab.at(0.11), "\(at)")
        lab.world.run(for: .milliseconds(50))
        #expect(lab.upstreams.map(\.requests.count) == [1, 1])
        #expect(lab.upstreams[0].peers[0].isClosed, "no byte of it is waited for")
        lab.world.run(for: .seconds(5))
        #expect(asker.ends == 1 && asker.body == "fast")
        #expect(asker.guarded.trail.decisions.map(\.step) == [.admitted, .hedged, .cancelled, .answered])
        over(lab)
    }

    @Test func H3_losersAreNoEvidence() throws {
        let lab = try lab()
        for _ in 0..<30 {
            let asker = lab.ask()
            lab.finish(asker)
        }
        #expect(lab.guardState.evidence.failed == 0 && lab.guardState.evidence.completed == 30)
        #expect(lab.cluster.guardian.hedging.won == 30 && lab.cluster.guardian.hedging.launched == 30)
        over(lab)
    }

    @Test func theFirstMayStillWin() throws {
        let lab = try lab(slow: .milliseconds(150))
        lab.upstreams[1].answer = { [unowned lab] peer, _ in
            lab.world.after(.seconds(1)) { peer.say(Self.answer + "4\r\n\r\nlate") }
        }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.said == "200 slow" && asker.guarded.attempts == 2)
        lab.world.run(for: .seconds(5))
        #expect(asker.ends == 1 && lab.upstreams[1].peers[0].isClosed)
        #expect(lab.cluster.guardian.hedging.launched == 1 && lab.cluster.guardian.hedging.won == 0)
        over(lab)
    }

    /// What may not be sent twice is not; nor what has nowhere else to go, or no attempt left.
    @Test(arguments: ["POST", "one endpoint", "one attempt", "off", "repeat", "budget", "bulkhead", "streams", "the other is out"])
    func noHedge(why: String) throws {
        let lab = try lab(endpoints: why == "one endpoint" ? 1 : 2, slow: .milliseconds(900)) {
            if why == "one attempt" { $0.retries.attempts = 1 }
            if why == "off" { $0.hedging = nil }
            if why == "budget" {
                $0.retries.budget.minimumPerSecondThousandths = 0
                $0.retries.budget.ratio = Share(tenThousandths: 0)
            }
            if why == "bulkhead" { $0.bulkhead.concurrent = 1 }
        }
        if why == "the other is out" { lab.cluster.picker.setAvailable(false, 1) }
        let asker: Asker
        switch why {
        case "POST": asker = lab.ask(.post, body: "pay")
        case "repeat":
            asker = Asker(lab.edge.reactor)
            var terms = CallerTerms()
            terms.attempt = 2
            asker.guarded.start(
                UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: 1, isIdempotent: false, limits: lab.cluster.limits,
                terms: terms, over: lab.pools)
        case "streams":
            asker = lab.ask(.put, body: "0123456789", sendsBody: false)
            asker.guarded.write("01234".utf8Bytes.span)
            lab.world.run(for: .milliseconds(500))
            asker.guarded.write("56789".utf8Bytes.span)
            asker.guarded.finishRequest(trailers: FieldSection())
        default: asker = lab.ask()
        }
        lab.finish(asker)
        #expect(asker.said == "200 slow" && asker.guarded.attempts == 1)
        #expect(lab.requestsSeen == 1 && lab.cluster.guardian.hedging.launched == 0)
        #expect(lab.cluster.guardian.hedging.unpaid == (["budget", "bulkhead"].contains(why) ? 1 : 0))
        over(lab, why)
    }

    @Test func bodiesAreSentTwiceByteForByte() throws {
        let lab = try lab()
        let asker = lab.ask(.put, body: "the whole body")
        lab.finish(asker)
        #expect(asker.said == "200 fast")
        #expect(lab.upstreams[1].requests[0].hasSuffix("\r\n\r\nthe whole body"))
        #expect(lab.upstreams[0].requests[0].hasSuffix("\r\n\r\nthe whole body"))
        #expect(lab.upstreams[1].requests[0].lowercased().contains("x-holdfast-attempt: 2"))
        over(lab)
    }

    /// The first attempt fails while the hedge is under way: that one is the further attempt, and no third is made.
    @Test(arguments: ["reset", "503", "timeout"]) func theHedgeIsTheFurtherAttempt(fault: String) throws {
        let lab = try lab { if fault == "timeout" { $0.timeouts.perTry = .milliseconds(200) } }
        lab.upstreams[0].answer = { [unowned lab] peer, _ in
            lab.world.after(.milliseconds(150)) {
                if fault == "reset" { peer.reset() }
                if fault == "503" { peer.say("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") }
            }
        }
        lab.upstreams[1].answer = { [unowned lab] peer, _ in
            lab.world.after(.milliseconds(150)) { peer.say(Self.answer + "4\r\n\r\nlate") }
        }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.said == "200 late" && asker.guarded.attempts == 2 && lab.requestsSeen == 2)
        #expect(lab.guardState.evidence.failed == 1)
        over(lab, fault)
    }

    /// Both fail: the answer of the first is what the client gets (T5).
    @Test func bothFail() throws {
        let lab = try lab()
        lab.upstreams[0].answer = { [unowned lab] peer, _ in
            lab.world.after(.milliseconds(150)) { peer.say("HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nfirst") }
        }
        lab.upstreams[1].answer = { [unowned lab] peer, _ in lab.world.after(.milliseconds(150)) { peer.reset() } }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.said == "503 first" && lab.requestsSeen == 2)
        over(lab)
    }

    /// The hedge fails first: the first attempt goes on alone.
    @Test(arguments: ["reset", "503", "refused"]) func theHedgeFails(fault: String) throws {
        let lab = try lab(endpoints: 2, slow: .milliseconds(500))
        lab.upstreams[1].answer = { peer, _ in
            if fault == "reset" { peer.reset() } else { peer.say("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") }
        }
        if fault == "refused" { lab.upstreams[1].close() }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.said == "200 slow" && asker.guarded.attempts == 2)
        #expect(lab.guardState.evidence.failed == 1)
        over(lab, fault)
    }

    /// An answer that would not be tried again is an answer.
    @Test func aNotFoundWins() throws {
        let lab = try lab()
        lab.upstreams[1].answer = { peer, _ in peer.say("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n") }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.said == "404 ")
        over(lab)
    }

    @Test(arguments: [50, 120, 1_900]) func clientsThatGoLeaveNothing(milliseconds: Int) throws {
        let lab = try lab()
        lab.upstreams[1].answer = { _, _ in }
        let asker = lab.ask()
        lab.world.run(for: .milliseconds(milliseconds))
        asker.guarded.cancel(.clientCancelled)
        lab.world.run(for: .milliseconds(50))
        lab.expectNothingHeld("\(milliseconds)")
        #expect(lab.guardState.evidence.failed == 0)
        over(lab)
    }

    @Test func theDeadlineEndsBoth() throws {
        let lab = try lab { $0.timeouts.total = .milliseconds(700) }
        lab.upstreams[1].answer = { _, _ in }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.said == "deadline" && asker.endedAt == lab.at(0.7))
        lab.world.run(for: .milliseconds(50))
        lab.expectNothingHeld()
        #expect(lab.upstreams.prefix(2).allSatisfy { $0.peers.allSatisfy(\.isClosed) })
        over(lab)
    }

    /// H4: while there is another endpoint the hedge goes there, whoever is drawn.
    @Test(arguments: 1...20) func H4_twoLegsTwoEndpoints(seed: UInt64) throws {
        let lab = try UpstreamLab(seed: seed, endpoints: 2, balancing: .lab(.leastRequest)) { $0.hedging = HedgeSettings() }
        for upstream in lab.upstreams {
            upstream.answer = { [unowned lab] peer, _ in
                lab.world.after(.milliseconds(400)) { peer.say(Self.answer + "4\r\n\r\nslow") }
            }
        }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(lab.upstreams.map(\.requests.count) == [1, 1])
        over(lab, "seed \(seed)")
    }

    /// H2: in a slowdown of all the budget bounds the load that hedges add.
    @Test func H2_theBudgetBoundsHedges() throws {
        let lab = try lab { $0.retries.budget = RetryBudgetSettings() }
        for upstream in lab.upstreams {
            upstream.answer = { [unowned lab] peer, _ in
                lab.world.after(.milliseconds(300)) { peer.say(Self.answer + "4\r\n\r\nslow") }
            }
        }
        var askers: [Asker] = []
        for _ in 0..<1_000 {
            askers.append(lab.ask())
            lab.world.run(for: .milliseconds(10))
        }
        lab.world.run(for: .seconds(2))
        #expect(askers.allSatisfy { $0.said == "200 slow" })
        // 20 % of 1,000, and the floor of 1 a second for some 10 s with its burst of one.
        let sent = lab.requestsSeen - 1_000
        #expect(sent > 100 && sent <= 212, "\(sent)")
        over(lab)
    }

    /// A leg that lost would have taken longer than it was waited for: winners alone would drag the delay down to the minimum.
    @Test func losersCountInTheDelay() throws {
        let lab = try lab { $0.breaker.disabled = true }
        for _ in 0..<150 {
            let asker = lab.ask()
            lab.finish(asker)
            #expect(asker.said == "200 fast")
        }
        let delay = lab.cluster.guardian.hedging.delay(now: lab.world.now, settings: HedgeSettings(), perTry: .max)
        #expect(delay > 90_000_000, "\(delay)")
        over(lab)
    }

    /// H5: one of three endpoints is slow for 1 request in 10; hedges take the tail away at the price of those requests.
    @Test func H5_oneSlowEndpointOfThreeIsHidden() throws {
        func run(hedged: Bool) throws -> (p99: Int64, upstream: Int) {
            let lab = try UpstreamLab(seed: 5, endpoints: 3, balancing: .lab(.roundRobin)) {
                if hedged { $0.hedging = HedgeSettings() }
            }
            for (place, upstream) in lab.upstreams.enumerated() {
                upstream.answer = { [unowned lab] peer, n in
                    let takes = place == 0 && n % 10 == 0 ? 900 : 5
                    lab.world.after(.milliseconds(takes)) { peer.say(Self.answer + "2\r\n\r\nok") }
                }
            }
            var askers: [(Asker, Instant)] = []
            for _ in 0..<2_000 {
                askers.append((lab.ask(), lab.world.now))
                lab.world.run(for: .milliseconds(5))
            }
            lab.world.run(for: .seconds(2))
            let times = askers.map { asker, began in (asker.endedAt ?? .never).nanoseconds(since: began) }.sorted()
            let seen = lab.requestsSeen
            over(lab)
            return (times[times.count * 99 / 100], seen)
        }
        let (without, with) = (try run(hedged: false), try run(hedged: true))
        #expect(without.p99 > 800_000_000 && with.p99 < 120_000_000, "\(without) \(with)")
        #expect(with.upstream - without.upstream <= 2_000 * 20 / 100 && with.upstream > without.upstream)
    }
}
