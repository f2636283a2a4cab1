// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Gateway

@Suite struct ViaFieldTests {
    @Test(arguments: [
        ([], false), (["1.1 other"], false), (["1.1 holdfast"], true), (["2 HoldFast"], true), (["HTTP/1.1 holdfast (a, b)"], true),
        (["1.1 a, 1.0 holdfast, 1.1 c"], true), (["1.1 a", "1.1 b (x), 1.1\tholdfast"], true), (["1.1 holdfast2"], false),
        (["1.1 holdfast:8080"], false), (["1.1 a (1.1 holdfast, b)"], false), (["1.1 a (x\\), 1.1 holdfast)"], false),
        (["holdfast"], false),
        (["1.1 a (b (c, d), 1.1 holdfast)"], false), (["1.1 a (x, 1.1 holdfast, \\( y)"], false), (["1.1 holdfast(x)"], true),
        (["1.1  holdfast "], true), ([""], false), ([", ,"], false),
        (["(((((("], false), (["\\"], false), (["1.1 \"holdfast\""], false),
        // What a client left open hides nothing that proxies wrote behind it.
        (["1.1 a (x, 1.1 holdfast, 1.1 c"], true), (["1.1 \"a, 1.1 holdfast"], true),
        (["1.1 a (\\, 1.1 holdfast (c), 1.1 d (e)"], true),
    ])
    func findsALoop(lines: [String], wanted: Bool) throws {
        let via = try ViaField()
        let head = requestHead("/", fields: lines.map { ("via", $0) })
        let isLoop = via.isLoop(head.fields)
        #expect(isLoop == wanted)
    }

    @Test func addsTheVersionThatWasReceived() throws {
        let via = try ViaField(pseudonym: "edge-1")
        for (version, wanted) in [(HTTPVersion.http10, "1.0 edge-1"), (.http11, "1.1 edge-1"), (.http2, "2 edge-1")] {
            let head = requestHead("/", fields: [("via", "1.1 before")])
            via.append(to: &head.fields, received: version)
            #expect(head.lines == ["via: 1.1 before", "via: \(wanted)"])
            let isLoop = via.isLoop(head.fields)
            #expect(isLoop)
        }
    }

    @Test(arguments: ["", "a b", "a,b", "a:80", "é", String(repeating: "a", count: 256)])
    func complainsAboutAPseudonym(text: String) {
        #expect(throws: PatternError.self) { try ViaField(pseudonym: text) }
    }
}

@Suite struct RequestIdentifierTests {
    static let safe = "abc-DEF_019.:+/=~@"

    @Test(arguments: [
        ([safe], true, true), ([String(repeating: "a", count: 128)], true, true),
        ([String(repeating: "a", count: 129)], true, false),
        ([""], true, false), (["a b"], true, false), (["a\"b"], true, false), (["a\u{1b}[2J"], true, false), (["é"], true, false),
        (["a,b"], true, false),
        (["a", "a"], true, false), ([safe], false, false), ([], true, false),
    ])
    func keepsOrMakes(given: [String], isTrusted: Bool, keeps: Bool) {
        let head = requestHead("/", fields: given.map { ("x-request-id", $0) })
        let slice = RequestIdentifier.settle(head, isTrusted: isTrusted, draw: Draw(seed: 1), request: 7)
        let id = head.string(slice)
        #expect(head.lines == ["x-request-id: \(id)"])
        if keeps {
            #expect(id == given[0])
        } else {
            #expect(id.count == 32 && id.allSatisfy { $0.isHexDigit && !$0.isUppercase })
        }
    }

    @Test func theSameRequestGetsTheSameId() {
        func id(_ seed: UInt64, _ request: UInt64) -> String {
            let head = requestHead("/")
            return head.string(RequestIdentifier.settle(head, isTrusted: false, draw: Draw(seed: seed), request: request))
        }
        #expect(id(1, 1) == id(1, 1))
        #expect(Set([id(1, 1), id(1, 2), id(2, 1)]).count == 3)
    }
}
