// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Gateway

@Suite struct RouteActionTests {
    /// A request that was normalised and matched by a table of one rule.
    static func matched(
        _ pattern: String, _ target: String, host: String = "a.example:8443", empties: RequestPath.EmptySegments = .merge
    ) throws -> (RequestHead, RouteTable.Match) {
        let head = requestHead(target, host: host)
        let path = RequestPath.normalise(head, emptySegments: empties)
        let table = try RouteTable([RouteTable.Rule(path: pattern, allowsEncodedSlash: true)])
        guard case .route(let match) = table.match(head, hasEncodedSlash: path == .encodedSlash) else {
            throw PatternError(message: "\(target) does not match \(pattern)")
        }
        return (head, match)
    }

    @Test(arguments: [
        ("/users/{id}/orders", "/v2/orders/{id}", "/users/42/orders", "/v2/orders/42"),
        ("/users/{id}/orders", "/v2/{id}-x/{id}", "/users/4%20/orders", "/v2/4%20-x/4%20"),
        ("/api/*", "{rest}", "/api/users/1", "/users/1"),
        ("/api/*", "{rest}", "/api", "/"),
        ("/api/*", "/internal{rest}", "/api/users", "/internal/users"),
        ("/api/*", "/internal{rest}", "/api", "/internal"),
        ("/api/*", "/internal/{rest}", "/api/users", "/internal/users"),
        ("/api/*", "/internal/{rest}", "/api", "/internal/"),
        ("/*", "/all{path}", "/a/b/", "/all/a/b/"),
        ("/*", "{path}", "/a/../b", "/b"),
        ("/a/{b}/*", "/{b}/x{rest}/y", "/a/1/2/3", "/1/x/2/3/y"),
        ("/f/{name}", "/g/{name}", "/f/a%2fb", "/g/a%2Fb"),
        ("/x", "/caf%c3%a9", "/x", "/caf%c3%a9"),
    ])
    func rewritesByTemplate(pattern: String, template: String, target: String, wanted: String) throws {
        let (head, match) = try RouteActionTests.matched(pattern, target + "?q=1")
        let rewrite = try PathRewrite(template: template, for: PathPattern(pattern))
        let path = rewrite.apply(to: head, match)
        #expect(head.string(path) == wanted)
        #expect(head.string(head.query) == "q=1")
    }

    @Test(arguments: [
        ("/api/*", "/api", "/api/users/1", "/users/1"), ("/api/*", "/api/", "/api/users/1", "/users/1"),
        ("/api/*", "/api", "/api", "/"), ("/api/*", "/api", "/api/", "/"), ("/api/v1/{id}", "/api", "/api/v1/7", "/v1/7"),
        ("/api/v1/{id}", "/api/v1", "/api/v1/7", "/7"), ("/caf%C3%A9/*", "/café", "/caf%c3%a9/x", "/x"),
        ("/api", "/api", "/api", "/"),
    ])
    func stripsAPrefix(pattern: String, prefix: String, target: String, wanted: String) throws {
        let (head, match) = try RouteActionTests.matched(pattern, target)
        let rewrite = try PathRewrite(stripping: prefix, from: PathPattern(pattern))
        #expect(head.string(rewrite.apply(to: head, match)) == wanted)
    }

    @Test func aPathThatIsKeptOrCutIsNotCopied() throws {
        let (head, match) = try RouteActionTests.matched("/api/*", "/api/x")
        let before = head.fields.arena.count
        #expect(PathRewrite.keep.apply(to: head, match) == head.path)
        _ = try PathRewrite(stripping: "/api", from: PathPattern("/api/*")).apply(to: head, match)
        let after = head.fields.arena.count
        #expect(after == before)
    }

