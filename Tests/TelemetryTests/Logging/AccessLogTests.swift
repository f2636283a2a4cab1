// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Telemetry

@Suite struct AccessLogTests {
    /// One line written by `fill`.
    private func line(
        _ settings: AccessLog.Settings = AccessLog.Settings(), at wall: Int64 = 1_795_579_380_123_000_000,
        _ fill: (AccessLog) -> Void
    ) throws -> [UInt8] {
        let sink = try LogSink(.memory)
        let log = AccessLog(settings: settings, lane: sink.lane(shard: 0))
        log.begin(at: wall)
        fill(log)
        #expect(log.end())
        return bytes { sink.collect(into: &$0) }
    }

    private func settings(
        _ format: AccessLog.Format, query: AccessLog.Query = .omit, limit: Int = 1_024
    ) -> AccessLog.Settings {
        var settings = AccessLog.Settings()
        settings.format = format
        settings.query = query
        settings.fieldLimitBytes = limit
        return settings
    }

    private func fillAll(_ log: AccessLog) {
        // Out of order on purpose.
        log.field(.userAgent, Array("curl/8.5.0".utf8).span)
        log.field(.requestID, Array("0f3a-77".utf8).span)
        log.field(.client, Array("203.0.113.7".utf8).span)
        log.field(.clientPort, 53_211)
        log.field(.listener, text: "public")
        log.field(.protocol, "HTTP/2")
        log.field(.method, Array("GET".utf8).span)
        log.field(.host, Array("shop.example".utf8).span)
        log.target(Array("/users/1?token=secret".utf8).span)
        log.field(.status, 503)
        log.field(.reason, Reason.breakerOpen)
        log.field(.route, text: "users by id")
        log.field(.upstream, text: "users")
        log.field(.endpoint, text: "10.0.0.1:9001")
        log.field(.attempts, 2)
        log.field(.retryReason, Reason.retryBudget)
        log.field(.bytesIn, UInt64(0))
        log.field(.bytesOut, UInt64.max)
        log.field(.total, nanoseconds: 5_123_999)
        log.field(.queue, nanoseconds: 0)
        log.field(.connect, nanoseconds: 999)
        log.field(.tls, nanoseconds: -5)
        log.field(.firstByte, nanoseconds: 4_000_000)
        log.field(.upstreamTime, nanoseconds: .max)
        log.field(.tlsVersion, "TLSv1.3")
        log.field(.tlsCipher, Array("TLS_AES_128_GCM_SHA256".utf8).span)
        log.field(.tlsSNI, Array("shop.example".utf8).span)
        log.field(.tlsResumed, true)
    }

