// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// Which connection carries which exchange: nothing unusual goes back to the pool, and what is stale costs no client anything
/// (reliability, section 2.1; rows B01, B02, B05, B08 of the public failures).
@Suite struct PoolTests {
    static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    private func asks(_ lab: UpstreamLab, _ method: HTTP.Method = .get, body: String? = nil) -> String {
        let asker = lab.ask(method, body: body)
        lab.finish(asker)
        return asker.said
    }

    private func over(_ lab: UpstreamLab) {
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func aConnectionIsUsedAgain() throws {
        let lab = try UpstreamLab()
        for _ in 0..<10 { #expect(asks(lab) == "200 ok") }
        #expect(lab.upstream.peers.count == 1 && lab.pools.pools[0].idleCount == 1)
        over(lab)
    }

    /// Each of these answers is good, and none of their connections may carry another.
    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        // B02: bytes that nobody asked for, with the answer or after it.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx",
    ])
    func B02_anythingUnusualEndsTheConnection(answer: String) throws {
        let lab = try UpstreamLab()
        lab.upstream.answer = { peer, _ in peer.say(answer) }
        for n in 1...3 {
            #expect(asks(lab) == "200 ok")
            #expect(lab.upstream.peers.count == n && lab.pools.pools[0].idleCount == 0)
        }
        over(lab)
    }

    @Test func B02_strayBytesKillAnIdleConnection() throws {
        let lab = try UpstreamLab()
        #expect(asks(lab) == "200 ok")
        lab.upstream.peers[0].say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        lab.world.run(for: .milliseconds(1))
        #expect(lab.pools.pools[0].idleCount == 0)
        #expect(asks(lab) == "200 ok" && lab.upstream.peers.count == 2)
        over(lab)
    }

