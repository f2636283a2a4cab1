// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Upstream

/// Semantics, section 6: what an upstream answers moves the permits of its bulkhead.
@Suite struct AdaptiveAtWorkTests {
    private func lab() throws -> UpstreamLab {
        try UpstreamLab {
            $0.retries.attempts = 1
            $0.breaker.disabled = true
            $0.timeouts.perTry = .milliseconds(200)
            $0.bulkhead.concurrent = 20
            var adaptive = AdaptiveSettings()
            adaptive.minimum = 4
            adaptive.latency = .milliseconds(50)
            $0.bulkhead.adaptive = adaptive
        }
    }

    /// Ten requests one after the other, over more than a tenth of a second.
    private func ten(_ lab: UpstreamLab, answer: String, after: Duration = .zero) -> Int? {
        lab.upstream.answer = { peer, _ in lab.world.after(after) { peer.say(answer) } }
        for _ in 0..<10 {
            lab.finish(lab.ask())
            lab.world.run(for: .milliseconds(20))
        }
        return lab.guardState.adaptiveLimit
    }

    @Test func answersMoveThePermits() throws {
        let lab = try lab()
        #expect(lab.guardState.adaptiveLimit == 20)
        let okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        #expect(ten(lab, answer: okay) == 20)
        #expect(ten(lab, answer: "HTTP/1.1 429 Later\r\nContent-Length: 0\r\n\r\n") == 18, "backpressure")
        #expect(ten(lab, answer: okay, after: .milliseconds(80)) == 16, "slow")
        #expect(ten(lab, answer: okay, after: .seconds(1)) == 14, "timed out")
        #expect(ten(lab, answer: "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") == 14, "fast failures say nothing")
        #expect(lab.guardState.permits == 14)
        lab.world.run(for: .seconds(2))
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func D4_aClientThatSendsSlowlyTakesNoPermitsAway() throws {
        let lab = try lab()
        for _ in 0..<10 {
            let asker = lab.ask(.put, body: "abcd", sendsBody: false)
            lab.world.run(for: .seconds(3))
            lab.send("abcd", asker)
            lab.finish(asker)
            #expect(asker.said == "200 ok")
        }
        #expect(lab.guardState.adaptiveLimit == 20)
        lab.end()
    }
}
