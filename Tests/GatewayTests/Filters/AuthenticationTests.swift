// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Credentials
import HTTP
import Reactor
import Testing
import TokenIssuer
import Transport

@testable import Gateway

/// Filters that ask who somebody is, in a whole gateway on virtual time.
@Suite struct AuthenticationTests {
    private static let service = "10.0.0.9:9001"

    private func gate(
        _ filters: String, files: [String: String] = [:], more: String = "", upstreams: String = "",
        services: [String: (String) -> String?] = [:], reactors: Int = 1
    ) throws -> AuthenticationGate {
        try AuthenticationGate(
            """
            \(more)
            listeners: [{ name: public, address: 10.0.0.1:80 }]
            upstreams:
              app: { endpoints: [\(Self.service)] }
            \(upstreams)
            routes:
              - { match: { path: /open }, to: app }
              - match: { path: "/*" }
                to: app
                filters:
            \(filters.split(separator: "\n").map { "      " + $0 }.joined(separator: "\n"))
            """, files: files, reactors: reactors,
            services: [Self.service: { _ in AuthenticationGate.ok }].merging(services) { $1 })
    }

    private func lines(_ gate: AuthenticationGate) -> [String] {
        gate.requests(Self.service).last?.split(separator: "\r\n").map(String.init) ?? []
    }

    // MARK: api_key

    private static let key = "hf_0123456789abcdefghijklmnop"

    private static func keys(_ key: String, _ more: String = "") -> String {
        "consumers: [{ name: ann, keys: [{ sha256: \(Digest256.sha256(Array(key.utf8)).hexadecimal)\(more) }] }]"
    }

    @Test func aKeyIsTakenOffAndItsConsumerTold() throws {
        let gate = try gate("- api_key: { keys_file: keys.yaml, query: key }", files: ["keys.yaml": Self.keys(Self.key)])
        #expect(try gate.verdict(["X-API-Key: \(Self.key)"], target: "/a?b=1") == "200")
        #expect(lines(gate).contains("x-consumer: ann"))
        #expect(lines(gate).first == "GET /a?b=1 HTTP/1.1")
        #expect(!gate.requests(Self.service).joined().contains(Self.key))
        let second = try gate.ask(target: "/a?b=1&key=\(Self.key)&c=2")
        #expect(AuthenticationGate.verdict(second) == "200", "\(second)")
        #expect(lines(gate).first == "GET /a?b=1&c=2 HTTP/1.1")
        #expect(try gate.verdict(target: "/a?%6bey=\(Self.key)") == "200")
        #expect(lines(gate).first == "GET /a HTTP/1.1")
        #expect(!gate.requests(Self.service).joined().contains(Self.key))
        gate.end()
    }

    @Test(arguments: [
        ([], "/", "401 auth.missing"), (["x-api-key: nonsense"], "/", "401 auth.invalid"),
        (["x-api-key:"], "/", "401 auth.invalid"),
        (["x-api-key: hf_0123456789abcdefghijklmnoq"], "/", "401 auth.invalid"),
        (["x-api-key: \(key)", "x-api-key: \(key)"], "/", "401 auth.invalid"),
        (["x-api-key: \(key), \(key)"], "/", "401 auth.invalid"),
        (["x-api-key: wrong-wrong-wrong-wrong"], "/?key=\(key)", "401 auth.invalid"),
        ([], "/?key=\(key)&key=\(key)", "401 auth.invalid"), ([], "/?key=", "401 auth.invalid"), ([], "/?key", "401 auth.invalid"),
        ([], "/?KEY=\(key)", "401 auth.missing"), (["x_api_key: \(key)"], "/", "401 auth.missing"),
        (["authorization: Bearer \(key)"], "/", "401 auth.missing"),
    ])
    func whatIsNoKeyIsRefused(fields: [String], target: String, expected: String) throws {
        let gate = try gate("- api_key: { keys_file: keys.yaml, query: key }", files: ["keys.yaml": Self.keys(Self.key)])
        let answer = try gate.ask(fields, target: target)
        #expect(AuthenticationGate.verdict(answer) == expected)
        #expect(answer.contains("www-authenticate: ApiKey realm=\"holdfast\"\r\n"))
        #expect(!answer.contains(Self.key) && !answer.contains("ann"))
        #expect(gate.requests(Self.service).isEmpty)
        gate.end()
    }