    @Test func goldenJSON() throws {
        let told = try line(settings(.json), fillAll)
        #expect(
            String(decoding: told, as: UTF8.self)
                == #"{"time":"2026-11-25T04:03:00.123Z","request_id":"0f3a-77","client":"203.0.113.7","client_port":53211,"#
                + #""listener":"public","protocol":"HTTP/2","method":"GET","host":"shop.example","path":"/users/1","status":503,"#
                + #""reason":"breaker.open","route":"users by id","upstream":"users","endpoint":"10.0.0.1:9001","attempts":2,"#
                + #""retry_reason":"retry.budget","bytes_in":0,"bytes_out":18446744073709551615,"total_us":5123,"queue_us":0,"#
                + #""connect_us":0,"tls_us":0,"first_byte_us":4000,"upstream_us":9223372036854775,"tls_version":"TLSv1.3","#
                + #""tls_cipher":"TLS_AES_128_GCM_SHA256","tls_sni":"shop.example","tls_resumed":true,"user_agent":"curl/8.5.0"}"#
                + "\n")
    }

    @Test func goldenText() throws {
        let told = try line(settings(.text), fillAll)
        #expect(
            String(decoding: told, as: UTF8.self)
                == #"203.0.113.7 - - [25/Nov/2026:04:03:00 +0000] "GET /users/1 HTTP/2" 503 18446744073709551615 "-" "#
                + #""curl/8.5.0" time=2026-11-25T04:03:00.123Z request_id="0f3a-77" client_port=53211 listener="public" "#
                + #"host="shop.example" reason=breaker.open route="users by id" upstream="users" endpoint="10.0.0.1:9001" "#
                + #"attempts=2 retry_reason=retry.budget bytes_in=0 total_us=5123 queue_us=0 connect_us=0 tls_us=0 "#
                + #"first_byte_us=4000 upstream_us=9223372036854775 tls_version=TLSv1.3 tls_cipher="TLS_AES_128_GCM_SHA256" "#
                + #"tls_sni="shop.example" tls_resumed=true"# + "\n")
    }

    @Test func absentFieldsAndForgottenLines() throws {
        #expect(String(decoding: try line(settings(.json)) { _ in }, as: UTF8.self) == "{\"time\":\"2026-11-25T04:03:00.123Z\"}\n")
        let told = try line(settings(.text)) { log in
            log.field(.status, 200)
            log.begin(at: 0)  // what was given before is forgotten
            log.field(.status, 404)
            log.field(.status, 405)  // the last value counts
            log.field(.attempts, Array("1,\"x\":2".utf8).span)  // a number takes no bytes
        }
        #expect(
            String(decoding: told, as: UTF8.self)
                == "- - - [01/Jan/1970:00:00:00 +0000] \"- - -\" 405 - \"-\" \"-\" time=1970-01-01T00:00:00.000Z\n")
    }

    struct Target: Sendable {
        var target: String
        var omit: String
        var redact: String

        init(_ target: String, _ omit: String, _ redact: String) {
            self.target = target
            self.omit = omit
            self.redact = redact
        }
    }

    @Test(arguments: [
        Target("/a", "/a", "/a"),
        Target("/a?", "/a", "/a?"),
        Target("/a?x=1", "/a", "/a?x=*"),
        Target("/a?x=1&y=2=3&z=", "/a", "/a?x=*&y=*&z=*"),
        Target("/a?secret", "/a", "/a?*"),
        Target("/a?&&x", "/a", "/a?&&*"),
        Target("/a?=1", "/a", "/a?=*"),
        Target("/a?x=1?y=2", "/a", "/a?x=*"),
        Target("*", "*", "*"),
        Target("?", "", "?"),
        Target("", "", ""),
    ])
    func queries(row: Target) throws {
        for (query, expected) in [(AccessLog.Query.omit, row.omit), (.redact, row.redact), (.keep, row.target)] {
            for format in AccessLog.Format.allCases {
                let told = try line(settings(format, query: query)) { $0.target(Array(row.target.utf8).span) }
                let quoted = format == .json ? "\"path\":\"\(expected)\"" : "\"- \(expected) -\""
                #expect(String(decoding: told, as: UTF8.self).contains(quoted), "\(query) \(format)")
                // `.path` given as bytes follows the same rule.
                let direct = try line(settings(format, query: query)) { $0.field(.path, Array(row.target.utf8).span) }
                #expect(direct == told)
            }
        }
    }

    @Test func aLongTargetIsCutInEveryForm() throws {
        let long = "/" + String(repeating: "p", count: 30) + "?k=" + String(repeating: "v", count: 50)
        func path(_ query: AccessLog.Query, _ limit: Int) throws -> String? {
            let told = try line(settings(.json, query: query, limit: limit)) { $0.target(Array(long.utf8).span) }
            return try #require(try JSONSerialization.jsonObject(with: Data(told)) as? [String: Any])["path"] as? String
        }
        #expect(try path(.omit, 16) == "/" + String(repeating: "p", count: 15) + "…")
        #expect(try path(.redact, 16) == "/" + String(repeating: "p", count: 15) + "…")
        #expect(try path(.redact, 40) == "/" + String(repeating: "p", count: 30) + "?k=*…")
        #expect(try path(.keep, 40) == "/" + String(repeating: "p", count: 30) + "?k=vvvvvv…")
        #expect(try path(.redact, 33) == "/" + String(repeating: "p", count: 30) + "?*…")
    }

    /// Case E22. Every field that holds a peer's bytes, with every payload, in both formats: one line, and nothing in it
    /// that its reader would take for something else.
    @Test(arguments: [
        ("cr", "a\rb"), ("lf and a forged line", "a\"\n{\"level\":\"info\"}"),
        ("crlf", "a\r\n203.0.113.9 - - [x] \"GET / HTTP/1.1\" 200"),
        ("esc", "\u{1B}[2J\u{1B}]0;x\u{7}"), ("quote", "\",\"status\":200,\"x\":\""), ("backslash at the end", "a\\"),
        ("u2028", "a\u{2028}b\u{2029}c"), ("nul", "a\0b"), ("percent", "/%0a%0d%00"), ("tail", "x\" reason=none status=200"),
        ("bidi", "\u{202E}x\u{2066}"), ("c1", "\u{9B}2J\u{85}"), ("long", String(repeating: "A\"\n", count: 350_000)),
    ])
    func nothingForgesALine(name: String, payload: String) throws {
        try check(Array(payload.utf8), name: name, isUTF8: true)
    }

    @Test(
        arguments: [[0xFF, 0xFE], [0xC3], [0xC3, 0x0A], [0xE2, 0x80], [0xED, 0xA0, 0x80, 0x22], [0xF5, 0x5C, 0x22, 0x0A]]
            as [[UInt8]])
    func invalidUTF8ForgesNoLine(payload: [UInt8]) throws {
        try check(payload, name: "\(payload)", isUTF8: false)
    }

    private func check(_ payload: [UInt8], name: String, isUTF8: Bool) throws {
        let fields: [AccessField] = [
            .requestID, .client, .protocol, .method, .host, .path, .route, .consumer, .upstream, .endpoint, .tlsVersion, .tlsCipher,
            .tlsSNI,
            .userAgent, .listener,
        ]
        for field in fields {
            for format in AccessLog.Format.allCases {
                let told = try line(settings(format, query: .keep)) { log in
                    log.field(.status, 200)
                    log.field(field, payload.span)
                }
                let note: Comment = "\(name) in \(field), \(format)"
                #expect(told.last == 0x0A && told.filter { $0 == 0x0A }.count == 1, note)
                #expect(told.dropLast().allSatisfy { $0 >= 0x20 && $0 != 0x7F }, note)
                #expect(String(validating: told, as: UTF8.self) != nil, note)
                #expect(told.count < 8_192, note)
                if format == .json {
                    let object = try #require(try JSONSerialization.jsonObject(with: Data(told)) as? [String: Any], note)
                    #expect(Set(object.keys) == ["time", "status", String(describing: field.word)], note)
                    #expect(object["status"] as? Int == 200, note)
                    if isUTF8 {
                        let value = object[String(describing: field.word)] as? String
                        let expected =
                            payload.count > 1_024
                            ? String(decoding: payload.prefix(1_024), as: UTF8.self) + "…"
                            : String(decoding: payload, as: UTF8.self)
                        #expect(value.map { Array($0.utf8) } == Array(expected.utf8), note)
                    }
                } else {
                    // As many quotes and, outside of them, as many words as with a harmless value.
                    let harmless = try line(settings(format, query: .keep)) { log in
                        log.field(.status, 200)
                        log.field(field, Array("x".utf8).span)
                    }
                    #expect(told.filter { $0 == 0x22 }.count == harmless.filter { $0 == 0x22 }.count, note)
                    #expect(wordsOutsideQuotes(told) == wordsOutsideQuotes(harmless), note)
                }
            }
        }
    }

    private func wordsOutsideQuotes(_ line: [UInt8]) -> Int {
        var isQuoted = false
        var count = 0
        for byte in line {
            if byte == 0x22 { isQuoted.toggle() }
            if byte == 0x20 && !isQuoted { count += 1 }
        }
        return count
    }

    @Test func aFullLaneDropsWholeLines() throws {
        var sinkSettings = LogSink.Settings()
        sinkSettings.laneBytes = 4_096
        let sink = try LogSink(.memory, settings: sinkSettings)
        let log = AccessLog(settings: settings(.json), lane: sink.lane(shard: 0))
        var written = 0
        for i in 0..<1_000 {
            log.begin(at: 0)
            log.field(.status, i)
            if log.end() { written += 1 }
        }
        #expect(sink.droppedLines == UInt64(1_000 - written))
        #expect(sink.lane(shard: 0).droppedLines == UInt64(1_000 - written))
        let lines = text { sink.collect(into: &$0) }.split(separator: "\n")
        #expect(lines.count == written)
        #expect(lines.last?.hasSuffix("\"status\":\(written - 1)}") == true)
    }

    @Test func wordsNeedNoEscapingAndAreUnique() {
        #expect(AccessField.allCases.count <= 32)
        for field in AccessField.allCases {
            let word = Array(String(describing: field.word).utf8)
            let isToken = LogEscaping.isToken(word.span)
            #expect(isToken)
        }
        #expect(Set(AccessField.allCases.map { String(describing: $0.word) }).count == AccessField.allCases.count)
        for reason in Reason.allCases {
            let word = Array(reason.rawValue.utf8)
            let isToken = LogEscaping.isToken(word.span)
            #expect(isToken)
        }
        // An API: pinned.
        #expect(
            AccessField.allCases.map { String(describing: $0.word) }.joined(separator: " ")
                == "time request_id client client_port listener protocol method host path status reason route consumer upstream endpoint "
                + "attempts retry_reason bytes_in bytes_out total_us queue_us connect_us tls_us first_byte_us upstream_us "
                + "tls_version tls_cipher tls_sni tls_resumed user_agent explain")
        let secrets = AccessField.allCases.map { String(describing: $0.word) }.filter {
            $0.contains("auth") || $0.contains("cookie") || $0.contains("key")
        }
        #expect(secrets == [])
    }
}
