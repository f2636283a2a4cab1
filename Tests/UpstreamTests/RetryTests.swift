// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// What is tried again and what is not (semantics, section 3: T1 to T5), counted at the upstream.
@Suite struct RetryTests {
    /// What the first request of a test meets.
    enum First: CaseIterable {
        case close, reset, half, garbage, status503, status502, status504, status500, status429, silence
    }

    private static func act(_ first: First, _ peer: Peer) {
        switch first {
        case .close: peer.close()
        case .reset: peer.reset()
        case .half:
            peer.say("HTTP/1.1 2")
            peer.close()
        case .garbage: peer.say("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
        case .status500: peer.say("HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\n500")
        case .status502: peer.say("HTTP/1.1 502 No\r\nContent-Length: 3\r\n\r\n502")
        case .status503: peer.say("HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\n503")
        case .status504: peer.say("HTTP/1.1 504 No\r\nContent-Length: 3\r\n\r\n504")
        case .status429: peer.say("HTTP/1.1 429 No\r\nContent-Length: 3\r\n\r\n429")
        case .silence: break
        }
    }

    private func lab(_ first: [First], seed: UInt64 = 1, _ adjust: (inout GuardSettings) -> Void = { _ in }) throws -> UpstreamLab {
        let lab = try UpstreamLab(seed: seed, adjust)
        lab.upstream.answer = { peer, n in
            if n <= first.count { Self.act(first[n - 1], peer) } else { peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }
        }
        return lab
    }

    private func over(_ lab: UpstreamLab, _ asker: Asker) {
        lab.finish(asker)
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        #expect(asker.ends == 1)
        lab.end()
    }

    /// The table of section 3, row by row.
    @Test(
        arguments: [
            (.close, .get, "200 ok", 2), (.close, .put, "200 ok", 2), (.close, .post, "reset.before_headers", 1),
            (.reset, .get, "200 ok", 2), (.reset, .delete, "200 ok", 2), (.reset, .patch, "reset.before_headers", 1),
            (.half, .get, "200 ok", 2), (.half, .post, "reset.before_headers", 1),
            (.status503, .get, "200 ok", 2), (.status503, .put, "200 ok", 2), (.status503, .post, "503 503", 1),
            (.status502, .get, "200 ok", 2), (.status502, .post, "502 502", 1),
            (.status504, .get, "200 ok", 2), (.status504, .post, "504 504", 1),
            (.status500, .get, "500 500", 1), (.status429, .get, "200 ok", 2), (.status429, .post, "429 429", 1),
            (.silence, .get, "200 ok", 2), (.silence, .post, "timeout.per_try", 1),
        ] as [(First, HTTP.Method, String, Int)])
    func T1_theTable(first: First, method: HTTP.Method, said: String, requests: Int) throws {
        let lab = try lab([first])
        let asker = lab.ask(method, body: method.isSafe || method == .delete ? nil : "hello")
        over(lab, asker)
        #expect(asker.said == said, "\(first) \(method)")
        #expect(lab.upstream.requests.count == requests, "\(first) \(method)")
    }

    /// The request was fine, the connection was not: tried again on another, and no evidence against the upstream.
    @Test(arguments: [421, 425, 404, 408])
    func statusesThatAreNoFailure(status: Int) throws {
        let lab = try UpstreamLab { if status == 408 { $0.retries.retryOn = [.status(408)] } }
        lab.upstream.answer = { peer, n in
            peer.say("HTTP/1.1 \(n == 1 ? status : 200) X\r\nContent-Length: 2\r\n\r\nok")
        }
        let asker = lab.ask(status == 408 ? .get : .post, body: status == 408 ? nil : "x")
        over(lab, asker)
        #expect(asker.said == (status == 404 ? "404 ok" : "200 ok"))
        #expect(lab.upstream.peers.count == (status == 421 ? 2 : 1))
        #expect(lab.guardState.evidence.failed == 0)
    }

    @Test func aRouteMayDeclareAPostIdempotent() throws {
        let lab = try lab([.status503])
        let asker = lab.ask(.post, body: "hello", idempotent: true)
        over(lab, asker)
        #expect(asker.said == "200 ok" && lab.upstream.requests.count == 2)
    }

    /// One attempt where the upstream says two, and a status that the upstream does not list.
    @Test(
        arguments: [
            (.status503, 1, nil, "503 503", 1), (.status503, 2, nil, "200 ok", 2), (.status500, 2, nil, "500 500", 1),
            (.status500, 2, 500, "200 ok", 2), (.status503, 2, 500, "503 503", 1),
        ] as [(First, Int, Int?, String, Int)])
    func aRoutesRetriesGoBeforeTheUpstreams(first: First, attempts: Int, listed: Int?, said: String, requests: Int) throws {
        let lab = try lab([first])
        let settings = lab.cluster.settings
        var retries = settings.retries
        retries.attempts = attempts
        if let listed { retries.retryOn = [.status(listed)] }
        lab.limits = AttemptLimits(settings.timeouts, queueTimeout: settings.bulkhead.queueTimeout, retries: retries)
        let asker = lab.ask()
        over(lab, asker)
        #expect(asker.said == said && lab.upstream.requests.count == requests)
    }

    /// What was never sent may be sent again whatever it is, and goes elsewhere at once.
    @Test func whatWasNeverSentGoesToAnotherEndpoint() throws {
        let lab = try UpstreamLab(endpoints: 1, missing: 1) { $0.retries.budget.minimumPerSecondThousandths = 100_000 }
        let askers = (0..<4).map { _ in lab.ask(.post, body: "hello") }
        for asker in askers { lab.finish(asker) }
        #expect(askers.map(\.said) == Array(repeating: "200 ok", count: 4))
        #expect(lab.upstream.requests.count == 4)
        #expect(askers.filter { $0.guarded.attempts == 2 }.count == 2, "round robin: half of them met the missing one first")
        // A SYN and its refusal, a SYN and its answer, the request and its answer: no back-off in between.
        #expect(askers.allSatisfy { $0.endedAt! <= Instant(nanoseconds: 600_000) })
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    /// T2: the same bytes.
    @Test func T2_bodiesAreReplayedAsTheyWere() throws {
        let lab = try lab([.status503, .close, .status503]) {
            $0.retries.attempts = 4
            $0.retries.budget.minimumPerSecondThousandths = 100_000
        }
        let body = String(repeating: "0123456789abcdef", count: 4_096)
        let asker = lab.ask(.put, body: body)
        over(lab, asker)
        #expect(asker.said == "200 ok" && lab.upstream.requests.count == 4)
        let said = lab.upstream.requests.map { request in
            request.split(separator: "\r\n").filter {
                !$0.hasPrefix("x-holdfast-attempt: ") && !$0.hasPrefix("x-request-timeout-ms: ")
            }
        }
        #expect(Set(said).count == 1, "byte for byte the same but for what is told of the attempt")
        #expect(lab.upstream.requests[0].hasSuffix("\r\n\r\n" + body))
    }

    @Test func E08_aBodyBeyondItsCapIsNotReplayed() throws {
        let lab = try lab([.status503])
        let asker = lab.ask(.put, body: String(repeating: "x", count: 65_537))
        over(lab, asker)
        #expect(asker.said == "503 503" && asker.guarded.retryReason == .retryBody && lab.upstream.requests.count == 1)
    }

    // MARK: How often and how soon

    @Test(arguments: 1...5)
    func attemptsAreCounted(attempts: Int) throws {
        let lab = try lab(Array(repeating: .status503, count: 9)) {
            $0.retries.attempts = attempts
            $0.retries.budget.minimumPerSecondThousandths = 100_000
        }
        let asker = lab.ask()
        over(lab, asker)
        #expect(asker.said == "503 503" && lab.upstream.requests.count == attempts)
    }

    /// R2: with everything failing, the upstream sees at most 1.2 times the demand and the floor.
    @Test func R2_E06_theBudgetHolds() throws {
        let lab = try lab(Array(repeating: .status503, count: 4_000)) {
            $0.breaker.disabled = true
            $0.retries.attempts = 5
        }
        var askers: [Asker] = []
        for _ in 0..<1_000 {
            askers.append(lab.ask())
            lab.world.run(for: .milliseconds(10))
        }
        lab.world.run(for: .seconds(10))
        #expect(askers.allSatisfy { $0.said == "503 503" })
        #expect(lab.upstream.requests.count > 1_150)
        #expect(lab.upstream.requests.count <= 1_000 + 200 + 10 + 1, "ratio 20 %, and one a second")
        #expect(askers.contains { $0.guarded.retryReason == .retryBudget })
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func backOffIsWithinItsBounds() throws {
        var delays: Set<Int64> = []
        for seed in 0..<40 as Range<UInt64> {
            let lab = try lab([.status503], seed: seed)
            let asker = lab.ask()
            over(lab, asker)
            // Connection and request 2 hops, answer, then the back-off, request and answer on the kept connection.
            let delay = asker.endedAt!.nanoseconds - 6 * 100_000
            #expect((0...25_000_000).contains(delay), "\(delay)")
            delays.insert(delay)
            #expect(lab.upstream.peers.count == 1, "the connection of a whole 503 is used again")
        }
        #expect(delays.count > 30)
    }

    // MARK: Retry-After

    /// T4: never earlier than asked; what is asked for too late is passed on.
    @Test(
        arguments: [
            ("Retry-After: 2", 2.0...2.2), ("Retry-After: 5", 5.0...5.5), ("Retry-After: 6", nil),
            ("Retry-After: 99999999999", nil),
            ("Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nRetry-After: Thu, 01 Jan 2026 00:00:03 GMT", 3.0...3.3),
            // The upstream's clock is a year behind ours, and does not matter.
            ("Date: Wed, 01 Jan 2025 00:00:00 GMT\r\nRetry-After: Wed, 01 Jan 2025 00:00:03 GMT", 3.0...3.3),
            ("Retry-After: Thu, 01 Jan 2026 00:00:04 GMT", 4.0...4.4),
            ("Retry-After: soon", 0.0...0.026), ("Retry-After: 0", 0.0...0.026),
            ("X-Holdfast-Reason: retry.exhausted", nil), ("grpc-retry-pushback-ms: -1", nil),
        ] as [(String, ClosedRange<Double>?)])
    func T4_retryAfter(field: String, wait: ClosedRange<Double>?) throws {
        let lab = try UpstreamLab { $0.timeouts.perTry = .seconds(1) }
        lab.upstream.answer = { peer, n in
            peer.say(
                n == 1
                    ? "HTTP/1.1 503 No\r\n\(field)\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        let asker = lab.ask()
        over(lab, asker)
        if let wait {
            #expect(asker.said == "200 ok")
            let waited = Double(asker.endedAt!.nanoseconds - 600_000) / 1e9
            #expect(wait.contains(waited), "\(waited)")
        } else {
            #expect(asker.said == "503 " && asker.guarded.attempts == 1)
            #expect(asker.guarded.retryReason == .retryPushback || asker.guarded.retryReason == nil)
        }
    }

    // MARK: T5

    /// The client gets the upstream's last answer where a later try brings none.
    @Test(
        arguments: [
            ([.status503, .half], "503 503"), ([.status503, .silence], "503 503"),
            ([.status503, .status502], "502 502"), ([.close, .status503], "503 503"), ([.close, .close], "reset.before_headers"),
            ([.half, .half], "reset.before_headers"),
            ([.status503, .garbage], "503 503"),
        ] as [([First], String)])
    func T5_theLastAnswerIsTheClients(first: [First], said: String) throws {
        let lab = try lab(first)
        let asker = lab.ask()
        over(lab, asker)
        #expect(asker.said == said && lab.upstream.requests.count == 2)
        #expect(asker.guarded.retryReason == .retryMax || asker.failure?.retryReason == .retryMax)
    }

    @Test func T5_alsoAtTheDeadlineAndWhenTheGuardRefuses() throws {
        let slow = try lab([.status503, .silence]) { $0.timeouts.total = .seconds(2) }
        let late = slow.ask()
        over(slow, late)
        #expect(late.said == "503 503" && late.endedAt == slow.at(2))
        let full = try lab([.status503]) {
            $0.bulkhead.concurrent = 1
            $0.bulkhead.queue = 0
            $0.retries.maximumRetryAfter = .seconds(1)
        }
        full.upstream.answer = { peer, n in
            if n == 1 { peer.say("HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 3\r\n\r\n503") }
        }
        let first = full.ask()
        full.world.run(for: .milliseconds(500))
        let second = full.ask()
        full.finish(first)
        #expect(first.said == "503 503" && first.guarded.retryReason == .bulkheadFull, "\(first.said)")
        second.guarded.cancel(.clientCancelled)
        full.world.run(for: .seconds(1))
        full.expectNothingHeld()
        full.end()
    }

    /// What is too long to be kept is not half kept: then the client hears of the last try.
    @Test(arguments: [65_536, 65_537])
    func T5_anAnswerIsKeptWholeOrNotAtAll(length: Int) throws {
        let lab = try lab([])
        lab.upstream.answer = { peer, n in
            if n == 1 {
                peer.say("HTTP/1.1 503 No\r\nContent-Length: \(length)\r\n\r\n" + String(repeating: "n", count: length))
            } else {
                peer.say("HTTP/1.1 2")
                peer.close()
            }
        }
        let asker = lab.ask()
        over(lab, asker)
        #expect(asker.said == (length > 65_536 ? "reset.before_headers" : "503 " + String(repeating: "n", count: length)))
    }

    /// A kept answer whose body drips costs its connection once nobody needs it, and never the client's time.
    @Test func aDrippingAnswerIsGivenUp() throws {
        let lab = try lab([])
        lab.upstream.answer = { peer, n in
            peer.say(n == 1 ? "HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nno" : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        let asker = lab.ask()
        over(lab, asker)
        #expect(asker.said == "200 ok" && lab.upstream.peers.count == 2)
        #expect(lab.upstream.peers[0].isClosed)
    }

    /// T3: after the head nothing is tried again.
    @Test func T3_noRetryOnceTheAnswerHasBegun() throws {
        let lab = try lab([])
        lab.upstream.answer = { peer, _ in
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            peer.close()
        }
        let asker = lab.ask()
        over(lab, asker)
        #expect(asker.failure?.reason == .bodyTruncated && asker.status == 200 && asker.body == "abc")
        #expect(lab.upstream.requests.count == 1)
    }

    /// B1, T4: while the breaker is not closed nothing is tried again.
    @Test func T4_noRetryWhileTheBreakerIsOpen() throws {
        let lab = try lab(Array(repeating: .status503, count: 99)) {
            $0.breaker.consecutiveFailures = 1
            $0.retries.attempts = 3
        }
        let asker = lab.ask()
        let next = { lab.ask() }
        lab.finish(asker)
        #expect(asker.said == "503 503" && asker.guarded.retryReason == .retryBreaker && lab.upstream.requests.count == 1)
        let refused = next()
        #expect(refused.failure?.reason == .breakerOpen && refused.guarded.attempts == 0)
        #expect((refused.failure?.retryAfterNanoseconds ?? 0) > 4_900_000_000)
        over(lab, refused)
    }
}
