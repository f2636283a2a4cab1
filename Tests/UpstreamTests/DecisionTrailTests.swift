// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// The decision trail of a request: each step in order, at its instant, with the guard's numbers where they are asked for.
@Suite struct DecisionTrailTests {
    private func run(_ lab: UpstreamLab, _ detail: DecisionTrail.Detail, for time: Duration = .seconds(20), cancelled: Bool = false)
        -> Asker
    {
        let asker = Asker(lab.edge.reactor)
        asker.guarded.start(
            UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: 3, isIdempotent: false, limits: lab.cluster.limits,
            detail: detail, over: lab.pools)
        lab.world.run(for: time)
        if cancelled { asker.guarded.cancel(.clientCancelled) }
        return asker
    }

    private func words(_ asker: Asker) -> [String] {
        asker.guarded.trail.decisions.map { decision in
            "\(decision.at / 1_000) \(decision.step.word)#\(decision.attempt)"
                + (decision.reason.map { " \($0.rawValue)" } ?? "")
                + (decision.value > 0 && decision.step == .answered ? " \(decision.value)" : "")
        }
    }

    @Test func aPlainRequest() throws {
        let lab = try UpstreamLab()
        let asker = run(lab, .unusual)
        #expect(words(asker) == ["0 admitted#1", "400 answered#1 200"])
        #expect(!asker.guarded.trail.isUnusual && asker.guarded.trail.numbers.isEmpty, "nobody will read its numbers")
        lab.end()
    }

    @Test func everyNumberOfASampledOne() throws {
        let lab = try UpstreamLab { $0.bulkhead.concurrent = 9 }
        let asker = run(lab, .all)
        let numbers = asker.guarded.trail.numbers
        #expect(numbers.count == 2 && numbers.allSatisfy { $0.permits == 9 && $0.permitsInUse == 1 })
        #expect(numbers[0].completed == 0 && numbers[1].completed == 0, "the head is not yet the end")
        #expect(numbers[0].deadlineLeft == 15_000_000_000 && numbers[1].deadlineLeft == 14_999_600_000)
        lab.end()
    }

    @Test func aRetryAndItsEnd() throws {
        let lab = try UpstreamLab {
            $0.retries.backoffBase = .zero
            $0.breaker.consecutiveFailures = 2
        }
        lab.upstream.answer = { peer, _ in peer.say("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") }
        let asker = run(lab, .unusual, for: .seconds(1))
        #expect(
            words(asker) == [
                "0 admitted#1", "400 answered#1 status.failure 503", "400 retry#1", "400 admitted#2",
                "600 answered#2 status.failure 503",
                "600 no_retry#2 retry.max",
            ])
        let trail = asker.guarded.trail
        #expect(trail.isUnusual && trail.decisions.map(\.numbers) == [-1, 0, 1, 2, 3, 4])
        #expect(trail.numbers.map { "\($0.breaker) \($0.failed)" } == ["closed 1", "closed 1", "closed 1", "open 2", "open 2"])
        let refused = run(lab, .unusual)
        #expect(words(refused) == ["0 refused#0 breaker.open"])
        lab.end()
    }

    @Test func theQueueTimeoutsAndCancellation() throws {
        let lab = try UpstreamLab {
            $0.bulkhead.concurrent = 1
            $0.bulkhead.queue = 1
            $0.retries.attempts = 1
        }
        lab.upstream.answer = { _, _ in }
        let holder = lab.ask()
        let waiting = run(lab, .all)
        #expect(words(waiting) == ["0 queued#0", "50000 refused#0 bulkhead.queue_timeout"])
        #expect(words(holder) == ["0 admitted#1", "5000000 failed#1 timeout.per_try", "5000000 no_retry#1 retry.max"])
        let cancelled = run(lab, .unusual, for: .seconds(1), cancelled: true)
        #expect(words(cancelled) == ["0 admitted#1", "1000000 cancelled#1 client.cancelled"])
        lab.end()
    }

    @Test func aTrailIsBounded() {
        var trail = DecisionTrail()
        trail.begin(.steps)
        for i in 0..<1_000 {
            trail.note(.retry, attempt: i, at: 0) {
                Issue.record("nobody asked for numbers")
                return DecisionTrail.Numbers(
                    breaker: "", completed: 0, failed: 0, slow: 0, permitsInUse: 0, permits: 0, queued: 0, retryTokens: 0,
                    deadlineLeft: 0)
            }
        }
        #expect(trail.decisions.count == DecisionTrail.longest && trail.decisions[63].attempt == 63)
    }
}
