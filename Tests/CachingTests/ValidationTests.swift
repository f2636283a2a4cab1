// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Caching

/// Validation, freshening, invalidation (RFC 9111 §4.3, §4.4), and stale answers (RFC 5861).
@Suite struct ValidationTests {
    static let answer = Answered(
        200, "Cache-Control: max-age=10", "ETag: \"e1\"", "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT", "X-A: 1",
        "Content-Type: text/plain")

    static func stale(_ policy: CachePolicy = CachePolicy(), _ answer: Answered = answer, after seconds: Int64 = 11) -> Edge {
        let edge = Edge(policy)
        _ = edge.send(Asked()) { _ in answer }
        edge.advance(seconds)
        return edge
    }

    @Test func aStaleAnswerIsConfirmedAndServedWithItsNewFields() {
        let edge = ValidationTests.stale()
        let got = edge.send(Asked()) { head in
            let lines = head.fields.lines
            #expect(lines.first { $0.0 == "if-none-match" }?.1 == "\"e1\"")
            #expect(lines.first { $0.0 == "if-modified-since" }?.1 == "Tue, 01 Jan 2019 00:00:00 GMT")
            return Answered(
                304, "Cache-Control: max-age=20", "X-A: 2", "X-B: new", "Content-Length: 0", "Content-Type: text/html",
                "Set-Cookie: mine=1")
        }
        #expect(got.status == 200 && got.body == "hello" && got.value("x-a") == "2" && got.value("x-b") == "new")
        #expect(got.value("content-type") == "text/plain" && got.value("set-cookie") == "mine=1")
        #expect(got.cacheStatus == "Holdfast; fwd=stale; fwd-status=304; ttl=20; stored")
        edge.advance(19)
        let next = edge.send(Asked()) { _ in nil }
        #expect(next.isFromStore && next.value("x-a") == "2" && next.age == 19 && next.value("set-cookie") == nil)
        #expect(edge.store.usage.answers == 1)
    }

    @Test func theClientsOwnConditionIsAnsweredAfterOurs() {
        let edge = ValidationTests.stale()
        let got = edge.send(Asked("GET", "/", "If-None-Match: \"mine\", \"e1\"")) { head in
            #expect(head.fields.lines.filter { $0.0 == "if-none-match" }.map(\.1) == ["\"e1\""])
            return Answered(304)
        }
        #expect(got.status == 304 && got.body == "")
        let other = ValidationTests.stale()
        let whole = other.send(Asked("GET", "/", "If-None-Match: \"old\"")) { _ in Answered(304) }
        #expect(whole.status == 200 && whole.body == "hello")
        let part = ValidationTests.stale().send(Asked("GET", "/", "Range: bytes=1-2")) { head in
            #expect(!head.fields.lines.contains { $0.0 == "range" })
            return Answered(304)
        }
        #expect(part.status == 206 && part.body == "el")
    }

    @Test func aMissWithAConditionFetchesTheWholeForAllAndAnswersTheOne() {
        let edge = Edge()
        let got = edge.send(Asked("GET", "/", "If-None-Match: \"e1\"")) { head in
            #expect(!head.fields.lines.contains { $0.0 == "if-none-match" })
            return ValidationTests.answer
        }
        #expect(got.status == 304 && edge.store.usage.answers == 1)
        #expect(edge.send(Asked()) { _ in nil }.body == "hello")
    }

