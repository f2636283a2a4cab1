// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// What is legal, cheap for the peer and work for us (cases C01, C02, C05; promise P18).
@Suite struct HTTP2GlitchTests {
    @Test func bucketIsExact() {
        var budget = GlitchBudget(burst: 5, perSecond: 2, now: .origin)
        for _ in 0..<5 { budget.spend(at: .origin) }
        #expect(budget.left == 0 && !budget.isOverdrawn)
        budget.spend(at: Instant(nanoseconds: 500_000_000))
        #expect(!budget.isOverdrawn)
        var other = budget
        budget.spend(at: Instant(nanoseconds: 999_999_999))
        #expect(budget.isOverdrawn)
        budget.spend(at: .never)
        #expect(budget.isOverdrawn, "for good")
        other.spend(at: Instant(nanoseconds: 1_000_000_000))
        #expect(!other.isOverdrawn)
        // Never more than the burst, and a clock that stands still or goes back fills nothing.
        var full = GlitchBudget(burst: 3, perSecond: 1_000_000, now: Instant(nanoseconds: 50))
        full.spend(at: .never)
        #expect(full.left == 2)
        full.spend(at: .origin)
        full.spend(at: .origin)
        #expect(!full.isOverdrawn)
        full.spend(at: .origin)
        #expect(full.isOverdrawn)
        var none = GlitchBudget(burst: 1, perSecond: .nan, now: .origin)
        none.spend(at: .origin)
        none.spend(at: .never)
        #expect(none.isOverdrawn)
        var slow = GlitchBudget(burst: 1, perSecond: 1.0 / 60, now: .origin)
        slow.spend(at: .origin)
        slow.spend(at: Instant(nanoseconds: 63_000_000_000))
        #expect(!slow.isOverdrawn)
    }

    struct Attack: Sendable, CustomTestStringConvertible {
        var name: String
        /// How many there may be before the connection is cut.
        var free: Int
        var setUp: @Sendable (inout FrameWriter) -> Void = { _ in }
        var step: @Sendable (inout FrameWriter, Int) -> Void
        var testDescription: String { name }
    }

    @Test(arguments: [
        Attack(name: "rapid reset", free: 200) { writer, i in
            writer.headers(2 * i + 1, FrameWriter.get())
            writer.reset(2 * i + 1)
        },
        Attack(name: "malformed requests", free: 200) { writer, i in
            writer.headers(2 * i + 1, FrameWriter.get("/", [("X", "y")]))
        },
        Attack(name: "requests with an authority that is none", free: 200) { writer, i in
            writer.headers(2 * i + 1, [(":method", "GET"), (":scheme", "https"), (":authority", "u@a"), (":path", "/")])
        },
        Attack(name: "bodies longer than their content-length (MadeYouReset)", free: 200) { writer, i in
            writer.headers(2 * i + 1, FrameWriter.post("/", [("content-length", "1")]), endStream: false)
            writer.data(2 * i + 1, [1, 2], endStream: true)
        },
        Attack(name: "window overflow of a stream (MadeYouReset)", free: 200) { writer, i in
            writer.headers(2 * i + 1, FrameWriter.get())
            writer.windowUpdate(2 * i + 1, Int(Int32.max))
        },
        Attack(
            name: "streams above the limit", free: 200,
            setUp: { writer in for i in 0..<128 { writer.headers(2 * i + 1, FrameWriter.get()) } }
        ) { writer, i in
            writer.headers(2 * (i + 128) + 1, FrameWriter.get())
        },
        Attack(name: "empty DATA", free: 200, setUp: { $0.headers(1, FrameWriter.post(), endStream: false) }) { writer, _ in
            writer.data(1, [])
        },
        Attack(name: "padding alone", free: 200, setUp: { $0.headers(1, FrameWriter.post(), endStream: false) }) { writer, _ in
            writer.frame(0, flags: FrameWriter.padded, 1, [0])
        },
        Attack(name: "SETTINGS", free: 200) { writer, _ in writer.settings([(4, 65_535)]) },
        Attack(name: "PING", free: 201) { writer, _ in writer.ping() },
        Attack(name: "PING that answers nothing", free: 200) { writer, _ in writer.ping(acknowledges: true) },
        Attack(name: "PRIORITY", free: 216) { writer, i in writer.priority(2 * i + 1) },
        Attack(name: "unknown frames", free: 216) { writer, _ in writer.frame(0x42, 0, [1, 2, 3]) },
        Attack(name: "PRIORITY_UPDATE", free: 216) { writer, _ in writer.frame(0x10, 0, FrameWriter.four(1)) },
        Attack(name: "WINDOW_UPDATE", free: 216) { writer, _ in writer.windowUpdate(0, 1_000) },
        Attack(
            name: "resets of a finished stream", free: 218,
            setUp: {
                $0.headers(1, FrameWriter.get())
                $0.reset(1)
            }
        ) { writer, _ in writer.reset(1) },
    ])
    func cutExactly(attack: Attack) {
        let server = Peer(server: true)
        var writer = FrameWriter.client()
        attack.setUp(&writer)
        server.receive(writer.bytes)
        let before = server.session.budget.left
        #expect(before >= 199)
        _ = server.produce()
        var count = 0
        var verdict = "ok"
        while verdict == "ok" && count < 1_000 {
            writer = FrameWriter()
            attack.step(&writer, count)
            verdict = server.receive(writer.bytes)
            let sent = server.produceText()
            if let failure = server.session.failure { verdict = failure.reason.rawValue }
            if verdict == "ok" {
                count += 1
            } else {
                #expect(sent.last?.hasSuffix("ENHANCE_YOUR_CALM") == true && sent.last?.hasPrefix("GOAWAY") == true)
            }
        }
        #expect(verdict == "client.flood")
        #expect(count == attack.free - (200 - before))
        #expect(server.session.isFinished)
        // Deaf from here on.
        writer = FrameWriter()
        writer.headers(4_001, FrameWriter.get("/late"))
        let streams = server.streams.count
        #expect(server.receive(writer.bytes) == "client.flood")
        #expect(server.streams.count == streams)
    }

