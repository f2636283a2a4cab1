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

/// Each stage that stalls ends at its own limit, to the nanosecond of virtual time, with its own reason (semantics, section 4:
/// D1, D3, D5), and nothing is held afterwards. One way over the network takes 100 µs.
@Suite struct TimeoutTests {
    private static let hop: Int64 = 100_000

    private func expect(
        _ asker: Asker, _ lab: UpstreamLab, _ reason: Reason, at seconds: Double, plus nanoseconds: Int64 = 0,
        source: SourceLocation = #_sourceLocation
    ) {
        lab.finish(asker)
        #expect(asker.failure?.reason == reason, sourceLocation: source)
        #expect(asker.endedAt == lab.at(seconds).advanced(byNanoseconds: nanoseconds), sourceLocation: source)
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        #expect(asker.ends == 1, sourceLocation: source)
        lab.end()
    }

    @Test func D5_connect() throws {
        let lab = try UpstreamLab { $0.retries.attempts = 1 }
        lab.world.kill(lab.world.host("10.0.0.10"))
        expect(lab.ask(), lab, .connectTimeout, at: 1)
    }

    @Test func D5_connectRefused() throws {
        let lab = try UpstreamLab(endpoints: 0, missing: 1) { $0.retries.attempts = 1 }
        expect(lab.ask(.post, body: "x"), lab, .connectRefused, at: 0, plus: 2 * Self.hop)
    }

    @Test func D5_tls() throws {
        let tls = try ClientTLSContext(settings: ClientTLSSettings())
        let lab = try UpstreamLab(tls: tls) { $0.retries.attempts = 1 }
        lab.upstream.act = { _ in }
        expect(lab.ask(), lab, .tlsTimeout, at: 2, plus: 2 * Self.hop)
    }

    @Test func D5_tlsTalk() throws {
        let tls = try ClientTLSContext(settings: ClientTLSSettings())
        let lab = try UpstreamLab(tls: tls) { $0.retries.attempts = 1 }
        lab.upstream.act = { $0.say("HTTP/1.1 400 Bad Request\r\n\r\n") }
        expect(lab.ask(), lab, .tlsHandshake, at: 0, plus: 4 * Self.hop)
    }

    @Test func D5_perTry() throws {
        let lab = try UpstreamLab { $0.retries.attempts = 1 }
        lab.upstream.answer = { _, _ in }
        expect(lab.ask(), lab, .timeoutPerTry, at: 5)
        #expect(lab.upstream.peers.allSatisfy { $0.isClosed }, "D3: the connection goes at once")
    }

    @Test func D5_firstByte() throws {
        let lab = try UpstreamLab {
            $0.retries.attempts = 1
            $0.timeouts.firstByte = .seconds(2)
        }
        lab.upstream.answer = { _, _ in }
        // The request is out when the connection is up.
        expect(lab.ask(), lab, .timeoutFirstByte, at: 2, plus: 2 * Self.hop)
    }

    @Test func D5_idle() throws {
        let lab = try UpstreamLab { $0.timeouts.idle = .seconds(3) }
        lab.upstream.answer = { peer, _ in
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            lab.world.after(.seconds(2)) { peer.say("abc") }
        }
        let asker = lab.ask()
        expect(asker, lab, .timeoutIdle, at: 5, plus: 4 * Self.hop)
        #expect(asker.status == 200 && asker.body == "abc")
        #expect(asker.failure?.retryReason == .retryCommitted)
    }

    @Test func D1_totalOverAttempts() throws {
        let lab = try UpstreamLab(endpoints: 2) {
            $0.timeouts.total = .seconds(8)
            $0.retries.attempts = 3
        }
        for upstream in lab.upstreams { upstream.answer = { _, _ in } }
        let asker = lab.ask()
        expect(asker, lab, .deadline, at: 8)
        #expect(asker.guarded.attempts == 2)
    }

    @Test func D5_queue() throws {
        let lab = try UpstreamLab {
            $0.bulkhead.concurrent = 1
            $0.bulkhead.queue = 1
        }
        lab.upstream.answer = { _, _ in }
        let first = lab.ask()
        let second = lab.ask()
        let third = lab.ask()
        lab.world.run(for: .milliseconds(1))
        #expect(third.failure?.reason == .bulkheadFull && !second.isOver && lab.guardState.queued == 1)
        lab.finish(second)
        #expect(second.failure?.reason == .bulkheadQueueTimeout)
        #expect(second.endedAt == lab.at(0.05), "the queue's limit is exact")
        #expect(lab.upstream.requests.count == 1)
        first.guarded.cancel(.clientCancelled)
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    /// K3, K6: what comes free goes to who waits, at that instant.
    @Test func K6_aFreedPermitGoesToWhoWaits() throws {
        let lab = try UpstreamLab {
            $0.bulkhead.concurrent = 1
            $0.bulkhead.queue = 1
        }
        lab.upstream.answer = { peer, n in
            if n > 1 { peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb") }
        }
        let first = lab.ask()
        let second = lab.ask()
        lab.world.run(for: .milliseconds(10))
        first.guarded.cancel(.clientCancelled)
        lab.finish(second)
        #expect(second.said == "200 b")
        #expect(second.endedAt == lab.at(0.010).advanced(byNanoseconds: 4 * Self.hop))
        lab.expectNothingHeld()
        lab.end()
    }

    /// The client's body is waited for at nobody's cost: the clocks of try and whole stand still (semantics, section 4; D4).
    @Test func D4_theClocksStandStillForTheClientsBody() throws {
        let lab = try UpstreamLab { $0.retries.attempts = 1 }
        lab.upstream.answer = { _, _ in }
        let asker = lab.ask(.put, body: "hello", sendsBody: false)
        lab.world.run(for: .seconds(100))
        #expect(!asker.isOver && asker.isReady)
        lab.send("hello", asker)
        expect(asker, lab, .timeoutPerTry, at: 105)
        #expect(lab.upstream.requests.count == 1)
    }

    /// While the client does not read, the upstream's silence is not its own (D4).
    @Test func D4_aClientThatDoesNotReadIsNotTheUpstreamsFault() throws {
        let lab = try UpstreamLab { $0.timeouts.idle = .seconds(3) }
        lab.upstream.answer = { peer, _ in
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n" + String(repeating: "x", count: 500_000))
        }
        let asker = Asker(lab.edge.reactor)
        asker.reads = false
        asker.guarded.start(
            UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: 9, isIdempotent: false, limits: lab.cluster.limits,
            over: lab.pools)
        lab.world.run(for: .milliseconds(10))
        asker.guarded.clientStalled(true)
        lab.world.run(for: .seconds(60))
        #expect(!asker.isOver && asker.status == 200)
        asker.reads = true
        asker.guarded.clientStalled(false)
        asker.guarded.responseConsumed(asker.body.utf8.count)
        lab.finish(asker)
        #expect(asker.failure?.reason == .timeoutIdle && asker.body.utf8.count == 500_000)
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }
}
