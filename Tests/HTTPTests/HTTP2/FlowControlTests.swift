// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// Credit follows consumption, in both directions (RFC 9113 §5.2, §6.9; cases C05, C11; promise P20).
@Suite struct HTTP2FlowControlTests {
    /// The sender stops when the stream's window is used up, and goes on by what `consumed` gives back.
    @Test func stallsAndGoesOnWithConsumption() throws {
        let wire = Wire()
        let stream = try #require(wire.client.open("POST", "/", endStream: false))
        wire.pump()
        let inbound = wire.server.streams[0]
        inbound.consumesAtOnce = false
        wire.client.write(stream, Array(repeating: 1, count: 1_000_000))
        wire.pump()
        #expect(inbound.body.count == 262_144)
        #expect(inbound.unconsumedBytes == 262_144)
        #expect(wire.client.session.isBlockedByPeer(stream))

        // Less than half a window is not worth a frame; what makes it half is.
        wire.server.session.consumed(inbound, bytes: 100_000)
        wire.pump()
        #expect(inbound.body.count == 262_144)
        wire.server.session.consumed(inbound, bytes: 31_072)
        wire.pump()
        #expect(inbound.body.count == 262_144 + 131_072)
        wire.server.session.consumed(inbound, bytes: .max)
        #expect(inbound.unconsumedBytes == 0)
        wire.server.session.consumed(inbound, bytes: -5)
        wire.server.session.consumed(inbound, bytes: 200_000)
        #expect(inbound.unconsumedBytes == 0, "no more credit than there were bytes")
        wire.pump()
        #expect(inbound.body.count == 262_144 + 131_072 + 262_144)
        inbound.consumesAtOnce = true
        wire.server.session.consumed(inbound, bytes: .max)
        wire.client.write(stream, [], end: true)
        wire.pump()
        #expect(inbound.body.count == 1_000_000)
        #expect(inbound.isRemoteEnded && !wire.client.session.isBlockedByPeer(stream))
    }

    /// The connection's window holds all streams together, and is not lost when a stream ends with bytes unconsumed.
    @Test func connectionWindowComesBackOnRelease() throws {
        var settings = HTTP2Settings()
        settings.connectionWindowBytes = 300_000
        let wire = Wire(server: settings)
        wire.server.releasesOnClose = false
        var inbound: [RecordingStream] = []
        for round in 0..<5 {
            let stream = try #require(wire.client.open("POST", "/", endStream: false))
            wire.pump()
            inbound.append(try #require(wire.server.streams.last))
            inbound[round].consumesAtOnce = false
            wire.client.write(stream, Array(repeating: 1, count: 262_144), end: true)
            wire.pump()
            if round > 0 {
                // Stalls on the connection's window, until the stream before it is released.
                #expect(inbound[round].body.count == 300_000 - 262_144)
                wire.server.session.release(inbound[round - 1])
                wire.server.session.release(inbound[round - 1])
                wire.pump()
            }
            #expect(inbound[round].body.count == 262_144)
            wire.server.respond(inbound[round])
            wire.pump()
            #expect(inbound[round].isClosed && inbound[round].unconsumedBytes == 262_144)
        }
        wire.server.session.release(inbound[4])
        #expect(wire.server.session.activeStreamCount == 0)
    }

    /// Bytes of a stream that was reset give their credit back when it is released, those in flight at once.
    @Test func resetStreamsLeakNoWindow() throws {
        let wire = Wire()
        for _ in 0..<200 {
            let stream = try #require(wire.client.open("POST", "/", endStream: false))
            wire.client.write(stream, Array(repeating: 1, count: 60_000))
            wire.pump()
            let inbound = try #require(wire.server.streams.last)
            inbound.consumesAtOnce = false
            wire.client.write(stream, Array(repeating: 1, count: 60_000))
            wire.pump()
            wire.server.session.reset(inbound, code: .internalError)
            wire.pump()
            #expect(inbound.isClosed && stream.isClosed)
        }
        #expect(wire.server.session.budget.left == 200)
        let stream = try #require(wire.client.open("POST", "/", endStream: false))
        wire.client.write(stream, Array(repeating: 1, count: 250_000), end: true)
        wire.pump()
        #expect(wire.server.streams.last?.body.count == 250_000)
    }

    /// A stream that has ended needs no credit of its own.
    @Test func noUpdateForAnEndedStream() throws {
        let wire = Wire()
        wire.server.onHead = { stream, _ in stream.consumesAtOnce = false }
        let stream = try #require(wire.client.open("POST", "/", endStream: false))
        wire.client.write(stream, Array(repeating: 1, count: 200_000), end: true)
        wire.pump()
        wire.server.session.consumed(wire.server.streams[0], bytes: 200_000)
        #expect(wire.server.produceText() == [])
    }

    /// A client session has room for all its streams, so that slow ones do not stop the others.
    @Test func clientConnectionWindow() throws {
        let wire = Wire()
        wire.server.onEnd = { wire.server.respond($0, body: String(repeating: "x", count: 1_000_000)) }
        for _ in 0..<20 {
            let stream = try #require(wire.client.open())
            stream.consumesAtOnce = false
            wire.pump()
            #expect(stream.body.count == 262_144)
        }
        let quick = try #require(wire.client.open())
        wire.pump()
        #expect(quick.body.count == 1_000_000)
    }

    /// The producer hears when its stream runs low, once for each time that it was full.
    @Test func drainedIsToldBelowLowWater() throws {
        let wire = Wire()
        var left = 20
        wire.server.onDrained = { stream in
            left -= 1
            wire.server.write(stream, Array(repeating: 2, count: 100_000), end: left == 0)
        }
        wire.server.onEnd = { stream in
            stream.outbound.append(Array(repeating: 1, count: 100_000))
            wire.server.session.respond(stream, head: responseHead(200), endStream: false)
        }
        let stream = try #require(wire.client.open())
        wire.pump()
        #expect(stream.body.count == 2_100_000)
        #expect(wire.server.streams[0].drains == 20)
        let isEmpty = wire.server.streams[0].outbound.isEmpty
        #expect(isEmpty)
        #expect(stream.isRemoteEnded)
    }

    /// A stream with nothing to send costs nothing until it is resumed.
    @Test func deferredBodies() throws {
        let wire = Wire()
        wire.server.onEnd = { wire.server.session.respond($0, head: responseHead(200), endStream: false) }
        let stream = try #require(wire.client.open())
        wire.pump()
        #expect(stream.log == "head 200 stream\n")
        let outbound = wire.server.streams[0]
        for i in 0..<3 {
            #expect(!wire.server.session.wantsWrite)
            wire.server.write(outbound, [UInt8(i)])
            #expect(wire.server.session.wantsWrite)
            wire.pump()
            #expect(stream.body.count == i + 1)
        }
        wire.server.write(outbound, [], end: true, trailers: [("a", "b")])
        wire.pump()
        #expect(stream.log == "head 200 stream\nend 3 [a: b]\nclosed NO_ERROR\n")
    }

    /// Case C11: the window lowered below what is under way, then raised.
    @Test func negativeWindows() throws {
        let server = Peer(server: true)
        server.onEnd = { server.respond($0, body: String(repeating: "x", count: 200_000)) }
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.get())
        server.receive(writer.bytes)
        func data() -> Int { Frame.read(server.produce()).filter { $0.kind == 0 }.reduce(0) { $0 + $1.payload.count } }
        #expect(data() == 65_535)
        writer = FrameWriter()
        writer.settings([(4, 100)])  // 65,435 below zero
        writer.windowUpdate(0, 1_000_000)
        writer.windowUpdate(1, 65_435)  // zero
        #expect(server.receive(writer.bytes) == "ok")
        #expect(data() == 0)
        #expect(server.session.isBlockedByPeer(server.streams[0]))
        writer = FrameWriter()
        writer.windowUpdate(1, 10)
        server.receive(writer.bytes)
        #expect(data() == 10)
        writer = FrameWriter()
        writer.settings([(4, 1_100)])
        server.receive(writer.bytes)
        #expect(data() == 1_000)
    }