    @Test func aKeyThatExpiresAndAFileThatChanges() throws {
        let gate = try gate(
            "- api_key: { keys_file: keys.yaml, reload: 2s }",
            files: ["keys.yaml": Self.keys(Self.key, ", expires: 2026-01-01T00:01:00Z")])
        let field = ["x-api-key: \(Self.key)"]
        #expect(try gate.verdict(field) == "200")
        gate.world.run(for: .seconds(60))
        #expect(try gate.verdict(field) == "401 auth.invalid")
        let other = "hf_another_key_0123456789"
        try gate.write("keys.yaml", Self.keys(other))
        gate.world.run(for: .seconds(4))
        #expect(try gate.verdict(["x-api-key: \(other)"]) == "200")
        // One that does not read: the last good one goes on.
        try gate.write("keys.yaml", "consumers: [{ name: ann, keys: [{ sha256: \(other) }] }]")
        gate.world.run(for: .seconds(4))
        #expect(try gate.verdict(["x-api-key: \(other)"]) == "200")
        try gate.write("keys.yaml", "consumers: []")
        gate.world.run(for: .seconds(4))
        #expect(try gate.verdict(["x-api-key: \(other)"]) == "401 auth.invalid")
        gate.end()
    }

    // MARK: Identity fields

    /// No client can say who it is, on no route, in no spelling.
    @Test(arguments: [
        "x-consumer: root", "X-Consumer: root", "X_Consumer: root", "x.consumer: root", "x_CONSUMER: root", "x-tenant: root",
        "X_tenant: root",
    ])
    func anIdentityFieldNeverComesFromAClient(field: String) throws {
        let issuer = TestIssuer.secret([UInt8](1...32), .hs256)
        let gate = try gate(
            "- jwt: { secret: secret, algorithms: [HS256], issuer: off, audience: off, consumer_header: x-consumer, claim_headers: { x-tenant: tenant } }",
            files: ["secret": String(decoding: [UInt8](1...32), as: UTF8.self)])
        let token = issuer.token(#"{"exp":1767229200}"#)
        for (target, fields) in [("/open", [field]), ("/", [field, "authorization: Bearer \(token)"])] {
            #expect(try gate.verdict(fields, target: target) == "200")
            #expect(!gate.requests(Self.service).joined().contains("root"))
        }
        gate.end()
    }

    /// Nor can a client have one taken off by naming it in Connection (case A17).
    @Test func anIdentityFieldIsNotConnectionLevel() throws {
        let gate = try gate("- api_key: { keys_file: keys.yaml }", files: ["keys.yaml": Self.keys(Self.key)])
        #expect(try gate.verdict(["x-api-key: \(Self.key)", "connection: x-consumer, x-api-key"]) == "401 auth.missing")
        #expect(try gate.verdict(["x-api-key: \(Self.key)", "connection: x-consumer"]) == "200")
        #expect(lines(gate).contains("x-consumer: ann"))
        gate.end()
    }

    /// Two filters that both say who it is: the upstream hears the last, and hears it once.
    @Test func oneConsumerIsTold() throws {
        let gate = try gate(
            "- basic: { users_file: users.yaml }\n- api_key: { keys_file: keys.yaml }",
            files: ["users.yaml": Self.users.replacing("name: ann", with: "name: bob"), "keys.yaml": Self.keys(Self.key)])
        #expect(try gate.verdict(["x-api-key: \(Self.key)", Self.basic("bob", "correct horse")]) == "200")
        #expect(lines(gate).filter { $0.hasPrefix("x-consumer:") } == ["x-consumer: ann"])
        #expect(try gate.verdict(["x-api-key: \(Self.key)"]) == "401 auth.missing", "both must be content")
        gate.end()
    }

    @Test func anIdentityFieldInTrailersIsTakenOffToo() throws {
        let gate = try gate("- api_key: { keys_file: keys.yaml }", files: ["keys.yaml": Self.keys(Self.key)])
        let peer = try gate.send(
            ["x-api-key: \(Self.key)", "transfer-encoding: chunked", "te: trailers"], method: "POST",
            body: "2\r\nhi\r\n0\r\nx-consumer: root\r\nX_Consumer: root\r\nx-checksum: 7\r\n\r\n")
        gate.world.run(for: .seconds(2))
        _ = peer
        let seen = gate.requests(Self.service).joined()
        #expect(seen.contains("x-consumer: ann"))
        #expect(seen.contains("hi"))
        #expect(!seen.contains("root"))
        gate.end()
    }

    // MARK: ip_list

    @Test func addressesAreJudgedAsTrustedPeersTellThem() throws {
        let gate = try gate(
            "- ip_list: { allow: [192.0.2.0/24, \"2001:db8::/32\"], deny: [192.0.2.7] }", more: "trusted_networks: [10.0.0.2]")
        for (address, expected) in [
            ("192.0.2.1", "200"), ("192.0.2.7", "403 auth.forbidden"), ("192.0.3.1", "403 auth.forbidden"), ("2001:db8::1", "200"),
            ("::ffff:192.0.2.1", "200"), ("::ffff:192.0.2.7", "403 auth.forbidden"), ("::ffff:c000:207", "403 auth.forbidden"),
            ("2001:db9::1", "403 auth.forbidden"),
        ] {
            let verdict = try gate.verdict(["x-forwarded-for: \(address)"])
            #expect(verdict == expected, "\(address)")
        }
        #expect(try gate.verdict() == "403 auth.forbidden")
        gate.end()
    }

    // MARK: basic

    private static let users: String = {
        let hash = PasswordHash.make(
            Array("correct horse".utf8), salt: Array("saltsaltsalt".utf8), rounds: PasswordHash.leastRounds)
        return "users: [{ name: ann, password: \"\(hash.text)\" }]"
    }()

    private static func basic(_ user: String, _ password: String) -> String {
        "authorization: Basic \(Base64.encode(Array("\(user):\(password)".utf8), .standard))"
    }

    @Test func aPasswordIsHashedOnceAndForgottenWhenTheFileChanges() throws {
        let gate = try gate("- basic: { users_file: users.yaml, realm: Shop }", files: ["users.yaml": Self.users])
        let right = Self.basic("ann", "correct horse")
        #expect(try gate.verdict([right]) == "200")
        #expect(lines(gate).contains("x-consumer: ann"))
        #expect(!gate.requests(Self.service).joined().lowercased().contains("authorization"))
        let turns = gate.gateways[0].reactor.turns
        #expect(try gate.verdict([right]) == "200")
        #expect(gate.gateways[0].reactor.turns - turns < 20, "the second time it is not hashed again")
        #expect(try gate.verdict([Self.basic("ann", "wrong")]) == "401 auth.invalid")
        #expect(try gate.verdict([Self.basic("bob", "correct horse")]) == "401 auth.invalid")
        let missing = try gate.ask()
        #expect(AuthenticationGate.verdict(missing) == "401 auth.missing")
        #expect(missing.contains("www-authenticate: Basic realm=\"Shop\", charset=\"UTF-8\"\r\n"))
        try gate.write("users.yaml", "users: []")
        gate.world.run(for: .seconds(8))
        #expect(try gate.verdict([right]) == "401 auth.invalid")
        gate.end()
    }

    /// A hundred thousand rounds do not keep the reactor from anybody else, and requests with one pair share one hash.
    @Test func hashingIsSlicedAndShared() throws {
        let gate = try gate("- basic: { users_file: users.yaml, concurrent: 8 }", files: ["users.yaml": Self.users])
        let peers = try (0..<10).map { _ in try gate.connect() }
        let before = gate.gateways[0].reactor.turns
        for peer in peers { peer.say(AuthenticationGate.request([Self.basic("ann", "correct horse")])) }
        _ = gate.world.run(while: { !peers.allSatisfy(\.isOver) }, limit: .seconds(30))
        let verdicts = peers.map { AuthenticationGate.verdict($0.heard) }
        #expect(verdicts.filter { $0 == "200" }.count == 8)
        #expect(verdicts.filter { $0 == "503 auth.unavailable" }.count == 2)
        let turns = gate.gateways[0].reactor.turns - before
        #expect((50..<250).contains(Int(turns)), "\(turns) turns for one hash of 100,000 rounds")
        gate.end()
    }

    @Test(arguments: [
        "authorization: Basic", "authorization: Basic !!!", "authorization: Basic YW5u", "authorization: Bearer YW5uOng=",
        "authorization: Basic OnB3",
        "authorization: basic YW5uOmNvcnJlY3QgaG9yc2U", "authorization: Basic YW5uOgA=", "authorization:",
        "authorization: Basic YW5uOng= x",
        "authorization: Negotiate",
    ])
    func whatIsNoPasswordIsRefused(field: String) throws {
        let gate = try gate("- basic: { users_file: users.yaml }", files: ["users.yaml": Self.users])
        #expect(try gate.verdict([field]) == "401 auth.invalid")
        #expect(gate.requests(Self.service).isEmpty)
        gate.end()
    }

    // MARK: forward_auth

    private static let asker = "10.0.0.8:9002"

    private func askingGate(_ answer: @escaping (String) -> String?) throws -> AuthenticationGate {
        try gate(
            "- forward_auth: { to: who, path: /check, copy: [x-user, x-roles], consumer: x-user, answer: [x-hint] }",
            upstreams:
                "  who: { endpoints: [\(Self.asker)], guard: { retries: { attempts: 1 }, timeouts: { total: 2s, per_try: 1s } } }",
            services: [Self.asker: answer])
    }

    @Test func aServiceSaysWhoItIs() throws {
        let gate = try askingGate { _ in "HTTP/1.1 204 No Content\r\nx-user: ann\r\nx-roles: a, b\r\nx-other: z\r\n\r\n" }
        #expect(
            try gate.verdict(["x-user: root", "X_Roles: root", "cookie: s=1", "x-private: 1"], target: "/a?b=1", method: "DELETE")
                == "200")
        let question = gate.requests(Self.asker).joined().split(separator: "\r\n").map(String.init)
        #expect(question.first == "GET /check HTTP/1.1")
        for line in [
            "cookie: s=1", "x-forwarded-method: DELETE", "x-forwarded-uri: /a?b=1", "x-forwarded-host: shop.example",
            "x-forwarded-for: 10.0.0.2",
        ] {
            #expect(question.contains(line), "\(line)")
        }
        #expect(!question.joined().contains("root") && !question.joined().contains("x-private"))
        let seen = lines(gate)
        #expect(seen.contains("x-user: ann") && seen.contains("x-roles: a, b"))
        #expect(!seen.joined().contains("root") && !seen.joined().contains("x-other"))
        gate.end()
    }

