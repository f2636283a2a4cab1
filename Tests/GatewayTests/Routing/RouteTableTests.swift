// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Gateway

extension RouteTable.Outcome {
    /// What a row expects: the rule's position and what it captured, or why there is none.
    func text(_ head: RequestHead, _ table: RouteTable) -> String {
        switch self {
        case .route(let match):
            var text = "\(match.route)"
            for i in 0..<match.captureCount {
                text += " \(table.parameterNames[match.route][i])=\(head.string(match.captures[i]))"
            }
            return match.rest.isEmpty ? text : text + " *=\(head.string(match.rest))"
        case .encodedSlashRefused: return "400"
        case .none: return "404"
        case .methodNotAllowed(let allowed):
            let answer = ResponseHead()
            table.writeAllow(allowed, into: &answer.fields)
            return "405 " + (answer.fields.string("allow") ?? "-")
        }
    }
}

@Suite struct RouteTableTests {
    typealias Rule = RouteTable.Rule

    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var rules: [Rule]
        /// `METHOD host target header:value …` → what is expected.
        var requests: [(String, String)]
        var testDescription: String { name }

        init(_ name: String, _ rules: [Rule], _ requests: [(String, String)]) {
            self.name = name
            self.rules = rules
            self.requests = requests
        }
    }

    static func head(_ line: String) -> RequestHead {
        let parts = line.split(separator: " ").map(String.init)
        let fields = parts.dropFirst(3).map { field in
            let pair = field.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            return (pair[0], pair[1])
        }
        return requestHead(parts[2], host: parts[1] == "-" ? "" : parts[1], method: parts[0], fields: fields)
    }

    static let rows: [Row] = [
        Row(
            "paths: exact, by segment, all",
            [Rule(path: "/users"), Rule(path: "/users/*"), Rule(path: "/"), Rule(path: "/a/b/c")],
            [
                ("GET h /users", "0"), ("GET h /users/", "1 *=/"), ("GET h /users/x", "1 *=/x"), ("GET h /users/x/y", "1 *=/x/y"),
                ("GET h /usersx", "404"), ("GET h /user", "404"), ("GET h /", "2"), ("GET h /a/b/c", "3"), ("GET h /a/b", "404"),
                ("GET h /a/b/c/", "404"), ("GET h /a/b/c/d", "404"), ("GET h /USERS", "404"), ("OPTIONS h *", "404"),
            ]),
        Row(
            "a prefix takes its own path too",
            [Rule(path: "/users/*"), Rule(path: "/users/")],
            [("GET h /users", "0"), ("GET h /users/", "1"), ("GET h /users/1", "0 *=/1")]),
        Row(
            "templates", [Rule(path: "/users/{id}"), Rule(path: "/users/{user}/orders/{order}"), Rule(path: "/{a}/{b}/*")],
            [
                ("GET h /users/42", "0 id=42"), ("GET h /users/4/orders/2", "1 user=4 order=2"), ("GET h /users/", "404"),
                ("GET h /users/4/orders", "2 a=users b=4 *=/orders"), ("GET h /x/y", "2 a=x b=y"), ("GET h /x", "404"),
                ("GET h /x/y/z/0", "2 a=x b=y *=/z/0"), ("GET h /users/a;b=c", "0 id=a;b=c"),
            ]),
        Row(
            "whole before prefix, literal before parameter, from the left",
            [
                Rule(path: "/*"), Rule(path: "/a/*"), Rule(path: "/a/{x}"), Rule(path: "/{x}/b"), Rule(path: "/a/b"),
                Rule(path: "/a/b/*"), Rule(path: "/{x}/b/c/*"), Rule(path: "/a/{x}/*"),
            ],
            [
                ("GET h /a/b", "4"), ("GET h /a/c", "2 x=c"), ("GET h /z/b", "3 x=z"), ("GET h /a", "1"), ("GET h /q", "0 *=/q"),
                ("GET h /a/b/d", "5 *=/d"), ("GET h /a/b/c", "6 x=a"), ("GET h /a/b/c/d", "6 x=a *=/d"),
                ("GET h /a/y/c", "7 x=y *=/c"), ("GET h /a/", "1 *=/"), ("OPTIONS h *", "0"),
            ]),
        Row(
            "the search goes back where a literal leads nowhere",
            [Rule(path: "/a/b/c"), Rule(path: "/{x}/b/{y}"), Rule(path: "/a/{y}/d"), Rule(path: "/{x}/{y}/{z}")],
            [
                ("GET h /a/b/c", "0"), ("GET h /a/b/d", "2 y=b"), ("GET h /a/b/e", "1 x=a y=e"), ("GET h /a/c/e", "3 x=a y=c z=e"),
                ("GET h /q/b/c", "1 x=q y=c"),
            ]),
        Row(
            "hosts: exact, longest wildcard, default; one label or more; letters, port and final dot do not count",
            [
                Rule(), Rule(host: "*.example.com"), Rule(host: "A.example.com"), Rule(host: "*.b.example.com"),
                Rule(host: "[::1]"), Rule(host: "10.0.0.1"), Rule(host: "*", path: "/star"),
            ],
            [
                ("GET a.example.com /x", "2 *=/x"), ("GET A.EXAMPLE.COM:8443 /", "2 *=/"), ("GET a.example.com. /", "2 *=/"),
                ("GET a.example.com.:80 /", "2 *=/"), ("GET c.example.com /", "1 *=/"), ("GET x.y.example.com /", "1 *=/"),
                ("GET x.b.example.com /", "3 *=/"), ("GET b.example.com /", "1 *=/"), ("GET example.com /", "0 *=/"),
                ("GET .example.com /", "0 *=/"), ("GET - /", "0 *=/"), ("GET [::1]:80 /", "4 *=/"), ("GET [::1] /", "4 *=/"),
                ("GET 10.0.0.1:1 /", "5 *=/"), ("GET xexample.com /", "0 *=/"), ("GET h /star", "6"),
                ("GET c.example.com /star", "1 *=/star"),
                ("GET \(String(repeating: "a", count: 300)).example.com /", "0 *=/"),
            ]),
        Row(
            "a better host without a fitting path gives way",
            [Rule(host: "a.example", path: "/api/*"), Rule(host: "*.example", path: "/w"), Rule(path: "/health")],
            [
                ("GET a.example /api/1", "0 *=/1"), ("GET a.example /w", "1"), ("GET a.example /health", "2"),
                ("GET a.example /", "404"),
                ("GET b.example /api/1", "404"),
            ]),
        Row(
            "methods; GET takes HEAD; 405 only where nothing else fits",
            [
                Rule(path: "/u", methods: ["GET"]), Rule(path: "/u", methods: ["POST", "FOO"]), Rule(path: "/v", methods: ["PUT"]),
                Rule(path: "/w", methods: ["DELETE"]), Rule(path: "/w/*"),
            ],
            [
                ("GET h /u", "0"), ("HEAD h /u", "0"), ("POST h /u", "1"), ("FOO h /u", "1"),
                ("foo h /u", "405 GET, HEAD, POST, FOO"),
                ("PUT h /u", "405 GET, HEAD, POST, FOO"), ("BAR h /u", "405 GET, HEAD, POST, FOO"), ("GET h /v", "405 PUT"),
                ("GET h /w", "4"), ("DELETE h /w", "3"), ("BAR h /w/x", "4 *=/x"), ("GET h /none", "404"),
            ]),
        Row(
            "headers: present, exact, any of several lines",
            [
                Rule(path: "/h"), Rule(path: "/h", headers: [.init(name: "X-Beta")]),
                Rule(path: "/h", headers: [.init(name: "x-beta", value: "yes")]),
                Rule(path: "/h", headers: [.init(name: "x-beta", value: "yes"), .init(name: "accept", value: "a/b")]),
                Rule(path: "/only", headers: [.init(name: "cookie")]),
            ],
            [
                ("GET h /h", "0"), ("GET h /h x-beta:", "1"), ("GET h /h x-beta:no", "1"),
                ("GET h /h x-beta:no x-beta:yes accept:a/b", "3"), ("GET h /h x-beta:YES", "1"), ("GET h /h x-betas:yes", "0"),
                ("GET h /only", "404"), ("POST h /only cookie:a", "4"),
            ]),
        Row(
            "of two with one condition the file's order decides",
            [
                Rule(path: "/h", headers: [.init(name: "x-beta")]),
                Rule(path: "/h", headers: [.init(name: "x-beta", value: "yes")]),
                Rule(path: "/h", methods: ["GET"]),
            ],
            [("GET h /h x-beta:yes", "0"), ("GET h /h", "2"), ("POST h /h", "405 GET, HEAD")]),
        Row(
            "query: present, exact, decoded",
            [
                Rule(path: "/q"), Rule(path: "/q", query: [.init(name: "v")]),
                Rule(path: "/q", query: [.init(name: "v", value: "2 é")]),
                Rule(path: "/q", query: [.init(name: "a b", value: ""), .init(name: "v")]),
            ],
            [
                ("GET h /q", "0"), ("GET h /q?", "0"), ("GET h /q?v", "1"), ("GET h /q?v=", "1"), ("GET h /q?x=1&v=3", "1"),
                ("GET h /q?v=3&v=2+%c3%A9", "1"), ("GET h /q?vv=1", "0"), ("GET h /q?V=1", "0"), ("GET h /q?%76=1", "1"),
                ("GET h /q?v=%", "1"), ("GET h /q?v&a+b", "3"), ("GET h /q?a%20b=&v", "3"), ("GET h /q?a+b=c&v", "1"),
                ("GET h /q?&&&", "0"),
                ("GET h /q?=v", "0"),
            ]),
        Row(
            "conditions that fail are not in the way",
            [
                Rule(host: "h", path: "/a/b", headers: [.init(name: "x")]), Rule(path: "/a/{p}", headers: [.init(name: "y")]),
                Rule(path: "/a/*", query: [.init(name: "z")]), Rule(path: "/*"),
            ],
            [
                ("GET h /a/b x:1", "0"), ("GET h /a/b y:1", "1 p=b"), ("GET h /a/b?z", "2 *=/b"), ("GET h /a/b", "3 *=/a/b"),
            ]),
        Row(
            "encoded slashes only where they are allowed",
            [
                Rule(path: "/files/{name}", allowsEncodedSlash: true), Rule(path: "/users/{id}"),
                Rule(path: "/f/a%2fb", allowsEncodedSlash: true),
            ],
            [
                ("GET h /files/a%2fb", "0 name=a%2Fb"), ("GET h /users/a%2Fb", "400"), ("GET h /none%2F", "400"),
                ("GET h /files/a", "0 name=a"),
                ("GET h /f/a%2Fb", "2"), ("GET h /f/a/b", "404"),
            ]),
        Row(
            "patterns are compared in normal form", [Rule(path: "/caf%c3%a9/%41")],
            [("GET h /caf%C3%A9/A", "0"), ("GET h /café/%41", "0")]),
        Row("no rules", [], [("GET h /", "404")]),
    ]

    @Test(arguments: rows)
    func matches(row: Row) throws {
        let table = try RouteTable(row.rules)
        for (line, wanted) in row.requests {
            let head = RouteTableTests.head(line)
            let path = RequestPath.normalise(head)
            let outcome = table.match(head, hasEncodedSlash: path == .encodedSlash)
            let text = outcome.text(head, table)
            #expect(text == wanted, "\(line)")
        }
    }

    @Test func eightParametersAreCaptured() throws {
        let path = (1...8).map { "/{p\($0)}" }.joined()
        let table = try RouteTable([Rule(path: path)])
        let head = requestHead("/1/22/333/4/5/6/7/88888888")
        #expect(table.match(head).text(head, table) == "0 p1=1 p2=22 p3=333 p4=4 p5=5 p6=6 p7=7 p8=88888888")
    }

    @Test func segmentsOfEveryLengthAreFound() throws {
        // The hash reads eight bytes a step: lengths around its steps, at the end of the arena and before more bytes.
        let names = (1...40).map { String(repeating: "s", count: $0) }
        let table = try RouteTable(names.map { Rule(path: "/\($0)/x") })
        for (i, name) in names.enumerated() {
            let atEnd = requestHead("/\(name)/x")
            #expect(table.match(atEnd).text(atEnd, table) == "\(i)")
            let before = requestHead("/\(name)/x?/\(name)/x", fields: [("a", "/////////////////")])
            #expect(table.match(before).text(before, table) == "\(i)")
            let other = requestHead("/\(name.dropLast())t/x")
            #expect(table.match(other).text(other, table) == "404")
        }
    }

    @Test(arguments: [
        (Rule(path: "users"), "path: a path starts with “/”"),
        (Rule(path: ""), "path: a path starts with “/”"),
        (Rule(path: "/a//b"), "path: an empty segment (“//”) is never matched"),
        (Rule(path: "/a//*"), "path: an empty segment (“//”) is never matched"),
        (Rule(path: "/a/../b"), "path: “..” can never be matched: a dot segment, a broken escape or a forbidden character"),
        (Rule(path: "/a/%2e"), "path: “%2e” can never be matched: a dot segment, a broken escape or a forbidden character"),
        (Rule(path: "/a b"), "path: “a b” can never be matched: a dot segment, a broken escape or a forbidden character"),
        (Rule(path: "/%zz"), "path: “%zz” can never be matched: a dot segment, a broken escape or a forbidden character"),
        (Rule(path: "/a?b"), "path: “a?b” can never be matched: a dot segment, a broken escape or a forbidden character"),
        (Rule(path: "/a*"), "path: “a*”: “*” stands alone and last, as in /users/*"),
        (Rule(path: "/*/a"), "path: “*”: “*” stands alone and last, as in /users/*"),
        (Rule(path: "/x{id}"), "path: “x{id}”: a parameter is a whole segment, such as /{id}/"),
        (Rule(path: "/{}"), "path: “{}”: a parameter is a whole segment, such as /{id}/"),
        (Rule(path: "/{a-b}"), "path: “{a-b}”: a parameter's name has letters, digits and “_”"),
        (Rule(path: "/{id}/{id}"), "path: the parameter {id} stands twice"),
        (Rule(path: "/{path}"), "path: {path} has a meaning of its own in templates; choose another name"),
        (Rule(path: "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}"), "path: more than 8 parameters"),
        (Rule(path: String(repeating: "/a", count: 65)), "path: more than 64 segments"),
        (Rule(path: "/a%2Fb"), "path: the path has an encoded slash, which the route does not allow"),
        (Rule(host: "a.*"), "host: “a.*”: “*” stands for whole labels in front, as in *.example.com"),
        (Rule(host: "*."), "host: “*.” names no host"),
        (Rule(host: "a..b"), "host: “a..b” has an empty label"),
        (Rule(host: "a:80"), "host: “a:80”: a host is matched without its port"),
        (Rule(host: "a/b"), "host: “a/b” has a character that no host has"),
        (Rule(host: String(repeating: "a", count: 256)), "host: a host has at most 255 characters"),
        (Rule(methods: ["get"]), "methods: “get”: methods are case-sensitive, write “GET”"),
        (Rule(methods: ["A B"]), "methods: “A B” is not a method"),
        (Rule(methods: (0..<60).map { "M\($0)" }), "methods: more than 54 methods beyond the usual ones"),
        (Rule(headers: [.init(name: "a b")]), "headers: “a b” is not the name of a header"),
        (Rule(headers: [.init(name: "Host")]), "headers: the host is matched by the route's host"),
        (Rule(headers: [.init(name: "x", value: "a\nb")]), "headers: the value of “x” cannot be a header's value"),
        (Rule(headers: [.init(name: "x", value: " a")]), "headers: the value of “x” cannot be a header's value"),
        (Rule(query: [.init(name: "")]), "query: a query parameter has a name"),
    ])
    func complains(rule: Rule, wanted: String) {
        do {
            _ = try RouteTable([Rule(), rule])
            Issue.record("\(rule) was taken")
        } catch {
            let first = error.complaints.first
            #expect(first.map { "\($0.field.rawValue): \($0.message)" } == wanted)
            #expect(first?.rule == 1)
        }
    }

    @Test func allComplaintsComeAtOnce() {
        let rules = [Rule(host: "a..b", path: "x", methods: ["get"], query: [.init(name: "")]), Rule(path: "/{"), Rule()]
        do {
            _ = try RouteTable(rules)
            Issue.record("taken")
        } catch {
            #expect(
                error.complaints.map { "\($0.rule) \($0.field.rawValue)" } == [
                    "0 methods", "0 query", "0 path", "0 host", "1 path",
                ])
        }
    }

    @Test func rulesThatCanNeverBeTakenAreNamed() throws {
        let table = try RouteTable([
            Rule(path: "/a"), Rule(path: "/a"), Rule(path: "/a", methods: ["GET"]), Rule(path: "/a", methods: ["GET"]),
            Rule(path: "/a", headers: [.init(name: "x")]), Rule(path: "/a/*"), Rule(host: "h", path: "/a"),
        ])
        #expect(table.shadowed.map { "\($0.rule)<\($0.by)" } == ["3<2", "1<0"])
    }

    // MARK: Cost

    /// The same request visits the same nodes among 10 and among 10,000 routes, and no probe is long.
    @Test func tenThousandRoutesCostWhatTenDo() throws {
        func table(_ count: Int) throws -> RouteTable {
            try RouteTable(
                (0..<count).map { i in
                    switch i % 3 {
                    case 0: Rule(path: "/service\(i)/v1/*")
                    case 1: Rule(path: "/service\(i)/{id}/orders")
                    default: Rule(host: "host\(i).example", path: "/api/v1/items")
                    }
                })
        }
        func cost(_ table: RouteTable, _ line: String) -> String {
            let head = RouteTableTests.head(line)
            guard case .route(let match) = table.match(head) else { return "none" }
            return "\(match.route) in \(match.visited)"
        }
        let small = try table(10)
        let large = try table(10_000)
        for (line, wanted) in [
            ("GET h /service6/v1/a/b", "6 in 3"), ("GET h /service7/42/orders", "7 in 4"),
            ("GET host8.example:80 /api/v1/items", "8 in 4"),
        ] {
            #expect(cost(small, line) == wanted)
            #expect(cost(large, line) == wanted)
        }
        #expect(large.longestProbe <= 24)
    }

    // MARK: Against a naive reference

    @Test func findsWhatALinearSearchFinds() throws {
        let seed = testSeed(0x40b7)
        var random = SeededGenerator(seed: seed)
        var kinds: [String: Int] = [:]
        for round in 0..<150 {
            let rules = (0..<Int.random(in: 1...40, using: &random)).map { _ in RandomRoutes.rule(&random) }
            let table = try RouteTable(rules)
            for _ in 0..<60 {
                let line = RandomRoutes.request(&random)
                let head = RouteTableTests.head(line)
                let found = table.match(head).text(head, table)
                let wanted = LinearRoutes(rules).find(line)
                #expect(found == wanted, "HOLDFAST_SEED=\(seed) round \(round) \(line)")
                kinds[found.hasPrefix("4") && found.count > 2 ? String(found.prefix(3)) : "route", default: 0] += 1
            }
        }
        #expect((kinds["route"] ?? 0) > 1_000 && (kinds["404"] ?? 0) > 100 && (kinds["405"] ?? 0) > 100, "\(kinds)")
    }
}

extension RouteTable {
    /// Steps from where an edge ought to be to where it is, at most.
    var longestProbe: Int {
        let mask = edges.count - 1
        return edges.indices.map { i in
            let edge = edges[i]
            if edge.parent < 0 { return 0 }
            let home = Int(truncatingIfNeeded: RouteHash.place(edge.hash, parent: edge.parent)) & mask
            return (i - home + edges.count) & mask
        }.max() ?? 0
    }
}
