// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

@Suite struct HTTPDateTests {
    static func text(_ buffer: borrowing ByteBuffer) -> String {
        buffer.withReadable { span in String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self) }
    }

    static func written(_ seconds: Int64) -> String {
        var buffer = ByteBuffer()
        HTTPDate.write(seconds: seconds, into: &buffer)
        return text(buffer)
    }

    /// 2026-11-25T00:00:00Z.
    static let now: Int64 = 1_795_564_800

    static func parsed(_ text: String, now: Int64 = now) -> Int64? {
        let bytes = Array(text.utf8)
        return HTTPDate.parse(bytes.span, now: now)
    }

    @Test(arguments: [
        (Int64(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
        (now, "Wed, 25 Nov 2026 00:00:00 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"), (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"), (.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (.min, "Mon, 01 Jan 0001 00:00:00 GMT"),
    ])
    func writesAndReadsTheFixedFormat(seconds: Int64, wanted: String) {
        #expect(HTTPDateTests.written(seconds) == wanted)
        #expect(HTTPDateTests.parsed(wanted) == min(max(seconds, HTTPDate.range.lowerBound), HTTPDate.range.upperBound))
    }

    @Test func everyDayOfFourCenturiesComesBack() {
        for day in stride(from: Int64(-80_000), to: 80_000, by: 7) {
            let seconds = day * 86_400 + 43_210
            #expect(HTTPDateTests.parsed(HTTPDateTests.written(seconds)) == seconds)
        }
    }

    @Test(arguments: [
        ("Sunday, 06-Nov-94 08:49:37 GMT", Int64(784_111_777)), ("Sun Nov  6 08:49:37 1994", 784_111_777),
        ("Sun Nov 16 08:49:37 1994", 784_975_777),
        ("Wednesday, 25-Nov-26 00:00:00 GMT", now), ("Wednesday, 25-Nov-76 00:00:00 GMT", 3_373_488_000),
        ("Thursday, 25-Nov-77 00:00:00 GMT", 249_264_000), ("Sun, 31 Dec 2016 23:59:60 GMT", 1_483_228_799),
    ])
    func readsTheOldFormats(text: String, wanted: Int64) {
        #expect(HTTPDateTests.parsed(text) == wanted)
    }

    @Test(arguments: [
        "", "Sun", "Sun,", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov 1994 08:49:37 UTC",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 29 Feb 2023 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 1994 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sun, +6 Nov 1994 08:49:37 GMT", "784111777",
    ])
    func refuses(text: String) {
        #expect(HTTPDateTests.parsed(text) == nil)
    }

    @Test func everyCutOfADateIsRefused() {
        for whole in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            for length in 0..<whole.utf8.count { #expect(HTTPDateTests.parsed(String(whole.prefix(length))) == nil) }
        }
    }

    @Test func theCacheTellsTheSecondItIsAskedFor() {
        var cache = DateCache()
        for seconds: Int64 in [0, 0, 1, 784_111_777, 0] {
            var out = ByteBuffer()
            out.append("date: ")
            cache.append(seconds: seconds, to: &out)
            #expect(HTTPDateTests.text(out) == "date: " + HTTPDateTests.written(seconds))
        }
    }

    @Test(
        arguments: [
            ("0", nil, Int64(0)), ("120", nil, 120), ("86400", nil, 86_400), ("86401", nil, 86_400),
            ("99999999999999999999999", nil, 86_400),
            ("Wed, 25 Nov 2026 00:00:30 GMT", nil, 30), ("Wed, 25 Nov 2026 00:00:30 GMT", now - 60, 90),
            ("Wed, 25 Nov 2026 00:00:30 GMT", now + 60, 0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", nil, 86_400), ("Fri, 31 Dec 9999 23:59:59 GMT", Int64.min, nil),
            ("", nil, nil), ("-1", nil, nil), ("1.5", nil, nil), ("1e9", nil, nil), (" 1", nil, nil), ("1 ", nil, nil),
            ("soon", nil, nil),
        ] as [(String, Int64?, Int64?)])
    func readsRetryAfter(text: String, responseDate: Int64?, wanted: Int64?) {
        let bytes = Array(text.utf8)
        #expect(RetryAfter.seconds(bytes.span, responseDate: responseDate, now: HTTPDateTests.now) == wanted)
    }
}