    /// `//host` in a `Location` or in front of a path is another host.
    @Test func nothingBeginsWithTwoSlashes() throws {
        let (head, match) = try RouteActionTests.matched("/old/*", "/old//evil.example/x", empties: .keep)
        let pattern = try PathPattern("/old/*")
        let strip = try PathRewrite(stripping: "/old", from: pattern)
        #expect(head.string(strip.apply(to: head, match)) == "/evil.example/x")
        let template = try PathRewrite(template: "{rest}", for: pattern)
        #expect(head.string(template.apply(to: head, match)) == "/evil.example/x")
        let answer = ResponseHead()
        for target in ["{rest}", "/{rest}"] {
            let redirect = try Redirect(target: target, for: pattern)
            #expect(redirect.write(into: answer, for: head, match, isSecure: true))
            #expect(answer.fields.string("location") == "/evil.example/x")
        }
        let (other, all) = try RouteActionTests.matched("/*", "//evil.example", empties: .keep)
        #expect(try Redirect(target: "{path}", for: PathPattern("/*")).write(into: answer, for: other, all, isSecure: true))
        #expect(answer.fields.string("location") == "/evil.example")
    }

    @Test(arguments: [
        ("/*", "https://{host}{path}", "/a/b?x=1&y", "https://a.example/a/b?x=1&y"),
        ("/*", "https://{host}{path}", "/a?", "https://a.example/a?"),
        ("/*", "https://b.example{path}{query}", "/a?x=1", "https://b.example/a?x=1"),
        ("/*", "https://b.example{path}{query}", "/a", "https://b.example/a"),
        ("/*", "https://{host}{path}", "/", "https://a.example/"),
        ("/*", "{scheme}://www.{authority}{path}", "/a", "https://www.a.example:8443/a"),
        ("/*", "https://{host}:9443/new{path}", "/a", "https://a.example:9443/new/a"),
        ("/u/{id}", "/users/{id}", "/u/7?k=v", "/users/7?k=v"),
        ("/u/{id}", "/users?id={id}", "/u/7?k=v", "/users?id=7"),
        ("/u/{id}", "https://x.example/{id}#top", "/u/7", "https://x.example/7#top"),
        ("/old/*", "https://new.example{rest}", "/old", "https://new.example"),
        ("/old/*", "https://[::1]:8/x{rest}", "/old/a", "https://[::1]:8/x/a"),
    ])
    func redirects(pattern: String, template: String, target: String, wanted: String) throws {
        let (head, match) = try RouteActionTests.matched(pattern, target)
        let answer = ResponseHead()
        let redirect = try Redirect(status: 301, target: template, for: PathPattern(pattern))
        #expect(redirect.write(into: answer, for: head, match, isSecure: true))
        #expect(answer.status == 301 && answer.fields.string("location") == wanted)
    }

    @Test(arguments: ["", "a b", "a\r\nx: y", "user@a", "a/b", "a\"b"])
    func aHostThatCannotStandInALocationIsRefused(host: String) throws {
        let (head, match) = try RouteActionTests.matched("/*", "/", host: host)
        let redirect = try Redirect(target: "https://{host}/", for: PathPattern("/*"))
        #expect(!redirect.write(into: ResponseHead(), for: head, match, isSecure: false))
    }