    struct Overflow: Sendable {
        var write: @Sendable (inout FrameWriter) -> Void
        var sent: [String]
    }

    @Test(arguments: [
        Overflow(write: { $0.settings([(4, Int(UInt32.max))]) }, sent: ["GOAWAY 1 FLOW_CONTROL_ERROR"]),
        Overflow(write: { $0.windowUpdate(0, Int(Int32.max)) }, sent: ["GOAWAY 1 FLOW_CONTROL_ERROR"]),
        Overflow(write: { $0.windowUpdate(1, Int(Int32.max)) }, sent: ["RST 1 FLOW_CONTROL_ERROR"]),
        Overflow(write: { $0.windowUpdate(1, 0) }, sent: ["GOAWAY 1 PROTOCOL_ERROR"]),
        Overflow(
            write: {
                $0.windowUpdate(1, Int(Int32.max) - 65_535)
                $0.settings([(4, 65_536)])
            }, sent: ["RST 1 FLOW_CONTROL_ERROR"]),
    ])
    func windowOverflow(row: Overflow) {
        let server = Peer(server: true)
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.get())
        row.write(&writer)
        #expect(server.receive(writer.bytes) == "ok")
        let sent = server.produceText()
        #expect(sent.last.map { [$0] } == row.sent)
        #expect(server.session.isFinished == row.sent[0].hasPrefix("GOAWAY"))
        if row.sent[0].hasPrefix("GOAWAY") {
            #expect(server.session.failure?.reason == .requestMalformed)
            #expect(server.receive(FrameWriter.client().bytes) == "request.malformed")
        }
    }

    /// More than we gave credit for.
    @Test func peerOverrunsTheWindow() {
        let server = Peer(server: true)
        server.onHead = { stream, _ in stream.consumesAtOnce = false }
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post(), endStream: false)
        for _ in 0..<5 { writer.data(1, Array(repeating: 0, count: 16_384)) }
        server.receive(writer.bytes)
        // Our 256 KiB count from the acknowledgement of our SETTINGS; before it 65,535 hold for the stream.
        #expect(server.produceText() == ["RST 1 FLOW_CONTROL_ERROR"])
        #expect(server.streams[0].log.hasSuffix("closed FLOW_CONTROL_ERROR\n"))
    }

    /// Padding is credited although nobody consumes it.
    @Test func paddingGivesItsCreditBack() {
        let server = Peer(server: true)
        server.onHead = { stream, _ in stream.consumesAtOnce = true }
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post(), endStream: false)
        server.receive(writer.bytes)
        _ = server.produce()
        var returned = 0
        for _ in 0..<4_000 {
            writer = FrameWriter()
            writer.frame(0, flags: FrameWriter.padded, 1, [255, 9] + Array(repeating: 0, count: 255))
            #expect(server.receive(writer.bytes) == "ok")
            returned += Frame.read(server.produce()).filter { $0.kind == 8 && $0.id == 0 }.reduce(0) { $0 + $1.code }
        }
        #expect(returned > 0)
        #expect(server.streams[0].body.count == 4_000)
    }
}
