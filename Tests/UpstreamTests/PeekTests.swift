// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// gRPC answers whose status comes in trailers, after a head that says 200 (semantics, section 3): the head waits for what follows it.
@Suite struct PeekTests {
    private typealias Frame = HTTP2UpstreamTests.Frame

    /// `:status: 200`, `content-type: application/grpc`.
    private static func head(_ stream: UInt32) -> [UInt8] {
        Frame.make(1, 4, stream, [0x88, 0x0F, 0x10, 16] + Array("application/grpc".utf8))
    }

    private static func message(_ stream: UInt32, _ text: String) -> [UInt8] { Frame.make(0, 0, stream, Array(text.utf8)) }

    private static func trailers(_ stream: UInt32, _ status: String, pushback: String? = nil) -> [UInt8] {
        func field(_ name: String, _ value: String) -> [UInt8] {
            [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
        }
        return Frame.make(
            1, 5, stream, field("grpc-status", status) + (pushback.map { field("grpc-retry-pushback-ms", $0) } ?? []))
    }

    private func lab(_ adjust: (inout GuardSettings) -> Void = { _ in }) throws -> (UpstreamLab, HTTP2UpstreamTests.Server) {
        let lab = try UpstreamLab(wanted: .http2) {
            $0.retries.retryOn = [.reason("grpc.failure"), .reason("reset.before_headers")]
            $0.retries.backoffBase = .zero
            adjust(&$0)
        }
        return (lab, HTTP2UpstreamTests.Server(lab))
    }

    private func call(_ lab: UpstreamLab) -> Asker { lab.ask(.post, "/shop.Stock/Get", body: "question", idempotent: true) }

    private func over(_ lab: UpstreamLab) {
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func aFailureInTrailersAloneIsTriedAgain() throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, n in
            if n == 1 {
                peer.say(Self.head(stream) + Self.trailers(stream, "14"))
            } else {
                peer.say(Self.head(stream) + Self.message(stream, "answer") + Self.trailers(stream, "0"))
            }
        }
        let asker = call(lab)
        lab.finish(asker)
        #expect(asker.said == "200 answer" && asker.guarded.attempts == 2 && server.streams.count == 2)
        #expect(lab.guardState.evidence.failed == 1 && lab.guardState.evidence.completed == 2)
        over(lab)
    }

    /// Trailers that come in a packet of their own are as good.
    @Test func trailersThatComeLater() throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, n in
            peer.say(Self.head(stream))
            lab.world.after(.milliseconds(60)) {
                peer.say(n == 1 ? Self.trailers(stream, "13") : Self.message(stream, "late") + Self.trailers(stream, "0"))
            }
        }
        let asker = call(lab)
        lab.finish(asker)
        #expect(asker.said == "200 late" && asker.guarded.attempts == 2)
        over(lab)
    }

    /// If all fail the client has the last answer, head and trailers (T5).
    @Test func theLastOneIsTheClients() throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, n in peer.say(Self.head(stream) + Self.trailers(stream, n == 1 ? "14" : "13")) }
        let asker = call(lab)
        lab.finish(asker)
        #expect(asker.said == "200 " && asker.lastTrailer == "13" && asker.guarded.attempts == 2)
        over(lab)
    }

    @Test func theKeptOneIsTheClientsIfTheNextHasNone() throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, n in
            if n == 1 { peer.say(Self.head(stream) + Self.trailers(stream, "14")) } else { peer.reset() }
        }
        let asker = call(lab)
        lab.finish(asker)
        #expect(asker.said == "200 " && asker.lastTrailer == "14")
        over(lab)
    }

    /// After a message it is too late, and a caller's own fault is no failure; a server's word against it counts.
    @Test(arguments: ["message", "caller", "pushback", "not listed"]) func notTriedAgain(why: String) throws {
        let (lab, server) = try lab { if why == "not listed" { $0.retries.retryOn = nil } }
        server.answer = { peer, stream, _ in
            peer.say(
                Self.head(stream) + (why == "message" ? Self.message(stream, "half") : [])
                    + Self.trailers(stream, why == "caller" ? "5" : "14", pushback: why == "pushback" ? "-1" : nil))
        }
        let asker = call(lab)
        lab.finish(asker)
        #expect(asker.said == (why == "message" ? "200 half" : "200 ") && asker.guarded.attempts == 1)
        #expect(asker.lastTrailer == (why == "caller" ? "5" : "14"))
        #expect(lab.guardState.evidence.failed == (why == "caller" ? 0 : 1))
        over(lab)
    }

    /// A server that streams: its head is held for a tenth of a second and no longer, and no clock of the try runs on.
    @Test func aStreamBeginsAfterATenthOfASecond() throws {
        let (lab, server) = try lab {
            $0.timeouts.perTry = .milliseconds(500)
            $0.timeouts.total = .milliseconds(600)
        }
        server.answer = { peer, stream, _ in
            peer.say(Self.head(stream))
            lab.world.after(.seconds(5)) { peer.say(Self.message(stream, "tick") + Self.trailers(stream, "0")) }
        }
        let asker = call(lab)
        lab.finish(asker)
        let at = try #require(asker.answeredAt)
        #expect(at >= lab.at(0.1) && at < lab.at(0.12) && asker.said == "200 tick")
        over(lab)
    }

    /// While the client is still sending the two may be talking: the head goes through at once.
    @Test func aConversationIsNotHeld() throws {
        let (lab, server) = try lab()
        let asker = lab.ask(.post, "/shop.Stock/Watch", body: "0123456789", idempotent: true, sendsBody: false)
        server.answer = { _, _, _ in }
        lab.world.run(for: .milliseconds(50))
        lab.upstream.peers[0].say(Self.head(1))
        lab.world.run(for: .milliseconds(20))
        #expect(asker.status == 200 && asker.answeredAt ?? .never < lab.at(0.07))
        asker.guarded.cancel(.clientCancelled)
        over(lab)
    }

    /// What broke off may have been done: the client hears the head and that no more came, as without the look.
    @Test func aConnectionLostWhileTheHeadIsHeld() throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, _ in
            peer.say(Self.head(stream))
            lab.world.after(.milliseconds(50)) { peer.reset() }
        }
        let asker = call(lab)
        lab.finish(asker)
        #expect(asker.status == 200 && asker.failure?.reason == .resetAfterHeaders && asker.guarded.attempts == 1)
        over(lab)
    }

    @Test func aClientThatGoesWhileTheHeadIsHeld() throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, _ in peer.say(Self.head(stream)) }
        let asker = call(lab)
        lab.world.run(for: .milliseconds(50))
        asker.guarded.cancel(.clientCancelled)
        lab.world.run(for: .seconds(1))
        #expect(asker.status == nil)
        over(lab)
    }
}
