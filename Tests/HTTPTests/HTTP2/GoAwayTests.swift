// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// Ends of connections, ours and theirs (RFC 9113 §6.8; semantics, section 3; cases C09, C10; promise P16).
@Suite struct HTTP2GoAwayTests {
    @Test func drainInTwoSteps() throws {
        let wire = Wire()
        let early = try #require(wire.client.open("GET", "/early"))
        wire.pump()
        wire.server.session.beginDrain()
        // A request that is on its way while the first GOAWAY is.
        let crossing = try #require(wire.client.open("GET", "/crossing"))
        wire.pump()
        #expect(wire.client.log.contains("goaway 2147483647 NO_ERROR"))
        #expect(!wire.client.session.canOpenStream && wire.client.open() == nil)
        #expect(wire.server.streams.count == 2)
        #expect(!wire.server.session.isFinished)

        wire.server.session.finishDrain()
        wire.pump()
        #expect(wire.client.log.contains("goaway 3 NO_ERROR"))
        #expect(early.end == nil && crossing.end == nil)
        for stream in wire.server.streams { wire.server.respond(stream, body: "x") }
        #expect(!wire.server.session.isFinished)
        wire.pump()
        #expect(early.text == "x" && crossing.text == "x")
        #expect(crossing.end?.code == .noError)
        #expect(wire.server.session.isFinished && wire.client.session.isFinished)
        #expect(wire.server.session.failure == nil && wire.client.session.failure == nil)
    }

