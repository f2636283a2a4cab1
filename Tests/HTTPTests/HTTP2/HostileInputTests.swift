// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// Octets at random: nothing traps, nothing leaks, and what was promised of streams holds (promise P1).
@Suite struct HTTP2HostileInputTests {
    /// SplitMix64, so that a seed names a run.
    struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        mutating func below(_ n: Int) -> Int { Int(next() % UInt64(n)) }
        mutating func chance(_ n: Int) -> Bool { below(n) == 0 }
        mutating func bytes(_ n: Int) -> [UInt8] { (0..<n).map { _ in UInt8(truncatingIfNeeded: next()) } }
    }

    /// A peer that now and then does what a gateway does.
    private func liven(_ peer: Peer, _ seed: UInt64) {
        final class Box { var g: Generator; init(_ g: Generator) { self.g = g } }
        let box = Box(Generator(state: seed))
        func act(_ stream: RecordingStream) {
            switch box.g.below(12) {
            case 0: peer.respond(stream, 200, [("a", "b")], body: "x", trailers: [("t", "u")])
            case 1: peer.respond(stream, 500)
            case 2: peer.session.reset(stream, code: .cancel)
            case 3: peer.write(stream, box.g.bytes(box.g.below(40_000)), end: box.g.chance(2))
            case 4: peer.session.inform(stream, head: responseHead(103, [("l", "m")]))
            case 5: stream.consumesAtOnce = false
            case 6: peer.session.reset(stream, code: .noError)
            case 7: peer.session.consumed(stream, bytes: box.g.below(1_000))
            default: break
            }
        }
        peer.onHead = { stream, _ in act(stream) }
        peer.onRefused = { stream, failure in peer.respond(stream, failure.reason.httpStatus) }
        peer.onData = { stream, _ in act(stream) }
        peer.onEnd = { stream in act(stream) }
        peer.onDrained = { stream in act(stream) }
    }

    private func quieten(_ peer: Peer) {
        peer.session.connectionClosed()
        peer.onHead = nil
        peer.onRefused = nil
        peer.onData = nil
        peer.onEnd = nil
        peer.onDrained = nil
        peer.onClosed = nil
        #expect(peer.session.openStreams == 0)
        #expect(peer.streams.allSatisfy { $0.isClosed && $0.end != nil })
        peer.forgetStreams()
    }

    private func transcript(_ g: inout Generator) -> [UInt8] {
        var writer = FrameWriter.client([(4, g.below(100_000)), (3, g.below(200))])
        for _ in 0..<g.below(40) {
            let id = 2 * g.below(12) + (g.chance(20) ? 0 : 1)
            switch g.below(14) {
            case 0...3:
                writer.headers(id, FrameWriter.get("/\(g.below(9))", [("cookie", "a"), ("x-y", "z")]), endStream: g.chance(2))
            case 4: writer.headers(id, FrameWriter.post("/", [("content-length", "\(g.below(100))")]), endStream: false)
            case 5...6: writer.data(id, g.bytes(g.below(300)), endStream: g.chance(3))
            case 7: writer.reset(id, g.below(15))
            case 8: writer.windowUpdate(g.chance(2) ? 0 : id, g.chance(9) ? Int(Int32.max) : g.below(100_000))
            case 9: writer.settings([(1 + g.below(8), g.chance(3) ? Int(UInt32.max) : g.below(70_000))])
            case 10: writer.headers(id, block: g.bytes(g.below(60)), endStream: g.chance(2), endHeaders: g.chance(2))
            case 11: writer.frame(UInt8(g.below(18)), flags: UInt8(g.below(256)), id, g.bytes(g.below(40)))
            case 12: writer.goAway(last: g.below(30), g.below(14))
            default: writer.ping()
            }
        }
        return writer.bytes
    }

    @Test(arguments: 0..<8)
    func server(block: Int) {
        for seed in (block * 250)..<(block * 250 + 250) {
            var g = Generator(state: UInt64(seed))
            var bytes = transcript(&g)
            if g.chance(2) {
                for _ in 0..<(1 + g.below(5)) { bytes[g.below(bytes.count)] = UInt8(truncatingIfNeeded: g.next()) }
            }
            if g.chance(4) { bytes.removeSubrange(g.below(bytes.count)...) }
            let piece = g.chance(2) ? Int.max : 1 + g.below(50)
            let census = Census()
            do {
                let server = Peer(server: true, census: census)
                liven(server, UInt64(seed) &+ 77)
                var start = 0
                while start < bytes.count {
                    let end = piece >= bytes.count - start ? bytes.count : start + piece
                    server.receive(Array(bytes[start..<end]))
                    if g.chance(3) { _ = Frame.read(server.produce(limit: 1 + g.below(50_000))) }
                    start = end
                }
                _ = server.produce()
                #expect(server.session.activeStreamCount <= 128, "HOLDFAST_SEED=\(seed)")
                quieten(server)
            }
            #expect(census.living == 0, "HOLDFAST_SEED=\(seed)")
        }
    }

    @Test(arguments: 0..<8)
    func client(block: Int) {
        for seed in (block * 250)..<(block * 250 + 250) {
            var g = Generator(state: UInt64(seed) &+ 1_000_000)
            var writer = FrameWriter()
            writer.settings([(4, g.below(100_000))])
            for _ in 0..<g.below(30) {
                let id = 2 * g.below(6) + (g.chance(15) ? 0 : 1)
                switch g.below(12) {
                case 0...3:
                    writer.headers(
                        id, [(":status", "\(g.chance(4) ? 103 : 200 + g.below(500))"), ("x", "y")], endStream: g.chance(3))
                case 4...5: writer.data(id, g.bytes(g.below(500)), endStream: g.chance(3))
                case 6: writer.headers(id, [("t", "u")], endStream: true)
                case 7: writer.reset(id, g.below(15))
                case 8: writer.goAway(last: 2 * g.below(8) + 1, g.below(14))
                case 9: writer.settings([(1 + g.below(8), g.below(70_000))])
                case 10: writer.windowUpdate(g.chance(2) ? 0 : id, 1 + g.below(100_000))
                default: writer.frame(UInt8(g.below(18)), flags: UInt8(g.below(256)), id, g.bytes(g.below(40)))
                }
            }
            var bytes = writer.bytes
            if g.chance(2) {
                for _ in 0..<(1 + g.below(5)) { bytes[g.below(bytes.count)] = UInt8(truncatingIfNeeded: g.next()) }
            }
            let census = Census()
            do {
                let client = Peer(server: false, census: census)
                liven(client, UInt64(seed) &+ 5)
                for _ in 0..<4 { _ = client.open(g.chance(2) ? "POST" : "HEAD", "/", endStream: g.chance(2)) }
                _ = client.produce(limit: 1 + g.below(300))
                let cut = g.below(bytes.count)
                client.receive(Array(bytes[..<cut]), piece: 1 + g.below(100))
                _ = client.open()
                if g.chance(2) { _ = client.produce() }
                client.receive(Array(bytes[cut...]))
                _ = client.produce()
                quieten(client)
            }
            #expect(census.living == 0, "HOLDFAST_SEED=\(seed)")
        }
    }

    /// A memory that follows the octets received, not what they stand for (promise P19).
    @Test func randomAfterThePreface() {
        for seed in 0..<300 {
            var g = Generator(state: UInt64(seed) &+ 9_000_000)
            let server = Peer(server: true)
            server.receive(FrameWriter.client().bytes + g.bytes(g.below(3_000)), piece: 1 + g.below(100))
            _ = server.produce()
            quieten(server)
        }
    }
}
