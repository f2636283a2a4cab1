// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// What the encoder writes, byte for byte.
struct EncoderTests {
    /// The head of a request as the decoder understands it.
    static func request(_ text: String) -> RequestHead {
        var decoder = RequestDecoder(limits: HeadLimits())
        let head = RequestHead()
        var trailers = FieldSection()
        let input = wire(text)
        guard case (_, .head) = decoder.next(input.span, into: head, trailers: &trailers) else {
            Issue.record("not a request: \(text)")
            return head
        }
        return head
    }

    static func response(_ text: String, to method: HTTP.Method = .get) -> ResponseHead {
        var decoder = ResponseDecoder(limits: HeadLimits())
        decoder.begin(requestMethod: method)
        let head = ResponseHead()
        var trailers = FieldSection()
        let input = wire(text)
        guard case (_, .head) = decoder.next(input.span, into: head, trailers: &trailers) else {
            Issue.record("not a response: \(text)")
            return head
        }
        return head
    }

    private func encoded(_ write: (inout ByteBuffer) -> Void) -> String {
        var output = ByteBuffer()
        write(&output)
        return printable(bytes(output)).replacing("\\r\\n", with: "⏎")
    }

    @Test(arguments: [
        ("GET /a?b HTTP/1.1⏎Host: h:80⏎Accept: */*⏎X-Y:z⏎⏎", "GET /a?b HTTP/1.1⏎host: h:80⏎accept: */*⏎x-y: z⏎⏎"),
        ("GET /a? HTTP/1.0⏎⏎", "GET /a? HTTP/1.1⏎host: ⏎⏎"),
        ("POST / HTTP/1.1⏎Host: h⏎⏎", "POST / HTTP/1.1⏎host: h⏎content-length: 0⏎⏎"),
        ("PUT / HTTP/1.1⏎Host: h⏎Content-Length: 007⏎A: b⏎⏎", "PUT / HTTP/1.1⏎host: h⏎a: b⏎content-length: 7⏎⏎"),
        ("FOO / HTTP/1.1⏎Host: h⏎Transfer-Encoding: Chunked⏎⏎", "FOO / HTTP/1.1⏎host: h⏎transfer-encoding: chunked⏎⏎"),
        ("GET http://h/x HTTP/1.1⏎Host: H⏎⏎", "GET /x HTTP/1.1⏎host: h⏎⏎"),
        ("OPTIONS http://h HTTP/1.1⏎Host: h⏎⏎", "OPTIONS * HTTP/1.1⏎host: h⏎⏎"),
        ("GET / HTTP/1.1⏎TE: trailers⏎Host: h⏎Connection: te⏎⏎", "GET / HTTP/1.1⏎host: h⏎te: trailers⏎connection: te⏎⏎"),
        // Not even an unstripped head lets another's connection fields through.
        (
            "POST / HTTP/1.1⏎Host: h⏎Connection: close, upgrade⏎Upgrade: h2c⏎HTTP2-Settings: x⏎Keep-Alive: 5⏎Proxy-Connection: a⏎Trailer: b⏎Expect: 100-continue⏎Content-Length: 1⏎⏎",
            "POST / HTTP/1.1⏎host: h⏎content-length: 1⏎⏎"
        ),
        ("GET / HTTP/1.1⏎Host: h⏎A:  b ⏎C: d⏎E:⏎F: ⏎⏎", "GET / HTTP/1.1⏎host: h⏎a: b⏎c: d⏎e: ⏎f: ⏎⏎"),
    ])
    func writesRequests(source: String, expected: String) {
        let head = EncoderTests.request(source)
        #expect(encoded { HTTP1Encoder.encodeRequest(head, into: &$0) } == expected)
    }

