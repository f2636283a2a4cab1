// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing
import TokenIssuer

@testable import Credentials

/// 2026-01-01.
let now: Int64 = 1_767_225_600

/// What most tests ask of a token.
func policy(_ change: (inout TokenPolicy) -> Void = { _ in }) -> TokenPolicy {
    var policy = TokenPolicy()
    policy.issuers = [Array("https://issuer.example".utf8)]
    policy.audiences = [Array("orders".utf8)]
    change(&policy)
    return policy
}

func claims(_ more: String = "", exp: String = "\(now + 300)") -> String {
    #"{"iss":"https://issuer.example","aud":"orders","sub":"ann","exp":\#(exp)\#(more.isEmpty ? "" : "," + more)}"#
}

func verdict(
    _ token: String, _ keys: KeySet, _ policy: TokenPolicy = policy(), at nanoseconds: Int64 = now * 1_000_000_000
) -> String {
    switch TokenVerifier(policy: policy, tokenBytes: 8_192).verify(Array(token.utf8).span, with: keys, unixNanoseconds: nanoseconds)
    {
    case .valid(let token): token.isPermitted ? "valid" : "forbidden"
    case .invalid(let flaw): flaw.rawValue
    case .unknownKey: "unknown key"
    }
}

func keySet(
    _ keys: [String], allowed: [TokenAlgorithm] = TokenAlgorithm.allCases.filter { !$0.isSymmetric }, secrets: Bool = false
) throws -> KeySet {
    let text = #"{"keys":["# + keys.joined(separator: ",") + "]}"
    return try JSONWebKeySet(allowed: allowed, acceptsSecrets: secrets).read(Array(text.utf8).span)
}

@Suite struct TokenAlgorithmTests {
    static func issuer(_ algorithm: TokenAlgorithm) -> TestIssuer {
        switch algorithm.family {
        case .rsa, .rsaPSS: .rsa(algorithm)
        case .ecdsa: .elliptic(algorithm)
        case .edDSA: .ed25519()
        case .hmac: .secret([UInt8](1...64), algorithm)
        }
    }

