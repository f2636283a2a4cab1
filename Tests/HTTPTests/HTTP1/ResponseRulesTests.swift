// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// The log of a response connection that is closed behind its bytes, and where it depends on how they arrived.
func responseLog(
    _ message: [UInt8], limits: HeadLimits = HeadLimits(), methods: [HTTP.Method] = [], allowsUpgrade: Bool = false,
    closes: Bool = false, truncated: Bool = false
) -> (log: String, differences: [String]) {
    func run(_ pieces: [ArraySlice<UInt8>]) -> String {
        var connection = ResponseConnection(limits: limits, methods: methods, allowsUpgrade: allowsUpgrade)
        for piece in pieces { connection.receive(piece) }
        if closes { connection.close(truncated: truncated) }
        return connection.log
    }
    let log = run([message[...]])
    var differences: [String] = []
    let single = run(message.indices.map { message[$0...$0] })
    if single != log { differences.append("byte by byte: \(joined(single))") }
    for cut in 0...message.count {
        let parts = run([message[..<cut], message[cut...]])
        if parts != log { differences.append("cut at \(cut): \(joined(parts))") }
    }
    return (log, differences)
}

/// Every rule that decides about a response (cases B, promise P2).
struct ResponseRulesTests {
    @Test(arguments: [
        Row(
            "plain", "HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎hello",
            "200 http11 length(5) keep [content-length: 5] | body 5 hello | end reusable"),
        Row(
            "plain", "HTTP/1.1 404 Not Found⏎Content-Length: 0⏎X:a⏎⏎",
            "404 http11 length(0) keep [content-length: 0] [x: a] | end reusable"),
        Row(
            "chunks", "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎⏎5⏎hello⏎0⏎⏎",
            "200 http11 stream keep [transfer-encoding: chunked] | body 5 hello | end reusable"),
        Row(
            "close", "HTTP/1.1 200 OK⏎Connection: close⏎Content-Length: 1⏎⏎a",
            "200 http11 length(1) [connection: close] [content-length: 1] | body 1 a | end"),
        Row("1.0", "HTTP/1.0 200 OK⏎Content-Length: 1⏎⏎a", "200 http10 length(1) [content-length: 1] | body 1 a | end"),
        Row(
            "1.0", "HTTP/1.0 200 OK⏎Content-Length: 1⏎Connection: Keep-Alive⏎⏎a",
            "200 http10 length(1) keep [content-length: 1] [connection: Keep-Alive] | body 1 a | end reusable"),

        Row("B03", "HTTP/1.1 204 No Content⏎Content-Length: 5⏎⏎", "204 http11 none [content-length: 5] | end"),
        Row("B03", "HTTP/1.1 204 No Content⏎Transfer-Encoding: chunked⏎⏎", "204 http11 none [transfer-encoding: chunked] | end"),
        Row("B03", "HTTP/1.1 204 No Content⏎Content-Length: 0⏎⏎", "204 http11 none keep [content-length: 0] | end reusable"),
        Row("B03", "HTTP/1.1 304 Not Modified⏎Transfer-Encoding: chunked⏎⏎", "304 http11 none [transfer-encoding: chunked] | end"),
        Row("B03", "HTTP/1.1 304 Not Modified⏎Content-Length: 5⏎⏎", "304 http11 none keep [content-length: 5] | end reusable"),
        Row(
            "B03", "HTTP/1.1 304 Not Modified⏎Content-Length: 5⏎⏎hello",
            "304 http11 none keep [content-length: 5] | end reusable | failure protocol: bytes that belong to no response"),
        Row(
            "B02", "HTTP/1.1 200 OK⏎Content-Length: 0⏎⏎HTTP/1.1 200 OK⏎Content-Length: 0⏎⏎",
            "200 http11 length(0) keep [content-length: 0] | end reusable | failure protocol: bytes that belong to no response"),
        Row(
            "B10", "HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎hello!!",
            "200 http11 length(5) keep [content-length: 5] | body 5 hello | end reusable | failure protocol: bytes that belong to no response"
        ),

        Row(
            "B06", "HTTP/1.1 100 Continue⏎⏎HTTP/1.1 103 Early Hints⏎Link: </a>⏎⏎HTTP/1.1 200 OK⏎Content-Length: 0⏎⏎",
            "interim 100 http11 none keep | interim 103 http11 none keep [link: </a>] | 200 http11 length(0) keep [content-length: 0] | end reusable"
        ),
        Row("B06", "HTTP/1.1 103 Early Hints⏎Content-Length: 5⏎⏎", "failure protocol: an interim response with a body"),
        Row("B06", "HTTP/1.1 103 Early Hints⏎Transfer-Encoding: chunked⏎⏎", "failure protocol: an interim response with a body"),
        Row(
            "B07", "HTTP/1.1 101 Switching Protocols⏎Upgrade: foo⏎Connection: upgrade⏎⏎", "failure protocol: 101 without an upgrade"
        ),

        Row("B09", "HTTP/1.1 200 OK⏎Transfer-Encoding: identity⏎⏎", "failure protocol: Transfer-Encoding that is not chunked"),
        Row("B09", "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked, gzip⏎⏎", "failure protocol: Transfer-Encoding that is not chunked"),
        Row("B09", "HTTP/1.1 200 OK⏎Transfer-Encoding: gzip, chunked⏎⏎0⏎⏎", "failure protocol: transfer coding other than chunked"),
        Row(
            "B09", "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎Transfer-Encoding: chunked⏎⏎",
            "failure protocol: two Transfer-Encoding fields"),
        Row(
            "B09", "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎Content-Length: 5⏎⏎",
            "failure protocol: Transfer-Encoding and Content-Length"),
        Row("B09", "HTTP/1.0 200 OK⏎Transfer-Encoding: chunked⏎⏎0⏎⏎", "failure protocol: Transfer-Encoding in HTTP/1.0"),
        Row("CL", "HTTP/1.1 200 OK⏎Content-Length: 5⏎Content-Length: 5⏎⏎hello", "failure protocol: two Content-Length fields"),
        Row("CL", "HTTP/1.1 200 OK⏎Content-Length: 5, 5⏎⏎hello", "failure protocol: bad Content-Length"),
        Row(
            "chunks", "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎⏎x⏎",
            "200 http11 stream keep [transfer-encoding: chunked] | failure protocol: bad chunk size"),

        Row("B11", "HTTP/1.1 20 OK⏎⏎", "failure protocol: bad status line"),
        Row("B11", "HTTP/1.1 200⏎Content-Length: 0⏎⏎", "failure protocol: bad status line"),
        Row("B11", "HTTP/1.1 200 ⏎Content-Length: 0⏎⏎", "200 http11 length(0) keep [content-length: 0] | end reusable"),
        Row("B11", "HTTP/1.1 200OK⏎⏎", "failure protocol: bad status line"),
        Row("B11", "HTTP/1.1 2000 OK⏎⏎", "failure protocol: bad status line"),
        Row("B11", "HTTP/1.1  200 OK⏎⏎", "failure protocol: bad status line"),
        Row("B11", "HTTP/3.0 200 OK⏎⏎", "failure protocol: not a status line of HTTP/1"),
        Row("B11", "HTTP/1.2 200 OK⏎⏎", "failure protocol: not a status line of HTTP/1"),
        Row("B11", "HTTP/1.1 600 X⏎⏎", "failure protocol: status out of range"),
        Row("B11", "HTTP/1.1 099 X⏎⏎", "failure protocol: status out of range"),
        Row("B11", "HTTP/1.1 -20 X⏎⏎", "failure protocol: bad status line"),
        Row("B11", "HTTP/1.1 2x0 OK⏎⏎", "failure protocol: bad status line"),
        Row("B11", "HTTP/1.1 200 O␀K⏎⏎", "failure protocol: control character in a status line"),
        Row("B11", "HTTP/1.1 200 O→K é⏎Content-Length: 0⏎⏎", "200 http11 length(0) keep [content-length: 0] | end reusable"),
        Row("line", "HTTP/1.1 200 OK␊Content-Length: 0␊␊", "failure protocol: bare LF"),
        Row("line", "⏎HTTP/1.1 200 OK⏎Content-Length: 0⏎⏎", "failure protocol: not a status line of HTTP/1"),
        Row("line", "SSH-2.0-OpenSSH_9.2⏎", "failure protocol: not a status line of HTTP/1"),
        Row("line", "H⏎⏎", "failure protocol: bad status line"),
        Row("field", "HTTP/1.1 200 OK⏎X : a⏎⏎", "failure protocol: space before the colon"),
        Row("field", "HTTP/1.1 200 OK⏎X: a⏎ b⏎⏎", "failure protocol: line folding"),

        Row(
            "B13",
            "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎⏎1⏎a⏎0⏎grpc-status: 0⏎Grpc-Message: ok⏎Set-Cookie: a=b⏎Content-Length: 7⏎WWW-Authenticate: x⏎X-Sum: 1⏎⏎",
            "200 http11 stream keep [transfer-encoding: chunked] | body 1 a | end [grpc-status: 0] [grpc-message: ok] [x-sum: 1] reusable"
        ),
    ])
    func decides(row: Row) {
        let (log, differences) = responseLog(wire(row.wire))
        #expect(joined(log) == row.outcome)
        #expect(differences.isEmpty)
    }

