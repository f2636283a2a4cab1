// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// A message and what becomes of it. `outcome` is the connection's log with ` | ` between lines; a refusal is given by its
/// reason and detail.
struct Row: Sendable, CustomTestStringConvertible {
    var id: String
    var wire: String
    var outcome: String

    init(_ id: String, _ wire: String, _ outcome: String) {
        self.id = id
        self.wire = wire
        self.outcome = outcome
    }

    var testDescription: String { "\(id) \(wire.prefix(60))" }
}

/// Lines of a log, joined as a row writes them.
func joined(_ log: String) -> String { log.split(separator: "\n").joined(separator: " | ") }

/// The log of a request connection, and the places at which it depends on how the bytes arrived.
func requestLog(_ message: [UInt8], limits: HeadLimits = HeadLimits()) -> (log: String, differences: [String]) {
    var whole = RequestConnection(limits: limits)
    whole.receive(message)
    let log = whole.log
    let open = whole.openBody
    var differences: [String] = []
    var single = RequestConnection(limits: limits)
    for byte in message { single.receive(CollectionOfOne(byte)) }
    if single.log != log || single.openBody != open { differences.append("byte by byte: \(joined(single.log))") }
    for cut in 0...message.count {
        var parts = RequestConnection(limits: limits)
        parts.receive(message[..<cut])
        parts.receive(message[cut...])
        if parts.log != log || parts.openBody != open { differences.append("cut at \(cut): \(joined(parts.log))") }
    }
    return (log, differences)
}