    /// The same in one read, with nothing produced in between.
    @Test func floodInOneRead() {
        let server = Peer(server: true)
        var writer = FrameWriter.client()
        for i in 0..<10_000 {
            writer.headers(2 * i + 1, FrameWriter.get())
            writer.reset(2 * i + 1)
        }
        #expect(server.receive(writer.bytes) == "client.flood")
        #expect(server.streams.count == 201)
        #expect(server.produceText() == ["GOAWAY 401 ENHANCE_YOUR_CALM"])
    }

    /// Octet by octet: a window that is opened a little at a time (CVE-2019-9511).
    @Test func windowDribble() {
        let server = Peer(server: true)
        server.onEnd = { server.respond($0, body: String(repeating: "x", count: 100_000)) }
        var writer = FrameWriter.client([(4, 0)])
        writer.headers(1, FrameWriter.get())
        server.receive(writer.bytes)
        _ = server.produce()
        var count = 0
        while server.session.failure == nil && count < 1_000 {
            writer = FrameWriter()
            writer.windowUpdate(1, 1)
            server.receive(writer.bytes)
            _ = server.produce()
            count += 1
        }
        #expect(count == 201)
    }

    /// Time forgives.
    @Test func refill() {
        let server = Peer(server: true)
        var writer = FrameWriter.client()
        server.receive(writer.bytes)
        for i in 0..<2_000 {
            server.now = Instant(nanoseconds: Int64(i) * 50_000_000)
            writer = FrameWriter()
            writer.headers(2 * i + 1, FrameWriter.get())
            writer.reset(2 * i + 1)
            #expect(server.receive(writer.bytes) == "ok", "20 a second")
        }
        for i in 2_000..<2_200 {
            writer = FrameWriter()
            writer.headers(2 * i + 1, FrameWriter.get())
            writer.reset(2 * i + 1)
            server.receive(writer.bytes)
        }
        #expect(server.session.failure?.reason == .clientFlood)
    }

    /// What ordinary clients do costs nothing: an update for stream and connection behind each read, a PING now and then, a
    /// PRIORITY with each request, and now and again a request that is given up.
    @Test func ordinaryTrafficIsFree() {
        let server = Peer(server: true)
        server.onEnd = { if $0.body.count % 2 == 0 { server.respond($0, body: "0123456789") } }
        var writer = FrameWriter.client()
        writer.windowUpdate(0, 1 << 20)
        server.receive(writer.bytes)
        for i in 0..<3_000 {
            let id = 2 * i + 1
            writer = FrameWriter()
            writer.priority(id)
            writer.headers(id, FrameWriter.post(), endStream: false)
            writer.windowUpdate(id, 1 << 20)
            writer.data(id, Array(repeating: 0, count: i % 2), endStream: true)
            server.receive(writer.bytes)
            _ = server.produce()
            writer = FrameWriter()
            if i % 2 == 0 {
                writer.windowUpdate(0, 10)
                writer.ping()
            } else {
                writer.reset(id)
            }
            #expect(server.receive(writer.bytes) == "ok")
            _ = server.produce()
        }
        #expect(server.session.budget.left >= 198)
        #expect(server.streams.count == 3_000)
    }

    /// What our own side resets, because an upstream failed, is not the client's fault.
    @Test func ownResetsAreFree() throws {
        let wire = Wire()
        wire.server.onEnd = { wire.server.session.reset($0, code: .internalError) }
        for _ in 0..<1_000 {
            let stream = try #require(wire.client.open())
            wire.pump()
            #expect(stream.end?.code == .internalError)
        }
        #expect(wire.server.session.budget.left == 200)
        wire.server.onEnd = { wire.server.session.reset($0, code: .cancel) }
        _ = try #require(wire.client.open())
        wire.pump()
        #expect(wire.server.session.budget.left == 199)
    }

    /// An upstream that resets all it gets is the guard's affair; one that floods is cut.
    @Test func clientSession() throws {
        let client = Peer(server: false)
        var writer = FrameWriter()
        writer.settings()
        client.receive(writer.bytes)
        for i in 0..<1_000 {
            _ = try #require(client.open())
            _ = client.produce()
            writer = FrameWriter()
            writer.reset(2 * i + 1, 7)
            #expect(client.receive(writer.bytes) == "ok")
        }
        writer = FrameWriter()
        for _ in 0..<300 { writer.settings() }
        #expect(client.receive(writer.bytes) == "protocol")
        #expect(client.produceText() == ["GOAWAY 0 ENHANCE_YOUR_CALM"])
    }
}
