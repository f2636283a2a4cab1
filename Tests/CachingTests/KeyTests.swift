// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Caching

/// The primary key (RFC 9111 §2) and what Vary adds to it (§4.1).
@Suite struct KeyTests {
    static func key(_ target: String, _ host: String = "a.example", secure: Bool = true, ignoring: [String] = []) -> String {
        let asked = Asked("GET", target, host: host, secure: secure)
        return String(
            decoding: CacheKey(asked.head, isSecure: secure, ignoring: ignoring.map { Array($0.utf8) }).bytes, as: UTF8.self)
    }

    @Test func E17_oneURIOneKeyAndTwoURIsTwo() {
        #expect(KeyTests.key("/x?a=1") == "https://a.example:443/x?a=1")
        #expect(KeyTests.key("/x", "A.Example") == KeyTests.key("/x", "a.example:443"))
        #expect(KeyTests.key("/x", "a.example:") == KeyTests.key("/x"))
        #expect(KeyTests.key("/x", "a.example:0443") == KeyTests.key("/x"))
        #expect(KeyTests.key("/x", "a.example:80", secure: false) == KeyTests.key("/x", secure: false))
        #expect(KeyTests.key("/x", "[::1]:8443") == "https://[::1]:8443/x")
        #expect(KeyTests.key("/x", "[::1]") == "https://[::1]:443/x")
        let different = [
            KeyTests.key("/x"), KeyTests.key("/x", secure: false), KeyTests.key("/x", "b.example"),
            KeyTests.key("/x", "a.example:8443"),
            KeyTests.key("/x?"), KeyTests.key("/X"), KeyTests.key("/x/"), KeyTests.key("/x?a=1&b=2"), KeyTests.key("/x?b=2&a=1"),
            KeyTests.key("/x?A=1&b=2"), KeyTests.key("/x", "a.example."),
        ]
        #expect(Set(different).count == different.count)
    }

    @Test func parametersThatAreIgnoredAreNoPartOfTheKey() {
        let ignored = ["utm_*", "fbclid"]
        #expect(KeyTests.key("/x?utm_source=a&q=1&fbclid=9", ignoring: ignored) == "https://a.example:443/x?q=1")
        #expect(KeyTests.key("/x?utm_source=a", ignoring: ignored) == "https://a.example:443/x")
        #expect(KeyTests.key("/x?q=1&utm", ignoring: ignored) == "https://a.example:443/x?q=1&utm")
        #expect(KeyTests.key("/x?fbclidx=1", ignoring: ignored) == "https://a.example:443/x?fbclidx=1")
    }

    @Test(arguments: [
        ("/y", "https://a.example:443/y"), ("y", "https://a.example:443/d/y"), ("?q=2", "https://a.example:443/d/?q=2"),
        ("https://A.example/z#top", "https://a.example:443/z"), ("http://b.example", "http://b.example:80/"),
        ("https://b.example?x", "https://b.example:443/?x"), ("//b.example/z", nil), ("mailto:x", nil), ("", nil),
        ("https://", nil),
    ])
    func locationsResolve(reference: String, wanted: String?) {
        let base = CacheKey(Asked("GET", "/d/x?q=1").head, isSecure: true)
        let bytes = Array(reference.utf8)
        let found = base.resolving(bytes.span)
        #expect(found.map { String(decoding: $0.bytes, as: UTF8.self) } == wanted)
    }

    static func variant(_ vary: [String], _ lines: [String]) -> Variant {
        var asked = Asked()
        asked.fields = lines.map(pair)
        return Variant(vary.map { Array($0.utf8) }, of: asked.head.fields)
    }

    @Test(arguments: [
        (["accept-language"], ["Accept-Language: de, en"], ["Accept-Language: de,en"], true),
        (["accept-language"], ["Accept-Language: de", "Accept-Language: en"], ["Accept-Language: de, en"], true),
        (["accept-language"], ["Accept-Language: de, en"], ["Accept-Language: en, de"], false),
        (["accept-language"], ["Accept-Language: de"], [], false),
        (["accept-language"], [], ["Accept-Language:"], false),
        (["accept-language"], [], [], true),
        (["accept-language"], ["Accept-Language: de"], ["Accept-Language: de", "Accept-Language: en"], false),
        (["accept-encoding"], ["Accept-Encoding: gzip, br"], ["Accept-Encoding: BR;q=1 ,gzip"], true),
        (["accept-encoding"], ["Accept-Encoding: gzip;q=0.5, br"], ["Accept-Encoding: gzip, br"], false),
        (["cookie", "x-a"], ["Cookie: a", "X-A: 1"], ["Cookie: a", "X-A: 2"], false),
        (["host"], [], [], true),
    ])
    func variantsMatch(vary: [String], stored: [String], asked: [String], matches: Bool) {
        var request = Asked()
        request.fields = asked.map(pair)
        #expect(KeyTests.variant(vary, stored).matches(request.head.fields) == matches)
        #expect((KeyTests.variant(vary, stored) == KeyTests.variant(vary, asked)) == matches)
    }

    /// What a filter behind the cache, or the gateway for this client, makes of a field is not what the next client's field says.
    @Test func aVariantOfAFieldThatIsChangedOnTheWayIsNone() {
        func variant(_ vary: String, _ before: [String], _ after: [String]) -> Variant? {
            var (asked, sent) = (Asked(), Asked())
            asked.fields = before.map(pair)
            sent.fields = after.map(pair)
            return Variant([Array(vary.utf8)], before: asked.head.fields, after: sent.head.fields)
        }
        #expect(variant("x-tenant", ["X-Tenant: a"], ["X-Tenant: a"]) != nil)
        #expect(variant("x-tenant", [], []) != nil)
        #expect(variant("x-tenant", [], ["X-Tenant: a"]) == nil)
        #expect(variant("x-tenant", ["X-Tenant: a"], []) == nil)
        #expect(variant("x-tenant", ["X-Tenant: a"], ["X-Tenant: b"]) == nil)
        #expect(variant("x-forwarded-proto", [], ["X-Forwarded-Proto: https"]) != nil, "it is in the key")
    }
}