/// Every rule that decides about a request, each row whole, byte by byte and cut at every position (cases A, promise P2).
struct RequestRulesTests {
    @Test(arguments: [
        // Smuggling.
        Row(
            "A01", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 13⏎Transfer-Encoding: chunked⏎⏎0⏎⏎GET /x HTTP/1.1⏎Host: a⏎⏎",
            "failure request.framing: Transfer-Encoding and Content-Length"),
        Row(
            "A02", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎Content-Length: 4⏎⏎0⏎⏎GET /x HTTP/1.1⏎Host: a⏎⏎",
            "failure request.framing: Transfer-Encoding and Content-Length"),
        Row(
            "A03", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: gzip, chunked⏎⏎0⏎⏎",
            "failure request.coding: transfer coding other than chunked"),
        Row(
            "A03", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: gzip ,→CHUNKED⏎⏎0⏎⏎",
            "failure request.coding: transfer coding other than chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: gzip⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: identity⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked, gzip⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked, chunked⏎⏎0⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: , chunked⏎⏎0⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked;q=1⏎⏎0⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: xchunked⏎⏎0⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: \"chunked\"⏎⏎0⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding:⏎⏎0⏎⏎",
            "failure request.framing: Transfer-Encoding that is not chunked"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
            "failure request.framing: two Transfer-Encoding fields"),
        Row(
            "A04", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: gzip⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
            "failure request.framing: two Transfer-Encoding fields"),
        Row(
            "TE in 1.0", "POST / HTTP/1.0⏎Host: a⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
            "failure request.framing: Transfer-Encoding in HTTP/1.0"),
        Row(
            "TE padded", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: → Chunked →⏎⏎0⏎⏎",
            "POST / http11 to a stream keep [transfer-encoding: Chunked] | end"),
        Row(
            "A05", "GET / HTTP/1.1⏎Host: a⏎Content-Length: 0⏎Content-Length: 31⏎⏎GET /evil HTTP/1.1⏎Host: a⏎⏎",
            "failure request.framing: two Content-Length fields"),
        Row(
            "A05", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 5⏎Content-Length: 5⏎⏎hello",
            "failure request.framing: two Content-Length fields"),
        Row("CL list", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 5,5⏎⏎hello", "failure request.framing: bad Content-Length"),
        Row("CL list", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 5, 5⏎⏎hello", "failure request.framing: bad Content-Length"),
        Row("CL sign", "POST / HTTP/1.1⏎Host: a⏎Content-Length: +5⏎⏎hello", "failure request.framing: bad Content-Length"),
        Row("CL sign", "POST / HTTP/1.1⏎Host: a⏎Content-Length: -5⏎⏎hello", "failure request.framing: bad Content-Length"),
        Row("CL hex", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 0x5⏎⏎hello", "failure request.framing: bad Content-Length"),
        Row("CL empty", "POST / HTTP/1.1⏎Host: a⏎Content-Length:⏎⏎hello", "failure request.framing: bad Content-Length"),
        Row("CL space", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 1 0⏎⏎hello", "failure request.framing: bad Content-Length"),
        Row("CL fraction", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 5.0⏎⏎hello", "failure request.framing: bad Content-Length"),
        Row(
            "CL 2^63", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 9223372036854775808⏎⏎",
            "failure request.framing: bad Content-Length"),
        Row(
            "CL 2^64+5", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 18446744073709551621⏎⏎hello",
            "failure request.framing: bad Content-Length"),
        Row(
            "CL 2^63-1", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 9223372036854775807⏎⏎x",
            "POST / http11 to a length(9223372036854775807) keep [content-length: 9223372036854775807]"),
        Row(
            "CL zeros", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 0000000000000000000000000005⏎⏎hello",
            "POST / http11 to a length(5) keep [content-length: 0000000000000000000000000005] | body 5 hello | end"),
        Row(
            "A22", "POST /a HTTP/1.1⏎Host: a⏎Content-Length: 0⏎⏎GET /admin HTTP/1.1⏎Host: b⏎⏎",
            "POST /a http11 to a length(0) keep [content-length: 0] | end | GET /admin http11 to b none keep | end"),

        // Lines.
        Row("A09", "⏎GET / HTTP/1.1⏎Host: a⏎⏎", "GET / http11 to a none keep | end"),
        Row("A09", "⏎⏎GET / HTTP/1.1⏎Host: a⏎⏎", "GET / http11 to a none keep | end"),
        Row("A09", "⏎⏎⏎GET / HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: too many empty lines before a request"),
        Row(
            "A09", "GET / HTTP/1.1⏎Host: a⏎⏎⏎⏎GET /b HTTP/1.1⏎Host: a⏎⏎",
            "GET / http11 to a none keep | end | GET /b http11 to a none keep | end"),
        Row("A09", "␊GET / HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: bare LF"),
        Row("A09", "␍GET / HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: bare CR"),
        Row("A10", "GET / HTTP/1.1␊Host: a␊␊", "failure request.malformed: bare LF"),
        Row("A10", "GET / HTTP/1.1⏎Host: a␊X: b⏎⏎", "failure request.malformed: bare LF"),
        Row("A10", "GET / HTTP/1.1⏎Host: a⏎␊", "failure request.malformed: bare LF"),
        Row("bare CR", "GET / HTTP/1.1⏎Host: a⏎X: b␍c⏎⏎", "failure request.malformed: bare CR"),
        Row("bare CR", "GET / HTTP/1.1⏎Host: a⏎X: b␍␍␊⏎⏎", "failure request.malformed: bare CR"),
        Row("bare CR", "GET / HTTP/1.1␍Host: a⏎⏎", "failure request.malformed: request line does not end after its version"),
        Row("bare CR", "GET / HTTP/1.1⏎Host: a⏎␍X: b⏎⏎", "failure request.malformed: bare CR"),
        Row("A11", "GET / HTTP/1.1⏎Host: a⏎X-A: b⏎ c⏎⏎", "failure request.malformed: line folding"),
        Row("A11", "GET / HTTP/1.1⏎Host: a⏎X-A: b⏎→c⏎⏎", "failure request.malformed: line folding"),
        Row("A11", "GET / HTTP/1.1⏎ Host: a⏎⏎", "failure request.malformed: line folding"),
        Row("colon", "GET / HTTP/1.1⏎Host : a⏎⏎", "failure request.malformed: space before the colon"),
        Row(
            "colon", "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding→: chunked⏎⏎0⏎⏎", "failure request.malformed: space before the colon"
        ),
        Row("colon", "GET / HTTP/1.1⏎Host: a⏎Garbage⏎⏎", "failure request.malformed: field line without a colon"),
        Row("name", "GET / HTTP/1.1⏎Host: a⏎: b⏎⏎", "failure request.malformed: empty field name"),
        Row("name", "GET / HTTP/1.1⏎Host: a⏎X@Y: b⏎⏎", "failure request.malformed: character not allowed in a field name"),
        Row("name", "GET / HTTP/1.1⏎Host: a⏎Ü: b⏎⏎", "failure request.malformed: character not allowed in a field name"),
        Row(
            "name", "GET / HTTP/1.1⏎Host: a⏎Content-Leng␀th: 5⏎⏎",
            "failure request.malformed: character not allowed in a field name"),
        Row(
            "name", "GET / HTTP/1.1⏎Host: a⏎!#$%&'*+-.^_`|~09AZaz: b⏎⏎",
            "GET / http11 to a none keep [!#$%&'*+-.^_`|~09azaz: b] | end"),
        Row("value", "GET / HTTP/1.1⏎Host: a⏎X: a␀b⏎⏎", "failure request.malformed: NUL in a field value"),
        Row("value", "GET / HTTP/1.1⏎Host: a⏎X: a\u{7}b⏎⏎", "failure request.malformed: control character in a field value"),
        Row("value", "GET / HTTP/1.1⏎Host: a⏎X: a\u{7f}b⏎⏎", "failure request.malformed: control character in a field value"),
        Row(
            "value", "GET / HTTP/1.1⏎Host: a⏎X:→ a→b  → ⏎Y:⏎Z: ⏎W:é⏎⏎",
            "GET / http11 to a none keep [x: a\\x9b] [y: ] [z: ] [w: \\xc3\\xa9] | end"),

        Row("value", "GET / HTTP/1.1⏎Host: a⏎X: a→ → →b⏎⏎", "GET / http11 to a none keep [x: a\\x9 \\x9 \\x9b] | end"),

        // Request lines.
        Row("line", "GET  / HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("line", "GET / HTTP/1.1 ⏎Host: a⏎⏎", "failure request.malformed: request line does not end after its version"),
        Row("line", "GET /  HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("line", "GET /a b HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("line", "GET→/ HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: not a request line"),
        Row("line", " GET / HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: not a request line"),
        Row("line", "GET /⏎Host: a⏎⏎", "failure request.malformed: request line without a version"),
        Row("line", "GET⏎⏎", "failure request.malformed: not a request line"),
        Row("line", "G(T / HTTP/1.1⏎Host: a⏎⏎", "failure request.malformed: not a request line"),
        Row("line", "\u{16}\u{3}\u{1}hello over TLS", "failure request.malformed: not a request line"),
        Row("version", "GET / HTTP/2.0⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("version", "GET / HTTP/1.2⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("version", "GET / HTTP/0.9⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("version", "GET / http/1.1⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("version", "GET / HTTP/1⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("version", "GET / H⏎⏎", "failure request.malformed: not a request"),
        Row("version", "GET / HTTP/1.10⏎Host: a⏎⏎", "failure request.malformed: request line does not end after its version"),
        Row("version", "GET / ICY/1.1⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("A16", "FOO /x HTTP/1.1⏎Host: a⏎⏎", "FOO /x http11 to a none keep | end"),
        Row("A16", "get /x HTTP/1.1⏎Host: a⏎⏎", "get /x http11 to a none keep | end"),
        Row("A14", "CONNECT h:443 HTTP/1.1⏎Host: h:443⏎⏎", "failure request.method: CONNECT and TRACE are refused"),
        Row("TRACE", "TRACE / HTTP/1.1⏎Host: a⏎⏎", "failure request.method: CONNECT and TRACE are refused"),
        Row("h2", "PRI * HTTP/2.0⏎⏎SM⏎⏎", "h2 preface"),
        Row(
            "h2", "GET / HTTP/1.1⏎Host: a⏎⏎PRI * HTTP/2.0⏎⏎SM⏎⏎",
            "GET / http11 to a none keep | end | failure request.malformed: not a version of HTTP that is spoken here"),
        Row("h2", "⏎PRI * HTTP/2.0⏎⏎SM⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),
        Row("h2", "PRI * HTTP/2.0⏎Host: a⏎⏎", "failure request.malformed: not a version of HTTP that is spoken here"),

        // Targets.
        Row("target", "GET /a/b?c=d?e HTTP/1.1⏎Host: a⏎⏎", "GET /a/b?c=d?e http11 to a none keep | end"),
        Row("target", "GET /? HTTP/1.1⏎Host: a⏎⏎", "GET /? http11 to a none keep | end"),
        Row("target", "GET /a#b HTTP/1.1⏎Host: a⏎⏎", "failure request.target: character not allowed in a request target"),
        Row("target", "GET /é HTTP/1.1⏎Host: a⏎⏎", "failure request.target: character not allowed in a request target"),
        Row("target", "GET /a␀ HTTP/1.1⏎Host: a⏎⏎", "failure request.target: character not allowed in a request target"),
        Row("target", "GET /a\u{7f} HTTP/1.1⏎Host: a⏎⏎", "failure request.target: character not allowed in a request target"),
        Row("target", "GET a HTTP/1.1⏎Host: a⏎⏎", "failure request.target: not a form of request target"),
        Row("target", "GET ?a HTTP/1.1⏎Host: a⏎⏎", "failure request.target: not a form of request target"),
        Row("A14", "GET http://a.example/x HTTP/1.1⏎Host: a.example⏎⏎", "GET /x http11 to a.example (http) none keep | end"),
        Row(
            "A14", "GET HTTPS://A.example:443/x?y HTTP/1.1⏎Host: a.EXAMPLE⏎⏎",
            "GET /x?y http11 to A.example:443 (https) none keep | end"),
        Row("A14", "GET http://a.example HTTP/1.1⏎Host: a.example:80⏎⏎", "GET / http11 to a.example (http) none keep | end"),
        Row("A14", "GET http://a?q HTTP/1.1⏎Host: a⏎⏎", "GET /?q http11 to a (http) none keep | end"),
        Row("A14", "GET http://a?q/r HTTP/1.1⏎Host: a⏎⏎", "GET /?q/r http11 to a (http) none keep | end"),
        Row("A14", "OPTIONS http://a HTTP/1.1⏎Host: a⏎⏎", "OPTIONS * http11 to a (http) none keep | end"),
        Row("A14", "GET http://a/x HTTP/1.0⏎⏎", "GET /x http10 to a (http) none | end"),
        Row("A14", "GET http://a/x HTTP/1.1⏎Host: b⏎⏎", "failure request.host: Host differs from the request target"),
        Row("A14", "GET http://a/x HTTP/1.1⏎Host: a:81⏎⏎", "failure request.host: Host differs from the request target"),
        Row("A14", "GET http://a:81/x HTTP/1.1⏎Host: a⏎⏎", "failure request.host: Host differs from the request target"),
        Row("A14", "GET http://a/x HTTP/1.1⏎Host:⏎⏎", "failure request.host: Host differs from the request target"),
        Row("A14", "GET http://a/x HTTP/1.1⏎⏎", "failure request.host: no Host"),
        Row("A14", "GET http://u:p@a/x HTTP/1.1⏎Host: a⏎⏎", "failure request.target: bad authority in the request target"),
        Row("A14", "GET http:///x HTTP/1.1⏎Host: a⏎⏎", "failure request.target: bad authority in the request target"),
        Row("A14", "GET http://a:b/x HTTP/1.1⏎Host: a⏎⏎", "failure request.target: bad authority in the request target"),
        Row("A14", "GET ftp://a/x HTTP/1.1⏎Host: a⏎⏎", "failure request.target: not a form of request target"),
        Row("A14", "GET http:/a HTTP/1.1⏎Host: a⏎⏎", "failure request.target: not a form of request target"),
        Row("A14", "OPTIONS * HTTP/1.1⏎Host: a⏎⏎", "OPTIONS * http11 to a none keep | end"),
        Row("A14", "GET * HTTP/1.1⏎Host: a⏎⏎", "failure request.target: `*` is for OPTIONS only"),
        Row("A14", "OPTIONS */x HTTP/1.1⏎Host: a⏎⏎", "failure request.target: not a form of request target"),
        Row("A14", "OPTIONS *?x HTTP/1.1⏎Host: a⏎⏎", "failure request.target: not a form of request target"),

        // Host.
        Row("A13", "GET / HTTP/1.1⏎⏎", "failure request.host: no Host"),
        Row("A13", "GET / HTTP/1.1⏎Host:⏎⏎", "GET / http11 to  none keep | end"),
        Row("A13", "GET / HTTP/1.1⏎Host: a⏎Host: a⏎⏎", "failure request.host: two Host fields"),
        Row("A13", "GET / HTTP/1.0⏎Host: a⏎Host: b⏎⏎", "failure request.host: two Host fields"),
        Row("A13", "GET / HTTP/1.0⏎⏎", "GET / http10 to  none | end"),
        Row("host", "GET / HTTP/1.1⏎Host: a b⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a,b⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: u@a⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a/b⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a%41⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: :80⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a:⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a:0⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a:65536⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a:080000⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a:8o⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a:80:80⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: [::1⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: [a]⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: [::1%25eth0]⏎⏎", "failure request.host: bad Host"),
        Row("host", "GET / HTTP/1.1⏎Host: a:65535⏎⏎", "GET / http11 to a:65535 none keep | end"),
        Row("host", "GET / HTTP/1.1⏎Host: [2001:db8::1.2.3.4]:8080⏎⏎", "GET / http11 to [2001:db8::1.2.3.4]:8080 none keep | end"),
        Row("host", "GET / HTTP/1.1⏎hOsT:a_b-c.D~⏎⏎", "GET / http11 to a_b-c.D~ none keep | end"),

        // Names that CGI reads as others.
        Row(
            "A18", "GET / HTTP/1.1⏎Host: a⏎X_Forwarded_For: 1.1.1.1⏎x-forwarded_for: b⏎X-Forwarded-For: c⏎⏎",
            "GET / http11 to a none keep [x-forwarded-for: c] | end"),
        Row("A18", "POST / HTTP/1.1⏎Host: a⏎Transfer_Encoding: chunked⏎Content_Length: 5⏎⏎", "POST / http11 to a none keep | end"),
        Row(
            "A18", "GET / HTTP/1.1⏎Host: a⏎X_API_KEY: k⏎X_Forwarded_For_But_Longer_Than_Any: b⏎⏎",
            "GET / http11 to a none keep [x_api_key: k] [x_forwarded_for_but_longer_than_any: b] | end"),

        // Expectations and persistence.
        Row(
            "A21", "POST / HTTP/1.1⏎Host: a⏎Expect: 100-Continue⏎Content-Length: 2⏎⏎hi",
            "POST / http11 to a length(2) keep 100 [expect: 100-Continue] [content-length: 2] | body 2 hi | end"),
        Row(
            "A21", "POST / HTTP/1.0⏎Host: a⏎Expect: 100-continue⏎Content-Length: 2⏎⏎hi",
            "POST / http10 to a length(2) [expect: 100-continue] [content-length: 2] | body 2 hi | end"),
        Row("A21", "GET / HTTP/1.1⏎Host: a⏎Expect: 100-continue⏎⏎", "GET / http11 to a none keep [expect: 100-continue] | end"),
        Row(
            "A21", "POST / HTTP/1.1⏎Host: a⏎Expect: foo⏎Content-Length: 2⏎⏎hi",
            "failure request.expectation: expectation other than 100-continue"),
        Row(
            "A21", "POST / HTTP/1.1⏎Host: a⏎Expect: 100-continue, foo⏎Content-Length: 2⏎⏎hi",
            "failure request.expectation: expectation other than 100-continue"),
        Row(
            "A21", "POST / HTTP/1.1⏎Host: a⏎Expect: 100-continue⏎Expect: foo⏎Content-Length: 2⏎⏎hi",
            "failure request.expectation: expectation other than 100-continue"),
        Row("A17", "GET / HTTP/1.1⏎Host: a⏎Connection: close, close⏎⏎", "GET / http11 to a none [connection: close, close] | end"),
        Row("A17", "GET / HTTP/1.1⏎Host: a⏎Connection: x y⏎⏎", "GET / http11 to a none keep [connection: x y] | end"),
        Row(
            "keep", "GET / HTTP/1.1⏎Host: a⏎Connection: foo⏎Connection: CLOSE⏎⏎",
            "GET / http11 to a none [connection: foo] [connection: CLOSE] | end"),
        Row("keep", "GET / HTTP/1.0⏎Connection: Keep-Alive⏎⏎", "GET / http10 to  none keep [connection: Keep-Alive] | end"),
        Row(
            "keep", "GET / HTTP/1.0⏎Connection: keep-alive, close⏎⏎", "GET / http10 to  none [connection: keep-alive, close] | end"),
        Row("TE", "GET / HTTP/1.1⏎Host: a⏎TE: trailers⏎⏎", "GET / http11 to a none keep trailers [te: trailers] | end"),
        Row(
            "TE", "GET / HTTP/1.1⏎Host: a⏎TE: gzip;q=0.5, Trailers⏎⏎",
            "GET / http11 to a none keep trailers [te: gzip;q=0.5, Trailers] | end"),
        Row("TE", "GET / HTTP/1.1⏎Host: a⏎TE: gzip⏎⏎", "GET / http11 to a none keep [te: gzip] | end"),

        // Unfinished messages are nothing yet.
        Row("open", "", ""),
        Row("open", "GET / HTTP/1.1⏎Host: a⏎", ""),
        Row("open", "POST / HTTP/1.1⏎Host: a⏎Content-Length: 5⏎⏎hell", "POST / http11 to a length(5) keep [content-length: 5]"),
    ])
    func decides(row: Row) {
        let (log, differences) = requestLog(wire(row.wire))
        #expect(joined(log) == row.outcome)
        #expect(differences.isEmpty)
    }

    static let chunked = "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎⏎"
    static let head = "POST / http11 to a stream keep [transfer-encoding: chunked]"

    @Test(arguments: [
        Row("chunks", "5⏎hello⏎6⏎ world⏎0⏎⏎", "body 11 hello world | end"),
        Row("chunks", "0⏎⏎", "end"),
        Row(
            "chunks", "a⏎0123456789⏎B⏎0123456789A⏎00⏎⏎GET / HTTP/1.1⏎Host: b⏎⏎",
            "body 21 01234567890123456789A | end | GET / http11 to b none keep | end"),
        Row("A06", "000000000000000005⏎hello⏎0⏎⏎", "body 5 hello | end"),
        Row("A06", "00000000000000000000000000000005⏎hello⏎0⏎⏎", "body 5 hello | end"),
        Row("A06", "000000000000000000000000000000005⏎hello⏎0⏎⏎", "failure request.framing: chunk size with too many digits"),
        Row("A07", "7fffffffffffffff⏎hello", ""),
        Row("A07", "8000000000000000⏎hello", "failure request.framing: chunk size overflows"),
        Row("A07", "10000000000000005⏎hello⏎0⏎⏎", "failure request.framing: chunk size overflows"),
        Row("A07", "fffffffffffffffff⏎hello⏎0⏎⏎", "failure request.framing: chunk size overflows"),
        Row("A08", "5;a=b;c=\"d\"⏎hello⏎0;x⏎⏎", "body 5 hello | end"),
        Row("A08", "5 →; a⏎hello⏎0⏎⏎", "body 5 hello | end"),
        Row("A08", "5;a␊⏎hello⏎0⏎⏎", "failure request.framing: control character in a chunk extension"),
        Row("A08", "5;a␍b⏎hello⏎0⏎⏎", "failure request.framing: bare CR after a chunk size"),
        Row("size", "⏎hello⏎0⏎⏎", "failure request.framing: bad chunk size"),
        Row("size", "5 ⏎hello⏎0⏎⏎", "failure request.framing: bad chunk size"),
        Row("size", " 5⏎hello⏎0⏎⏎", "failure request.framing: bad chunk size"),
        Row("size", "0x5⏎hello⏎0⏎⏎", "failure request.framing: bad chunk size"),
        Row("size", "+5⏎hello⏎0⏎⏎", "failure request.framing: bad chunk size"),
        Row("size", "-1⏎hello⏎0⏎⏎", "failure request.framing: bad chunk size"),
        Row("size", "g⏎hello⏎0⏎⏎", "failure request.framing: bad chunk size"),
        Row("size", "5␊hello␊0␊␊", "failure request.framing: bad chunk size"),
        Row("size", ";a⏎hello⏎0⏎⏎", "failure request.framing: bad chunk size"),
        Row("end", "5⏎helloX⏎0⏎⏎", "body 5 hello | failure request.framing: chunk longer than its size"),
        Row("end", "5⏎hello␊0⏎⏎", "body 5 hello | failure request.framing: chunk longer than its size"),
        Row("end", "5⏎hello␍0⏎⏎", "body 5 hello | failure request.framing: bare CR after a chunk"),
        Row("trailers", "0⏎X-Sum: 5⏎Y:z⏎⏎", "end [x-sum: 5] [y: z]"),
        Row("trailers", "0⏎X: a⏎ b⏎⏎", "failure request.malformed: line folding"),
        Row("trailers", "0⏎X : a⏎⏎", "failure request.malformed: space before the colon"),
        Row("trailers", "0⏎X: a␀⏎⏎", "failure request.malformed: NUL in a field value"),
        Row("trailers", "0⏎X: a␊⏎⏎", "failure request.malformed: bare LF"),
        Row("trailers", "0⏎GET / HTTP/1.1⏎⏎", "failure request.malformed: space before the colon"),
        Row(
            "trailers", "0⏎Content-Length: 5⏎Transfer-Encoding: chunked⏎Host: b⏎Authorization: x⏎Cookie: a⏎Set-Cookie: b⏎X: y⏎⏎",
            "end [x: y]"),
        Row("trailers", "0⏎X: a", ""),
        Row(
            "trailers", "1⏎a⏎0⏎X: a⏎⏎POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
            "body 1 a | end [x: a] | \(RequestRulesTests.head) | end"),
    ])
    func decodesChunks(row: Row) {
        let (log, differences) = requestLog(wire(RequestRulesTests.chunked + row.wire))
        #expect(joined(log) == RequestRulesTests.head + (row.outcome.isEmpty ? "" : " | " + row.outcome))
        #expect(differences.isEmpty)
    }

    @Test func pipelinedRequestsComeInOrder() {  // case A20
        let message = wire((0..<1000).map { "GET /\($0) HTTP/1.1⏎Host: a⏎⏎" }.joined())
        var connection = RequestConnection()
        connection.receive(message)
        let log = connection.log
        let expected = (0..<1000).map { "GET /\($0) http11 to a none keep\nend\n" }.joined()
        #expect(log == expected)
        let isIdle = connection.isBetweenMessages
        #expect(isIdle)
    }

    @Test func saysAFailureAgainAndConsumesNothing() {
        var decoder = RequestDecoder(limits: HeadLimits())
        let head = RequestHead()
        var trailers = FieldSection()
        let input = wire("GET / HTTP/1.1␊␊")
        for _ in 0..<2 {
            guard case (0, .failure(let failure)) = decoder.next(input.span, into: head, trailers: &trailers) else {
                Issue.record("no failure")
                return
            }
            #expect(failure == DecodeFailure(reason: .requestMalformed, detail: "bare LF"))
        }
        decoder.startNext()
        guard case (0, .failure) = decoder.next(input.span, into: head, trailers: &trailers) else {
            Issue.record("a failed connection went on")
            return
        }
    }

    @Test func knowsWhetherAHeadHasBegun() {
        var connection = RequestConnection()
        var seen: [Bool] = []
        for byte in wire("⏎G") {
            connection.receive(CollectionOfOne(byte))
            seen.append(connection.isBetweenMessages)
        }
        connection.receive(wire("ET / HTTP/1.1⏎Host: a⏎⏎"))
        seen.append(connection.isBetweenMessages)
        #expect(seen == [true, true, false, true])
    }
}
