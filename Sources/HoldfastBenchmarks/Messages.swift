// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

extension MeasuredBody {
    /// A browser's request of 11 fields, a load generator's short one, and a typical answer.
    static func messages() -> [MeasuredBody] {
        let browser = Array(
            """
            GET /api/v1/users/12345?expand=orders&limit=20 HTTP/1.1\r
            Host: gateway.example.com\r
            User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r
            Accept: application/json, text/plain, */*\r
            Accept-Encoding: gzip, deflate, br\r
            Accept-Language: en-GB,en;q=0.9\r
            Referer: https://www.example.com/start\r
            Cookie: session=0123456789abcdef; theme=dark\r
            X-Request-ID: 3f2a9c1e-77aa\r
            Cache-Control: no-cache\r
            Connection: keep-alive\r
            \r

            """.utf8)
        let short = Array("GET /small HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk\r\n\r\n".utf8)
        let answer = Array(
            """
            HTTP/1.1 200 OK\r
            Server: example\r
            Date: Wed, 25 Nov 2026 04:30:00 GMT\r
            Content-Type: application/json\r
            Content-Length: 0\r
            ETag: "65f0-80"\r
            Accept-Ranges: bytes\r
            \r

            """.utf8)
        let decoded = RequestLoop(browser)
        _ = decoded.decode(1)
        let relayed = ResponseLoop(answer)
        _ = relayed.decode(1)
        return [
            MeasuredBody("HTTP/1 request: decode a browser's, 11 fields") { RequestLoop(browser).decode($0) },
            MeasuredBody("HTTP/1 request: decode a short one, 2 fields") { RequestLoop(short).decode($0) },
            MeasuredBody("HTTP/1 request: write the browser's") { decoded.encode($0) },
            MeasuredBody("HTTP/1 response: decode, 6 fields") { ResponseLoop(answer).decode($0) },
            MeasuredBody("HTTP/1 response: write it") { relayed.encode($0) },
            recognition(),
        ]
    }

    private static func recognition() -> MeasuredBody {
        let names = [
            "host", "user-agent", "accept", "accept-encoding", "accept-language", "cookie", "x-request-id", "x-forwarded-for",
            "content-type", "content-length", "x-custom-header", "sec-fetch-mode",
        ].map { Array($0.utf8) }
        return MeasuredBody("Field names: recognise 12") { times in
            var sum = 0
            for _ in 0..<times {
                for name in names { sum &+= Int(FieldName.recognise(lowercased: name.span).rawValue) }
            }
            return sum
        }
    }
}

private final class RequestLoop {
    private var decoder = RequestDecoder(limits: HeadLimits())
    private let head = RequestHead()
    private var trailers = FieldSection()
    private var output = ByteBuffer()
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func decode(_ times: Int) -> Int {
        // A span of a class's own array would have to outlive changes to the class.
        let bytes = bytes
        var sum = 0
        for _ in 0..<times {
            let (used, _) = decoder.next(bytes.span, into: head, trailers: &trailers)
            _ = decoder.next(bytes.span.extracting(used..<bytes.count), into: head, trailers: &trailers)
            decoder.startNext()
            sum &+= used &+ head.fields.count
        }
        return sum
    }

    func encode(_ times: Int) -> Int {
        var sum = 0
        for _ in 0..<times {
            output.removeAll()
            HTTP1Encoder.encodeRequest(head, endStream: true, into: &output)
            sum &+= output.count
        }
        return sum
    }
}

private final class ResponseLoop {
    private var decoder = ResponseDecoder(limits: HeadLimits())
    private let head = ResponseHead()
    private var trailers = FieldSection()
    private var output = ByteBuffer()
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func decode(_ times: Int) -> Int {
        // A span of a class's own array would have to outlive changes to the class.
        let bytes = bytes
        var sum = 0
        for _ in 0..<times {
            decoder.begin(requestMethod: .get)
            let (used, _) = decoder.next(bytes.span, into: head, trailers: &trailers)
            _ = decoder.next(bytes.span.extracting(used..<bytes.count), into: head, trailers: &trailers)
            sum &+= used &+ head.status
        }
        return sum
    }

    func encode(_ times: Int) -> Int {
        var sum = 0
        for _ in 0..<times {
            output.removeAll()
            HTTP1Encoder.encodeResponse(
                head, framing: head.framing, requestMethod: .get, version: .http11, keepsConnection: true, into: &output)
            sum &+= output.count
        }
        return sum
    }
}