    @Test func writesRequestsWithOtherPathAndAuthority() {
        let head = EncoderTests.request("POST /public/a?q=1 HTTP/1.1⏎Host: edge⏎TE: trailers⏎Content-Length: 4⏎⏎")
        let path = wire("/a")
        let authority = wire("users.internal:9001")
        let text = encoded {
            HTTP1Encoder.encodeRequest(
                head, path: path.span, authority: authority.span, framing: .length(4), keepsConnection: false,
                expectsContinue: true, into: &$0)
        }
        #expect(
            text
                == "POST /a?q=1 HTTP/1.1⏎host: users.internal:9001⏎content-length: 4⏎expect: 100-continue⏎te: trailers⏎connection: te, close⏎⏎"
        )
        #expect(encoded { HTTP1Encoder.encodeRequest(head, endStream: true, into: &$0) }.contains("⏎content-length: 0⏎"))
    }

    struct ResponseCase: Sendable {
        var source = "HTTP/1.1 200 Fine⏎Content-Length: 5⏎X: y⏎⏎"
        var framing: BodyFraming
        var method = HTTP.Method.get
        var version = HTTPVersion.http11
        var keeps = true
        var expected: String
    }

    @Test(arguments: [
        ResponseCase(framing: .length(5), expected: "HTTP/1.1 200 OK⏎x: y⏎content-length: 5⏎⏎"),
        ResponseCase(framing: .length(5), keeps: false, expected: "HTTP/1.1 200 OK⏎x: y⏎content-length: 5⏎connection: close⏎⏎"),
        ResponseCase(
            framing: .length(5), version: .http10, expected: "HTTP/1.1 200 OK⏎x: y⏎content-length: 5⏎connection: keep-alive⏎⏎"),
        ResponseCase(
            framing: .length(5), version: .http10, keeps: false,
            expected: "HTTP/1.1 200 OK⏎x: y⏎content-length: 5⏎connection: close⏎⏎"),
        ResponseCase(framing: .stream, expected: "HTTP/1.1 200 OK⏎x: y⏎transfer-encoding: chunked⏎⏎"),
        ResponseCase(framing: .stream, version: .http10, expected: "HTTP/1.1 200 OK⏎x: y⏎connection: close⏎⏎"),
        ResponseCase(framing: .untilClose, expected: "HTTP/1.1 200 OK⏎x: y⏎connection: close⏎⏎"),
        ResponseCase(framing: .none, expected: "HTTP/1.1 200 OK⏎x: y⏎content-length: 0⏎⏎"),
        // Answers that have no body, and may say what one would have been.
        ResponseCase(framing: .none, method: .head, expected: "HTTP/1.1 200 OK⏎x: y⏎content-length: 5⏎⏎"),
        ResponseCase(framing: .length(7), method: .head, expected: "HTTP/1.1 200 OK⏎x: y⏎content-length: 7⏎⏎"),
        ResponseCase(framing: .stream, method: .head, expected: "HTTP/1.1 200 OK⏎x: y⏎⏎"),
        ResponseCase(framing: .untilClose, method: .head, expected: "HTTP/1.1 200 OK⏎x: y⏎⏎"),
        ResponseCase(
            source: "HTTP/1.1 304 X⏎Content-Length: 05⏎⏎", framing: .none, expected: "HTTP/1.1 304 Not Modified⏎content-length: 5⏎⏎"
        ),
        ResponseCase(source: "HTTP/1.1 304 X⏎⏎", framing: .none, expected: "HTTP/1.1 304 Not Modified⏎⏎"),
        ResponseCase(source: "HTTP/1.1 204 X⏎Content-Length: 5⏎⏎", framing: .none, expected: "HTTP/1.1 204 No Content⏎⏎"),
        ResponseCase(source: "HTTP/1.1 204 X⏎⏎", framing: .length(0), expected: "HTTP/1.1 204 No Content⏎⏎"),
        // Reason phrases are ours; unknown statuses have none, but their space.
        ResponseCase(source: "HTTP/1.1 299 Odd⏎⏎", framing: .length(0), expected: "HTTP/1.1 299 ⏎content-length: 0⏎⏎"),
        ResponseCase(
            source: "HTTP/1.1 503 X⏎Connection: foo⏎Keep-Alive: 1⏎Transfer-Encoding: chunked⏎Upgrade: a⏎⏎", framing: .stream,
            expected: "HTTP/1.1 503 Service Unavailable⏎transfer-encoding: chunked⏎⏎"),
    ])
    func writesResponses(row: ResponseCase) {
        let head = EncoderTests.response(row.source, to: row.method)
        let text = encoded {
            HTTP1Encoder.encodeResponse(
                head, framing: row.framing, requestMethod: row.method, version: row.version, keepsConnection: row.keeps, into: &$0)
        }
        #expect(text == row.expected)
    }

    @Test func writesInterimResponses() {
        let head = ResponseHead()
        head.status = 103
        head.fields.append("Link", "</a>; rel=preload")
        head.fields.append(.contentLength, "5")
        #expect(
            encoded { HTTP1Encoder.encodeInformational(head, into: &$0) } == "HTTP/1.1 103 Early Hints⏎link: </a>; rel=preload⏎⏎")
    }

    @Test func writesChunks() {
        let long = [UInt8](repeating: 65, count: 255)
        #expect(encoded { HTTP1Encoder.encodeChunk(wire("hello").span, into: &$0) } == "5⏎hello⏎")
        #expect(encoded { HTTP1Encoder.encodeChunk(long.span, into: &$0) }.hasPrefix("ff⏎AAA"))
        #expect(encoded { HTTP1Encoder.encodeChunk([UInt8]().span, into: &$0) } == "")  // would end the body
        #expect(encoded { HTTP1Encoder.encodeLastChunk(into: &$0) } == "0⏎⏎")
        #expect(
            encoded {
                var trailers = FieldSection()
                trailers.append("Grpc-Status", "0")
                trailers.append(.transferEncoding, "gzip")
                HTTP1Encoder.encodeLastChunk(trailers: trailers, into: &$0)
            } == "0⏎grpc-status: 0⏎⏎")
    }

    /// Whoever made a value, it cannot end its line (case E25).
    @Test func valuesCannotEndTheirLine() {
        let head = ResponseHead()
        head.fields.append("X-A", "b\r\nSet-Cookie: c\0d\te")
        head.fields.append("X-B", "f")
        let text = encoded {
            HTTP1Encoder.encodeResponse(
                head, framing: .length(0), requestMethod: .get, version: .http11, keepsConnection: true, into: &$0)
        }
        #expect(text == "HTTP/1.1 200 OK⏎x-a: b  Set-Cookie: c d\\x9e⏎x-b: f⏎content-length: 0⏎⏎")
    }

    /// Fields that stand in the arena as lines are written in runs; removed and added ones must break and join them rightly.
    @Test func runsOfLinesKeepTheirFields() {
        let head = EncoderTests.request("GET / HTTP/1.1⏎A: 1⏎B: 2⏎Host: h⏎C:3⏎D: 4⏎E: 5⏎⏎")
        head.fields.remove(at: head.fields.first(named: wire("d").span) ?? -1)
        head.fields.append(.via, "1.1 holdfast")
        head.fields.append("X-Z", "9")
        #expect(
            encoded { HTTP1Encoder.encodeRequest(head, into: &$0) }
                == "GET / HTTP/1.1⏎host: h⏎a: 1⏎b: 2⏎c: 3⏎e: 5⏎via: 1.1 holdfast⏎x-z: 9⏎⏎")
        head.fields.remove(at: 0)
        head.fields.removeAll(.via)
        #expect(
            encoded { HTTP1Encoder.encodeRequest(head, into: &$0) }
                == "GET / HTTP/1.1⏎host: h⏎b: 2⏎c: 3⏎e: 5⏎x-z: 9⏎⏎")
    }

    @Test func everyStatusHasALine() {
        for status in 100...599 {
            let head = ResponseHead()
            head.status = status
            let text = encoded {
                HTTP1Encoder.encodeResponse(
                    head, framing: .none, requestMethod: .get, version: .http11, keepsConnection: true, into: &$0)
            }
            #expect(text.hasPrefix("HTTP/1.1 \(status) "))
        }
    }
}