    /// From the moment the second GOAWAY is queued no stream is taken, so its number stays true (nghttp2 #2870).
    @Test func nothingSlipsInBehindTheLastStream() {
        let server = Peer(server: true)
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.get("/1"))
        server.receive(writer.bytes)
        server.session.finishDrain()
        writer = FrameWriter()
        writer.headers(3, FrameWriter.get("/3"))
        writer.headers(5, FrameWriter.post("/5"), endStream: false)
        server.receive(writer.bytes)
        #expect(server.streams.count == 1)
        let sent = server.produceText()
        #expect(sent.contains("GOAWAY 1 NO_ERROR"))
        #expect(sent.filter { $0.hasPrefix("RST") }.allSatisfy { $0.hasSuffix("REFUSED_STREAM") })
        #expect(server.session.budget.left == 200)
        // And behind it all is ignored.
        writer = FrameWriter()
        writer.headers(7, FrameWriter.get("/7"))
        writer.data(5, [1])
        #expect(server.receive(writer.bytes) == "ok")
        #expect(server.produceText() == [])
        server.respond(server.streams[0])
        #expect(server.produceText() == ["HEADERS 1 END"])
        #expect(server.session.isFinished)
    }

    /// Case C09: last stream 5 while 1 … 9 are open.
    @Test(arguments: [false, true])
    func streamsAboveTheLastAreUnprocessed(inTwoSteps: Bool) throws {
        let client = Peer(server: false)
        for _ in 0..<5 { _ = try #require(client.open("POST", "/", endStream: false)) }
        _ = client.produce()
        var writer = FrameWriter()
        writer.settings()
        if inTwoSteps {
            writer.goAway(last: Int(Int32.max))
            client.receive(writer.bytes)
            #expect(client.streams.allSatisfy { $0.end == nil })
            #expect(!client.session.canOpenStream)
            writer = FrameWriter()
        }
        writer.goAway(last: 5, 11)
        client.receive(writer.bytes)
        #expect(client.log.contains("goaway 5 ENHANCE_YOUR_CALM"))
        #expect(client.streams.map { $0.end?.processed } == [nil, nil, nil, .aboveGoAway, .aboveGoAway])
        writer = FrameWriter()
        writer.headers(1, [(":status", "200")])
        writer.goAway(last: 3)
        client.receive(writer.bytes)
        #expect(client.streams.map { $0.end?.processed } == [nil, nil, .aboveGoAway, .aboveGoAway, .aboveGoAway])
        #expect(client.streams[0].log == "head 200 length 0 END\n")
        client.write(client.streams[0], [], end: true)
        client.write(client.streams[1], [], end: true)
        _ = client.produce()
        #expect(client.streams[0].end?.code == .noError)
        writer = FrameWriter()
        writer.headers(3, [(":status", "204")])
        client.receive(writer.bytes)
        _ = client.produce()
        #expect(client.session.openStreams == 0)
        #expect(client.session.isFinished)
    }

    @Test func goAwayThatGoesUp() throws {
        let client = Peer(server: false)
        _ = try #require(client.open())
        _ = client.produce()
        var writer = FrameWriter()
        writer.settings()
        writer.goAway(last: 1)
        writer.goAway(last: 3)
        client.receive(writer.bytes)
        #expect(client.produceText() == ["GOAWAY 0 PROTOCOL_ERROR"])
    }

    /// Case C10: GOAWAY, RST and the end, with requests that are not written yet.
    @Test func unwrittenRequestsAreToldAtOnce() throws {
        let client = Peer(server: false)
        let sent = try #require(client.open("POST", "/", endStream: false))
        _ = client.produce()
        let queued = [try #require(client.open()), try #require(client.open("POST", "/", endStream: false))]
        client.write(queued[1], [1, 2, 3], end: true)
        var writer = FrameWriter()
        writer.settings([(3, 1)])  // so that they would wait for their turn
        writer.goAway(last: 1)
        writer.reset(1, 7)
        client.receive(writer.bytes)
        #expect(sent.end?.processed == .refused)
        #expect(queued.map { $0.end?.processed } == [.neverSent, .neverSent])
        #expect(client.session.openStreams == 0)
        _ = client.produceText()
        #expect(client.session.isFinished)
        #expect((queued + [sent]).allSatisfy { $0.log.split(separator: "\n").count == 1 }, "each is told once")
    }

    /// What nghttp2 still holds of such requests knows no object any more.
    @Test func unwrittenRequestsAreLetGo() {
        let client = Peer(server: false)
        for _ in 0..<3 { _ = client.open() }
        var writer = FrameWriter()
        writer.settings([(3, 1)])
        writer.goAway(last: 1)
        client.receive(writer.bytes)
        client.forgetStreams()
        #expect(client.census.living == 0)
        _ = client.produce()
        #expect(client.session.isFinished)
    }

    @Test func connectionLoss() throws {
        let client = Peer(server: false)
        let first = try #require(client.open())
        let second = try #require(client.open())
        _ = client.produce()
        let third = try #require(client.open())
        var writer = FrameWriter()
        writer.settings()
        writer.headers(1, [(":status", "200")], endStream: false)
        client.receive(writer.bytes)
        client.session.connectionClosed()
        client.session.connectionClosed()
        #expect([first, second, third].map { $0.end?.processed } == [.maybe, .maybe, .neverSent])
        #expect(client.session.isFinished && !client.session.wantsWrite && client.produce() == [])
        // Stragglers do nothing.
        client.session.resume(first)
        client.session.reset(first, code: .cancel)
        client.session.consumed(first, bytes: 5)
        #expect(client.open() == nil)
    }

    /// An idle connection's end.
    @Test func goAwayAtOnce() throws {
        let wire = Wire()
        let stream = try #require(wire.client.open())
        wire.pump()
        wire.server.session.goAway(.noError)
        #expect(!wire.server.session.isFinished)
        wire.pump()
        #expect(wire.client.log.contains("goaway 1 NO_ERROR"))
        #expect(wire.server.session.isFinished && wire.server.session.failure == nil)
        wire.server.session.connectionClosed()
        wire.client.session.connectionClosed()
        #expect(stream.end?.processed == .maybe)
        #expect(wire.server.session.activeStreamCount == 0)
    }

    @Test(arguments: [
        Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8), Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".utf8), [0x16, 3, 1, 0, 5],
    ])
    func notHTTP2(bytes: [UInt8]) {
        let server = Peer(server: true)
        let verdict = server.receive(bytes)
        #expect(verdict == "request.malformed")
        #expect(server.produceText() == ["GOAWAY 0 PROTOCOL_ERROR"])
        #expect(server.session.isFinished)
    }

    /// Frames in no state for them end the connection; the reason is known when the GOAWAY is written.
    @Test func framesAgainstTheRules() {
        let rows: [(String, (inout FrameWriter) -> Void)] = [
            ("DATA on stream 0", { $0.data(0, [1]) }),
            ("DATA on an idle stream", { $0.data(1, [1]) }),
            (
                "DATA after END_STREAM",
                {
                    $0.headers(1, FrameWriter.get())
                    $0.data(1, [1])
                }
            ),
            (
                "HEADERS after END_STREAM",
                {
                    $0.headers(1, FrameWriter.get())
                    $0.headers(1, [("x", "y")])
                }
            ),
            ("HEADERS on an even stream", { $0.headers(2, FrameWriter.get()) }),
            ("HEADERS on stream 0", { $0.headers(0, FrameWriter.get()) }),
            ("RST of an idle stream", { $0.reset(1) }),
            ("WINDOW_UPDATE of an idle stream", { $0.windowUpdate(1, 1) }),
            ("CONTINUATION alone", { $0.continuation(1, block: [], endHeaders: true) }),
            (
                "a frame inside a head",
                {
                    $0.headers(1, block: FrameWriter.block(FrameWriter.get()), endHeaders: false)
                    $0.ping()
                }
            ),
            ("frame above the limit", { $0.frame(0, 1, Array(repeating: 0, count: 16_385)) }),
            ("SETTINGS of 5 octets", { $0.frame(4, 0, [0, 1, 0, 0, 0]) }),
            ("SETTINGS ACK with octets", { $0.frame(4, flags: 1, 0, [0, 1, 0, 0, 0, 0]) }),
            ("SETTINGS_ENABLE_PUSH 2", { $0.settings([(2, 2)]) }),
            ("SETTINGS_MAX_FRAME_SIZE 1", { $0.settings([(5, 1)]) }),
            ("PING of 7 octets", { $0.frame(6, 0, [1, 2, 3, 4, 5, 6, 7]) }),
            ("PING on a stream", { $0.frame(6, 1, [1, 2, 3, 4, 5, 6, 7, 8]) }),
            ("GOAWAY on a stream", { $0.frame(7, 1, FrameWriter.four(0) + FrameWriter.four(0)) }),
            ("PUSH_PROMISE of a client", { $0.frame(5, flags: 4, 1, FrameWriter.four(2)) }),
            ("index 0 in HPACK", { $0.headers(1, block: [0x80]) }),
            ("index beyond the tables", { $0.headers(1, block: [0xff, 0x80, 0x01]) }),
            ("cut literal", { $0.headers(1, block: [0, 5, 97]) }),
            ("bad Huffman", { $0.headers(1, block: [0, 0x82, 0xff, 0xff, 0]) }),
            ("padding longer than the frame", { $0.frame(0, flags: FrameWriter.padded, 1, [9, 1]) }),
            (
                "stream that depends on itself",
                { $0.frame(1, flags: 0x25, 1, FrameWriter.four(1) + [0] + FrameWriter.block(FrameWriter.get())) }
            ),
        ]
        for (name, write) in rows {
            for piece in [Int.max, 1] {
                let server = Peer(server: true)
                var writer = FrameWriter.client()
                write(&writer)
                server.receive(writer.bytes, piece: piece)
                let sent = server.produceText()
                #expect(sent.last?.hasPrefix("GOAWAY") == true, "\(name): \(sent)")
                #expect(server.session.isFinished, "\(name)")
                #expect(server.session.failure?.reason == .requestMalformed, "\(name) \(server.session.failure?.detail ?? "")")
                server.session.connectionClosed()
                #expect(server.session.openStreams == 0, "\(name)")
            }
        }
    }
}
