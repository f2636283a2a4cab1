// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Gateway

extension RequestHead {
    /// All live fields as `name: value` lines.
    var lines: [String] {
        fields.entries.filter { !$0.isRemoved }.map { "\(string($0.name)): \(string($0.value))" }
    }
}

@Suite struct ForwardingPolicyTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var peer: String
        var given: [String]
        var wanted: [String]
        var client: String
        var policy: ForwardingPolicy
        var isSecure: Bool
        var host: String
        var clientIsSecure: Bool?

        init(
            _ name: String, peer: String = "198.51.100.7", _ given: [String], _ wanted: [String], client: String? = nil,
            isSecure: Bool = false, clientIsSecure: Bool? = nil, host: String = "a.example",
            _ change: (inout ForwardingPolicy) -> Void = { _ in }
        ) {
            self.name = name
            self.peer = peer
            self.given = given
            self.wanted = wanted
            self.client = client ?? peer
            self.isSecure = isSecure
            self.clientIsSecure = clientIsSecure
            self.host = host
            policy = ForwardingPolicy()
            policy.trusted = ["10.0.0.0/8", "2001:db8:1::/48"].compactMap { IPNetwork($0) }
            change(&policy)
        }

        var testDescription: String { name }
    }

    static func only(_ field: WritableKeyPath<ForwardingPolicy, ForwardingPolicy.Mode>, _ mode: ForwardingPolicy.Mode = .append)
        -> (inout ForwardingPolicy) -> Void
    {
        { policy in
            policy.xForwardedFor = .off
            policy.xForwardedProto = .off
            policy.xForwardedHost = .off
            policy[keyPath: field] = mode
        }
    }

    static let long = (1...40).map { "10.0.0.\($0)" }

    static let rows: [Row] = [
        // A18: from a peer that nobody trusts, all of it is replaced.
        Row("defaults", [], ["x-forwarded-for: 198.51.100.7", "x-forwarded-proto: http", "x-forwarded-host: a.example"]),
        Row(
            "A18 untrusted: everything is replaced or dropped",
            [
                "forwarded: for=1.1.1.1", "x-forwarded-for: 1.1.1.1", "x-forwarded-for: 2.2.2.2", "x-forwarded-proto: https",
                "x-forwarded-host: evil", "x-real-ip: 1.1.1.1", "x_forwarded_for: 1.1.1.1", "x-forwarded-port: 1",
                "x-forwarded-prefix: /p",
                "x-original-url: /admin", "x-rewrite-url: /admin", "true-client-ip: 1.1.1.1", "x-client-ip: 1.1.1.1", "accept: a",
            ],
            ["accept: a", "x-forwarded-for: 198.51.100.7", "x-forwarded-proto: http", "x-forwarded-host: a.example"]),
        Row(
            "trusted: appended and kept", peer: "10.1.1.1",
            [
                "x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https", "x-forwarded-host: shop.example:8443",
                "x-forwarded-port: 443",
            ],
            [
                "x-forwarded-port: 443", "x-forwarded-for: 203.0.113.9, 10.1.1.1", "x-forwarded-proto: https",
                "x-forwarded-host: shop.example:8443",
            ], client: "203.0.113.9", clientIsSecure: true),
        Row(
            "trusted, nothing said", peer: "10.1.1.1", [],
            ["x-forwarded-for: 10.1.1.1", "x-forwarded-proto: https", "x-forwarded-host: a.example"], isSecure: true),
        Row(
            "off: nothing, whoever sent it", peer: "10.1.1.1", ["x-forwarded-for: 203.0.113.9", "forwarded: for=9.9.9.9"], [],
            client: "203.0.113.9"
        ) {
            only(\.xForwardedFor, .off)(&$0)
        },
        Row(
            "replace: one value, the client", peer: "10.1.1.1", ["x-forwarded-for: 1.1.1.1, 203.0.113.9, 10.2.2.2"],
            ["x-forwarded-for: 203.0.113.9"], client: "203.0.113.9", only(\.xForwardedFor, .replace)),
        Row(
            "X-Real-IP is the client's", peer: "10.1.1.1", ["x-forwarded-for: 203.0.113.9", "x-real-ip: 1.1.1.1"],
            ["x-real-ip: 203.0.113.9"], client: "203.0.113.9", only(\.xRealIP, .replace)),
        Row(
            "X-Real-IP as the source", peer: "10.1.1.1", ["x-forwarded-for: 1.1.1.1", "x-real-ip: 203.0.113.9"],
            ["x-real-ip: 203.0.113.9"], client: "203.0.113.9"
        ) {
            only(\.xRealIP)(&$0)
            $0.clientSource = .xRealIP
        },
        // The walk from the right.
        Row(
            "spoofed front", peer: "10.1.1.1", ["x-forwarded-for: 10.9.9.9, 1.1.1.1, 203.0.113.9, 10.2.2.2"],
            ["x-forwarded-for: 10.9.9.9, 1.1.1.1, 203.0.113.9, 10.2.2.2, 10.1.1.1"], client: "203.0.113.9", only(\.xForwardedFor)),
        Row(
            "all trusted: the first", peer: "10.1.1.1", ["x-forwarded-for: 10.3.3.3,10.2.2.2"],
            ["x-forwarded-for: 10.3.3.3, 10.2.2.2, 10.1.1.1"], client: "10.3.3.3", only(\.xForwardedFor)),
        Row(
            "several lines are one chain", peer: "10.1.1.1",
            ["x-forwarded-for: 203.0.113.9", "a: b", "x-forwarded-for: , 10.2.2.2 ,"],
            ["a: b", "x-forwarded-for: 203.0.113.9, 10.2.2.2, 10.1.1.1"], client: "203.0.113.9", only(\.xForwardedFor)),
        Row(
            "garbage in front changes nothing", peer: "10.1.1.1", ["x-forwarded-for: \"><script>, 203.0.113.9, 10.2.2.2"],
            ["x-forwarded-for: 203.0.113.9, 10.2.2.2, 10.1.1.1"], client: "203.0.113.9", only(\.xForwardedFor)),
        Row(
            "unknown in front", peer: "10.1.1.1", ["x-forwarded-for: unknown, 203.0.113.9"],
            ["x-forwarded-for: 203.0.113.9, 10.1.1.1"], client: "203.0.113.9", only(\.xForwardedFor)),
        Row(
            "malformed at the end: the chain is ignored", peer: "10.1.1.1", ["x-forwarded-for: 203.0.113.9, nonsense"],
            ["x-forwarded-for: 10.1.1.1"], client: "10.1.1.1", only(\.xForwardedFor)),
        Row(
            "malformed in the middle: only what is behind it", peer: "10.1.1.1",
            ["x-forwarded-for: 203.0.113.9, 1.2.3.999, 10.2.2.2"],
            ["x-forwarded-for: 10.2.2.2, 10.1.1.1"], client: "10.2.2.2", only(\.xForwardedFor)),
        Row("empty", peer: "10.1.1.1", ["x-forwarded-for: "], ["x-forwarded-for: 10.1.1.1"], only(\.xForwardedFor)),
        Row(
            "ports and brackets", peer: "10.1.1.1", ["x-forwarded-for: 203.0.113.9:4711, [2001:db8:1::5]:80"],
            ["x-forwarded-for: 203.0.113.9:4711, [2001:db8:1::5]:80, 10.1.1.1"], client: "203.0.113.9", only(\.xForwardedFor)),
        Row(
            "IPv6 and mapped", peer: "::ffff:10.1.1.1", ["x-forwarded-for: 2001:db8:2::9"],
            ["x-forwarded-for: 2001:db8:2::9, 10.1.1.1"], client: "2001:db8:2::9", only(\.xForwardedFor)),
        Row(
            "only the last 32", peer: "10.1.1.1", ["x-forwarded-for: \(long.joined(separator: ", "))"],
            ["x-forwarded-for: \(long.suffix(32).joined(separator: ", ")), 10.1.1.1"], client: "10.0.0.9", only(\.xForwardedFor)),
        // Fields of one value.
        Row(
            "a list of schemes is nothing to rely on", peer: "10.1.1.1", ["x-forwarded-proto: https, http"],
            ["x-forwarded-proto: http"], only(\.xForwardedProto)),
        Row(
            "two lines neither", peer: "10.1.1.1", ["x-forwarded-proto: https", "x-forwarded-proto: https"],
            ["x-forwarded-proto: http"], only(\.xForwardedProto)),
        Row(
            "another scheme neither", peer: "10.1.1.1", ["x-forwarded-proto: gopher"],
            ["x-forwarded-proto: https"], isSecure: true, only(\.xForwardedProto)),
        Row(
            "http over TLS is believed too", peer: "10.1.1.1", ["x-forwarded-proto: HTTP"],
            ["x-forwarded-proto: http"], isSecure: true, clientIsSecure: false, only(\.xForwardedProto)),
        Row(
            "X-Forwarded-Proto: https over clear from anyone", ["x-forwarded-proto: https"], ["x-forwarded-proto: http"],
            only(\.xForwardedProto)),
        Row("an odd host", peer: "10.1.1.1", ["x-forwarded-host: a/b"], ["x-forwarded-host: a.example"], only(\.xForwardedHost)),
        Row("two hosts", peer: "10.1.1.1", ["x-forwarded-host: a.b, c.d"], ["x-forwarded-host: a.example"], only(\.xForwardedHost)),
        Row("no host at all", [], [], host: "", only(\.xForwardedHost)),
        // Forwarded (RFC 7239).
        Row(
            "Forwarded, IPv4", ["forwarded: for=1.1.1.1"], ["forwarded: for=198.51.100.7;host=a.example;proto=http"],
            only(\.forwarded)),
        Row(
            "Forwarded, IPv6 is quoted", peer: "2001:db8::7", [],
            ["forwarded: for=\"[2001:db8::7]\";host=\"a.example:8443\";proto=https"],
            isSecure: true, host: "a.example:8443", only(\.forwarded)),
        Row("Forwarded without a host", [], ["forwarded: for=198.51.100.7;proto=http"], host: "", only(\.forwarded)),
        Row(
            "Forwarded, a host that needs escapes", [], ["forwarded: for=198.51.100.7;host=\"a\\\"\\\\b\";proto=http"],
            host: "a\"\\b", only(\.forwarded)),
        Row(
            "Forwarded appended", peer: "10.1.1.1",
            ["forwarded: for=203.0.113.9;proto=https;host=shop, For=\"[2001:db8:1::2]:80\";by=_x"],
            [
                "forwarded: for=203.0.113.9;proto=https;host=shop, For=\"[2001:db8:1::2]:80\";by=_x, for=10.1.1.1;host=a.example;proto=http"
            ],
            client: "203.0.113.9", clientIsSecure: true
        ) {
            only(\.forwarded)(&$0)
            $0.clientSource = .forwarded
        },
        Row(
            "Forwarded, quoted commas do not divide", peer: "10.1.1.1", ["forwarded: for=203.0.113.9;x=\"a,b;c\", for=10.2.2.2"],
            ["forwarded: for=203.0.113.9;x=\"a,b;c\", for=10.2.2.2, for=10.1.1.1;host=a.example;proto=http"], client: "203.0.113.9"
        ) {
            only(\.forwarded)(&$0)
            $0.clientSource = .forwarded
        },
        Row(
            "Forwarded, hidden addresses end the walk and are kept", peer: "10.1.1.1",
            ["forwarded: for=203.0.113.9, for=_hidden, for=10.2.2.2"],
            ["forwarded: for=203.0.113.9, for=_hidden, for=10.2.2.2, for=10.1.1.1;host=a.example;proto=http"], client: "10.2.2.2"
        ) {
            only(\.forwarded)(&$0)
            $0.clientSource = .forwarded
        },
        Row(
            "Forwarded replaced tells the client's side", peer: "10.1.1.1",
            ["forwarded: for=203.0.113.9;proto=https;host=\"shop:1\""],
            ["forwarded: for=203.0.113.9;host=\"shop:1\";proto=https"], client: "203.0.113.9", clientIsSecure: true
        ) {
            only(\.forwarded, .replace)(&$0)
            $0.clientSource = .forwarded
        },
        Row(
            "a trusted X-Forwarded-For does not count where Forwarded is the source", peer: "10.1.1.1",
            ["x-forwarded-for: 203.0.113.9"],
            ["x-forwarded-for: 203.0.113.9, 10.1.1.1"], client: "10.1.1.1"
        ) {
            only(\.xForwardedFor)(&$0)
            $0.clientSource = .forwarded
        },
        Row(
            "Forwarded, a quote that a client left open swallows nothing", peer: "10.1.1.1",
            ["forwarded: for=\", for=203.0.113.9, for=10.2.2.2"],
            ["forwarded: for=203.0.113.9, for=10.2.2.2, for=10.1.1.1;host=a.example;proto=http"], client: "203.0.113.9"
        ) {
            only(\.forwarded)(&$0)
            $0.clientSource = .forwarded
        },
        Row(
            "Forwarded, nor one that meets the next one's", peer: "10.1.1.1", ["forwarded: x=\", for=\"[2001:db8:2::9]\""],
            ["forwarded: for=\"[2001:db8:2::9]\", for=10.1.1.1;host=a.example;proto=http"], client: "2001:db8:2::9"
        ) {
            only(\.forwarded)(&$0)
            $0.clientSource = .forwarded
        },
        Row(
            "Forwarded, escapes in quotes", peer: "10.1.1.1", ["forwarded: for=203.0.113.9;x=\"\\\",\\\\\", for=10.2.2.2"],
            ["forwarded: for=203.0.113.9;x=\"\\\",\\\\\", for=10.2.2.2, for=10.1.1.1;host=a.example;proto=http"],
            client: "203.0.113.9"
        ) {
            only(\.forwarded)(&$0)
            $0.clientSource = .forwarded
        },
        Row(
            "Forwarded, a comma before an escaped quote", peer: "10.1.1.1",
            ["forwarded: for=203.0.113.9;x=\"a,\\\"b\", for=10.2.2.2"],
            ["forwarded: for=203.0.113.9;x=\"a,\\\"b\", for=10.2.2.2, for=10.1.1.1;host=a.example;proto=http"],
            client: "203.0.113.9"
        ) {
            only(\.forwarded)(&$0)
            $0.clientSource = .forwarded
        },
        // Names.
        Row("underscores may be let through", ["x_y: 1", "x_forwarded_for: 1"], ["x_y: 1", "x_forwarded_for: 1"]) {
            only(\.xForwardedFor, .off)(&$0)
            $0.dropsUnderscoreNames = false
        },
        Row(
            "underscores are dropped from trusted peers too", peer: "10.1.1.1", ["x_y: 1", "x-y: 1"], ["x-y: 1"],
            only(\.xForwardedFor, .off)),
    ]

    @Test(arguments: rows)
    func writes(row: Row) throws {
        let fields = row.given.map { line in
            let pair = line.split(separator: ":", maxSplits: 1).map(String.init)
            return (pair[0], String(pair[1].dropFirst()))
        }
        let head = requestHead("/", host: row.host, fields: fields)
        let peer = try #require(address(row.peer))
        let identity = row.policy.identify(head, peer: peer, isSecure: row.isSecure)
        #expect(identity.address == address(row.client))
        #expect(identity.isSecure == row.clientIsSecure ?? row.isSecure)
        row.policy.write(to: head, for: identity)
        #expect(head.lines == row.wanted)
    }

    @Test(arguments: [
        "for", "for=", "=1.1.1.1", "for=1.1.1.1;", "for=1.1.1.1;;by=a", "for=1.1.1.1;for=2.2.2.2", "for=\"1.1.1.1",
        "for=\"1.1.1.1\\", "for=1.1.1",
        "for=\"[1.1.1.1]\"", "for=\"[::1\"", "for=\"\"", "for=[::1]", "for=1.1.1.1 by=a", "for=1.1.1.1:999999", "for=1.1.1.1:x",
        "f or=1.1.1.1",
        "for =1.1.1.1", "for= 1.1.1.1", "proto=\"a", "for=::1:80:", "for=\"[::1]x\"",
    ])
    func malformedElementsOfForwarded(text: String) {
        let bytes = Array(text.utf8)
        #expect(ForwardedElement.parse(bytes.span) == nil)
    }

    @Test(arguments: [
        ("for=1.1.1.1", "1.1.1.1 nil nil"), ("FOR=\"1.1.1.1:80\"", "1.1.1.1 nil nil"), ("for=1.1.1.1:80", "1.1.1.1 nil nil"),
        ("for=\"[::1]\"", "::1 nil nil"), ("for=\"[::1]:_p\"", "::1 nil nil"), ("for=\"::1\"", "::1 nil nil"),
        ("for=unknown", "- nil nil"),
        ("for=_a;proto=HTTPS", "- true nil"), ("proto=http ; host=a.b:1", "- false a.b:1"), ("host=\"a b\"", "- nil nil"),
        ("by=\"a;b\"", "- nil nil"),
        ("proto=ftp", "- nil nil"), ("x=1;y=2;x=3", "- nil nil"), ("host=\"a,b\"", "- nil nil"),
    ])
    func elementsOfForwarded(text: String, wanted: String) {
        let bytes = Array(text.utf8)
        let element = ForwardedElement.parse(bytes.span)
        let host = element?.host.map { String(decoding: bytes[$0], as: UTF8.self) } ?? "nil"
        #expect("\(element?.address?.description ?? "-") \(element?.isSecure.map(String.init) ?? "nil") \(host)" == wanted)
    }

    /// Whatever stands in the fields: nothing traps, and what is sent ends in the address that is certain.
    @Test func randomChains() throws {
        let seed = testSeed(0xf0d)
        var random = SeededGenerator(seed: seed)
        let pieces = [
            "1.1.1.1", "10.0.0.2", "[::1]", "for=", "\"", "\\", ",", ";", " ", "proto=", "https", "unknown", "_x", "=", ":", "(",
            ")", "é",
        ]
        var policy = ForwardingPolicy()
        policy.trusted = [IPNetwork("10.0.0.0/8")].compactMap { $0 }
        policy.forwarded = .append
        policy.xRealIP = .replace
        let peer = try #require(address("10.0.0.1"))
        for _ in 0..<5_000 {
            func value() -> String {
                (0..<Int.random(in: 0..<12, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            }
            policy.clientSource = Bool.random(using: &random) ? .forwarded : .xForwardedFor
            let head = requestHead(
                "/", fields: [("x-forwarded-for", value()), ("forwarded", value()), ("forwarded", value()), ("via", value())])
            let identity = policy.identify(head, peer: peer, isSecure: false)
            policy.write(to: head, for: identity)
            let chain = head.fields.string("x-forwarded-for") ?? ""
            #expect(chain == "10.0.0.1" || chain.hasSuffix(", 10.0.0.1"), "HOLDFAST_SEED=\(seed) \(chain)")
            #expect(!chain.contains("é") && !chain.contains("\""), "HOLDFAST_SEED=\(seed) \(chain)")
            #expect(
                head.fields.string("forwarded")?.hasSuffix("for=10.0.0.1;host=a.example;proto=http") == true,
                "HOLDFAST_SEED=\(seed)")
        }
    }
}