    @Test(arguments: TokenAlgorithm.allCases)
    func isVerifiedByItsOwnKeyAlone(algorithm: TokenAlgorithm) throws {
        let issuer = Self.issuer(algorithm)
        let other = algorithm.isSymmetric ? TestIssuer.secret([UInt8](2...65), algorithm) : Self.issuer(algorithm)
        let own = try keySet([issuer.jwk(kid: "a")], allowed: [algorithm], secrets: true)
        let foreign = try keySet([other.jwk(kid: "a")], allowed: [algorithm], secrets: true)
        for kid in ["a", nil] as [String?] {
            #expect(verdict(issuer.token(kid: kid, claims()), own) == "valid")
            #expect(verdict(issuer.token(kid: kid, claims()), foreign) == "signature")
        }
        #expect(verdict(issuer.token(kid: "b", claims()), own) == "unknown key")
        #expect(throws: KeySetProblem.self) {
            try keySet([issuer.jwk()], allowed: TokenAlgorithm.allCases.filter { $0 != algorithm }, secrets: true)
        }
    }

    @Test(arguments: TokenAlgorithm.allCases)
    func noBitOfATokenMayChange(algorithm: TokenAlgorithm) throws {
        let issuer = Self.issuer(algorithm)
        let keys = try keySet([issuer.jwk(kid: "a")], allowed: [algorithm], secrets: true)
        let token = Array(issuer.token(kid: "a", claims()).utf8)
        for i in stride(from: 0, to: token.count, by: token.count > 400 ? 7 : 1) {
            var changed = token
            changed[i] ^= 1
            let text = String(decoding: changed, as: UTF8.self)
            #expect(verdict(text, keys) != "valid", "byte \(i)")
        }
        for count in stride(from: 0, to: token.count, by: 11) {
            #expect(verdict(String(decoding: token.prefix(count), as: UTF8.self), keys) != "valid")
        }
    }

    /// The examples of RFC 7515 A.1 to A.3 and RFC 8037 A.4: other people's signatures.
    @Test func readsTheStandardsOwnExamples() throws {
        let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        let joe = policy {
            $0.issuers = [Array("joe".utf8)]
            $0.audiences = nil
        }
        let moment: Int64 = 1_300_819_379 * 1_000_000_000
        let ec = try keySet([
            #"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
        ])
        let es256 =
            "eyJhbGciOiJFUzI1NiJ9." + payload
            + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        #expect(verdict(es256, ec, joe, at: moment) == "valid")
        let oct = try keySet(
            [#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#],
            allowed: [.hs256], secrets: true)
        let hs256 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + payload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        #expect(verdict(hs256, oct, joe, at: moment) == "valid")
        // "Example of Ed25519 signing" is no JSON: the signature is right, and what was signed is no set of claims.
        let okp = try keySet([#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#])
        let edDSA =
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        #expect(verdict(edDSA, okp, joe, at: moment) == "claims")
        #expect(verdict(edDSA.replacingLast("g", with: "A"), okp, joe, at: moment) != "claims")
    }

    @Test func keysInPEMWork() throws {
        for issuer in [TestIssuer.rsa(.rs256), .elliptic(.es384), .ed25519()] {
            let keys = try KeySet.pem(issuer.pem, allowed: TokenAlgorithm.allCases)
            #expect(verdict(issuer.token(claims()), keys) == "valid")
        }
        #expect(throws: KeySetProblem.self) { try KeySet.pem(Array("no key".utf8), allowed: [.rs256]) }
        #expect(throws: KeySetProblem.self) { try KeySet.pem(TestIssuer.rsa(.rs256, bits: 1_024).pem, allowed: [.rs256]) }
        #expect(throws: KeySetProblem.self) { try KeySet.pem(TestIssuer.elliptic(.es256).pem, allowed: [.rs256]) }
    }

    @Test func anRSAKeyThatDoesNotSayIsForOneAlgorithm() throws {
        let issuer = TestIssuer.rsa(.ps384)
        let plain = issuer.jwk(kid: "a", declares: false)
        #expect(verdict(issuer.token(kid: "a", claims()), try keySet([plain], allowed: [.ps384])) == "valid")
        // Of all, it is for RS256.
        #expect(verdict(issuer.token(kid: "a", claims()), try keySet([plain])) == "key")
        #expect(throws: KeySetProblem.self) { try keySet([plain], allowed: [.ps384, .ps256]) }
    }
}

extension String {
    /// With its last character another.
    fileprivate func replacingLast(_ old: Character, with new: Character) -> String {
        last == old ? dropLast() + String(new) : self
    }
}

@Suite struct TokenClaimTests {
    private static let issuer = TestIssuer.secret([UInt8](1...32), .hs256)

    private func judged(_ payload: String, _ policy: TokenPolicy = policy(), at nanoseconds: Int64 = now * 1_000_000_000) throws
        -> String
    {
        verdict(
            Self.issuer.token(payload), try keySet([Self.issuer.jwk()], allowed: [.hs256], secrets: true), policy, at: nanoseconds)
    }

    /// E12: `exp` counts until exactly its instant plus the skew, `nbf` and `iat` from exactly theirs less the skew.
    @Test func E12_timesAreExactToTheNanosecond() throws {
        let end = (now + 30) * 1_000_000_000
        #expect(try judged(claims(exp: "\(now)"), at: end - 1) == "valid")
        #expect(try judged(claims(exp: "\(now)"), at: end) == "time")
        #expect(try judged(claims(exp: "\(now).5"), at: end + 499_999_999) == "valid")
        #expect(try judged(claims(exp: "\(now).5"), at: end + 500_000_000) == "time")
        for claim in ["nbf", "iat"] {
            let begin = (now - 30) * 1_000_000_000
            #expect(try judged(claims("\"\(claim)\":\(now)"), at: begin - 1) == "time")
            #expect(try judged(claims("\"\(claim)\":\(now)"), at: begin) == "valid")
        }
        let strict = policy { $0.skew = 0 }
        #expect(try judged(claims(exp: "\(now)"), strict, at: now * 1_000_000_000) == "time")
        #expect(try judged(claims(exp: "\(now)"), strict, at: now * 1_000_000_000 - 1) == "valid")
    }

    @Test func anAgeCountsFromIssue() throws {
        let young = policy { $0.maximumAge = 60_000_000_000 }
        #expect(try judged(claims("\"iat\":\(now - 89)"), young) == "valid")
        #expect(try judged(claims("\"iat\":\(now - 90)"), young) == "time")
        #expect(try judged(claims(), young) == "claims")
    }

    @Test(arguments: [
        "\"1767225900\"", "1e300", "-1", "-1e9", "null", "true", "[]", "{}", "1e999999", "99999999999999999999999999", "0.1e400",
        "[1767225900]",
    ])
    func E12_whatIsNoDateIsRefused(number: String) throws {
        #expect(try judged(claims(exp: number)) == "claims")
        #expect(try judged(claims("\"nbf\":\(number)")) == "claims")
        #expect(try judged(claims("\"iat\":\(number)")) == "claims")
    }

    @Test(arguments: [
        (#"{"exp":1767225900}"#, "claims"), (#"{"iss":"https://issuer.example","aud":"orders"}"#, "claims"),
        (#"{"iss":"https://issuer.example/","aud":"orders","exp":1767225900}"#, "claims"),
        (#"{"iss":"https://evil.example","aud":"orders","exp":1767225900}"#, "claims"),
        (#"{"iss":["https://issuer.example"],"aud":"orders","exp":1767225900}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":"order","exp":1767225900}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":["x","orders"],"exp":1767225900}"#, "valid"),
        (#"{"iss":"https://issuer.example","aud":["x","y"],"exp":1767225900}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":[],"exp":1767225900}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":[1,"orders"],"exp":1767225900}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":{"orders":1},"exp":1767225900}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":"orders","exp":1767225900,"sub":7}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":"orders","exp":1,"exp":1767225900}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":"orders","exp":1767225900,"\u0065xp":9000000000}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":"orders","exp":1767225900,"a":{"b":1,"b":2}}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":"orders","exp":1767225900} "#, "valid"),
        (#"{"iss":"https://issuer.example","aud":"orders","exp":1767225900}{}"#, "claims"),
        (#"[{"iss":"https://issuer.example","aud":"orders","exp":1767225900}]"#, "claims"),
        (#"{'iss':'https://issuer.example','aud':'orders','exp':1767225900}"#, "claims"),
        (#"{"iss":"https://issuer.example","aud":"orders","exp":01767225900}"#, "claims"),
        (#"{"iss":"https:\/\/issuer.example","aud":"orders","exp":1767225900}"#, "valid"),
        ("", "malformed"), ("null", "claims"), ("{", "claims"),
    ])
    func E12_claimsAreReadStrictly(payload: String, expected: String) throws {
        #expect(try judged(payload) == expected)
    }

    @Test func deepNestingIsRefused() throws {
        let deep = String(repeating: "[", count: 1_000) + String(repeating: "]", count: 1_000)
        #expect(try judged(claims("\"a\":\(deep)")) == "claims")
    }

    @Test func requiredClaimsRulesAndScopes() throws {
        let needs = policy { $0.required = ["exp", "email"] }
        #expect(try judged(claims(), needs) == "claims")
        #expect(try judged(claims(#""email":"a@b""#), needs) == "valid")
        let roles = policy { $0.rules = [(ClaimPath("realm.roles"), [Array("admin".utf8), Array("root".utf8)])] }
        #expect(try judged(claims(), roles) == "forbidden")
        #expect(try judged(claims(#""realm":{"roles":["user"]}"#), roles) == "forbidden")
        #expect(try judged(claims(#""realm":{"roles":["user","admin"]}"#), roles) == "valid")
        #expect(try judged(claims(#""realm":{"roles":"root"}"#), roles) == "valid")
        #expect(try judged(claims(#""realm":{"roles":{"admin":1}}"#), roles) == "forbidden")
        #expect(try judged(claims(#""realm.roles":"admin""#), roles) == "valid")
        let scoped = policy { $0.scopes = [Array("orders:read".utf8), Array("orders:write".utf8)] }
        #expect(try judged(claims(#""scope":"orders:read""#), scoped) == "forbidden")
        #expect(try judged(claims(#""scope":"orders:readorders:write""#), scoped) == "forbidden")
        #expect(try judged(claims(#""scope":"x orders:write orders:read""#), scoped) == "valid")
        #expect(try judged(claims(#""scp":["orders:read","orders:write"]"#), scoped) == "valid")
    }

    @Test func theTypeIsComparedAsRFC7515Says() throws {
        let access = policy { $0.type = Array("at+jwt".utf8) }
        let keys = try keySet([Self.issuer.jwk()], allowed: [.hs256], secrets: true)
        for (header, expected) in [
            (#"{"alg":"HS256","typ":"at+jwt"}"#, "valid"), (#"{"alg":"HS256","typ":"application/AT+JWT"}"#, "valid"),
            (#"{"alg":"HS256","typ":"JWT"}"#, "claims"), (#"{"alg":"HS256"}"#, "claims"),
            (#"{"alg":"HS256","typ":7}"#, "malformed"),
        ] {
            #expect(verdict(Self.issuer.token(header: header, payload: claims()), keys, access) == expected)
        }
    }

    @Test func claimsBecomeFieldsOnlyWhereTheyCannotBreakOut() throws {
        let text = Array(
            #"{"a":"x","n":1.50,"t":true,"l":["a","b",3],"bad":"x\r\ny: z","comma":["a,b"],"o":{"i":"in"},"e":"","sp":" x","u":"é","nul":"\u0000","z":null}"#
                .utf8)
        let object = ClaimObject(text.span, depth: 8)
        let claims = try #require(object)
        func field(_ path: String) -> String? {
            claims.value(at: ClaimPath(path))?.fieldValue.map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(field("a") == "x")
        #expect(field("n") == "1.50")
        #expect(field("t") == "true")
        #expect(field("l") == "a,b,3")
        #expect(field("l[1]") == "b")
        #expect(field("o.i") == "in")
        #expect(field("u") == "é")
        for path in ["bad", "comma", "o", "e", "sp", "nul", "z", "none", "a.b"] { #expect(field(path) == nil, "\(path)") }
    }
}

@Suite struct JSONWebKeySetTests {
    private static let rsa = TestIssuer.rsa(.rs256)

    @Test(arguments: [
        "", "{}", "[]", "null", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[1]}", "{\"keys\":[{}]}",
        "{\"keys\":[{\"kty\":\"RSA\"}]}",
        "{\"keys\":[],\"keys\":[]}", "<html>", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"alg\":\"none\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
    ])
    func refusesWhatIsNoKeySet(text: String) {
        #expect(throws: KeySetProblem.self) {
            try JSONWebKeySet(allowed: TokenAlgorithm.allCases, acceptsSecrets: false).read(Array(text.utf8).span)
        }
    }

    @Test func aKeyThatCannotBeUsedIsLeftOutAndSaid() throws {
        let secret = TestIssuer.secret([UInt8](1...64), .hs256)
        let set = try keySet(
            [
                Self.rsa.jwk(kid: "good"), TestIssuer.rsa(.rs256, bits: 1_024).jwk(kid: "weak"), secret.jwk(kid: "oct"),
                #"{"kty":"XYZ"}"#, Self.rsa.jwk().dropLast() + #","use":"enc"}"#, Self.rsa.jwk().dropLast() + #","d":"AQAB"}"#,
                Self.rsa.jwk().dropLast() + #","key_ops":["sign"]}"#,
            ], allowed: TokenAlgorithm.allCases)
        #expect(set.keys.map(\.identifier) == [Array("good".utf8)])
        #expect(set.ignored.count == 6)
        #expect(set.ignored.joined().contains("1024 bits"))
        #expect(set.ignored.joined().contains("private"))
    }

    @Test func boundsHold() throws {
        let key = TestIssuer.elliptic(.es256).jwk()
        #expect(try keySet(Array(repeating: key, count: 100)).keys.count == 100)
        #expect(throws: KeySetProblem.self) { try keySet(Array(repeating: key, count: 101)) }
        #expect(throws: KeySetProblem.self) { try keySet([key, "{\"kty\":\"" + String(repeating: "x", count: 300_000) + "\"}"]) }
        #expect(throws: KeySetProblem.self) {
            try JSONWebKeySet(allowed: [.rs256], acceptsSecrets: false).read([UInt8](repeating: 32, count: 10 << 20).span)
        }
    }

    @Test func aPointThatIsNotOnTheCurveIsNoKey() throws {
        let good = TestIssuer.elliptic(.es256).jwk()
        let x = try #require(good.firstRange(of: "\"y\":\""))
        var bytes = Array(good.utf8)
        let place = good.utf8.distance(from: good.startIndex, to: x.upperBound)
        bytes[place] = bytes[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        #expect(throws: KeySetProblem.self) { try keySet([String(decoding: bytes, as: UTF8.self)]) }
    }

    @Test func aSecretShorterThanItsDigestIsRefused() {
        #expect(throws: KeySetProblem.self) { try KeySet.secret([UInt8](1...31), allowed: [.hs256]) }
        #expect(throws: Never.self) { try KeySet.secret([UInt8](1...32), allowed: [.hs256]) }
        #expect(throws: KeySetProblem.self) { try KeySet.secret([UInt8](1...63), allowed: [.hs512]) }
        #expect(throws: KeySetProblem.self) { try KeySet.secret([UInt8](1...64), allowed: [.hs256, .hs512]) }
    }

    /// A token without `kid` costs at most four checks.
    @Test func anonymousTokensAreTriedAFewTimes() throws {
        let issuers = (0..<6).map { _ in TestIssuer.elliptic(.es256) }
        let set = try keySet(issuers.map { $0.jwk() })
        #expect(issuers.map { verdict($0.token(claims()), set) } == ["valid", "valid", "valid", "valid", "signature", "signature"])
    }
}