    @Test(arguments: [
        ("/u/{id}", "/x/{name}", "{name} is not captured by the route's path; known are {id}"),
        ("/u", "/x/{name}", "{name} is not captured by the route's path; the route's path captures nothing"),
        ("/u", "/x{rest}", "{rest} needs a path that ends in “/*”"),
        ("/u/*", "/x/{host}", "{host} is for redirects, not for an upstream's path"),
        ("/u", "", "an empty template"), ("/u", "/x{", "a “{” without its “}”"), ("/u", "/x}", "a “}” without its “{”"),
        ("/u", "x", "a path starts with “/”, {path} or {rest}"), ("/u", "//x", "a path starts with “/”, {path} or {rest}"),
        ("/u", "https://x/", "a path starts with “/”, {path} or {rest}"),
        ("/u/{id}", "{id}", "a path starts with “/”, {path} or {rest}"),
        ("/u", "/a b", "“ ” cannot stand in a target as it is; write it as an escape"),
        ("/u", "/a?b", "“?” cannot stand in a target as it is; write it as an escape"),
        ("/u", "/a%2", "a broken escape; a percent sign itself is “%25”"), ("/u", "/a/../b", "a dot segment in a target"),
        ("/u", "/a/.", "a dot segment in a target"), ("/u/*", "/a/..{rest}", "a dot segment in a target"),
        ("/u/{id}", "/.{id}", "a dot segment in a target"), ("/u", "/a/..;b/c", "“..;b” makes an ambiguous path"),
        ("/u", "/%2e%2e/c", "“%2e%2e” makes an ambiguous path"), ("/u", "/a%00/c", "“a%00” makes an ambiguous path"),
    ])
    func complainsAboutATemplate(pattern: String, template: String, wanted: String) throws {
        let parsed = try PathPattern(pattern)
        #expect(throws: PatternError(message: wanted)) { try PathRewrite(template: template, for: parsed) }
    }

    @Test func complainsAboutRedirectsAndPrefixes() throws {
        let pattern = try PathPattern("/api/{id}/*")
        let start = "a redirect's target starts with “https://”, “http://”, {scheme}://, “/”, {path} or {rest}"
        for target in ["//x", "ftp://x", "x", "{host}/x", "{scheme}:{path}", "javascript:alert(1)"] {
            #expect(throws: PatternError(message: start)) { try Redirect(target: target, for: pattern) }
        }
        for (target, wanted) in [
            ("https://a.example{id}", "a redirect's host cannot come from the path"),
            ("https://{id}.example/", "a redirect's host cannot come from the path"),
            ("https://{rest}", "a redirect's target has no host behind “://”"),
            ("https:///x", "a redirect's target has no host behind “://”"),
            ("{scheme}://?x", "a redirect's target has no host behind “://”"),
            ("https://a@b/", "a redirect's target with user information"),
            ("/x{query}/y", "{query} stands at the end of a redirect's target, once"),
            ("/x{query}{query}", "{query} stands at the end of a redirect's target, once"),
            ("/x?a=b{query}", "a target with a query of its own and {query}"),
        ] {
            #expect(throws: PatternError(message: wanted)) { try Redirect(target: target, for: pattern) }
        }
        #expect(throws: PatternError(message: "200 is not a redirect; one of 301, 302, 303, 307, 308")) {
            try Redirect(status: 200, target: "/", for: pattern)
        }
        for prefix in ["/ap", "/api/x", "/", "/api/{id}", "/api/*", "/api/v1/v2/v3"] {
            #expect(throws: PatternError.self) { try PathRewrite(stripping: prefix, from: pattern) }
        }
    }

    // MARK: Weights

    @Test func weightsDivideRequestsInProportion() throws {
        let seed = testSeed(7)
        let draw = Draw(seed: seed)
        let choice = try WeightedChoice([70, 0, 25, 5])
        var counts = [0, 0, 0, 0]
        for request in 0..<20_000 { counts[choice.choose(draw, request: UInt64(request))] += 1 }
        // Five standard deviations of a binomial share.
        for (count, share) in zip(counts, [0.7, 0, 0.25, 0.05]) {
            let deviation = (20_000 * share * (1 - share)).squareRoot()
            #expect(abs(Double(count) - 20_000 * share) <= 5 * deviation, "HOLDFAST_SEED=\(seed) \(counts)")
        }
        #expect(choice.choose(draw, request: 42) == choice.choose(draw, request: 42))
        #expect(try WeightedChoice([0, 1]).choose(draw, request: 1) == 1)
    }

    @Test(arguments: [[], [0], [0, 0], [-1, 2], [1_000_001]])
    func complainsAboutWeights(weights: [Int]) {
        #expect(throws: PatternError.self) { try WeightedChoice(weights) }
    }
}