    @Test(arguments: [
        ("HTTP/1.1 401 No\r\nwww-authenticate: Bearer\r\nx-hint: h\r\nx-secret: s\r\ncontent-length: 4\r\n\r\nwho?", "401"),
        ("HTTP/1.1 403 No\r\nx-hint: h\r\nx-secret: s\r\ncontent-length: 4\r\n\r\nwho?", "403"),
        (
            "HTTP/1.1 302 Found\r\nlocation: https://login.example/\r\nx-hint: h\r\nset-cookie: s=1\r\ncontent-length: 4\r\n\r\nwho?",
            "302"
        ),
    ])
    func itsRefusalGoesToTheClient(answer: String, status: String) throws {
        let gate = try askingGate { _ in answer }
        let heard = try gate.ask()
        #expect(AuthenticationGate.verdict(heard).hasPrefix(status))
        #expect(heard.hasSuffix("who?") && heard.contains("x-hint: h") && !heard.contains("x-secret"))
        #expect(heard.contains("cache-control: no-store"))
        if status == "302" { #expect(heard.contains("location: https://login.example/") && heard.contains("set-cookie: s=1")) }
        #expect(gate.requests(Self.service).isEmpty)
        gate.end()
    }

    @Test(arguments: [
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n", "nonsense\r\n\r\n", nil, "HTTP/1.1 304 Not Modified\r\n\r\n",
    ])
    func whenItDoesNotSayYesNobodyPasses(answer: String?) throws {
        let gate = try askingGate { _ in answer }
        #expect(try gate.verdict() == "503 auth.unavailable")
        #expect(gate.requests(Self.service).isEmpty)
        gate.end()
    }

    @Test func aClientThatLeavesTakesItsQuestionBack() throws {
        let gate = try askingGate { _ in nil }
        let peer = try gate.send()
        gate.world.run(for: .milliseconds(500))
        #expect(gate.gateways[0].subrequests.count == 1)
        peer.connection?.abort()
        gate.world.run(for: .milliseconds(200))
        #expect(gate.gateways[0].subrequests.isEmpty)
        gate.end()
    }
}
