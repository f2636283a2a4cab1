// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Configuration

/// What is wrong with filters that ask who somebody is, and with the files of their credentials.
@Suite struct AuthenticationFilterTests {
    private func about(_ filter: String) -> String {
        complaints(minimal(route: "to: a, filters: [{ \(filter) }]")).replacingOccurrences(
            of: #"x\.yaml:7:[0-9]+: routes\[0\]\.filters\[0\]\."#, with: "", options: .regularExpression)
    }

    @Test(arguments: [
        ("ip_list: {}", "ip_list: lets everybody in; expected allow or deny"),
        (
            "ip_list: { deny: [10.0.0.1/8] }",
            "ip_list.deny[0]: \"10.0.0.1/8\" is no network: its prefix is too long, or bits are set behind it; expected a network such as 10.0.0.0/8 or fd00::/8, or one address"
        ),
        ("api_key: {}", "api_key: the key keys_file is missing"),
        (
            "api_key: { keys_file: k, header: off }",
            "api_key: header and query are both off; a key has to come in one of them"
        ),
        (
            "api_key: { keys_file: k, consumer_header: cookie }",
            "api_key.consumer_header: the field cookie is one that clients send; name one that they do not, such as x-consumer"
        ),
        (
            "api_key: { keys_file: k, consumer_header: content-length }",
            "api_key.consumer_header: the field content-length is the gateway's own; no filter changes it"
        ),
        (
            "basic: { users_file: u, realm: 'a\"b' }",
            "basic.realm: \"a\\\"b\" is no realm; expected up to 64 printable characters without quotes and backslashes"
        ),
        (
            "client_certificate: { fingerprints: [ab] }",
            "client_certificate.fingerprints[0]: \"ab\" is no SHA-256 fingerprint; expected 64 hexadecimal digits, perhaps with colons"
        ),
        (
            "forward_auth: { to: a, send: [x-forwarded-host] }",
            "forward_auth.send[0]: the field x-forwarded-host is written by the gateway, and what a client sends under it is nobody's word"
        ),
        ("forward_auth: { to: b }", "forward_auth.to: there is no upstream \"b\"; did you mean \"a\"?"),
        (
            "jwt: { issuer: off, audience: off }",
            "jwt: expected exactly one of jwks_file, jwks, public_key, secret; none of them is there"
        ),
        ("jwt: { jwks: { from: a } }", "jwt: the key issuer is missing\njwt: the key audience is missing"),
        (
            "jwt: { jwks: { from: a }, issuer: off, audience: off, algorithms: [none] }",
            "jwt.algorithms[0]: \"none\" is not known; expected one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384, HS512"
        ),
        (
            "jwt: { jwks: { from: a }, issuer: off, audience: off, algorithms: [RS256, HS256] }",
            "jwt: HS256 needs a secret, and these keys are public"
        ),
        (
            "jwt: { secret: s, issuer: off, audience: off }",
            "jwt: with a secret exactly one of HS256, HS384 and HS512 is expected"
        ),
        (
            "jwt: { jwks: { from: a, refresh: 10m, keep: 5m }, issuer: off, audience: off }",
            "jwt.jwks: keep is shorter than refresh: there would be no keys in between"
        ),
    ])
    func isSaid(filter: String, said: String) {
        #expect(about(filter) == said || about(filter).hasSuffix(said), "\(about(filter))")
    }

    @Test(arguments: [
        ("client_certificates: required", "client_certificates: required needs client_ca"),
        ("client_ca: ca.pem", "client_ca does nothing without client_certificates"),
    ])
    func clientCertificatesAreAskedForWithAnAuthority(tls: String, said: String) {
        let text = complaints(minimal(listener: "tls: { certificates: [{ chain: c, key: k }], \(tls) }"))
        #expect(text.contains(said), "\(text)")
    }

    // MARK: Files

    private func load<Content>(_ text: String, _ load: (String) throws -> Content) throws -> Content {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-credentials-\(UUID().uuidString).yaml")
        try text.write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        return try load(file.path)
    }

    private static let hash = String(repeating: "0aF", count: 21) + "0"

    @Test func consumersMayHaveSeveralKeys() throws {
        let file = try load(
            """
            consumers:
              - { name: ann, keys: [{ sha256: "\(Self.hash)", label: old, expires: 2027-01-01 }, { sha256: "\(String(Self.hash.reversed()))" }] }
              - { name: "bob@example.com", keys: [] }
            """
        ) { try KeysFile.load(path: $0) }
        #expect(file.consumers.map(\.name) == ["ann", "bob@example.com"])
        #expect(file.consumers[0].keys.map(\.sha256) == [Self.hash.lowercased(), String(Self.hash.reversed()).lowercased()])
        #expect(file.consumers[0].keys.map(\.expires) == [1_798_761_600, nil])
    }

    @Test(
        arguments: [
            ("1970-01-01", 0), ("2000-02-29", 951_782_400), ("2026-12-01T03:04:05Z", 1_796_094_245), ("2100-03-01", 4_107_542_400),
            ("2023-02-29", nil),
            ("2026-13-01", nil), ("2026-00-10", nil), ("1969-12-31", nil), ("2026-12-01T24:00:00Z", nil),
            ("2026-12-01 03:04:05", nil), ("", nil), ("26-1-1", nil),
        ] as [(String, Int64?)])
    func daysAreUnixSeconds(text: String, seconds: Int64?) {
        #expect(Moment.unixSeconds(text) == seconds)
    }

    /// Nor does a complaint show a key or a password that stands where its hash should.
    @Test(arguments: [
        "consumers: [{ name: ann, keys: [{ sha256: hf_secret_key_0123456789 }] }]",
        "consumers: [{ name: ann, keys: [hf_secret_key_0123456789] }]",
        "consumers: [{ name: ann, keys: [{ sha256: \(hash), label: b, expires: soon }] }]", "consumers: {}",
        "consumers: [{ keys: [] }]",
        "consumers: [{ name: \"a:b\", keys: [] }]", "consumers: [{ name: ann, keys: [] }, { name: ann, keys: [] }]",
        "consumers: [{ name: ann, keys: [{ sha256: \(hash) }, { sha256: \(hash) }] }]", "", "- x",
        "consumers: [{ name: ann, keys: [{ key: abc }] }]",
    ])
    func whatIsNoKeysFileIsRefused(text: String) {
        let problem = #expect(throws: ConfigurationErrors.self) { try load(text) { try KeysFile.load(path: $0) } }
        if let problem { #expect(!problem.description.contains("hf_secret")) }
    }

    @Test(arguments: [
        "users: [{ name: ann, password: correct-horse-battery }]", "users: [{ name: ann, password: $2y$10$correct-horse }]",
        "users: [{ name: ann }]",
        "users: [ann]", "users: [{ name: \"a:b\", password: \"$pbkdf2-sha256$600000$c2FsdHNhbHQ$aaaa\" }]",
        "users: [{ name: ann, password: \"$pbkdf2-sha256$600000$c2FsdHNhbHQ$aaaa\" }, { name: ann, password: \"$pbkdf2-sha256$600000$c2FsdHNhbHQ$aaaa\" }]",
    ])
    func whatIsNoUsersFileIsRefused(text: String) {
        let problem = #expect(throws: ConfigurationErrors.self) { try load(text) { try UsersFile.load(path: $0) } }
        if let problem { #expect(!problem.description.contains("correct-horse")) }
    }
}