    /// B02 at its narrowest: the stray answer is on its way when the next request takes the connection. That request's answer must not be
    /// the stray one without a trace, so the connection is looked at when it is taken.
    @Test func B02_strayBytesInTheSocketAreSeenAtCheckout() throws {
        let lab = try UpstreamLab()
        #expect(asks(lab) == "200 ok")
        lab.upstream.peers[0].say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        // They arrive 100 µs later; the request is asked in the very turn in which they are there and not read yet.
        let asker = Asker(lab.edge.reactor)
        lab.world.at(lab.world.now.advanced(byNanoseconds: 100_000)) {
            asker.guarded.start(
                UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: 77, isIdempotent: false, limits: lab.cluster.limits,
                over: lab.pools)
        }
        lab.finish(asker)
        #expect(asker.said == "200 ok")
        over(lab)
    }

    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "body.truncated"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "body.truncated"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "body.truncated"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd", "protocol"),
    ])
    func B01_aCutAnswerIsNeverAWholeOne(answer: String, reason: String) throws {
        let lab = try UpstreamLab()
        lab.upstream.answer = { peer, _ in
            peer.say(answer)
            peer.close()
        }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.failure?.reason.rawValue == reason && asker.body == "abc" && asker.status == 200)
        over(lab)
    }

    /// B05: the upstream closed the idle connection just as the request was sent. A request that may be sent twice is, and the client does
    /// not see it, nor does the budget; a POST is not, once it may have been read.
    @Test(arguments: [(HTTP.Method.get, "200 ok"), (.put, "200 ok"), (.post, "reset.before_headers")])
    func B05_aStaleConnectionIsReplaced(method: HTTP.Method, said: String) throws {
        let lab = try UpstreamLab { $0.retries.attempts = 1 }
        lab.upstream.answer = { peer, n in if n == 2 { peer.reset() } else { peer.say(Self.ok) } }
        #expect(asks(lab) == "200 ok")
        #expect(asks(lab, method, body: method == .get ? nil : "x") == said)
        let state = lab.guardState
        #expect(state.retriesGranted == 0 && state.retriesFree == (method == .post ? 0 : 1))
        over(lab)
    }

    /// One that was closed before anything of the request was written is replaced whatever the method.
    @Test func B05_whatWasSurelyNotSentIsSentAgain() throws {
        let lab = try UpstreamLab { $0.retries.attempts = 1 }
        #expect(asks(lab) == "200 ok")
        lab.upstream.peers[0].reset()
        lab.world.run(for: .milliseconds(1))
        #expect(asks(lab, .post, body: "x") == "200 ok" && lab.upstream.requests.count == 2)
        over(lab)
    }

    /// A fresh connection that is closed without a word is a failure, not a stale one: no free try.
    @Test func aFreshConnectionIsNoStaleOne() throws {
        let lab = try UpstreamLab { $0.retries.attempts = 1 }
        lab.upstream.answer = { peer, _ in peer.close() }
        #expect(asks(lab) == "reset.before_headers" && lab.guardState.retriesFree == 0)
        over(lab)
    }

    /// B08: an answer before the whole request was sent: the client gets it, the connection carries nothing else.
    @Test func B08_anEarlyAnswerEndsTheConnection() throws {
        let lab = try UpstreamLab()
        lab.upstream.act = { peer in
            if peer.heard.hasSuffix("\r\n\r\n") { peer.say("HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\n413") }
        }
        let asker = lab.ask(.post, body: String(repeating: "x", count: 5_000), sendsBody: false)
        lab.finish(asker)
        #expect(asker.said == "413 413")
        lab.world.run(for: .milliseconds(10))
        #expect(lab.upstream.peers[0].isClosed && lab.pools.pools[0].connectionCount == 0)
        over(lab)
    }

    @Test func D3_cancellingClosesTheConnection() throws {
        let lab = try UpstreamLab()
        lab.upstream.answer = { _, _ in }
        let asker = lab.ask()
        lab.world.run(for: .milliseconds(10))
        asker.guarded.cancel(.clientCancelled)
        lab.world.run(for: .milliseconds(1))
        #expect(lab.upstream.peers[0].isClosed && asker.ends == 0 && !asker.guarded.isRunning)
        over(lab)
    }

    // MARK: Limits

    @Test func requestsOfOneConnectionAreLimited() throws {
        let lab = try UpstreamLab(maximumExchanges: 3)
        for _ in 0..<7 { #expect(asks(lab) == "200 ok") }
        #expect(lab.upstream.peers.count == 3)
        over(lab)
    }

    @Test func idleConnectionsAgeAndGo() throws {
        var pool = PoolSettings()
        pool.idleTimeout = .seconds(10)
        let lab = try UpstreamLab(pool: pool)
        let together = (0..<5).map { _ in lab.ask() }
        for asker in together { lab.finish(asker) }
        #expect(lab.pools.pools[0].idleCount == 5)
        lab.world.run(for: .seconds(6))
        #expect(asks(lab) == "200 ok")
        lab.world.run(for: .milliseconds(4_500))
        #expect(lab.pools.pools[0].idleCount == 1, "only what was used meanwhile is left")
        lab.world.run(for: .seconds(10))
        #expect(lab.pools.pools[0].connectionCount == 0)
        over(lab)
    }

    @Test func idleConnectionsAreLimitedAndConnectionsToo() throws {
        var pool = PoolSettings()
        pool.maximumIdle = 2
        pool.maximumConnections = 4
        let lab = try UpstreamLab(pool: pool)
        let askers = (0..<10).map { _ in lab.ask() }
        lab.world.run(for: .microseconds(250))
        #expect(lab.pools.pools[0].connectionCount == 4 && lab.pools.pools[0].waiterCount == 6)
        for asker in askers { lab.finish(asker) }
        #expect(askers.allSatisfy { $0.said == "200 ok" })
        lab.world.run(for: .milliseconds(1))
        #expect(lab.pools.pools[0].idleCount == 2 && lab.pools.pools[0].connectionCount == 2)
        over(lab)
    }

    @Test func oldConnectionsAreNotUsedAgain() throws {
        var pool = PoolSettings()
        pool.maximumAge = .seconds(30)
        pool.idleTimeout = .seconds(600)
        let lab = try UpstreamLab(pool: pool)
        for _ in 0..<10 {
            #expect(asks(lab) == "200 ok")
            lab.world.run(for: .seconds(10))
        }
        #expect((3...4).contains(lab.upstream.peers.count), "\(lab.upstream.peers.count)")
        over(lab)
    }

    /// A waiter that gives up is not served, and whoever stands behind it is.
    @Test func aWaiterThatGivesUpIsPassedOver() throws {
        var pool = PoolSettings()
        pool.maximumConnections = 1
        let lab = try UpstreamLab(pool: pool)
        lab.upstream.answer = { peer, n in lab.world.after(.milliseconds(50)) { peer.say(Self.ok) } }
        let first = lab.ask()
        let second = lab.ask()
        let third = lab.ask()
        lab.world.run(for: .milliseconds(10))
        second.guarded.cancel(.clientCancelled)
        lab.finish(third)
        #expect(first.said == "200 ok" && third.said == "200 ok" && second.ends == 0)
        #expect(lab.upstream.requests.count == 2)
        over(lab)
    }

    /// No descriptor is no evidence against the upstream (envoy #25487).
    @Test func O2_ourOwnLackIsNotTheUpstreamsFault() throws {
        let lab = try UpstreamLab { $0.retries.attempts = 1 }
        lab.world.host("10.0.0.1").descriptorLimit = 0
        for _ in 0..<50 { #expect(asks(lab) == "local.resources") }
        #expect(lab.guardState.evidence.completed == 0 && lab.guardState.breaker == .closed)
        lab.world.host("10.0.0.1").descriptorLimit = 100
        #expect(asks(lab) == "200 ok")
        over(lab)
    }
}
