// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// What an HTTP/2 upstream says it did not process is sent again, and nothing else is (semantics, T6; RFC 9113 §6.8, §8.7; row C09).
/// The upstream writes its frames byte by byte.
@Suite struct HTTP2UpstreamTests {
    private static let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    enum Frame {
        static func make(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
            let n = payload.count
            return [UInt8(n >> 16), UInt8(n >> 8 & 255), UInt8(n & 255), type, flags] + bytes(stream) + payload
        }
        static func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(value >> (24 - 8 * UInt32($0)) & 255) } }
        static func settings(streams: UInt32? = nil) -> [UInt8] { make(4, 0, 0, streams.map { [0, 3] + bytes($0) } ?? []) }
        /// `:status: 200` is one byte of HPACK, 503 a literal.
        static func answer(_ stream: UInt32, _ body: String = "ok") -> [UInt8] {
            make(1, 4, stream, [0x88]) + make(0, 1, stream, Array(body.utf8))
        }
        static func status(_ stream: UInt32, _ code: String) -> [UInt8] { make(1, 5, stream, [0x08, 3] + Array(code.utf8)) }
        static func goAway(last: UInt32, code: UInt32 = 0) -> [UInt8] { make(7, 0, 0, bytes(last) + bytes(code)) }
        static func reset(_ stream: UInt32, _ code: UInt32) -> [UInt8] { make(3, 0, stream, bytes(code)) }
    }

    /// Reads frames and tells of each stream whose request is complete.
    final class Server {
        let lab: UpstreamLab
        private(set) var streams: [(peer: Int, stream: UInt32)] = []
        private var inputs: [Int: [UInt8]] = [:]
        var settings = Frame.settings()
        var answer: (Peer, UInt32, Int) -> Void = { peer, stream, _ in peer.say(Frame.answer(stream)) }

        init(_ lab: UpstreamLab) {
            self.lab = lab
            for upstream in lab.upstreams { upstream.raw = { [unowned self] in take($0, $1) } }
        }

        private func take(_ peer: Peer, _ bytes: [UInt8]) {
            if inputs[peer.number] == nil {
                inputs[peer.number] = []
                peer.say(settings)
            }
            inputs[peer.number]! += bytes
            if inputs[peer.number]!.starts(with: Array(preface.utf8)) { inputs[peer.number]!.removeFirst(preface.utf8.count) }
            while let input = inputs[peer.number], input.count >= 9 {
                let length = Int(input[0]) << 16 | Int(input[1]) << 8 | Int(input[2])
                guard input.count >= 9 + length else { return }
                inputs[peer.number]!.removeFirst(9 + length)
                let stream = UInt32(input[5]) << 24 | UInt32(input[6]) << 16 | UInt32(input[7]) << 8 | UInt32(input[8])
                if input[3] == 4, input[4] & 1 == 0 { peer.say(Frame.make(4, 1, 0, [])) }
                if input[3] < 2, input[4] & 1 == 1 {
                    streams.append((peer.number, stream))
                    answer(peer, stream, streams.count)
                }
            }
        }
    }

    private func lab(_ adjust: (inout GuardSettings) -> Void = { _ in }) throws -> (UpstreamLab, Server) {
        let lab = try UpstreamLab(wanted: .http2, adjust)
        return (lab, Server(lab))
    }

    private func over(_ lab: UpstreamLab) {
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func manyShareOneConnection() throws {
        let (lab, server) = try lab()
        let askers = (0..<50).map { _ in lab.ask() }
        for asker in askers { lab.finish(asker) }
        #expect(askers.allSatisfy { $0.said == "200 ok" } && lab.upstream.peers.count == 1 && server.streams.count == 50)
        over(lab)
    }

    @Test func thePeersLimitOfStreamsIsKept() throws {
        var pool = PoolSettings()
        pool.maximumConnections = 1
        let lab = try UpstreamLab(wanted: .http2, pool: pool)
        let server = Server(lab)
        server.settings = Frame.settings(streams: 2)
        let first = lab.ask()
        lab.finish(first)
        #expect(first.said == "200 ok")
        var open = 0
        var most = 0
        server.answer = { peer, stream, _ in
            open += 1
            most = max(most, open)
            lab.world.after(.milliseconds(10)) {
                open -= 1
                peer.say(Frame.answer(stream))
            }
        }
        let askers = (0..<9).map { _ in lab.ask() }
        for asker in askers { lab.finish(asker) }
        #expect(askers.allSatisfy { $0.said == "200 ok" })
        #expect(most == 2 && lab.upstream.peers.count == 1)
        over(lab)
    }

    /// Refused: never processed, so a POST goes again, once, free of charge.
    @Test(arguments: [HTTP.Method.get, .post])
    func T6_refusedStreamsAreSentAgain(method: HTTP.Method) throws {
        let (lab, server) = try lab { $0.retries.attempts = 1 }
        server.answer = { peer, stream, n in peer.say(n == 1 ? Frame.reset(stream, 7) : Frame.answer(stream)) }
        let asker = lab.ask(method, body: method == .get ? nil : "hello")
        lab.finish(asker)
        #expect(asker.said == "200 ok" && server.streams.count == 2)
        #expect(lab.guardState.retriesFree == 1 && lab.guardState.retriesGranted == 0)
        server.answer = { peer, stream, _ in peer.say(Frame.reset(stream, 7)) }
        let again = lab.ask(method, body: method == .get ? nil : "hello")
        lab.finish(again)
        #expect(again.said == "h2.refused_stream" && server.streams.count == 4, "once only")
        over(lab)
    }

    @Test(arguments: [(HTTP.Method.get, 2, "200 ok"), (.post, 1, "reset.before_headers")])
    func aResetBeforeTheHeadIsMaybeProcessed(method: HTTP.Method, streams: Int, said: String) throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, n in peer.say(n == 1 ? Frame.reset(stream, 2) : Frame.answer(stream)) }
        let asker = lab.ask(method, body: method == .get ? nil : "hello")
        lab.finish(asker)
        #expect(asker.said == said && server.streams.count == streams)
        over(lab)
    }

    /// T6, C09: of five POSTs under way the first two were processed, as the GOAWAY says. They end on their own; the others are sent again on
    /// another connection, each once.
    @Test func T6_goAwayDividesWhatWasProcessed() throws {
        let (lab, server) = try lab { $0.retries.attempts = 1 }
        server.answer = { peer, stream, n in
            guard n >= 5 else { return }
            if n == 5 {
                peer.say(Frame.goAway(last: 3))
                lab.world.after(.milliseconds(20)) { peer.say(Frame.answer(1, "one") + Frame.answer(3, "three")) }
            } else {
                peer.say(Frame.answer(stream, "again"))
            }
        }
        let askers = (0..<5).map { lab.ask(.post, "/\($0)", body: "hello") }
        for asker in askers { lab.finish(asker) }
        #expect(askers.map(\.said) == ["200 one", "200 three", "200 again", "200 again", "200 again"])
        #expect(server.streams.count == 8 && server.streams.suffix(3).allSatisfy { $0.peer == 1 })
        #expect(lab.guardState.retriesFree == 3)
        over(lab)
    }

    /// T6: what the GOAWAY does not disown ends by its own outcome, here a reset and a 503, and is not sent again where it may not be; what it
    /// disowns is tried once more and not twice.
    @Test func T6_whatWasProcessedFailsByItsOwnOutcome() throws {
        let (lab, server) = try lab { $0.retries.attempts = 1 }
        server.answer = { peer, stream, n in
            if n == 5 {
                peer.say(Frame.goAway(last: 5))
                lab.world.after(.milliseconds(20)) {
                    peer.say(Frame.reset(1, 2) + Frame.status(3, "503") + Frame.answer(5, "five"))
                }
            } else if n > 5 {
                peer.say(Frame.goAway(last: 0))
            }
        }
        let askers = (0..<5).map { lab.ask(.post, "/\($0)", body: "hello") }
        for asker in askers { lab.finish(asker) }
        #expect(askers.prefix(3).map(\.said) == ["reset.before_headers", "503 ", "200 five"])
        #expect(askers.suffix(2).allSatisfy { $0.said == "h2.goaway_unprocessed" }, "\(askers.map(\.said))")
        #expect(server.streams.count == 7 && lab.guardState.retriesFree == 2 && askers.allSatisfy { $0.ends == 1 })
        over(lab)
    }

    /// In two steps: at the first nothing new begins there, at the second it is decided (RFC 9113 §6.8).
    @Test func T6_goAwayInTwoSteps() throws {
        let (lab, server) = try lab { $0.retries.attempts = 1 }
        server.answer = { peer, stream, n in
            if n == 1 {
                peer.say(Frame.goAway(last: 0x7FFF_FFFF))
                lab.world.after(.milliseconds(50)) {
                    peer.say(Frame.goAway(last: 1) + Frame.answer(1, "first"))
                }
            } else {
                peer.say(Frame.answer(stream, "second"))
            }
        }
        let first = lab.ask(.post, body: "x")
        lab.world.run(for: .milliseconds(10))
        let second = lab.ask(.post, body: "x")
        lab.finish(second)
        lab.finish(first)
        #expect(first.said == "200 first" && second.said == "200 second")
        #expect(server.streams.map(\.peer) == [0, 1] && lab.guardState.retriesFree == 0)
        over(lab)
    }

    /// A connection that is lost takes its streams with it: what is safe goes again, what may have been processed does not.
    @Test func T6_aLostConnectionLosesNothingInSilence() throws {
        let (lab, server) = try lab { $0.retries.budget.minimumPerSecondThousandths = 100_000 }
        server.answer = { peer, stream, n in
            if n == 6 { peer.reset() } else if n > 6 { peer.say(Frame.answer(stream)) }
        }
        let gets = (0..<3).map { _ in lab.ask() }
        let posts = (0..<3).map { _ in lab.ask(.post, body: "x") }
        for asker in gets + posts { lab.finish(asker) }
        #expect(gets.allSatisfy { $0.said == "200 ok" })
        #expect(posts.allSatisfy { $0.said == "reset.before_headers" } && server.streams.count == 9)
        over(lab)
    }

    @Test func D3_cancellingResetsTheStreamAndKeepsTheConnection() throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, n in if n > 1 { peer.say(Frame.answer(stream)) } }
        let first = lab.ask()
        lab.world.run(for: .milliseconds(10))
        first.guarded.cancel(.clientCancelled)
        let second = lab.ask()
        lab.finish(second)
        #expect(second.said == "200 ok" && lab.upstream.peers.count == 1 && !lab.upstream.peers[0].isClosed)
        over(lab)
    }

    @Test func a503IsKeptHereToo() throws {
        let (lab, server) = try lab()
        server.answer = { peer, stream, n in
            peer.say(n == 1 ? Frame.status(stream, "503") : Frame.reset(stream, 2))
        }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.said == "503 " && server.streams.count == 2)
        over(lab)
    }

    /// What is no HTTP/2 ends in an answer, not in a hang.
    @Test(arguments: ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "\u{0}\u{0}\u{0}\u{0}", ""])
    func anUpstreamThatSpeaksNoHTTP2(bytes: String) throws {
        let (lab, _) = try lab { $0.retries.attempts = 1 }
        lab.upstream.raw = { peer, _ in
            peer.say(bytes)
            peer.close()
        }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.failure != nil && asker.endedAt! < lab.at(0.1), "\(asker.said)")
        over(lab)
    }
}
