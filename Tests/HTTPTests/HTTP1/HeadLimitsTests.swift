// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// Every limit of a head, exactly: what is at the limit passes, one more does not (case A12, B12).
struct HeadLimitsTests {
    private func outcome(_ message: [UInt8], _ limits: HeadLimits) -> String {
        let (log, differences) = requestLog(message, limits: limits)
        #expect(differences.isEmpty)
        return joined(log)
    }

    @Test func fieldCount() {
        var limits = HeadLimits()
        limits.headerCount = 5
        let five = "GET / HTTP/1.1⏎Host: a⏎A:⏎B:⏎C:⏎D:⏎"
        #expect(outcome(wire(five + "⏎"), limits).hasSuffix("end"))
        #expect(outcome(wire(five + "E:⏎⏎"), limits) == "failure request.header_too_large: too many fields")
    }

    /// "GET / HTTP/1.1" is 14, "host" and "a" 5 + 32, the other name 1 + 32, so 84 and the value.
    @Test func headerBytesAsTheyAreCounted() {
        var limits = HeadLimits()
        limits.headerBytes = 200
        let long = String(repeating: "v", count: 200 - 84)
        #expect(outcome(wire("GET / HTTP/1.1⏎Host: a⏎X: \(long)⏎⏎"), limits).hasSuffix("end"))
        #expect(
            outcome(wire("GET / HTTP/1.1⏎Host: a⏎X: \(long)v⏎⏎"), limits)
                == "failure request.header_too_large: head above the limit")
    }

    /// Space around values is no part of the count, but the head may not be larger than the limit with it either.
    @Test func headerBytesAsTheyCome() {
        var limits = HeadLimits()
        limits.headerBytes = 200
        let rest = 200 - "GET / HTTP/1.1__Host: a__X:__".count - 2
        let space = String(repeating: " ", count: rest)
        #expect(outcome(wire("GET / HTTP/1.1⏎Host: a⏎X:\(space)⏎⏎"), limits).hasSuffix("end"))
        #expect(
            outcome(wire("GET / HTTP/1.1⏎Host: a⏎X:\(space) ⏎⏎"), limits)
                == "failure request.header_too_large: head above the limit")
        // Not ended, and it cannot end within the limit any more.
        #expect(
            outcome(wire("GET / HTTP/1.1⏎Host: a⏎X:\(space)     "), limits)
                == "failure request.header_too_large: head above the limit")
    }

    @Test func nameOf65536Letters() {  // case A12
        var connection = RequestConnection()
        connection.receive(wire("GET / HTTP/1.1⏎Host: a⏎" + String(repeating: "a", count: 65_536) + ": b⏎⏎"))
        let log = connection.log
        #expect(log == "failure request.header_too_large: head above the limit\n")
    }

    @Test func targetBytes() {
        var limits = HeadLimits()
        limits.targetBytes = 64
        let path = "/" + String(repeating: "p", count: 63)
        #expect(outcome(wire("GET \(path) HTTP/1.1⏎Host: a⏎⏎"), limits).hasSuffix("end"))
        #expect(
            outcome(wire("GET \(path)p HTTP/1.1⏎Host: a⏎⏎"), limits)
                == "failure request.uri_too_long: request target above the limit")
        #expect(
            outcome(wire("GET /?\(path) HTTP/1.1⏎Host: a⏎⏎"), limits)
                == "failure request.uri_too_long: request target above the limit")
        // Without an end of the line in sight.
        #expect(outcome(wire("GET \(path)\(path)"), limits) == "failure request.uri_too_long: request line above the limit")
        // The head's limit comes first where it is smaller.
        limits.headerBytes = 80
        limits.targetBytes = 1_000
        #expect(outcome(wire("GET \(path)\(path)"), limits) == "failure request.header_too_large: head above the limit")
    }

    @Test func methodBytes() {
        let method = String(repeating: "M", count: 32)
        #expect(outcome(wire("\(method) / HTTP/1.1⏎Host: a⏎⏎"), HeadLimits()).hasSuffix("end"))
        #expect(
            outcome(wire("\(method)M / HTTP/1.1⏎Host: a⏎⏎"), HeadLimits()) == "failure request.malformed: method above the limit")
    }

    @Test func connectionOptions() {
        let options = Array(repeating: "a", count: 32).joined(separator: ",")
        #expect(outcome(wire("GET / HTTP/1.1⏎Host: a⏎Connection: \(options)⏎⏎"), HeadLimits()).hasSuffix("end"))
        #expect(
            outcome(wire("GET / HTTP/1.1⏎Host: a⏎Connection: \(options)⏎Connection: b⏎⏎"), HeadLimits())
                == "failure request.malformed: too many connection options")
    }

    @Test func chunkExtensions() {  // case A08
        var limits = HeadLimits()
        limits.chunkExtensionBytes = 10
        let head = "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎⏎"
        // The semicolon counts as well: 4 + 6, over two chunks.
        #expect(outcome(wire(head + "1;abc⏎x⏎1;abcde⏎y⏎0⏎⏎"), limits).hasSuffix("body 2 xy | end"))
        #expect(
            outcome(wire(head + "1;abc⏎x⏎1;abcdef⏎y⏎0⏎⏎"), limits)
                .hasSuffix("body 1 x | failure request.framing: chunk extensions above the limit"))
        #expect(
            outcome(wire(head + "1           ;⏎x⏎0⏎⏎"), limits)
                .hasSuffix("failure request.framing: chunk extensions above the limit"))
    }

    @Test func trailers() {
        var limits = HeadLimits()
        limits.headerCount = 3
        limits.headerBytes = 120
        let head = "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎⏎0⏎"
        #expect(outcome(wire(head + "A: 1⏎B: 2⏎C: 3⏎⏎"), limits).hasSuffix("end [a: 1] [b: 2] [c: 3]"))
        #expect(
            outcome(wire(head + "A: 1⏎B: 2⏎C: 3⏎D: 4⏎⏎"), limits).hasSuffix(
                "failure request.header_too_large: head above the limit"))
        #expect(outcome(wire(head + "A:⏎B:⏎C:⏎⏎"), limits).hasSuffix("end [a: ] [b: ] [c: ]"))
        let long = String(repeating: "v", count: 120 - 33)
        #expect(outcome(wire(head + "A: \(long)⏎⏎"), limits).hasSuffix("[a: \(long)]"))
        #expect(outcome(wire(head + "A: \(long)v⏎⏎"), limits).hasSuffix("failure request.header_too_large: head above the limit"))
        #expect(
            outcome(wire(head + "A: \(long)\(long)"), limits).hasSuffix("failure request.header_too_large: head above the limit"))
    }

    @Test func limitsOfUpstreams() {  // case B12
        var limits = HeadLimits()
        limits.headerCount = 100
        let cookies = String(repeating: "Set-Cookie: " + String(repeating: "c", count: 8192) + "⏎", count: 100)
        var connection = ResponseConnection(limits: limits)
        connection.receive(wire("HTTP/1.1 200 OK⏎" + cookies + "⏎"))
        let log = connection.log
        #expect(log == "failure protocol: head above the limit\n")

        limits.headerCount = 2
        let (two, _) = responseLog(wire("HTTP/1.1 204 No⏎A: b⏎C: d⏎⏎"), limits: limits)
        #expect(two == "204 http11 none keep [a: b] [c: d]\nend reusable\n")
        let (three, differences) = responseLog(wire("HTTP/1.1 204 No⏎A: b⏎C: d⏎E: f⏎⏎"), limits: limits)
        #expect(three == "failure protocol: too many fields\n")
        #expect(differences.isEmpty)
    }

    /// A head that comes in single bytes is looked at once: the scanner never goes back.
    @Test func scannerLooksAtEachByteOnce() {
        var scanner = HeadScanner()
        let head = wire("GET / HTTP/1.1⏎Host: a⏎X: b⏎⏎")
        for n in 0..<head.count {
            let input = Array(head[..<n])
            guard case .incomplete = scanner.scan(input.span, limit: 1_000) else {
                Issue.record("ended at \(n)")
                return
            }
            #expect(scanner.cursor == n)
        }
        guard case .complete(end: head.count) = scanner.scan(head.span, limit: 1_000) else {
            Issue.record("did not end")
            return
        }
    }

    @Test func absurdSettingsAreBounded() {
        var limits = HeadLimits()
        limits.headerBytes = .max
        limits.targetBytes = .max
        limits.headerCount = .max
        #expect(outcome(wire("GET / HTTP/1.1⏎Host: a⏎⏎"), limits).hasSuffix("end"))
        limits.headerBytes = -1
        #expect(outcome(wire("GET / HTTP/1.1⏎Host: a⏎⏎"), limits) == "failure request.header_too_large: head above the limit")
    }
}
