// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Caching

/// What is served, how old it is, and what of it (RFC 9111 §4.1 to §4.2.4, §5.2.1; RFC 9110 §13, §14).
@Suite struct ReuseTests {
    /// Stores one answer, waits, asks.
    static func after(
        _ seconds: Int64, _ answer: Answered, _ asked: Asked, first: Asked = Asked(), _ policy: CachePolicy = CachePolicy(),
        then: @escaping (Edge) -> Answered? = { _ in Answered(200, "Cache-Control: no-store", body: "new") }
    ) -> (edge: Edge, got: Got) {
        let edge = Edge(policy)
        _ = edge.send(first) { _ in answer }
        edge.advance(seconds)
        let got = edge.send(asked) { _ in then(edge) }
        return (edge, got)
    }

    @Test(arguments: [(Int64(0), true), (59, true), (60, false), (61, false)])
    func aLifetimeEndsWhenTheAgeReachesIt(seconds: Int64, isHit: Bool) {
        let (_, got) = ReuseTests.after(seconds, Answered(200, "Cache-Control: max-age=60"), Asked())
        #expect(got.isFromStore == isHit)
        if isHit { #expect(got.age == Int(seconds) && got.cacheStatus == "Holdfast; hit; ttl=\(60 - seconds)") }
    }

    /// §4.2.3: the greater of what the clocks say and what Age and the delay say.
    @Test func ageArithmetic() {
        let edge = Edge()
        edge.delay = 5
        let date = edge.date(-20)
        _ = edge.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=600", "Date: \(date)", "Age: 3") }
        #expect(edge.send(Asked()) { _ in nil }.age == 25)  // it was 20 s old by its Date when it was asked for, and took 5
        let other = Edge()
        other.delay = 5
        _ = other.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=600", "Age: 30") }
        other.advance(7)
        #expect(other.send(Asked()) { _ in nil }.age == 42)
        let future = Edge()
        let ahead = future.date(3_600)
        _ = future.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=600", "Date: \(ahead)") }
        #expect(future.send(Asked()) { _ in nil }.age == 0)
    }

    @Test(arguments: [
        ("max-age=5", Int64(5), true), ("max-age=5", 6, false), ("max-age=0", 1, false), ("max-age=x", 1, false),
        ("min-fresh=10", 50, true), ("min-fresh=10", 51, false), ("min-fresh=x", 1, false), ("no-cache", 1, false),
        ("no-store", 1, true),
        ("max-stale", 1_000, true), ("max-stale=10", 70, true), ("max-stale=10", 71, false), ("max-stale=x", 61, false),
        ("only-if-cached", 1, true), ("max-stale, max-age=5", 6, false), ("unknown", 1, true),
    ])
    func requestDirectives(field: String, seconds: Int64, isHit: Bool) {
        let (_, got) = ReuseTests.after(
            seconds, Answered(200, "Cache-Control: max-age=60"), Asked("GET", "/", "Cache-Control: \(field)"))
        #expect(got.isFromStore == isHit, "\(got)")
    }

    @Test func requestDirectivesAreNotHeededWhereThatIsOff() {
        var policy = CachePolicy()
        policy.heedsRequests = false
        let (_, got) = ReuseTests.after(
            1, Answered(200, "Cache-Control: max-age=60"), Asked("GET", "/", "Cache-Control: no-cache"), policy)
        #expect(got.isFromStore)
    }

    @Test func onlyIfCachedIs504WhereItIsNot() {
        let edge = Edge()
        let got = edge.send(Asked("GET", "/", "Cache-Control: only-if-cached")) { _ in Answered() }
        #expect(got.status == 504 && edge.fetches == 0)
    }

    /// §4.2.4: what forbids a stale answer, against a client that would take one.
    @Test(arguments: ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=1"])
    func staleIsForbidden(directive: String) {
        let (_, got) = ReuseTests.after(
            61, Answered(200, "Cache-Control: max-age=60, \(directive)", "ETag: \"e\""),
            Asked("GET", "/", "Cache-Control: max-stale"))
        #expect(!got.isFromStore)
    }

    @Test func E18_variantsAreKeptApart() {
        let edge = Edge()
        func ask(_ language: String?) -> Got {
            var asked = Asked()
            if let language { asked.fields = [("Accept-Language", language)] }
            return edge.send(asked) { head in
                let said = head.fields.lines.first { $0.0 == "accept-language" }?.1 ?? "none"
                return Answered(200, "Cache-Control: max-age=60", "Vary: Accept-Language", body: said)
            }
        }
        for language in ["de", "en", nil] {
            let first = ask(language)
            #expect(!first.isFromStore && first.body == language ?? "none")
        }
        for language in ["de", "en", nil] {
            let again = ask(language)
            #expect(again.isFromStore && again.body == language ?? "none")
        }
        #expect(ask("fr").cacheStatus.contains("fwd=vary-miss"))
    }

    @Test func E17_hostSchemePortQueryRouteAndForwardedHostAreKeptApart() {
        let edge = Edge()
        let asked = [
            Asked(), Asked(host: "b.example"), Asked(secure: false), Asked(host: "a.example:8443"), Asked("GET", "/?a=1&b=2"),
            Asked("GET", "/?b=2&a=1"), Asked("GET", "/", "X-Forwarded-Host: other.example"),
            Asked("GET", "/", "X-Forwarded-Proto: http"),
        ]
        for (i, request) in asked.enumerated() {
            let got = edge.send(request) { _ in Answered(200, "Cache-Control: max-age=60", body: "\(i)") }
            #expect(!got.isFromStore && got.body == "\(i)")
        }
        for (i, request) in asked.enumerated() { #expect(edge.send(request) { _ in nil }.body == "\(i)") }
        #expect(edge.send(Asked(host: "A.EXAMPLE:443")) { _ in nil }.body == "0")
        #expect(edge.send(Asked("GET", "/", "X-Forwarded-Host: a.example", "X-Forwarded-Proto: https")) { _ in nil }.body == "0")
        let elsewhere = Edge(namespace: "other", store: edge.store)
        #expect(elsewhere.send(Asked()) { _ in Answered(body: "elsewhere") }.body == "elsewhere")
    }

    @Test(arguments: [
        "X-HTTP-Method-Override: DELETE", "X-Method-Override: PUT", "X-Original-URL: /admin", "X-Rewrite-URL: /admin",
        "X-Forwarded-Prefix: /p",
    ])
    func E17_requestsThatMayMeanSomethingElseGoPast(field: String) {
        let edge = Edge()
        let answer = Answered(200, "Cache-Control: max-age=60")
        _ = edge.send(Asked("GET", "/", field)) { _ in answer }
        #expect(edge.store.usage.answers == 0)
        _ = edge.send(Asked()) { _ in answer }
        let got = edge.send(Asked("GET", "/", field)) { _ in Answered(body: "own") }
        #expect(got.body == "own" && got.cacheStatus.contains("fwd=bypass"))
    }

    // MARK: Conditions and ranges

    static let tagged = Answered(
        200, "Cache-Control: max-age=60", "ETag: \"e1\"", "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT",
        "Content-Type: text/plain",
        "Vary: Accept", body: "0123456789")

    @Test(arguments: [
        (["If-None-Match: \"e1\""], 304), (["If-None-Match: W/\"e1\""], 304), (["If-None-Match: \"x\", \"e1\""], 304),
        (["If-None-Match: *"], 304),
        (["If-None-Match: \"x\""], 200), (["If-None-Match: e1"], 200),
        (["If-None-Match: \"x\"", "If-None-Match: \"e1\""], 304),
        (["If-Modified-Since: Tue, 01 Jan 2019 00:00:00 GMT"], 304), (["If-Modified-Since: Mon, 31 Dec 2018 23:59:59 GMT"], 200),
        (["If-Modified-Since: x"], 200),
        (["If-None-Match: \"x\"", "If-Modified-Since: Tue, 01 Jan 2030 00:00:00 GMT"], 200),
    ])
    func aClientsOwnConditions(fields: [String], status: Int) {
        var asked = Asked()
        asked.fields = fields.map(pair)
        let (_, got) = ReuseTests.after(1, ReuseTests.tagged, asked)
        #expect(got.isFromStore && got.status == status)
        if status == 304 {
            #expect(
                got.body == "" && got.value("etag") == "\"e1\"" && got.value("vary") == "Accept"
                    && got.value("cache-control") != nil)
            #expect(got.value("content-type") == nil && got.value("date") != nil && got.age == 1)
        }
    }

    @Test(arguments: ["If-Match: \"e1\"", "If-Unmodified-Since: Tue, 01 Jan 2030 00:00:00 GMT"])
    func preconditionsAreTheOrigins(field: String) {
        let (_, got) = ReuseTests.after(1, ReuseTests.tagged, Asked("GET", "/", field))
        #expect(!got.isFromStore)
    }

    static let cuts: [(fields: [String], status: Int, body: String, contentRange: String?)] = [
        (["Range: bytes=0-3"], 206, "0123", "bytes 0-3/10"),
        (["Range: bytes=4-"], 206, "456789", "bytes 4-9/10"),
        (["Range: bytes=-3"], 206, "789", "bytes 7-9/10"),
        (["Range: bytes=-30"], 206, "0123456789", "bytes 0-9/10"),
        (["Range: bytes=9-100"], 206, "9", "bytes 9-9/10"),
        (["Range: bytes=10-"], 416, "", "bytes */10"),
        (["Range: bytes=-0"], 416, "", "bytes */10"),
        (["Range: bytes=3-1"], 200, "0123456789", nil),
        (["Range: bytes=0-1,3-4"], 200, "0123456789", nil),
        (["Range: lines=0-1"], 200, "0123456789", nil),
        (["Range: bytes=x"], 200, "0123456789", nil),
        (["Range: bytes=99999999999999999999-"], 200, "0123456789", nil),
        (["Range: bytes=0-0", "If-Range: \"e1\""], 206, "0", "bytes 0-0/10"),
        (["Range: bytes=0-0", "If-Range: \"x\""], 200, "0123456789", nil),
        (["Range: bytes=0-0", "If-Range: W/\"e1\""], 200, "0123456789", nil),
        (["Range: bytes=0-0", "If-Range: Tue, 01 Jan 2019 00:00:00 GMT"], 206, "0", "bytes 0-0/10"),
        (["Range: bytes=0-0", "If-Range: Tue, 01 Jan 2019 00:00:01 GMT"], 200, "0123456789", nil),
        (["Range: bytes=0-0", "If-None-Match: \"e1\""], 304, "", nil),
    ]

    @Test(arguments: cuts)
    func rangesAreCutFromAStoredWhole(row: (fields: [String], status: Int, body: String, contentRange: String?)) {
        var asked = Asked()
        asked.fields = row.fields.map(pair)
        let (_, got) = ReuseTests.after(1, ReuseTests.tagged, asked)
        #expect(got.isFromStore && got.status == row.status && got.body == row.body)
        #expect(got.value("content-range") == row.contentRange)
    }

    @Test func aRangeOfWhatIsNotStoredIsTheOrigins() {
        let edge = Edge()
        let got = edge.send(Asked("GET", "/", "Range: bytes=0-1")) { head in
            #expect(head.fields.lines.contains { $0.0 == "range" })
            return Answered(206, "Cache-Control: max-age=60", "Content-Range: bytes 0-1/10", body: "01")
        }
        #expect(got.status == 206 && edge.store.usage.answers == 0)
        // An origin that does not know ranges sends the whole, which is.
        _ = edge.send(Asked("GET", "/", "Range: bytes=0-1")) { _ in ReuseTests.tagged }
        #expect(edge.send(Asked("GET", "/", "Range: bytes=2-3")) { _ in nil }.body == "23")
    }

    @Test func HEADIsAnsweredFromAGet() {
        let (_, got) = ReuseTests.after(1, ReuseTests.tagged, Asked("HEAD"))
        #expect(got.isFromStore && got.status == 200 && got.body == "" && got.value("etag") == "\"e1\"")
        var policy = CachePolicy()
        policy.answersHead = false
        #expect(!ReuseTests.after(1, ReuseTests.tagged, Asked("HEAD"), policy).got.isFromStore)
    }
}
