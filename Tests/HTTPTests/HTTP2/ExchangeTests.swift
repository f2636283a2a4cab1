// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// Whole exchanges, a client session to a server session.
@Suite struct HTTP2ExchangeTests {
    @Test func getAndItsAnswer() throws {
        let wire = Wire()
        wire.server.onEnd = { wire.server.respond($0, 200, [("content-type", "text/plain")], body: "hello") }
        let stream = try #require(wire.client.open("GET", "/a/b?x=1", [("accept", "*/*")]))
        wire.pump()
        #expect(
            wire.server.streams[0].log == """
                head GET https a.example /a/b?x=1 none [accept: */*] END
                closed NO_ERROR

                """)
        #expect(
            stream.log == """
                head 200 stream [content-type: text/plain]
                end 5
                closed NO_ERROR

                """)
        #expect(stream.text == "hello")
        #expect(wire.server.session.openStreams == 0)
        #expect(wire.server.session.activeStreamCount == 0)
        #expect(wire.client.session.openStreams == 0)
    }

    @Test func postWithLengthTrailersAndInterim() throws {
        let wire = Wire()
        wire.server.onHead = { stream, _ in
            wire.server.session.inform(stream, head: responseHead(103, [("link", "</s.css>")]))
        }
        wire.server.onEnd = { stream in
            wire.server.respond(
                stream, 200, [("content-length", "4")], body: stream.text, trailers: [("grpc-status", "0"), ("x-sum", "9")])
        }
        let stream = try #require(wire.client.open("POST", "/p", [("content-length", "4")], endStream: false))
        wire.client.write(stream, Array("ab".utf8))
        wire.pump()
        wire.client.write(stream, Array("cd".utf8), end: true, trailers: [("x-check", "1")])
        wire.pump()
        #expect(
            wire.server.streams[0].log == """
                head POST https a.example /p length 4 [content-length: 4]
                end 4 [x-check: 1]
                closed NO_ERROR

                """)
        #expect(
            stream.log == """
                info 103 none [link: </s.css>]
                head 200 length 4 [content-length: 4]
                end 4 [grpc-status: 0] [x-sum: 9]
                closed NO_ERROR

                """)
        #expect(stream.text == "abcd")
    }

    struct Answer {
        var method = "GET"
        var status = 200
        var fields: [(String, String)] = []
        var framing: BodyFraming?
        var body: String?
        var trailers: [(String, String)] = []
        var log: String
    }

    @Test(arguments: [
        Answer(log: "head 200 length 0 END"),
        Answer(fields: [("content-length", "0")], log: "head 200 length 0 [content-length: 0] END"),
        Answer(body: "", log: "head 200 stream|end 0"),
        Answer(body: "xy", log: "head 200 stream|end 2"),
        Answer(method: "HEAD", fields: [("content-length", "7")], log: "head 200 none [content-length: 7] END"),
        Answer(
            method: "HEAD", fields: [("content-length", "7")], framing: BodyFraming.none,
            log: "head 200 none [content-length: 7] END"),
        Answer(status: 204, log: "head 204 none END"),
        Answer(status: 304, fields: [("etag", "\"a\"")], log: "head 304 none [etag: \"a\"] END"),
        Answer(
            status: 304, fields: [("content-length", "7")], framing: BodyFraming.none, log: "head 304 none [content-length: 7] END"),
        Answer(fields: [("grpc-status", "14")], log: "head 200 length 0 [grpc-status: 14] END"),
        Answer(trailers: [("grpc-status", "0")], log: "head 200 stream|end 0 [grpc-status: 0]"),
        Answer(
            fields: [
                ("connection", "close, x"), ("keep-alive", "5"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"),
                ("proxy-connection", "close"), ("trailer", "x"), ("x", "1"),
            ], log: "head 200 length 0 [x: 1] END"),
        Answer(fields: [("X-Upper", "A")], log: "head 200 length 0 [x-upper: A] END"),
        Answer(status: 599, log: "head 599 length 0 END"),
        Answer(
            fields: [("set-cookie", "a=1"), ("set-cookie", "b=2")], log: "head 200 length 0 [set-cookie: a=1] [set-cookie: b=2] END"
        ),
    ])
    func answers(row: Answer) throws {
        let wire = Wire()
        wire.server.onEnd = { stream in
            let head = responseHead(row.status, row.fields)
            if let framing = row.framing { head.framing = framing }
            for (name, value) in row.trailers { stream.outboundTrailers.append(name, value) }
            if let body = row.body { stream.outbound.append(utf8: body) }
            stream.outboundEnded = true
            wire.server.session.respond(stream, head: head, endStream: row.body == nil && row.trailers.isEmpty)
        }
        let stream = try #require(wire.client.open(row.method))
        wire.pump()
        let expected = row.log.split(separator: "|").joined(separator: "\n") + "\nclosed NO_ERROR\n"
        #expect(stream.log == expected)
        #expect(stream.isRemoteEnded && stream.isLocalEnded)
    }

    struct Request {
        var method = "GET"
        var path = "/"
        var fields: [(String, String)] = []
        var authority = "a.example"
        var acceptsTrailers = false
        var isHTTPS: Bool?
        var log: String
    }

    @Test(arguments: [
        Request(method: "OPTIONS", path: "*", log: "OPTIONS https a.example * none"),
        Request(method: "PROPFIND", path: "/a?", log: "PROPFIND https a.example /a? none"),
        Request(path: "/?a=?", log: "GET https a.example /?a=? none"),
        Request(authority: "[::1]:8080", isHTTPS: false, log: "GET http [::1]:8080 / none"),
        Request(acceptsTrailers: true, log: "GET https a.example / none [te: trailers]"),
        Request(
            fields: [
                ("connection", "x"), ("host", "other"), ("keep-alive", "1"), ("te", "gzip"), ("upgrade", "websocket"),
                ("http2-settings", "AAA"), ("expect", "100-continue"), ("x", "y"),
            ], log: "GET https a.example / none [x: y]"),
        Request(fields: [("cookie", "a=1; b=2")], log: "GET https a.example / none [cookie: a=1; b=2]"),
        Request(fields: [("content-length", "5")], log: "GET https a.example / none"),
        Request(fields: [("content-length", "0")], log: "GET https a.example / length 0 [content-length: 0]"),
    ])
    func requests(row: Request) throws {
        let wire = Wire()
        let stream = RecordingStream(wire.client)
        let head = requestHead(row.method, row.path, row.fields, authority: row.authority)
        head.acceptsTrailers = row.acceptsTrailers
        let isOpen = wire.client.session.open(stream, head: head, endStream: true, isHTTPS: row.isHTTPS)
        #expect(isOpen && stream.id == 1)
        wire.pump()
        #expect(wire.server.streams[0].log == "head \(row.log) END\n")
        let parts = wire.server.streams[0].requestHead.parts
        #expect(parts.version == .http2 && parts.acceptsTrailers)
    }

    @Test func otherPathAndAuthority() throws {
        let wire = Wire()
        let stream = RecordingStream(wire.client)
        let head = requestHead("GET", "/public/x?q=1")
        let isOpen = wire.client.session.open(
            stream, head: head, endStream: true, path: Array("/internal/x".utf8).span, authority: Array("b:81".utf8).span)
        #expect(isOpen)
        wire.pump()
        #expect(wire.server.streams[0].log == "head GET https b:81 /internal/x?q=1 none END\n")
    }

    /// Case C08, and that a hundred crumbs are fine (C04).
    @Test func cookieCrumbsAreJoined() throws {
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.get("/", [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]))
        writer.headers(3, FrameWriter.get("/", (0..<100).map { ("cookie", "c\($0)=\($0)") }))
        let server = Peer(server: true)
        #expect(server.receive(writer.bytes) == "ok")
        #expect(server.streams[0].log == "head GET https a.example / none [x: y] [cookie: a=1; b=2] END\n")
        let joined = (0..<100).map { "c\($0)=\($0)" }.joined(separator: "; ")
        #expect(server.streams[1].log == "head GET https a.example / none [cookie: \(joined)] END\n")
    }

    /// An answer before the end of its request (case B08): the client gets it whole, then RST_STREAM NO_ERROR.
    @Test func earlyAnswer() throws {
        let wire = Wire()
        wire.server.onHead = { stream, _ in
            wire.server.respond(stream, 413, body: String(repeating: "x", count: 40_000))
            wire.server.session.reset(stream, code: .noError)
        }
        let stream = try #require(wire.client.open("POST", "/", endStream: false))
        wire.client.write(stream, Array(repeating: 1, count: 10_000))
        wire.pump()
        #expect(stream.log == "head 413 stream\nend 40000\nclosed NO_ERROR\n")
        #expect(stream.isRemoteEnded && !stream.isLocalEnded)
        #expect(wire.server.streams[0].body.isEmpty)
        #expect(wire.server.session.activeStreamCount == 0)
        #expect(wire.server.session.budget.left == 200)
    }

    /// A request's `expect` is for us to answer.
    @Test func expectation() {
        var writer = FrameWriter.client()
        writer.headers(1, FrameWriter.post("/", [("expect", "100-continue"), ("content-length", "5")]), endStream: false)
        writer.headers(3, FrameWriter.post("/", [("expect", "100-continue")]))
        let server = Peer(server: true)
        #expect(server.receive(writer.bytes) == "ok")
        #expect(
            server.streams[0].log == "head POST https a.example / length 5 expects [expect: 100-continue] [content-length: 5]\n")
        #expect(server.streams[1].log == "head POST https a.example / none [expect: 100-continue] END\n")
    }

    /// Promise P2, for frames: the same events however the octets arrive.
    @Test(arguments: [1, 2, 3, 7, 9, 10, 64, 1_000])
    func arrivalInPieces(piece: Int) throws {
        func run(piece: Int) throws -> String {
            let wire = Wire()
            wire.server.onEnd = { wire.server.respond($0, 200, [("x", "y")], body: $0.text + "!", trailers: [("t", "1")]) }
            wire.server.onHead = { stream, _ in wire.server.session.inform(stream, head: responseHead(102)) }
            for i in 0..<3 {
                let stream = try #require(wire.client.open("POST", "/\(i)", [("cookie", "a")], endStream: false))
                wire.client.write(stream, Array(repeating: UInt8(i + 65), count: 700 * i), end: true, trailers: [("q", "2")])
            }
            wire.pump(piece: piece)
            return wire.server.log + wire.client.log + wire.client.streams.map(\.text).joined()
        }
        #expect(try run(piece: piece) == run(piece: .max))
    }

    @Test func cutAtEveryPosition() {
        var writer = FrameWriter.client([(3, 10)])
        writer.headers(1, FrameWriter.post("/a?b", [("cookie", "x"), ("cookie", "y")]), endStream: false)
        writer.data(1, [1, 2, 3])
        writer.headers(1, [("x-t", "1")])
        writer.ping()
        let block = FrameWriter.block(FrameWriter.get("/c"))
        writer.headers(3, block: Array(block[0..<10]), endHeaders: false)
        writer.continuation(3, block: Array(block[10...]), endHeaders: true)
        let whole = Peer(server: true)
        whole.receive(writer.bytes)
        let frames = whole.produceText()
        #expect(whole.log.contains("3 head GET https a.example /c none END"))
        for cut in 1..<writer.bytes.count {
            let server = Peer(server: true)
            server.receive(Array(writer.bytes[..<cut]))
            server.receive(Array(writer.bytes[cut...]))
            #expect(server.log == whole.log, "cut at \(cut)")
            #expect(server.produceText() == frames, "cut at \(cut)")
        }
    }

    /// All streams with something to send take turns, and one `produce` carries them all.
    @Test func streamsTakeTurns() throws {
        var settings = HTTP2Settings()
        settings.streamWindowBytes = 1 << 20
        settings.connectionWindowBytes = 8 << 20
        let wire = Wire(client: settings)
        wire.server.onEnd = { wire.server.respond($0, body: String(repeating: "x", count: 65_536)) }
        for i in 0..<4 { _ = try #require(wire.client.open("GET", "/\(i)")) }
        wire.server.receive(wire.client.produce())
        let frames = Frame.read(wire.server.produce()).filter { $0.kind == 0 }
        #expect(frames.map(\.id) == [1, 3, 5, 7, 1, 3, 5, 7, 1, 3, 5, 7, 1, 3, 5, 7])
        #expect(frames.allSatisfy { $0.payload.count == 16_384 })
    }

    /// `produce` stops about the limit and goes on where it stopped.
    @Test func softLimit() throws {
        let wire = Wire()
        wire.server.onEnd = { wire.server.respond($0, body: String(repeating: "x", count: 60_000)) }
        let stream = try #require(wire.client.open())
        wire.server.receive(wire.client.produce())
        var sizes: [Int] = []
        while true {
            var output = ByteBuffer()
            let more = wire.server.session.produce(into: &output, limit: 20_000)
            sizes.append(output.count)
            wire.client.receive(copy(output))
            if !more { break }
        }
        #expect(sizes.count == 2 && sizes.allSatisfy { $0 < 20_000 + 16_384 + 9 })
        #expect(stream.body.count == 60_000)
    }

    /// Frames follow what the peer takes.
    @Test func largeFrames() throws {
        var settings = HTTP2Settings()
        settings.maximumFrameBytes = 1 << 20
        let wire = Wire(server: settings, client: settings)
        wire.server.onEnd = { wire.server.respond($0, body: $0.text) }
        let stream = try #require(wire.client.open("POST", "/", endStream: false))
        wire.client.write(stream, Array(repeating: 65, count: 100_000), end: true)
        wire.pump()
        #expect(stream.text.utf8.count == 100_000)
    }

    @Test func streamObjectsAreReleased() throws {
        let census: Census
        do {
            let wire = Wire()
            census = wire.census
            wire.server.onEnd = { wire.server.respond($0, body: "a") }
            for _ in 0..<50 { _ = try #require(wire.client.open()) }
            wire.pump()
            wire.client.forgetStreams()
            wire.server.forgetStreams()
            #expect(census.living == 0)
            // And those that are still open when all ends.
            wire.server.onEnd = nil
            for _ in 0..<50 { _ = try #require(wire.client.open("POST", "/", endStream: false)) }
            wire.pump()
            wire.client.forgetStreams()
            wire.server.forgetStreams()
            #expect(census.living == 100)
            wire.client.session.connectionClosed()
            #expect(census.living == 50)
        }
        #expect(census.living == 0)
    }

    @Test func ping() {
        let wire = Wire()
        wire.client.session.ping()
        #expect(wire.client.session.isPingOutstanding)
        wire.client.session.ping()
        wire.pump()
        #expect(wire.client.log == "settings\npong\n")
        #expect(!wire.client.session.isPingOutstanding)
        #expect(wire.client.session.settingsAcknowledged && wire.server.session.peerSettingsReceived)
    }
}