    @Test func aNewAnswerTakesThePlaceOfTheOld() {
        let edge = ValidationTests.stale()
        let got = edge.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=10", "ETag: \"e2\"", body: "new") }
        #expect(got.body == "new" && edge.store.usage.answers == 1)
        #expect(edge.send(Asked()) { _ in nil }.body == "new")
    }

    @Test func aWordThatMayNotBeStoredEndsWhatWasStored() {
        for status in [200, 404, 302] {
            let edge = ValidationTests.stale()
            _ = edge.send(Asked()) { _ in Answered(status, "Cache-Control: no-store") }
            #expect(edge.store.usage.answers == 0, "\(status)")
        }
        let failing = ValidationTests.stale()
        _ = failing.send(Asked()) { _ in Answered(503) }
        #expect(failing.store.usage.answers == 1)
    }

    @Test func aConfirmationThatForbidsStoringIsServedOnce() {
        let edge = ValidationTests.stale()
        let got = edge.send(Asked()) { _ in Answered(304, "Cache-Control: private, max-age=10") }
        #expect(got.status == 200 && got.body == "hello" && edge.store.usage.answers == 0)
    }

    @Test func whatOneUserHadConfirmedIsNotStoredForOthers() {
        let edge = ValidationTests.stale()
        let got = edge.send(Asked("GET", "/", "Authorization: alice")) { _ in Answered(304, "Cache-Control: max-age=1000") }
        #expect(got.status == 200 && got.body == "hello" && edge.store.usage.answers == 0)
    }

    @Test func noCacheIsStoredAndAskedAboutEachTime() {
        let edge = Edge()
        _ = edge.send(Asked()) { _ in Answered(200, "Cache-Control: no-cache", "ETag: \"e\"") }
        for _ in 0..<3 {
            let got = edge.send(Asked()) { head in
                #expect(head.fields.lines.contains { $0.0 == "if-none-match" })
                return Answered(304)
            }
            #expect(got.body == "hello" && !got.isFromStore)
        }
        let down = edge.send(Asked("GET", "/", "Cache-Control: max-stale, stale-if-error=1000")) { _ in nil }
        #expect(down.status == 502)
    }

    @Test func HEADConfirmsOrEndsWhatIsStored() {
        let edge = ValidationTests.stale()
        _ = edge.send(Asked("HEAD")) { head in
            #expect(!head.fields.lines.contains { $0.0 == "if-none-match" })
            return Answered(
                200, "Cache-Control: max-age=10", "ETag: \"e1\"", "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT", "X-A: 3")
        }
        let got = edge.send(Asked()) { _ in nil }
        #expect(got.isFromStore && got.value("x-a") == "3")
        edge.advance(11)
        _ = edge.send(Asked("HEAD")) { _ in Answered(200, "Cache-Control: max-age=10", "ETag: \"e2\"") }
        #expect(edge.store.usage.answers == 0)
    }

    @Test func HEADIsServedWhatIsStaleWhereTheUpstreamFails() {
        for failure in [nil, Answered(503)] {
            let edge = ValidationTests.stale(CachePolicy(), Answered(200, "Cache-Control: max-age=10, stale-if-error=60"))
            let got = edge.send(Asked("HEAD")) { _ in failure }
            #expect(got.status == 200 && got.body == "" && got.cacheStatus.contains("stale-if-error"))
        }
    }

    // MARK: §4.4

    @Test(arguments: ["POST", "PUT", "DELETE", "PATCH", "FROBNICATE"])
    func anUnsafeRequestEndsWhatIsStored(method: String) {
        let edge = ValidationTests.stale(after: 1)
        _ = edge.send(Asked(method)) { _ in Answered(500) }
        _ = edge.send(Asked(method)) { _ in Answered(404) }
        #expect(edge.store.usage.answers == 1)
        _ = edge.send(Asked(method)) { _ in Answered(204) }
        #expect(edge.store.usage.answers == 0)
    }

    @Test func invalidationFollowsLocationWithinTheOrigin() {
        let edge = Edge()
        let answer = ValidationTests.answer
        for path in ["/a", "/b", "/c", "/d"] { _ = edge.send(Asked("GET", path)) { _ in answer } }
        _ = edge.send(Asked("GET", "/a", host: "b.example")) { _ in answer }
        _ = edge.send(Asked("POST", "/d")) { _ in
            Answered(201, "Location: /a", "Content-Location: https://A.example:443/b")
        }
        #expect(edge.store.usage.answers == 2)
        _ = edge.send(Asked("POST", "/x")) { _ in Answered(201, "Location: https://b.example/a") }
        #expect(edge.store.usage.answers == 2)
        #expect(edge.send(Asked("GET", "/c")) { _ in nil }.status == 200)
    }

    @Test func whatWasAskedForBeforeAPurgeIsNotStoredAfterIt() {
        let edge = Edge()
        for purge in [
            { _ = edge.store.purge(CacheKey(uri: "https://a.example/")!, now: edge.now) },
            { _ = edge.store.purge(tag: "t", now: edge.now) },
            { _ = edge.store.purgeAll(now: edge.now) }, { _ = edge.send(Asked("POST")) { _ in Answered(200) } },
        ] {
            edge.advance(1)
            _ = edge.send(Asked()) { _ in
                edge.advance(1)
                purge()
                edge.advance(1)
                return Answered(200, "Cache-Control: max-age=60", "Cache-Tag: s, t")
            }
            #expect(edge.store.usage.answers == 0)
        }
        edge.advance(1)
        _ = edge.send(Asked()) { _ in Answered(200, "Cache-Control: max-age=60", "Cache-Tag: s, t") }
        #expect(edge.store.usage.answers == 1)
    }

    // MARK: RFC 5861

    static let failing: [(directives: String, after: Int64, asks: String, isServed: Bool)] = [
        ("max-age=10, stale-if-error=100", Int64(50), "", true), ("max-age=10, stale-if-error=100", 110, "", false),
        ("max-age=10", 11, "", false), ("max-age=10", 11, "Cache-Control: stale-if-error=5", true),
        ("max-age=10", 16, "Cache-Control: stale-if-error=5", false),
        ("max-age=10, stale-if-error=100, must-revalidate", 11, "", false),
        ("max-age=10, stale-if-error=100, proxy-revalidate", 11, "", false),
        ("s-maxage=10, stale-if-error=100", 11, "", true), ("s-maxage=10", 11, "Cache-Control: stale-if-error=5", false),
        ("max-age=10, stale-if-error=100, no-cache", 11, "", false),
        ("max-age=10, stale-if-error=100", 11, "Cache-Control: no-cache", false),
        ("max-age=10, stale-if-error=x", 11, "", false),
    ]

    @Test(arguments: failing)
    func staleIfError(row: (directives: String, after: Int64, asks: String, isServed: Bool)) {
        let (directives, seconds, asks, isServed) = row
        for failure in [nil, Answered(500), Answered(502), Answered(503), Answered(504)] {
            let edge = ValidationTests.stale(
                CachePolicy(), Answered(200, "Cache-Control: \(directives)", "ETag: \"e\""), after: seconds)
            var asked = Asked()
            if !asks.isEmpty { asked.fields = [pair(asks)] }
            let got = edge.send(asked) { _ in failure }
            #expect((got.status == 200) == isServed, "\(String(describing: failure?.status)): \(got)")
            if isServed {
                #expect(
                    got.cacheStatus.contains("; hit; ") && got.cacheStatus.contains("detail=stale-if-error")
                        && got.age == Int(seconds))
            }
        }
        let edge = ValidationTests.stale(
            CachePolicy(), Answered(200, "Cache-Control: \(directives)", "ETag: \"e\""), after: seconds)
        #expect(edge.send(Asked()) { _ in Answered(404, "Cache-Control: no-store") }.status == 404)
    }

    @Test func theConfiguredStaleIfErrorIsForAnswersThatSaidHowLongTheyAreGood() {
        var policy = CachePolicy()
        policy.staleIfError = 100
        #expect(ValidationTests.stale(policy).send(Asked()) { _ in nil }.status == 200)
        let shared = Answered(200, "Cache-Control: s-maxage=10", "ETag: \"e\"")
        #expect(ValidationTests.stale(policy, shared).send(Asked()) { _ in nil }.status == 502)
        let zero = Answered(200, "Cache-Control: max-age=0", "ETag: \"e\"")
        #expect(ValidationTests.stale(policy, zero).send(Asked()) { _ in nil }.status == 502)
        policy.defaultLifetime = 10
        let silent = Answered(200, "ETag: \"e\"")
        #expect(ValidationTests.stale(policy, silent).send(Asked()) { _ in nil }.status == 502)
    }

    @Test func staleWhileRevalidateServesAtOnceAndFetchesOnce() {
        let edge = ValidationTests.stale(
            CachePolicy(), Answered(200, "Cache-Control: max-age=10, stale-while-revalidate=20", "ETag: \"e\""))
        let got = edge.send(Asked("GET", "/", "If-None-Match: \"other\"")) { _ in
            Answered(200, "Cache-Control: max-age=10, stale-while-revalidate=20", "ETag: \"f\"", body: "new")
        }
        #expect(got.isFromStore && got.body == "hello" && got.age == 11 && got.cacheStatus == "Holdfast; hit; ttl=-1")
        #expect(got.refreshed?.filter { $0.0 == "if-none-match" }.map(\.1) == ["\"e\""])
        let next = edge.send(Asked()) { _ in nil }
        #expect(next.isFromStore && next.body == "new" && next.refreshed == nil)
        edge.advance(31)
        #expect(!edge.send(Asked()) { _ in Answered() }.isFromStore)
    }

    @Test func aRefreshThatFailsLeavesTheStaleAnswerForItsTime() {
        let edge = ValidationTests.stale(
            CachePolicy(), Answered(200, "Cache-Control: max-age=10, stale-while-revalidate=20", "ETag: \"e\""))
        edge.background = { _ in nil }
        for _ in 0..<3 {
            let got = edge.send(Asked()) { _ in Answered() }
            #expect(got.isFromStore && got.refreshed != nil)
        }
        edge.background = { _ in Answered(304) }
        #expect(edge.send(Asked()) { _ in Answered() }.refreshed != nil)
        #expect(edge.send(Asked()) { _ in Answered() }.cacheStatus == "Holdfast; hit; ttl=10")
    }
}