/// Stripping of what is meant for one connection (RFC 9110 §7.6.1, case A17).
struct ConnectionFieldsTests {
    @Test(arguments: [
        ("Connection: keep-alive, foo⏎foo: bar⏎X: y", " [x: y]"),
        ("X: y⏎Foo: bar⏎FOO: baz⏎Connection: fOO", " [x: y]"),
        ("Connection: close, close⏎Close: a⏎X: y", " [close: a] [x: y]"),
        ("Connection: x y⏎X: y", " [x: y]"),
        ("Connection:⏎X: y", " [x: y]"),
        ("Connection: , ,→foo ,⏎Foo: b⏎X: y", " [x: y]"),
        ("Connection: a⏎Connection: b⏎A: 1⏎B: 2⏎AB: 3", " [ab: 3]"),
        ("Keep-Alive: timeout=5⏎Proxy-Connection: keep-alive⏎TE: trailers⏎Trailer: X⏎Transfer-Encoding: chunked⏎X: y", " [x: y]"),
        ("Upgrade: websocket⏎HTTP2-Settings: AAMAAABk⏎Connection: Upgrade, HTTP2-Settings⏎X: y", " [x: y]"),
        ("Upgrade: h2c⏎X: y", " [x: y]"),  // case A24: nominated or not
        ("Proxy-Authorization: Basic x⏎Proxy-Authenticate: Basic⏎Proxy-Authentication-Info: a⏎X: y", " [x: y]"),
        (
            "Connection: Authorization, Cookie, Content-Type, Date, Via⏎Authorization: a⏎Cookie: b⏎Content-Type: c⏎Via: d",
            " [authorization: a] [cookie: b] [content-type: c] [via: d]"
        ),
        (
            "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Request-ID, Forwarded⏎X-Forwarded-For: a⏎X-Request-Id: b",
            " [x-forwarded-for: a] [x-request-id: b]"
        ),
    ])
    func stripsRequests(fields: String, left: String) {
        let head = EncoderTests.request("GET / HTTP/1.1⏎Host: h⏎\(fields)⏎⏎")
        head.stripConnectionFields()
        #expect(describe(head.fields) == left)
        #expect(head.string(head.authority) == "h")
    }

    @Test func essentialsCannotBeNamedAway() {
        let head = EncoderTests.request(
            "POST / HTTP/1.1⏎Host: h⏎Connection: Host, Content-Length, Transfer-Encoding⏎Content-Length: 5⏎⏎")
        head.stripConnectionFields()
        #expect(head.string(head.authority) == "h")
        #expect(head.framing == .length(5))
        var output = ByteBuffer()
        HTTP1Encoder.encodeRequest(head, into: &output)
        #expect(bytes(output) == wire("POST / HTTP/1.1⏎host: h⏎content-length: 5⏎⏎"))
    }

    @Test func stripsResponses() {
        let head = EncoderTests.response(
            "HTTP/1.1 200 OK⏎Connection: foo⏎Foo: a⏎Keep-Alive: 5⏎Set-Cookie: b⏎Set-Cookie: c⏎Content-Length: 3⏎Proxy-Authenticate: d⏎⏎"
        )
        head.stripConnectionFields()
        #expect(describe(head.fields) == " [set-cookie: b] [set-cookie: c] [content-length: 3]")
    }
}
