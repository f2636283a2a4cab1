// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// Promise P14: a POST whose connection is cut at every byte of its exchange, both ways, by reset, by silence and by a clean end, is delivered
/// whole to an application at most once; and whatever may be repeated comes through where the cut hits only one connection.
@Suite struct CutEverywhereTests {
    enum Cut: CaseIterable { case reset, silence, end }
    enum Way: CaseIterable { case request, response }

    private struct Outcome {
        var said: String
        var delivered: Int
        var attempts: Int
        var sent: Int
    }

    private func run(_ method: HTTP.Method, _ cut: Cut?, _ way: Way, at place: Int, firstOnly: Bool) throws -> Outcome {
        let lab = try UpstreamLab {
            $0.retries.attempts = 3
            $0.retries.budget.minimumPerSecondThousandths = 100_000
        }
        lab.upstream.answer = { peer, _ in
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + String(repeating: "a", count: 40))
        }
        let edge = lab.world.host("10.0.0.1")
        let origin = lab.world.host("10.0.0.10")
        var conditions = LinkConditions()
        switch cut {
        case .reset: conditions.resetAfter = place
        case .silence: conditions.silentAfter = place
        case .end: conditions.truncatedAfter = place
        case nil: break
        }
        lab.world.setConditions(conditions, from: way == .request ? edge : origin, to: way == .request ? origin : edge)
        let asker = lab.ask(method, "/", body: String(repeating: "b", count: 60))
        if firstOnly {
            lab.world.run(while: { lab.upstream.peers.isEmpty && !asker.isOver }, limit: .seconds(30))
            // Later connections are sound.
            lab.world.after(.milliseconds(1)) {
                lab.world.setConditions(nil, from: way == .request ? edge : origin, to: way == .request ? origin : edge)
            }
        }
        lab.finish(asker)
        lab.world.run(for: .seconds(20))
        #expect(asker.ends == 1, "\(String(describing: cut)) \(way) at \(place)")
        lab.expectNothingHeld("\(String(describing: cut)) \(way) at \(place)")
        lab.end()
        return Outcome(
            said: asker.said, delivered: lab.upstream.requests.count, attempts: asker.guarded.attempts,
            sent: lab.upstream.requests.first?.utf8.count ?? 0)
    }

    @Test(arguments: Cut.allCases, Way.allCases)
    func T1_P14_aPostIsDeliveredAtMostOnce(cut: Cut, way: Way) throws {
        let whole = try run(.post, nil, way, at: 0, firstOnly: false)
        #expect(whole.delivered == 1 && whole.said.hasPrefix("200 a") && whole.sent > 150)
        let length = way == .request ? whole.sent : 80
        var answered = 0
        for place in 0...(length + 1) {
            let outcome = try run(.post, cut, way, at: place, firstOnly: false)
            #expect(outcome.delivered <= 1, "T1: \(cut) \(way) at \(place): \(outcome)")
            if outcome.said == whole.said { answered += 1 }
            if way == .response { #expect(outcome.delivered == 1, "\(cut) \(way) at \(place): \(outcome)") }
        }
        #expect(answered >= 1 && answered <= 3, "only a cut behind the last byte leaves it whole: \(answered)")
    }

    /// A PUT is tried again, and an answer that was cut short is never passed off as whole.
    @Test(arguments: [Cut.reset, .end], Way.allCases)
    func whatMayBeRepeatedComesThrough(cut: Cut, way: Way) throws {
        for place in stride(from: 0, through: way == .request ? 180 : 78, by: 3) {
            let outcome = try run(.put, cut, way, at: place, firstOnly: true)
            let isWhole = outcome.said == "200 " + String(repeating: "a", count: 40)
            let isCutShort = ["reset.after_headers", "body.truncated"].contains(outcome.said)
            #expect(isWhole || (way == .response && isCutShort), "\(cut) \(way) at \(place): \(outcome)")
        }
    }
}
