// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// What a head must be (RFC 9113 §8.2, §8.3; cases C03, C04, C06, C07, C13), against octets that no library would write.
@Suite struct HTTP2HeadRuleTests {
    struct Row: CustomTestStringConvertible {
        var name: String
        var fields: [(String, String)]
        var endStream = true
        /// `RST 1 …` for malformed, or the reason that is answered.
        var outcome = "RST 1 PROTOCOL_ERROR"
        var testDescription: String { name }

        init(_ name: String, _ fields: [(String, String)], endStream: Bool = true, _ outcome: String = "RST 1 PROTOCOL_ERROR") {
            self.name = name
            self.fields = fields
            self.endStream = endStream
            self.outcome = outcome
        }
    }

    static let m = (":method", "GET")
    static let s = (":scheme", "https")
    static let a = (":authority", "a")
    static let p = (":path", "/")

    @Test(arguments: [
        // C06
        Row("upper case", FrameWriter.get("/", [("X-A", "b")])),
        Row("NUL in a value", FrameWriter.get("/", [("x", "a\0b")])),
        Row("CR LF in a value", FrameWriter.get("/", [("x", "a\r\nb: c")])),
        Row("LF in a value", FrameWriter.get("/", [("x", "a\nb")])),
        Row("leading space", FrameWriter.get("/", [("x", " a")])),
        Row("trailing tab", FrameWriter.get("/", [("x", "a\t")])),
        Row("DEL in a value", FrameWriter.get("/", [("x", "a\u{7f}")])),
        Row("space in a name", FrameWriter.get("/", [("x y", "a")])),
        Row("colon in a name", FrameWriter.get("/", [("x:y", "a")])),
        Row("empty name", FrameWriter.get("/", [("", "a")])),
        Row("connection", FrameWriter.get("/", [("connection", "close")])),
        Row("keep-alive", FrameWriter.get("/", [("keep-alive", "1")])),
        Row("proxy-connection", FrameWriter.get("/", [("proxy-connection", "close")])),
        Row("upgrade", FrameWriter.get("/", [("upgrade", "h2c")])),
        Row("transfer-encoding", FrameWriter.post("/", [("transfer-encoding", "chunked")]), endStream: false),
        Row("te with more", FrameWriter.get("/", [("te", "trailers, gzip")])),
        Row("te gzip", FrameWriter.get("/", [("te", "gzip")])),
        // C07
        Row("empty path", [m, s, a, (":path", "")]),
        Row("asterisk with GET", [m, s, a, (":path", "*")]),
        Row("asterisk with a query", [(":method", "OPTIONS"), s, a, (":path", "*?a")]),
        Row("path without slash", [m, s, a, (":path", "a/b")]),
        Row("absolute path", [m, s, a, (":path", "https://a/")]),
        Row("fragment in the path", [m, s, a, (":path", "/a#b")]),
        Row("space in the path", [m, s, a, (":path", "/a b")]),
        Row("octet above 127 in the path", [m, s, a, (":path", "/ä")]),
        Row("no method", [s, a, p]),
        Row("no scheme", [m, a, p]),
        Row("no path", [m, s, a]),
        Row("no authority", [m, s, p]),
        Row("two methods", [m, m, s, a, p]),
        Row("two paths", [m, s, a, p, p]),
        Row("two authorities", [m, s, a, a, p]),
        Row("unknown pseudo-field", [m, s, a, p, (":x", "y")]),
        Row("response pseudo-field", [m, s, a, p, (":status", "200")]),
        Row("pseudo-field after a field", [m, s, a, ("x", "y"), p]),
        Row("scheme ftp", [m, (":scheme", "ftp"), a, p]),
        Row("bad scheme", [m, (":scheme", "ht tp"), a, p]),
        Row("method with a space", [(":method", "GET X"), s, a, p]),
        Row("empty method", [(":method", ""), s, a, p]),
        Row("method of 33 letters", [(":method", String(repeating: "M", count: 33)), s, a, p]),
        Row("port 0", [m, s, (":authority", "a:0"), p]),
        Row("port 65536", [m, s, (":authority", "a:65536"), p]),
        Row("empty port", [m, s, (":authority", "a:"), p]),
        Row("user information", [m, s, (":authority", "user:pw@a"), p]),
        Row("empty authority", [m, s, (":authority", ""), p]),
        Row("path in the authority", [m, s, (":authority", "a/b"), p]),
        Row("Host differs", [m, s, (":authority", "a"), p, ("host", "b")]),
        Row("Host differs by port", [m, s, (":authority", "a"), p, ("host", "a:444")]),
        Row("two Hosts", [m, s, p, ("host", "a"), ("host", "a")]),
        Row("bad Host alone", [m, s, p, ("host", "u@a")]),
        Row("content-length of letters", FrameWriter.post("/", [("content-length", "1x")]), endStream: false),
        Row("content-length negative", FrameWriter.post("/", [("content-length", "-1")]), endStream: false),
        Row("content-length beyond 63 bits", FrameWriter.post("/", [("content-length", "9223372036854775808")]), endStream: false),
        Row("two content-lengths", FrameWriter.post("/", [("content-length", "1"), ("content-length", "1")]), endStream: false),
        Row("content-length without a body", FrameWriter.post("/", [("content-length", "1")])),
        // C13
        Row("extended CONNECT", [(":method", "CONNECT"), (":protocol", "websocket"), s, a, p], endStream: false),
        Row(":protocol with GET", [m, (":protocol", "websocket"), s, a, p]),
        Row("CONNECT with a path", [(":method", "CONNECT"), s, a, p]),
        // What can be answered.
        Row("CONNECT", [(":method", "CONNECT"), (":authority", "a:443")], endStream: false, "request.method"),
        Row("TRACE", [(":method", "TRACE"), s, a, p], "request.method"),
        Row("expectation", FrameWriter.get("/", [("expect", "more")]), "request.expectation"),
        Row("long target", FrameWriter.get("/" + String(repeating: "a", count: 8_192)), "request.uri_too_long"),
        Row("101 fields", FrameWriter.get("/", (0..<101).map { ("x-\($0)", "") }), "request.header_too_large"),
        Row("201 crumbs", FrameWriter.get("/", (0..<201).map { ("cookie", "\($0)") }), "request.header_too_large"),
        // And what is right.
        Row("Host alone", [m, s, p, ("host", "a")], "ok"),
        Row("Host agrees", [m, s, (":authority", "a"), p, ("host", "A:443")], "ok"),
        Row("te: trailers", FrameWriter.get("/", [("te", "trailers")]), "ok"),
        Row("scheme in upper case", [m, (":scheme", "HTTPS"), a, p], "ok"),
        Row("target at the limit", FrameWriter.get("/" + String(repeating: "a", count: 8_191)), "ok"),
        Row(
            "100 fields, 200 crumbs",
            FrameWriter.get("/", (0..<100).map { ("x-\($0)", "") } + (0..<200).map { ("cookie", "\($0)") }), "ok"),
        Row("obs-text and empty values", FrameWriter.get("/", [("x", "\u{e4}"), ("y", "")]), "ok"),
        Row("method of 32 letters", [(":method", String(repeating: "M", count: 32)), s, a, p], "ok"),
    ])
    func requestHead(row: Row) {
        for piece in [Int.max, 1] {
            let server = Peer(server: true)
            var writer = FrameWriter.client()
            // Large heads over several frames.
            let block = FrameWriter.block(row.fields)
            writer.headers(1, block: Array(block.prefix(16_000)), endStream: row.endStream, endHeaders: block.count <= 16_000)
            if block.count > 16_000 { writer.continuation(1, block: Array(block.dropFirst(16_000)), endHeaders: true) }
            let verdict = server.receive(writer.bytes, piece: piece)
            #expect(verdict == "ok")
            let sent = server.produceText()
            let log = server.streams.first?.log ?? ""
            switch row.outcome {
            case "ok":
                #expect(sent == [] && log.hasPrefix("head ") && log.hasSuffix(row.endStream ? " END\n" : "\n"))
                #expect(server.session.budget.left == 200)
            case let outcome where outcome.hasPrefix("RST"):
                #expect(sent == [outcome])
                #expect(log == "closed PROTOCOL_ERROR\n")
                #expect(server.session.budget.left == 199, "one glitch, not two")
                #expect(server.streams[0].failure != nil)
            default:
                #expect(sent == [])
                #expect(log == "refused \(row.outcome)\(row.endStream ? " END" : "")\n")
            }
            // The connection goes on.
            var next = FrameWriter()
            next.headers(3, FrameWriter.get("/next"))
            #expect(server.receive(next.bytes) == "ok")
            #expect(server.streams.last?.log == "head GET https a.example /next none END\n")
        }
    }

