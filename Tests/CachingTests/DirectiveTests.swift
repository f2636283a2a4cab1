// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Caching

/// RFC 9111 §5.2, §1.2.2, §4.2.1: directives as they are spelled.
@Suite struct DirectiveTests {
    static func response(_ lines: [String]) -> ResponseDirectives {
        var directives = ResponseDirectives()
        for line in lines { read(line, into: &directives) }
        return directives
    }

    static func read(_ line: String, into directives: inout ResponseDirectives) {
        let bytes = Array(line.utf8)
        directives.read(bytes.span)
    }

    @Test(arguments: [
        ("max-age=60", DeltaSeconds.seconds(60)), ("MAX-AGE=60", .seconds(60)), ("max-age=\"60\"", .seconds(60)),
        ("max-age=0060", .seconds(60)), ("max-age=60 , public", .seconds(60)), (",, max-age=60,", .seconds(60)),
        ("max-age=99999999999999999999", .seconds(DeltaSeconds.longest)), ("max-age=2147483649", .seconds(DeltaSeconds.longest)),
        ("max-age", .invalid), ("max-age=", .invalid), ("max-age=-1", .invalid), ("max-age=6.0", .invalid),
        ("max-age=1e3", .invalid),
        ("max-age='60'", .invalid), ("max-age =60", .invalid), ("max-age= 60", .invalid), ("max-age=60 x", .invalid),
        ("max-age=60;x", .invalid), ("max-age=\"60", .invalid),
        ("max-age=60, max-age=60", .seconds(60)), ("max-age=60, max-age=61", .invalid), ("max-age=60, max-age=x", .invalid),
        ("x-max-age=60", .absent), ("max-ages=60", .absent), ("foo=\"bar, max-age=60\"", .absent),
        ("foo=\"a\\\", max-age=60\"", .absent),
        ("", .absent),
    ])
    func maxAge(field: String, wanted: DeltaSeconds) {
        #expect(DirectiveTests.response([field]).maxAge == wanted)
    }

    @Test func linesAddUp() {
        let says = DirectiveTests.response(["max-age=5", "no-cache=\"set-cookie, x\", Private", "s-maxage=9"])
        #expect(says.maxAge == .seconds(5) && says.sharedMaxAge == .seconds(9) && says.noCache && says.isPrivate)
        #expect(!says.noStore && !says.isUnreadable)
    }

    /// A restriction counts however it is spelled, a permission only if it is spelled well.
    @Test(arguments: [
        ("no-store=x", true, false), ("no-store x", true, false), ("public=x", false, false), ("public x", false, false),
        ("public", false, true), ("foo=\"no-store\", public", false, true), ("no-store;public", true, false),
    ])
    func mistakesFallOnTheSafeSide(field: String, noStore: Bool, isPublic: Bool) {
        let says = DirectiveTests.response([field])
        #expect(says.noStore == noStore && says.isPublic == isPublic)
    }

    @Test func aQuotedStringThatDoesNotEndMakesTheWholeUnreadable() {
        #expect(DirectiveTests.response(["public, x=\"y, no-store"]).isUnreadable)
        #expect(DirectiveTests.response(["public, max-age=1 \"y, no-store"]).isUnreadable)
        #expect(DirectiveTests.response(["x=\"\\"]).isUnreadable)
    }

    @Test func everyPrefixAndEveryOctetIsRead() {
        let field = Array("public, max-age=\"6\\0\", s-maxage=7 ;, no-cache=\"a,b\", ,stale-if-error = 5,must-understand".utf8)
        for end in 0...field.count {
            for octet in [UInt8(0), 34, 44, 61, 92, 255] {
                var directives = ResponseDirectives()
                let bytes = Array(field[..<end]) + [octet]
                directives.read(bytes.span)
            }
        }
    }

    @Test func requests() {
        var says = RequestDirectives()
        says.read(Array("no-cache, max-stale, min-fresh=5, only-if-cached, max-age=\"3\"".utf8).span)
        #expect(
            says.noCache && says.onlyIfCached && says.maxStale == .any && says.minFresh == .seconds(5) && says.maxAge == .seconds(3)
        )
        var other = RequestDirectives()
        other.read(Array("max-stale=30, no-store, stale-if-error=60".utf8).span)
        #expect(other.maxStale == .seconds(30) && other.noStore && other.staleIfError == .seconds(60))
        var bad = RequestDirectives()
        bad.read(Array("max-stale=x, max-age=y".utf8).span)
        #expect(bad.maxStale == .none && bad.maxAge == .invalid)
    }
}
