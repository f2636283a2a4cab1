// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Credentials

@Suite struct PasswordHashTests {
    /// From RFC 7914 §11 and from Python's hashlib.
    @Test(arguments: [
        ("passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
        ("Password", "NaCl", 80_000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
        ("password", "salt", 4_096, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"),
    ])
    func isPBKDF2(password: String, salt: String, rounds: Int, hex: String) {
        #expect(
            PasswordHash.make(Array(password.utf8), salt: Array(salt.utf8), rounds: rounds).hash.hexadecimal.hasPrefix(hex))
    }

    @Test func aPasswordLongerThanABlockIsHashedFirst() {
        // hashlib.pbkdf2_hmac("sha256", b"x" * 100, b"saltsalt", 1000)
        let hash = PasswordHash.make([UInt8](repeating: 0x78, count: 100), salt: Array("saltsalt".utf8), rounds: 1_000)
        #expect(hash.hash.hexadecimal == "436aeecc0b52f7dc3bd379adf9984373645469d7b297179c9f56f7aa2edcddd6")
    }

    @Test(arguments: [1, 7, 999, 1_000, 5_000])
    func slicesMakeNoDifference(slice: Int) {
        let salt = Array("saltsalt".utf8)
        let whole = PasswordHash.make(Array("secret".utf8), salt: salt, rounds: 1_000)
        var check = PasswordCheck(Array("secret".utf8).span, salt: salt, rounds: 1_000)
        var turns = 1
        while !check.advance(by: slice) { turns += 1 }
        #expect(check.result == whole.hash)
        #expect(turns == max(1, (999 + slice - 1) / slice))
    }

    @Test func isReadAsPasslibWritesIt() throws {
        let text = "$pbkdf2-sha256$100000$AAECAwQFBgcICQoLDA0ODw$V/LC8HOXSNUWQZsGKohGZjI8WD6krhZVBKgfe1PGKgk"
        let hash = try PasswordHash(parsing: text)
        #expect(hash.rounds == 100_000)
        #expect(hash.text == text)
        #expect(PasswordHash.make(Array("correct horse".utf8), salt: hash.salt, rounds: hash.rounds) == hash)
    }

    @Test(arguments: [
        "", "secret", "$2y$10$abcdefghijklmnopqrstuv", "$pbkdf2-sha256$", "$pbkdf2-sha256$99999$c2FsdHNhbHQ$x",
        "$pbkdf2-sha256$-1$c2FsdHNhbHQ$x", "$pbkdf2-sha256$99999999$c2FsdHNhbHQ$x", "$pbkdf2-sha256$600000$c2E$x",
        "$pbkdf2-sha256$600000$c2FsdHNhbHQ$c2FsdHNhbHQ", "$pbkdf2-sha512$600000$c2FsdHNhbHQ$c2FsdHNhbHQ",
        "x$pbkdf2-sha256$600000$c2FsdHNhbHQ$c2FsdHNhbHQ", "$pbkdf2-sha256$600000$c2FsdHNhbHQ$c2FsdHNhbHQ$more",
    ])
    func refusesWhatIsNoHashAndDoesNotRepeatIt(text: String) {
        let problem = #expect(throws: PasswordHash.Problem.self) { try PasswordHash(parsing: text) }
        if text.count > 20 || text == "secret", let problem { #expect(!problem.words.contains(text)) }
    }
}

@Suite struct BasicCredentialTests {
    private func read(_ field: String) -> BasicCredential? {
        let bytes = Array(field.utf8)
        guard let range = AuthorizationField.credentials(of: "basic", in: bytes.span) else { return nil }
        return BasicCredential(bytes.span.extracting(range))
    }

    @Test func isReadAsRFC7617Says() {
        let known = read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        #expect(known.map { String(decoding: $0.user, as: UTF8.self) } == "Aladdin")
        #expect(known.map { String(decoding: $0.password, as: UTF8.self) } == "open sesame")
        #expect(read("bAsIc   QWxhZGRpbjo=")?.password == [])
        #expect(read("Basic YTpiOmM=").map { String(decoding: $0.password, as: UTF8.self) } == "b:c")
    }

    @Test(arguments: [
        "", "Basic", "Basic ", "Basic    ", "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "BasicQWxhZGRpbjpv", "Basic QWxhZGRpbg==",
        "Basic Om5vdXNlcg==",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== x", "Basic YQphOmI=", "Basic YWE6YgBi",
        "Basic !!!!",
        "Basic\tQWxhZGRpbjo=", "Basic " + String(repeating: "QUFB", count: 400),
    ])
    func refusesWhatIsNone(field: String) {
        #expect(read(field) == nil)
    }

    @Test func fingerprintsTellPairsAndProcessesApart() throws {
        let one = try #require(read("Basic YTpiOmM="))
        let other = try #require(read("Basic YTpiOmQ="))
        #expect(one.fingerprint([1]) == one.fingerprint([1]))
        #expect(one.fingerprint([1]) != one.fingerprint([2]))
        #expect(one.fingerprint([1]) != other.fingerprint([1]))
    }

    @Test func anUnknownUserIsCheckedForAsLongAsAKnownOne() {
        let file = PasswordFile([("ann", PasswordHash(rounds: 250_000, salt: Array("saltsalt".utf8), hash: .sha256([1])))])
        #expect(file.hash(of: Array("ann".utf8)).isKnown)
        let stranger = file.hash(of: Array("bob".utf8))
        #expect(!stranger.isKnown)
        #expect(stranger.hash.rounds == 250_000)
    }
}

@Suite struct APIKeyTests {
    private let plain = "hf_0123456789abcdefghijklmnop"

    private func find(_ text: String, at seconds: Int64 = 0, expires: Int64? = nil) -> APIKeys.Verdict {
        let second = APIKeys.Key(consumer: "ann", label: "new", hash: .sha256(Array("another-key-of-ann-000".utf8)))
        let keys = APIKeys([
            APIKeys.Key(consumer: "ann", label: "old", hash: .sha256(Array(plain.utf8)), expires: expires), second,
        ])
        return keys.find(Array(text.utf8).span, unixSeconds: seconds)
    }

    @Test func aConsumerMayHaveSeveral() {
        guard case .known(let first) = find(plain), case .known(let second) = find("another-key-of-ann-000") else {
            Issue.record("both are known")
            return
        }
        #expect(first.consumer == "ann" && second.consumer == "ann")
        #expect(first.label == "old" && second.label == "new")
    }

    @Test func expiresToTheSecond() {
        if case .known = find(plain, at: 99, expires: 100) {} else { Issue.record("known before") }
        if case .expired = find(plain, at: 100, expires: 100) {} else { Issue.record("expired at that second") }
    }

    @Test(arguments: [
        "", "x", "hf_0123456789abcdefghijklmno", "hf_0123456789abcdefghijklmnopq", "HF_0123456789abcdefghijklmnop",
        "hf_0123456789abcdefghijklmnop ", "hf_0123456789abcdefghijklmnop\u{0}", "' OR '1'='1' -- aaaa",
        String(repeating: "a", count: 513), String(repeating: "a", count: 100_000), "another-key-of-ann-00",
    ])
    func refusesEveryOther(key: String) {
        #expect(find(key) == .unknown)
    }

    @Test func theHashIsNoKey() {
        #expect(find(Digest256.sha256(Array(plain.utf8)).hexadecimal) == .unknown)
    }
}
