// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

struct PatternTests {
    typealias Pattern = Configuration.PathPattern

    @Test(arguments: [
        ("/", [Pattern.Segment.literal("")], false), ("/*", [], true), ("/users", [.literal("users")], false),
        ("/users/", [.literal("users"), .literal("")], false),
        ("/users/*", [.literal("users")], true), ("/users/{id}", [.literal("users"), .parameter("id")], false),
        ("/{a}/*", [.parameter("a")], true),
        ("/caf%C3%A9/a;b", [.literal("caf%C3%A9"), .literal("a;b")], false), ("/a%2Fb", [.literal("a%2Fb")], false),
    ])
    func paths(text: String, segments: [Pattern.Segment], matchesRest: Bool) throws {
        let pattern = try Pattern(text)
        #expect(pattern == Pattern(segments: segments, matchesRest: matchesRest))
        #expect(pattern.description == text)
    }

    @Test(arguments: [
        ("", "a path begins with /"), ("users", "a path begins with /"),
        ("/a b", "a path holds visible ASCII characters but ?, # and \\; write others as %XX"),
        ("/a?b", "a path holds visible ASCII characters but ?, # and \\; write others as %XX"),
        ("/é", "a path holds visible ASCII characters but ?, # and \\; write others as %XX"),
        ("//a", "an empty segment (//) matches nothing"), ("/a//*", "an empty segment (//) matches nothing"),
        ("/a/../b", "a normalised path has no segment .."),
        ("/./a", "a normalised path has no segment ."), ("/a*", "* stands only for the rest, at the end, as in /users/*"),
        ("/*/a", "* stands only for the rest, at the end, as in /users/*"),
        ("/a{b}", "a parameter is a whole segment, as in /users/{id}"),
        ("/{}", "{} is no name: use lower-case letters, digits and _"),
        ("/{A}", "{A} is no name: use lower-case letters, digits and _"), ("/{a}/{a}", "the parameter {a} stands there twice"),
        ("/%", "% begins an escape of two hexadecimal digits"), ("/%4", "% begins an escape of two hexadecimal digits"),
        ("/%zz", "% begins an escape of two hexadecimal digits"),
        ("/%41", "write A for its escape: paths are matched normalised"),
        ("/%c3", "write escapes in upper case, as in %C3%A9: paths are matched normalised"),
    ])
    func noPaths(text: String, problem: String) {
        let error = #expect(throws: Configuration.PatternError.self) { try Pattern(text) }
        #expect(error?.description == problem)
    }

    @Test func templates() throws {
        let template = try Configuration.TextTemplate("https://{host}/v2{path}{query}")
        #expect(
            template.pieces == [.literal("https://"), .variable("host"), .literal("/v2"), .variable("path"), .variable("query")])
        #expect(template.description == "https://{host}/v2{path}{query}")
        #expect(template.variableNames == ["host", "path", "query"])
        for wrong in ["/{", "/}", "/{a", "/{}", "/{a b}", "/{{a}}"] {
            #expect(throws: Configuration.PatternError.self) { try Configuration.TextTemplate(wrong) }
        }
    }
}
