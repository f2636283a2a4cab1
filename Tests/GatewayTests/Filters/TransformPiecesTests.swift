// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Gateway

/// The transform filter's parts by themselves: queries, and what a head says of its body.
@Suite struct TransformPiecesTests {
    @Test(
        "A query is changed by what its names mean; the rest stays byte for byte",
        arguments: [
            ("a=1&debug=1&b=%7e", "a=1&b=%7e&set=x%20%26y&add=2"), ("%64ebug=1&a", "a&set=x%20%26y&add=2"),
            ("", "set=x%20%26y&add=2"),
            ("set=old&s%65t=older&add=1", "add=1&set=x%20%26y&add=2"), ("page=3&page", "p=3&p&set=x%20%26y&add=2"),
            ("&&a=1&&", "a=1&set=x%20%26y&add=2"), ("odd+name=1", "new%2Fname=1&set=x%20%26y&add=2"),
            ("debug%=1", "debug%=1&set=x%20%26y&add=2"),
        ])
    func queries(before: String, after: String) {
        func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
        let rewrite = QueryRewrite(
            remove: [bytes("debug")],
            rename: [.init(from: bytes("page"), to: bytes("p")), .init(from: bytes("odd name"), to: bytes("new/name"))])
        var out = ByteBuffer()
        rewrite.apply(
            to: bytes(before).span, set: [(bytes("set"), bytes("x &y")), (bytes("none"), nil)], add: [(bytes("add"), bytes("2"))],
            into: &out)
        #expect(String(decoding: out.withReadable { [UInt8](copying: $0) }, as: UTF8.self) == after)
    }

    @Test(
        "Only JSON that can be read as it is counts as JSON",
        arguments: [
            (["content-type: application/json"], BodyKind.json), (["content-type: Application/JSON ; charset=UTF-8"], .json),
            (["content-type: application/problem+json"], .json),
            (["content-type: application/json; charset=\"utf-8\"; x=1"], .json),
            (["content-type: application/json; charset=latin1"], .other), (["content-type: text/json"], .other),
            (["content-type: application/jsonp"], .other), (["content-type: application/json, text/html"], .other),
            (["content-type: application/json", "content-type: text/html"], .other), ([], .other),
            (["content-type: +json"], .other),
            (["content-type: application/json", "content-encoding: gzip"], .encoded),
            (["content-type: application/json", "content-encoding: identity"], .json),
            (["content-type: application/json", "content-encoding: identity", "content-encoding: br"], .encoded),
            (["content-type: application/json", "content-range: bytes 0-1/2"], .encoded),
        ])
    func kinds(fields: [String], kind: BodyKind) {
        var section = FieldSection()
        for field in fields {
            let parts = field.split(separator: ":", maxSplits: 1)
            section.append(String(parts[0]), String(parts[1].dropFirst()))
        }
        #expect(BodyKind(of: section) == kind)
    }

    @Test("An entity tag becomes weak, once", arguments: [("\"x\"", "W/\"x\""), ("W/\"x\"", "W/\"x\"")])
    func tags(before: String, after: String) {
        var section = FieldSection()
        section.append("etag", before)
        section.weakenETag()
        #expect(section.string("etag") == after)
    }
}
