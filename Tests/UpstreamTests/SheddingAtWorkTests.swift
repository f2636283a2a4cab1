// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing
import Transport

@testable import Upstream

/// Semantics, sections 5 and 10: the class of a request decides when there is no permit for it at once.
@Suite struct SheddingAtWorkTests {
    private func ask(_ lab: UpstreamLab, _ priority: Priority, caller: Priority? = nil) -> Asker {
        let asker = Asker(lab.edge.reactor)
        var limits = lab.cluster.limits
        limits.priority = priority
        var terms = CallerTerms()
        terms.priority = caller
        asker.guarded.start(
            UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: 1, isIdempotent: false, limits: limits, terms: terms,
            over: lab.pools)
        return asker
    }

    private func lab(shares: PriorityShares = PriorityShares()) throws -> UpstreamLab {
        let lab = try UpstreamLab {
            $0.bulkhead.concurrent = 2
            $0.bulkhead.queue = 2
            $0.bulkhead.queueTimeout = .seconds(30)
            $0.bulkhead.congestionInterval = nil
            $0.bulkhead.shares = shares
        }
        lab.upstream.answer = { peer, _ in
            lab.world.after(.milliseconds(100)) { peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
        }
        return lab
    }

    @Test func theLessImportantAreTurnedAwayAndTheImportantGoFirst() throws {
        let lab = try lab()
        let busy = [ask(lab, .bulk), ask(lab, .bulk)]
        #expect(lab.guardState.permitsInUse(by: .bulk) == 2, "a free permit is anybody's")
        let bulk = ask(lab, .bulk)
        #expect(bulk.said == "shed.occupancy")
        #expect((bulk.failure?.retryAfterNanoseconds ?? 0) >= 1_000_000_000)
        let said = ask(lab, .critical, caller: .bulk)
        #expect(said.said == "shed.occupancy", "a trusted caller's own word")
        // A place in the queue is taken a moment after it was asked for.
        let normal = ask(lab, .normal)
        lab.world.run(for: .milliseconds(1))
        let high = ask(lab, .high)
        lab.world.run(for: .milliseconds(1))
        #expect(ask(lab, .normal).said == "shed.occupancy")
        let critical = ask(lab, .critical)
        #expect(critical.said == "bulkhead.full")
        lab.world.run(for: .milliseconds(1))
        #expect(!normal.isOver && !high.isOver)
        lab.finish(normal)
        #expect(high.said == "200 ok" && normal.said == "200 ok" && busy.allSatisfy { $0.said == "200 ok" })
        #expect(lab.guardState.shedLevel > 0)
        lab.world.run(for: .seconds(5))
        #expect(lab.guardState.shedLevel == 0)
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func aClassHasItsShare() throws {
        let lab = try lab(shares: PriorityShares(bulk: 1))
        let busy = [ask(lab, .critical), ask(lab, .critical)]
        let waiting = [ask(lab, .critical), ask(lab, .critical)]
        let bulk = ask(lab, .bulk)
        lab.world.run(for: .milliseconds(1))
        #expect(
            waiting.map(\.isOver) == [false, true] && waiting[1].said == "bulkhead.full", "its place is what bulk was promised")
        lab.finish(busy[1])
        lab.world.run(for: .milliseconds(1))
        #expect(lab.guardState.permitsInUse(by: .bulk) == 1)
        lab.finish(bulk)
        lab.finish(waiting[0])
        #expect(bulk.said == "200 ok" && waiting[0].said == "200 ok")
        lab.expectNothingHeld()
        lab.end()
    }
}
