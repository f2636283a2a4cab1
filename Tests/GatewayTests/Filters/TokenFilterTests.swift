// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Credentials
import HTTP
import Reactor
import Testing
import TokenIssuer

@testable import Gateway

/// The filter `jwt` in a whole gateway, with the service that has its keys alive, dead, slow, too long, and with other keys (P25, E13).
@Suite struct TokenFilterTests {
    private static let service = "10.0.0.9:9001"
    private static let issuer = "10.0.0.8:9002"
    private static let first = TestIssuer.rsa(.rs256)
    private static let second = TestIssuer.elliptic(.es256)
    /// An hour after the world begins.
    private static let exp = 1_767_225_600 + 3_600 * 100

    private static func keys(_ keys: (TestIssuer, String)...) -> String {
        let body = #"{"keys":["# + keys.map { $0.0.jwk(kid: $0.1) }.joined(separator: ",") + "]}"
        return "HTTP/1.1 200 OK\r\ncontent-length: \(body.utf8.count)\r\n\r\n" + body
    }

    private static func token(_ issuer: TestIssuer, _ kid: String?, _ more: String = "", aud: String = "shop") -> String {
        "authorization: Bearer "
            + issuer.token(kid: kid, #"{"iss":"https://issuer.example","aud":"\#(aud)","sub":"ann","exp":\#(exp)\#(more)}"#)
    }

    private func gate(
        _ jwks: String = "", _ more: String = "", reactors: Int = 1, _ answer: @escaping (String) -> String?
    ) throws -> AuthenticationGate {
        try AuthenticationGate(
            """
            listeners: [{ name: public, address: 10.0.0.1:80 }]
            upstreams:
              app: { endpoints: [\(Self.service)] }
              idp: { endpoints: [\(Self.issuer)], guard: { retries: { attempts: 1 }, breaker: { failure_rate: 100%, minimum_calls: 100 } } }
            routes:
              - match: { path: "/*" }
                to: app
                filters:
                  - jwt:
                      jwks: { from: idp, path: /keys\(jwks) }
                      issuer: https://issuer.example
                      audience: shop
                      consumer_header: x-consumer
                      claim_headers: { x-tenant: org.tenant, x-roles: roles }
                      \(more)
            """, reactors: reactors, services: [Self.service: { _ in AuthenticationGate.ok }, Self.issuer: answer])
    }

    private func fetches(_ gate: AuthenticationGate) -> Int { gate.requests(Self.issuer).count }

    @Test func theUpstreamIsToldWhatTheTokenSays() throws {
        let gate = try gate { _ in Self.keys((Self.first, "a"), (Self.second, "b")) }
        #expect(try gate.verdict([Self.token(Self.first, "a", #","org":{"tenant":"t1"},"roles":["x","y"]"#)]) == "200")
        let seen = gate.requests(Self.service).joined().split(separator: "\r\n").map(String.init)
        #expect(seen.contains("x-consumer: ann") && seen.contains("x-tenant: t1") && seen.contains("x-roles: x,y"))
        #expect(seen.contains { $0.hasPrefix("authorization: Bearer ") }, "services often look at it again")
        #expect(try gate.verdict([Self.token(Self.second, "b")]) == "200")
        #expect(fetches(gate) == 1)
        #expect(gate.requests(Self.issuer)[0].hasPrefix("GET /keys HTTP/1.1\r\n"))
        #expect(!gate.requests(Self.issuer)[0].lowercased().contains("authorization"))
        gate.end()
    }

    @Test(arguments: [
        ([], "401 auth.missing"), (["authorization: Basic YTpi"], "401 auth.invalid"),
        (["authorization: Bearer"], "401 auth.invalid"),
        (["authorization: Bearer x"], "401 auth.invalid"), (["authorization: Bearer a.b.c"], "401 auth.invalid"),
        (["authorization: Bearer eyJhbGciOiJub25lIn0.e30."], "401 auth.invalid"),
        ([token(first, "b")], "401 auth.invalid"), ([token(second, "a")], "401 auth.invalid"),
        ([token(first, "a", aud: "other")], "401 auth.invalid"), ([token(first, "a"), token(first, "a")], "401 auth.invalid"),
        (["Authorization: bearer " + String(repeating: "a", count: 9_000)], "401 auth.invalid"),
        ([token(first, "a") + " x"], "401 auth.invalid"), (["authorization_: x"], "401 auth.missing"),
    ])
    func whatIsNoTokenIsRefused(fields: [String], expected: String) throws {
        let gate = try gate { _ in Self.keys((Self.first, "a")) }
        let answer = try gate.ask(fields)
        #expect(AuthenticationGate.verdict(answer) == expected)
        let challenge =
            expected.contains("missing") ? "Bearer realm=\"holdfast\"" : "Bearer realm=\"holdfast\", error=\"invalid_token\""
        #expect(answer.contains("www-authenticate: \(challenge)\r\n"))
        #expect(gate.requests(Self.service).isEmpty)
        gate.end()
    }

    @Test func whatATokenMayNotDoIsForbidden() throws {
        let gate = try gate("", "scopes: [read]") { _ in Self.keys((Self.first, "a")) }
        #expect(try gate.verdict([Self.token(Self.first, "a", #","scope":"read write""#)]) == "200")
        let answer = try gate.ask([Self.token(Self.first, "a", #","scope":"write""#)])
        #expect(AuthenticationGate.verdict(answer) == "403 auth.forbidden")
        #expect(answer.contains("error=\"insufficient_scope\", scope=\"read\""))
        gate.end()
    }

    @Test func templatesMayUseClaims() throws {
        let gate = try gate(
            "",
            "#\n      - headers: { request: { set: { x-who: \"{claim.org.tenant}/{consumer}/{claim.roles[1]}{claim.none}\" } } }"
        ) { _ in
            Self.keys((Self.first, "a"))
        }
        #expect(try gate.verdict([Self.token(Self.first, "a", #","org":{"tenant":"t1"},"roles":["x","y"]"#)]) == "200")
        #expect(gate.requests(Self.service).joined().contains("\r\nx-who: t1/ann/y\r\n"))
        gate.end()
    }

    /// A token that was remembered expires to the second all the same.
    @Test func aRememberedTokenExpires() throws {
        let gate = try gate("", "skew: 0s") { _ in Self.keys((Self.first, "a")) }
        let field =
            "authorization: Bearer "
            + Self.first.token(kid: "a", #"{"iss":"https://issuer.example","aud":"shop","exp":\#(gate.unixSeconds + 10)}"#)
        for _ in 0..<3 { #expect(try gate.verdict([field]) == "200") }
        gate.world.run(for: .seconds(11))
        #expect(try gate.verdict([field]) == "401 auth.invalid")
        gate.end()
    }

    // MARK: E13

    @Test func P25_E13_anOutageKeepsTheKeysToTheirLimitAndThenRefuses() throws {
        let gate = try gate(", refresh: 60s, keep: 600s, min_interval: 10s") { _ in Self.keys((Self.first, "a")) }
        let good = [Self.token(Self.first, "a")]
        #expect(try gate.verdict(good) == "200")
        gate.change(Self.issuer) { _ in "HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n" }
        for minute in 1..<10 {
            gate.world.run(for: .seconds(58))
            #expect(try gate.verdict(good) == "200", "minute \(minute)")
        }
        gate.world.run(for: .seconds(90))
        #expect(try gate.verdict(good) == "503 auth.unavailable")
        #expect(try gate.verdict([Self.token(Self.second, "z")]) == "503 auth.unavailable")
        let passed = gate.requests(Self.service).count
        for answer in ["", "{}", "{\"keys\":[]}", "<html>"] {
            gate.change(Self.issuer) { _ in "HTTP/1.1 200 OK\r\ncontent-length: \(answer.utf8.count)\r\n\r\n\(answer)" }
            gate.world.run(for: .seconds(11))
            #expect(try gate.verdict(good) == "503 auth.unavailable")
        }
        #expect(gate.requests(Self.service).count == passed)
        gate.change(Self.issuer) { _ in Self.keys((Self.first, "a")) }
        gate.world.run(for: .seconds(11))
        #expect(try gate.verdict(good) == "200")
        gate.end()
    }

    @Test func E13_aRotatedKeyIsFoundAndTheOldOneGone() throws {
        let gate = try gate { _ in Self.keys((Self.first, "a")) }
        #expect(try gate.verdict([Self.token(Self.first, "a")]) == "200")
        gate.change(Self.issuer) { _ in Self.keys((Self.second, "b")) }
        #expect(
            try gate.verdict([Self.token(Self.second, "b")]) == "401 auth.invalid",
            "within the least interval it is not asked again")
        gate.world.run(for: .seconds(10))
        #expect(try gate.verdict([Self.token(Self.second, "b")]) == "200")
        #expect(try gate.verdict([Self.token(Self.first, "a")]) == "401 auth.invalid", "remembered under the keys of before")
        #expect(fetches(gate) == 2)
        gate.end()
    }

    @Test func E13_aThousandUnknownKeysASecondAreOneFetchAnInterval() throws {
        let gate = try gate { _ in Self.keys((Self.first, "a")) }
        #expect(try gate.verdict([Self.token(Self.first, "a")]) == "200")
        let peers = try (0..<50).map { _ in try gate.connect() }
        for round in 0..<3 {
            gate.world.run(for: .seconds(10))
            for n in 0..<50 {
                peers[n].forget()
                peers[n].say(
                    AuthenticationGate.request([Self.token(Self.second, "unknown-\(round)-\(n)")]).replacing(
                        "connection: close\r\n", with: ""))
            }
            _ = gate.world.run(while: { !peers.allSatisfy(\.isOver) }, limit: .seconds(5))
            #expect(peers.allSatisfy { AuthenticationGate.verdict($0.heard) == "401 auth.invalid" })
        }
        #expect(fetches(gate) == 4)
        gate.end()
    }

    @Test func E13_aSlowServiceKeepsNobodyLongAndOneFetchServesAll() throws {
        let gate = try gate { _ in nil }
        let peers = try (0..<20).map { _ in try gate.connect() }
        let start = gate.world.now
        for peer in peers { peer.say(AuthenticationGate.request([Self.token(Self.first, "a")])) }
        _ = gate.world.run(while: { !peers.allSatisfy(\.isOver) }, limit: .seconds(60))
        #expect(peers.allSatisfy { AuthenticationGate.verdict($0.heard) == "503 auth.unavailable" })
        #expect(peers[0].heard.contains("retry-after: "))
        #expect(gate.world.now.nanoseconds(since: start) < 6_000_000_000)
        #expect(fetches(gate) == 1)
        #expect(gate.requests(Self.service).isEmpty)
        gate.end()
    }

    @Test func E13_tenMebibytesOfKeysAreNotTaken() throws {
        let gate = try gate { _ in
            "HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n{\"keys\":[" + String(repeating: " ", count: 400_000)
        }
        #expect(try gate.verdict([Self.token(Self.first, "a")]) == "503 auth.unavailable")
        #expect(gate.gateways[0].subrequests.isEmpty)
        gate.end()
    }

    /// Routes that name the same keys ask for them once, and each by its own rules.
    @Test func filtersWithTheSameKeysShareThem() throws {
        let filter = "jwt: { jwks: { from: idp, path: /keys }, issuer: off, audience: off"
        let gate = try AuthenticationGate(
            """
            listeners: [{ name: public, address: 10.0.0.1:80 }]
            upstreams: { app: { endpoints: [\(Self.service)] }, idp: { endpoints: [\(Self.issuer)] } }
            routes:
              - { match: { path: /a }, to: app, filters: [{ \(filter) } }] }
              - { match: { path: /b }, to: app, filters: [{ \(filter), scopes: [write] } }] }
            """,
            services: [Self.service: { _ in AuthenticationGate.ok }, Self.issuer: { _ in Self.keys((Self.first, "a")) }])
        #expect(try gate.verdict([Self.token(Self.first, "a")], target: "/a") == "200")
        #expect(try gate.verdict([Self.token(Self.first, "a")], target: "/b") == "403 auth.forbidden")
        #expect(fetches(gate) == 1)
        gate.end()
    }

    @Test func aFileOfKeysThatChangesCounts() throws {
        func set(_ issuer: TestIssuer) -> String { #"{"keys":["# + issuer.jwk(kid: "a") + "]}" }
        let gate = try AuthenticationGate(
            """
            listeners: [{ name: public, address: 10.0.0.1:80 }]
            upstreams: { app: { endpoints: [\(Self.service)] } }
            routes:
              - match: { path: "/*" }
                to: app
                filters: [{ jwt: { jwks_file: keys.json, reload: 1s, issuer: off, audience: off } }]
            """, files: ["keys.json": set(Self.first)], services: [Self.service: { _ in AuthenticationGate.ok }])
        #expect(try gate.verdict([Self.token(Self.first, "a")]) == "200")
        try gate.write("keys.json", set(Self.second))
        gate.world.run(for: .seconds(3))
        #expect(try gate.verdict([Self.token(Self.first, "a")]) == "401 auth.invalid", "remembered under the keys of before")
        #expect(try gate.verdict([Self.token(Self.second, "a")]) == "200")
        try gate.write("keys.json", "{}")
        gate.world.run(for: .seconds(3))
        #expect(try gate.verdict([Self.token(Self.second, "a")]) == "200", "the last good keys go on")
        gate.end()
    }

    /// Requests on every reactor wait for the one fetch of one of them.
    @Test func E13_reactorsShareOneFetch() throws {
        let gate = try gate(reactors: 3) { _ in Self.keys((Self.first, "a")) }
        let peers = try (0..<12).map { _ in try gate.connect() }
        for peer in peers { peer.say(AuthenticationGate.request([Self.token(Self.first, "a")])) }
        _ = gate.world.run(while: { !peers.allSatisfy(\.isOver) }, limit: .seconds(10))
        #expect(peers.allSatisfy { AuthenticationGate.verdict($0.heard) == "200" })
        #expect(fetches(gate) == 1)
        gate.end()
    }
}
