// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Caching

/// What is stored (RFC 9111 §3, §3.5): each row is asked for twice, one second apart; the second is a hit or not.
@Suite struct StorageTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var request: [String] = []
        var answer: [String]
        var status = 200
        var isHit: Bool
        var testDescription: String { name }

        init(_ name: String, asks request: [String] = [], _ answer: [String], status: Int = 200, hit: Bool) {
            self.name = name
            self.request = request
            self.answer = answer
            self.status = status
            isHit = hit
        }
    }

    static func isHit(_ row: Row, _ policy: CachePolicy = CachePolicy()) -> Bool {
        let edge = Edge(policy)
        var asked = Asked()
        asked.fields = row.request.map(pair)
        var answer = Answered(row.status)
        answer.fields = row.answer.map { pair($0.replacing("{now}", with: edge.date()).replacing("{later}", with: edge.date(60))) }
        let given = answer
        _ = edge.send(asked) { _ in given }
        edge.advance(1)
        return edge.send(asked) { _ in given }.isFromStore
    }

    static let rows: [Row] = [
        Row("max-age", ["Cache-Control: max-age=60"], hit: true),
        Row("s-maxage", ["Cache-Control: s-maxage=60"], hit: true),
        Row("s-maxage beats max-age", ["Cache-Control: s-maxage=0, max-age=60"], hit: false),
        Row("Expires", ["Date: {now}", "Expires: {later}"], hit: true),
        Row("Expires without Date", ["Expires: {later}"], hit: true),
        Row("max-age beats Expires", ["Date: {now}", "Expires: {later}", "Cache-Control: max-age=0"], hit: false),
        Row("Expires 0 is over", ["Expires: 0"], hit: false),
        Row("two different Expires are none", ["Expires: {later}", "Expires: 0"], hit: false),
        Row("nothing said", [], hit: false),
        Row("nothing said, with validators", ["ETag: \"a\"", "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT"], hit: false),
        Row("no-store", ["Cache-Control: max-age=60, no-store"], hit: false),
        Row("no-store on a line of its own", ["Cache-Control: max-age=60", "Cache-Control: No-Store"], hit: false),
        Row("private", ["Cache-Control: max-age=60, private"], hit: false),
        Row("private with a field", ["Cache-Control: max-age=60, private=\"x-user\""], hit: false),
        Row("no-cache", ["Cache-Control: max-age=60, no-cache", "ETag: \"a\""], hit: false),
        Row("must-understand, understood", ["Cache-Control: max-age=60, no-store, must-understand"], hit: true),
        Row("must-understand, not understood", ["Cache-Control: max-age=60, must-understand"], status: 299, hit: false),
        Row("the request says no-store", asks: ["Cache-Control: no-store"], ["Cache-Control: max-age=60"], hit: false),
        Row("Pragma of the request", asks: ["Pragma: no-cache"], ["Cache-Control: max-age=60"], hit: false),
        Row("E18 Authorization", asks: ["Authorization: Bearer a"], ["Cache-Control: max-age=60"], hit: false),
        Row("E18 Authorization, public", asks: ["Authorization: Bearer a"], ["Cache-Control: max-age=60, public"], hit: true),
        Row("E18 Authorization, s-maxage", asks: ["Authorization: Bearer a"], ["Cache-Control: s-maxage=60"], hit: true),
        Row(
            "E18 Authorization, must-revalidate", asks: ["Authorization: Bearer a"], ["Cache-Control: max-age=60, must-revalidate"],
            hit: true),
        Row(
            "E18 Authorization, s-maxage that is no number", asks: ["Authorization: Bearer a"],
            ["Cache-Control: s-maxage=x, max-age=60"], hit: false),
        Row("E18 Set-Cookie", ["Cache-Control: max-age=60", "Set-Cookie: id=1"], hit: false),
        Row("E18 Set-Cookie, public", ["Cache-Control: max-age=60, public", "Set-Cookie: id=1"], hit: false),
        Row("E18 Vary: *", ["Cache-Control: max-age=60", "Vary: *"], hit: false),
        Row("E18 Vary: * among names", ["Cache-Control: max-age=60", "Vary: Accept, *"], hit: false),
        Row("E18 Vary: X-Forwarded-For", ["Cache-Control: max-age=60", "Vary: X-Forwarded-For"], hit: false),
        Row("E18 Vary: X-Forwarded-Host is in the key", ["Cache-Control: max-age=60", "Vary: X-Forwarded-Host"], hit: true),
        Row("Vary that is no list of names", ["Cache-Control: max-age=60", "Vary: \"a b\""], hit: false),
        Row("E18 206", ["Cache-Control: max-age=60", "Content-Range: bytes 0-4/10"], status: 206, hit: false),
        Row("200 with Content-Range", ["Cache-Control: max-age=60", "Content-Range: bytes 0-4/10"], hit: false),
        Row("302 with max-age", ["Cache-Control: max-age=60", "Location: /y"], status: 302, hit: true),
        Row("404 with max-age", ["Cache-Control: max-age=60"], status: 404, hit: true),
        Row("404 without", [], status: 404, hit: false),
        Row("a status that nobody knows, with max-age", ["Cache-Control: max-age=60"], status: 499, hit: true),
        Row("416", ["Cache-Control: max-age=60"], status: 416, hit: false),
        Row("204 with max-age", ["Cache-Control: max-age=60"], status: 204, hit: true),
        Row("CDN-Cache-Control instead", ["Cache-Control: no-store", "CDN-Cache-Control: max-age=60"], hit: true),
        Row("CDN-Cache-Control forbids", ["Cache-Control: max-age=60", "CDN-Cache-Control: no-store"], hit: false),
        Row(
            "CDN-Cache-Control that cannot be read is not gone by", ["Cache-Control: max-age=60", "CDN-Cache-Control: no-store x"],
            hit: true),
        Row("a quoted string without an end", ["Cache-Control: max-age=60, x=\"no-store"], hit: false),
        Row("max-age that is no number", ["Cache-Control: max-age=x"], hit: false),
        Row("Age eats up max-age", ["Cache-Control: max-age=60", "Age: 60"], hit: false),
        Row("the first Age counts", ["Cache-Control: max-age=60", "Age: 0, 3600"], hit: true),
        Row("an Age that is no number is none", ["Cache-Control: max-age=60", "Age: x"], hit: true),
    ]

    @Test(arguments: rows)
    func E18_whatIsStored(row: Row) { #expect(StorageTests.isHit(row) == row.isHit) }

    @Test func heuristics() {
        let edge = Edge()
        let modified = "Last-Modified: \(edge.date(-86_400 * 10))"
        var policy = CachePolicy()
        policy.heuristicShare = 1_000
        #expect(StorageTests.isHit(Row("a tenth", [modified], hit: true), policy))
        #expect(StorageTests.isHit(Row("404 too", [modified], status: 404, hit: true), policy))
        #expect(!StorageTests.isHit(Row("not by default", [modified], hit: false)))
        #expect(!StorageTests.isHit(Row("not 302", [modified], status: 302, hit: false), policy))
        #expect(StorageTests.isHit(Row("302 public", [modified, "Cache-Control: public"], status: 302, hit: true), policy))
        #expect(!StorageTests.isHit(Row("with a cookie", asks: ["Cookie: id=1"], [modified], hit: false), policy))
        #expect(
            StorageTests.isHit(
                Row("with a cookie, public", asks: ["Cookie: id=1"], [modified, "Cache-Control: public"], hit: true), policy))
        #expect(!StorageTests.isHit(Row("from the future", ["Last-Modified: \(edge.date(60))"], hit: false), policy))
        policy.heuristicShare = 0
        policy.defaultLifetime = 30
        #expect(StorageTests.isHit(Row("default", [], hit: true), policy))
        #expect(!StorageTests.isHit(Row("default and a cookie", asks: ["Cookie: id=1"], [], hit: false), policy))
        #expect(!StorageTests.isHit(Row("default and 500", [], status: 500, hit: false), policy))
    }

    @Test func E18_anAnswerWithACookieIsStoredWithoutItWhereThatIsAllowed() {
        var policy = CachePolicy()
        policy.storesCookieSetters = true
        let edge = Edge(policy)
        let first = edge.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=60", "Set-Cookie: id=1") }
        #expect(first.value("set-cookie") == "id=1")
        let second = edge.send(Asked()) { _ in nil }
        #expect(second.status == 200 && second.value("set-cookie") == nil)
    }

    @Test func B04_E19_whatIsIncompleteIsNeverStored() {
        let edge = Edge()
        var cut = Answered(200, "Cache-Control: max-age=60")
        cut.isTruncated = true
        let truncated = cut
        _ = edge.send(Asked()) { _ in truncated }
        #expect(edge.store.usage.answers == 0)
        cut.isTruncated = false
        cut.isCloseDelimited = true
        let open = cut
        _ = edge.send(Asked()) { _ in open }
        #expect(edge.store.usage.answers == 0)
        let got = edge.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=60") }
        #expect(!got.isFromStore && edge.store.usage.answers == 1)
    }

    @Test func E19_noOtherMethodFillsOrIsServed() {
        let edge = Edge()
        let answer = Answered(200, "Cache-Control: max-age=60")
        for method in ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PURGE"] {
            _ = edge.send(Asked(method)) { _ in answer }
            #expect(!edge.send(Asked()) { _ in Answered(200, "Cache-Control: no-store") }.isFromStore, "\(method) filled")
        }
        edge.advance(1)  // what changed at the very instant of a request counts as later
        _ = edge.send(Asked()) { _ in answer }
        for method in ["OPTIONS", "TRACE", "POST", "PURGE"] {
            #expect(!edge.send(Asked(method)) { _ in Answered(500) }.isFromStore, "\(method) was served")
        }
        #expect(edge.send(Asked("HEAD")) { _ in nil }.isFromStore)
    }

    @Test func A23_aGetWithABodyGoesPast() {
        let edge = Edge()
        let answer = Answered(200, "Cache-Control: max-age=60")
        var asked = Asked()
        asked.body = "{}"
        _ = edge.send(asked) { _ in answer }
        #expect(edge.store.usage.answers == 0)
        _ = edge.send(Asked()) { _ in answer }
        #expect(!edge.send(asked) { _ in answer }.isFromStore)
    }

    @Test func whoAsksIsKnownAndTheAnswerMustAllowIt() {
        let edge = Edge()
        var asked = Asked()
        asked.isAuthenticated = true
        _ = edge.send(asked) { _ in Answered(200, "Cache-Control: max-age=60") }
        #expect(edge.store.usage.answers == 0)
        _ = edge.send(asked) { _ in Answered(200, "Cache-Control: max-age=60, public") }
        #expect(edge.store.usage.answers == 1)
    }

    @Test func anObjectAboveItsLimitIsNotStoredWhetherItsLengthIsSaidOrNot() {
        var policy = CachePolicy()
        policy.objectBytes = 4
        let edge = Edge(policy)
        _ = edge.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=60", body: "12345") }
        #expect(edge.store.usage.answers == 0)
        _ = edge.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=60", body: "1234") }
        #expect(edge.store.usage.answers == 1)
    }

    @Test func fieldsOfOneExchangeAreNotStored() {
        let edge = Edge()
        _ = edge.send(Asked()) { _ in
            Answered(
                200, "Cache-Control: max-age=60", "X-Request-ID: one", "Proxy-Authenticate: Basic", "Age: 3", "ETag: \"e\"",
                "Content-Type: text/plain", "X-Other: kept")
        }
        let got = edge.send(Asked()) { _ in nil }
        #expect(got.value("x-request-id") == nil && got.value("proxy-authenticate") == nil)
        #expect(got.value("x-other") == "kept" && got.value("etag") == "\"e\"" && got.value("content-type") == "text/plain")
        #expect(got.fields.filter { $0.0 == "age" }.count == 1 && got.age == 3)
        #expect(got.value("date") == edge.date())
    }
}
