// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// How many streams at once, and what becomes of those that are too many (RFC 9113 §5.1.2; cases C01, C12).
@Suite struct HTTP2ConcurrencyTests {
    /// Case C12: 200 requests in the first flight, before our SETTINGS can have been seen.
    @Test(arguments: [Int.max, 1, 100])
    func firstFlight(piece: Int) {
        let server = Peer(server: true)
        var writer = FrameWriter.client()
        for i in 0..<200 { writer.headers(2 * i + 1, FrameWriter.get("/\(i)")) }
        #expect(server.receive(writer.bytes, piece: piece) == "ok")
        #expect(server.streams.count == 128)
        #expect(server.produceText() == (128..<200).map { "RST \(2 * $0 + 1) REFUSED_STREAM" })
        #expect(server.session.budget.left == 200 - 72)
        for stream in server.streams { server.respond(stream) }
        #expect(server.produceText() == (0..<128).map { "HEADERS \(2 * $0 + 1) END" })
        #expect(server.session.activeStreamCount == 0)
        // There is room again.
        writer = FrameWriter()
        writer.settingsAcknowledgement()
        writer.headers(401, FrameWriter.get())
        #expect(server.receive(writer.bytes) == "ok")
        #expect(server.session.openStreams == 1)
    }

    /// Case C01: a cancelled request counts until the work for it has ended.
    @Test func cancelledRequestsStillCount() {
        var settings = HTTP2Settings()
        settings.maximumConcurrentStreams = 10
        let server = Peer(server: true, settings: settings)
        server.releasesOnClose = false
        var writer = FrameWriter.client()
        writer.settingsAcknowledgement()
        for i in 0..<15 {
            writer.headers(2 * i + 1, FrameWriter.get("/\(i)"))
            writer.reset(2 * i + 1)
        }
        server.receive(writer.bytes)
        #expect(server.streams.count == 10)
        #expect(server.streams.allSatisfy { $0.log.hasSuffix("closed CANCEL\n") })
        #expect(server.session.openStreams == 0)
        #expect(server.session.activeStreamCount == 10)
        // Ten resets of unfinished requests, five refusals and the resets of those.
        #expect(server.produceText() == (10..<15).map { "RST \(2 * $0 + 1) REFUSED_STREAM" })
        server.session.release(server.streams[3])
        server.session.release(server.streams[3])
        #expect(server.session.activeStreamCount == 9)
        writer = FrameWriter()
        writer.headers(101, FrameWriter.get())
        writer.headers(103, FrameWriter.get())
        server.receive(writer.bytes)
        #expect(server.streams.count == 11)
        #expect(server.produceText() == ["RST 103 REFUSED_STREAM"])
    }

    @Test func ownerRefuses() {
        let server = Peer(server: true)
        server.acceptsStreams = false
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post(), endStream: false)
        writer.data(1, [1, 2, 3], endStream: true)
        server.receive(writer.bytes)
        #expect(server.produceText() == ["RST 1 REFUSED_STREAM"])
        #expect(server.session.activeStreamCount == 0)
    }

    /// The client keeps to the peer's limit, whenever it changes.
    @Test func clientKeepsToThePeersLimit() throws {
        let client = Peer(server: false)
        #expect(client.session.canOpenStream && client.session.freeStreams == 100)
        var writer = FrameWriter()
        writer.settings([(3, 2)])
        client.receive(writer.bytes)
        #expect(client.session.freeStreams == 2)
        _ = try #require(client.open())
        _ = try #require(client.open())
        #expect(!client.session.canOpenStream && client.session.freeStreams == 0)
        #expect(client.open() == nil)
        _ = client.produce()
        writer = FrameWriter()
        writer.headers(1, [(":status", "200")])
        client.receive(writer.bytes)
        #expect(client.session.freeStreams == 1)
        writer = FrameWriter()
        writer.settings([(3, 0)])
        client.receive(writer.bytes)
        #expect(!client.session.canOpenStream)
        writer = FrameWriter()
        writer.settings([(3, 1_000)])
        client.receive(writer.bytes)
        #expect(client.session.freeStreams == 127)  // our own limit
        #expect(client.log.hasPrefix("settings\n1 head"))
    }

    /// REFUSED_STREAM: surely not processed (RFC 9113 §8.7).
    @Test func refusedStreams() throws {
        let client = Peer(server: false)
        let first = try #require(client.open("POST", "/", endStream: false))
        let second = try #require(client.open("POST", "/", endStream: false))
        _ = client.produce()
        var writer = FrameWriter()
        writer.settings()
        writer.reset(1, 7)
        writer.reset(3, 8)
        client.receive(writer.bytes)
        #expect(first.end?.processed == .refused && first.end?.code == .refusedStream)
        #expect(second.end?.processed == .maybe && second.end?.code == .cancel)
    }

    /// A push, before and after the server can have seen that it is switched off.
    @Test(arguments: [false, true])
    func pushIsRefused(isAcknowledged: Bool) throws {
        let client = Peer(server: false)
        _ = try #require(client.open())
        let first = Frame.read(client.produce())[0]
        #expect(first.payload.starts(with: [0, 2, 0, 0, 0, 0]))  // ENABLE_PUSH 0
        var writer = FrameWriter()
        writer.settings()
        if isAcknowledged { writer.settingsAcknowledgement() }
        writer.frame(5, flags: 4, 1, FrameWriter.four(2) + FrameWriter.block(FrameWriter.get()))
        client.receive(writer.bytes)
        #expect(client.produceText() == [isAcknowledged ? "GOAWAY 0 PROTOCOL_ERROR" : "RST 2 CANCEL"])
        #expect(client.session.failure?.reason == (isAcknowledged ? .protocolError : nil))
    }
}