    /// The list size of RFC 9113 §6.5.2, exactly: names, values and 32 for each.
    @Test(arguments: [(0, true), (1, false)])
    func headerBytesExact(excess: Int, fits: Bool) {
        let fields = FrameWriter.get("/", [("cookie", "12345"), ("x", "")])
        var limits = HeadLimits()
        limits.headerBytes = fields.reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 32 } - excess
        let server = Peer(server: true, limits: limits)
        var writer = FrameWriter.client()
        writer.headers(1, fields)
        server.receive(writer.bytes)
        #expect(server.streams[0].log.hasPrefix(fits ? "head" : "refused request.header_too_large"))
        let announced = Frame.read(server.produce())[0].payload
        let entry = stride(from: 0, to: announced.count, by: 6).map { Array(announced[$0..<($0 + 6)]) }.first { $0[1] == 6 }
        #expect(entry.map { Frame.number($0[2...]) } == limits.headerBytes)
    }

    /// A 431 can be sent to a client that goes on sending: its body is taken and dropped, with credit.
    @Test func refusedHeadIsAnswered() {
        let server = Peer(server: true)
        server.onRefused = { stream, failure in
            server.respond(stream, failure.reason.httpStatus, body: "no")
            if !stream.isRemoteEnded { server.session.reset(stream, code: .noError) }
        }
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post("/", (0..<101).map { ("x-\($0)", "") }), endStream: false)
        writer.data(1, Array(repeating: 0, count: 1_000))
        server.receive(writer.bytes)
        #expect(server.produceText() == ["HEADERS 1", "DATA 1 2 END", "RST 1 NO_ERROR"])
        #expect(server.streams[0].log == "refused request.header_too_large\nclosed NO_ERROR\n")
        #expect(server.streams[0].unconsumedBytes == 0)
    }

    /// Whether it is answered or not, nothing of a refused request is handed on.
    @Test func refusedRequestIsDropped() {
        let server = Peer(server: true)
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post("/", [("expect", "more")]), endStream: false)
        writer.data(1, Array(repeating: 0, count: 1_000))
        writer.data(1, [1], endStream: true)
        server.receive(writer.bytes)
        #expect(server.streams[0].log == "refused request.expectation\n")
        #expect(server.streams[0].body.isEmpty && server.streams[0].unconsumedBytes == 0 && server.streams[0].isRemoteEnded)
    }

    /// Case C04: one entry in the dynamic table and thousands of one-octet references to it.
    @Test(arguments: ["x-bomb", "cookie"], [false, true])
    func indexBomb(name: String, inTrailers: Bool) {
        let value = String(repeating: "v", count: 4_000)
        // Literal with incremental indexing (RFC 7541 §6.2.1), then index 62.
        let bomb =
            [0x40] + FrameWriter.text(Array(name.utf8)) + FrameWriter.text(Array(value.utf8))
            + Array(repeating: 0xbe, count: 10_000)
        var writer = FrameWriter.client()
        if inTrailers {
            writer.headers(1, FrameWriter.post(), endStream: false)
            writer.headers(1, block: bomb)
        } else {
            writer.headers(1, block: FrameWriter.block(FrameWriter.get()) + bomb)
        }
        let server = Peer(server: true)
        #expect(server.receive(writer.bytes) == "ok")
        #expect(server.produceText() == ["RST 1 ENHANCE_YOUR_CALM"])
        let stream = server.streams[0]
        #expect(stream.log.hasSuffix("closed ENHANCE_YOUR_CALM\n"))
        #expect(stream.failure?.reason == .requestHeaderTooLarge)
        let held = stream.requestHead.fields.arena.capacity + stream.trailers.arena.capacity
        #expect(held <= 2 * 65_536 + 8_192)
        // The decoder is still in step.
        var next = FrameWriter()
        next.headers(3, FrameWriter.get("/next"))
        #expect(server.receive(next.bytes) == "ok")
        #expect(server.streams.last?.log == "head GET https a.example /next none END\n")
    }

    /// Trailers a little over a limit are refused as well; there is nothing to answer any more.
    @Test func trailersOverTheLimit() {
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post(), endStream: false)
        writer.headers(1, (0..<101).map { ("x-\($0)", "") })
        let server = Peer(server: true)
        server.receive(writer.bytes)
        #expect(server.produceText() == ["RST 1 ENHANCE_YOUR_CALM"])
        #expect(server.streams[0].log == "head POST https a.example / stream\nclosed ENHANCE_YOUR_CALM\n")
    }

    @Test(arguments: [
        ([(":path", "/")], true), ([("x", "y")], false), ([("X", "y")], true), ([("connection", "x")], true),
    ])
    func badTrailers(fields: [(String, String)], endStream: Bool) {
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post(), endStream: false)
        writer.headers(1, fields, endStream: endStream)
        let server = Peer(server: true)
        server.receive(writer.bytes)
        #expect(server.produceText() == ["RST 1 PROTOCOL_ERROR"])
    }

    /// Case B13.
    @Test func trailersThatMayNotBe() {
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post(), endStream: false)
        writer.headers(1, [("content-type", "a"), ("authorization", "b"), ("x-sum", "1"), ("host", "c"), ("cookie", "d")])
        let server = Peer(server: true)
        server.receive(writer.bytes)
        #expect(server.streams[0].log == "head POST https a.example / stream\nend 0 [x-sum: 1]\n")
    }

    struct ResponseRow {
        var fields: [(String, String)]
        var endStream = true
        var log: String
    }

    @Test(arguments: [
        ResponseRow(fields: [(":status", "200")], log: "head 200 length 0 END|closed NO_ERROR"),
        ResponseRow(fields: [("x", "y")], log: "closed PROTOCOL_ERROR"),
        ResponseRow(fields: [(":status", "20")], log: "closed PROTOCOL_ERROR"),
        ResponseRow(fields: [(":status", "099")], log: "closed PROTOCOL_ERROR"),
        ResponseRow(fields: [(":status", "600")], log: "closed PROTOCOL_ERROR"),
        ResponseRow(fields: [(":status", "101")], endStream: false, log: "closed PROTOCOL_ERROR"),
        ResponseRow(fields: [(":status", "100")], log: "closed PROTOCOL_ERROR"),
        ResponseRow(fields: [(":status", "200"), ("connection", "close")], log: "closed PROTOCOL_ERROR"),
        ResponseRow(fields: [(":status", "200"), ("x", "a\r\nb")], log: "closed PROTOCOL_ERROR"),
        ResponseRow(fields: [(":status", "200"), ("content-length", "3")], log: "closed PROTOCOL_ERROR"),
        // Case B12: an upstream's head over the limit is its fault.
        ResponseRow(fields: [(":status", "200")] + (0..<101).map { ("x-\($0)", "") }, log: "closed PROTOCOL_ERROR"),
    ])
    func response(row: ResponseRow) throws {
        let client = Peer(server: false)
        let stream = try #require(client.open())
        _ = client.produce()
        var writer = FrameWriter()
        writer.settings()
        writer.headers(1, row.fields, endStream: row.endStream)
        client.receive(writer.bytes)
        _ = client.produce()
        #expect(stream.log == row.log.split(separator: "|").joined(separator: "\n") + "\n")
        if !row.log.hasSuffix("NO_ERROR") { #expect(stream.failure?.reason == .protocolError) }
        #expect(client.session.openStreams == 0)
    }

    /// Case B06: a thousand interim responses.
    @Test func tooManyInterimResponses() throws {
        let client = Peer(server: false)
        let stream = try #require(client.open())
        _ = client.produce()
        var writer = FrameWriter()
        writer.settings()
        for _ in 0..<1_000 { writer.headers(1, [(":status", "103")], endStream: false) }
        client.receive(writer.bytes)
        #expect(client.produceText() == ["RST 1 ENHANCE_YOUR_CALM"])
        #expect(stream.log.split(separator: "\n").count == 17)
    }

    /// A body that is not as long as its content-length said, in both directions of lying.
    @Test(arguments: [2, 4])
    func contentLengthMismatch(sent: Int) {
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post("/", [("content-length", "3")]), endStream: false)
        writer.data(1, Array(repeating: 0, count: sent), endStream: true)
        let server = Peer(server: true)
        server.receive(writer.bytes)
        #expect(server.produceText() == ["RST 1 PROTOCOL_ERROR"])
        #expect(server.streams[0].log == "head POST https a.example / length 3 [content-length: 3]\nclosed PROTOCOL_ERROR\n")
        #expect(!server.streams[0].isRemoteEnded)
        #expect(server.session.budget.left == 199)
    }

    /// Case C03: eight CONTINUATION frames are taken and nine are not, however their octets arrive.
    @Test(arguments: [8, 9, 1_000], [1, 4, Int.max])
    func continuationFlood(count: Int, piece: Int) {
        let field = [0] + FrameWriter.text([120]) + FrameWriter.text([])
        var writer = FrameWriter.client()
        writer.headers(1, block: FrameWriter.block(FrameWriter.get()), endHeaders: false)
        for i in 1...count { writer.continuation(1, block: field, endHeaders: i == count) }
        let server = Peer(server: true)
        let verdict = server.receive(writer.bytes, piece: piece)
        #expect(verdict == (count == 8 ? "ok" : "client.flood"))
        #expect(server.produceText() == (count == 8 ? [] : ["GOAWAY 1 ENHANCE_YOUR_CALM"]))
        #expect(server.session.isFinished == (count > 8))
        #expect((server.streams[0].log != "") == (count == 8))
    }

    /// The limit is one head's.
    @Test func continuationsOfManyHeads() {
        var writer = FrameWriter.client()
        for i in 0..<20 {
            writer.headers(2 * i + 1, block: FrameWriter.block(FrameWriter.get()), endHeaders: false)
            for k in 1...8 { writer.continuation(2 * i + 1, block: [], endHeaders: k == 8) }
        }
        let server = Peer(server: true)
        #expect(server.receive(writer.bytes, piece: 5) == "ok")
        #expect(server.session.openStreams == 20)
    }

    /// The same behind a head that is skipped.
    @Test(arguments: [1, Int.max])
    func continuationFloodOfASkippedHead(piece: Int) {
        let server = Peer(server: true)
        server.acceptsStreams = false
        var writer = FrameWriter.client()
        writer.headers(1, block: FrameWriter.block(FrameWriter.get()), endHeaders: false)
        for _ in 0..<1_000 { writer.continuation(1, block: [], endHeaders: false) }
        #expect(server.receive(writer.bytes, piece: piece) == "client.flood")
        #expect(server.produceText().last == "GOAWAY 1 ENHANCE_YOUR_CALM")
    }
}