    @Test(arguments: [
        Row("B03", "HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎", "200 http11 none keep [content-length: 5] | end reusable"),
        Row(
            "B03", "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎⏎",
            "200 http11 none keep [transfer-encoding: chunked] | end reusable"),
        Row("B03", "HTTP/1.1 200 OK⏎⏎", "200 http11 none keep | end reusable"),
        Row(
            "B03", "HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎hello",
            "200 http11 none keep [content-length: 5] | end reusable | failure protocol: bytes that belong to no response"),
        Row("B03", "HTTP/1.1 200 OK⏎Content-Length: x⏎⏎", "failure protocol: bad Content-Length"),
    ])
    func answersToHead(row: Row) {
        let (log, differences) = responseLog(wire(row.wire), methods: [.head])
        #expect(joined(log) == row.outcome)
        #expect(differences.isEmpty)
    }

    @Test func framingFollowsTheRequestOnAKeptConnection() {
        let message = wire(
            "HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎helloHTTP/1.1 200 OK⏎Content-Length: 1⏎⏎")
        let (log, differences) = responseLog(message, methods: [.head, .get, .head])
        #expect(
            joined(log) == "200 http11 none keep [content-length: 5] | end reusable | 200 http11 length(5) keep [content-length: 5]"
                + " | body 5 hello | end reusable | 200 http11 none keep [content-length: 1] | end reusable")
        #expect(differences.isEmpty)
    }

    @Test func takes101OnlyWhenAsked() {
        let (log, differences) = responseLog(wire("HTTP/1.1 101 Switching Protocols⏎Upgrade: websocket⏎⏎"), allowsUpgrade: true)
        #expect(joined(log) == "101 http11 none [upgrade: websocket] | end")
        #expect(differences.isEmpty)
    }

    /// What the end of the stream makes of what came before it (case B04). `!` before the bytes: the end was not clean.
    @Test(arguments: [
        Row("B04", "HTTP/1.1 200 OK⏎⏎hello", "200 http11 untilClose | body 5 hello | end"),
        Row("B04", "HTTP/1.1 200 OK⏎⏎", "200 http11 untilClose | end"),
        Row(
            "B04", "!HTTP/1.1 200 OK⏎⏎hello",
            "200 http11 untilClose | body 5 hello | failure body.truncated: closed inside the response's body"),
        Row(
            "B04", "HTTP/1.0 200 OK⏎Connection: keep-alive⏎⏎hello",
            "200 http10 untilClose [connection: keep-alive] | body 5 hello | end"),
        Row(
            "short", "HTTP/1.1 200 OK⏎Content-Length: 6⏎⏎hello",
            "200 http11 length(6) keep [content-length: 6] | body 5 hello | failure body.truncated: closed inside the response's body"
        ),
        Row(
            "short", "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎⏎5⏎hello⏎",
            "200 http11 stream keep [transfer-encoding: chunked] | body 5 hello | failure body.truncated: closed inside the response's body"
        ),
        Row(
            "short", "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎⏎5⏎hello⏎0⏎",
            "200 http11 stream keep [transfer-encoding: chunked] | body 5 hello | failure body.truncated: closed inside the response's body"
        ),
        Row("head", "HTTP/1.1 200 OK⏎Content-Le", "failure reset.before_headers: closed before the response's head was complete"),
        Row("head", "", "failure reset.before_headers: closed before the response's head was complete"),
        Row(
            "head", "HTTP/1.1 100 Continue⏎⏎",
            "interim 100 http11 none keep | failure reset.before_headers: closed before the response's head was complete"),
        Row(
            "whole", "!HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎hello",
            "200 http11 length(5) keep [content-length: 5] | body 5 hello | end reusable | end reusable"),
    ])
    func endOfStream(row: Row) {
        let truncated = row.wire.hasPrefix("!")
        let (log, differences) = responseLog(
            wire(truncated ? String(row.wire.dropFirst()) : row.wire), closes: true, truncated: truncated)
        #expect(joined(log) == row.outcome)
        #expect(differences.isEmpty)
    }

    @Test func countsInterimResponses() {  // case B06
        var limits = HeadLimits()
        limits.interimResponses = 3
        for (count, passes) in [(3, true), (4, false)] {
            let message = wire(String(repeating: "HTTP/1.1 102 Processing⏎⏎", count: count) + "HTTP/1.1 200 OK⏎Content-Length: 0⏎⏎")
            let (log, differences) = responseLog(message, limits: limits)
            #expect(log.contains("too many interim responses") == !passes)
            #expect(log.hasSuffix("end reusable\n") == passes)
            #expect(differences.isEmpty)
        }
    }

    @Test func beginForgetsTheLastResponse() {
        var decoder = ResponseDecoder(limits: HeadLimits())
        let head = ResponseHead()
        var trailers = FieldSection()
        decoder.begin(requestMethod: .get)
        let first = wire("HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎⏎0⏎X: a⏎⏎")
        var rest = first[...]
        while !decoder.isReusable {
            let input = Array(rest)
            let (consumed, _) = decoder.next(input.span, into: head, trailers: &trailers)
            rest = rest.dropFirst(consumed)
        }
        let before = describe(trailers)
        #expect(before == " [x: a]")
        decoder.begin(requestMethod: .get)
        let isReusable = decoder.isReusable
        #expect(!isReusable)
        let second = wire("HTTP/1.1 200 OK⏎Content-Length: 0⏎⏎")
        _ = decoder.next(second.span, into: head, trailers: &trailers)
        let after = describe(trailers)
        #expect(after == "")
    }
}
