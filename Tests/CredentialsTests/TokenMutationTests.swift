// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing
import TokenIssuer

@testable import Credentials

/// P25: a JWT never fails open. 200 tokens that somebody without the key can make (cases E11, E12; RFC 8725 §2), and 0 of them accepted; beside
/// each stands the right one, which is, so that the test cannot pass by refusing everything.
@Suite struct TokenMutationTests {
    private struct Forgery {
        var name: String
        var token: String
    }

    private static let rsa = TestIssuer.rsa(.rs256)
    private static let ec = TestIssuer.elliptic(.es256)
    private static let ed = TestIssuer.ed25519()
    /// Whose key is in no set.
    private static let stranger = TestIssuer.rsa(.rs256)

    @Test func P25_E11_noneOfTwoHundredForgedTokensIsAccepted() throws {
        let issuers = [(Self.rsa, "rsa"), (Self.ec, "ec"), (Self.ed, "ed")]
        let set = try keySet(issuers.map { $0.0.jwk(kid: $0.1) })
        // The same keys where HMAC is allowed as well, beside a secret of its own: that must not lend RSA's to it.
        let secret = TestIssuer.secret([UInt8](1...64), .hs256)
        let mixed = try keySet(
            issuers.map { $0.0.jwk(kid: $0.1) } + [secret.jwk(kid: "hs")], allowed: TokenAlgorithm.allCases, secrets: true)
        for (issuer, kid) in issuers {
            #expect(verdict(issuer.token(kid: kid, claims()), set) == "valid")
            #expect(verdict(issuer.token(kid: kid, claims()), mixed) == "valid")
        }
        let forgeries = issuers.flatMap { forge($0.0, $0.1) } + times()
        #expect(forgeries.count >= 200)
        var accepted: [String] = []
        for forgery in forgeries {
            for keys in [set, mixed] where ["valid", "forbidden"].contains(verdict(forgery.token, keys)) {
                accepted.append(forgery.name)
            }
        }
        #expect(accepted == [])
    }

    private func forge(_ issuer: TestIssuer, _ kid: String) -> [Forgery] {
        algorithms(issuer, kid) + confusion(issuer, kid) + embedded(issuer, kid) + names(issuer) + shapes(issuer, kid)
            + payloads(issuer, kid)
    }

    /// `none`, and its other spellings.
    private func algorithms(_ issuer: TestIssuer, _ kid: String) -> [Forgery] {
        let good = issuer.token(kid: kid, claims())
        let signature = good.split(separator: ".")[2]
        return ["none", "None", "NONE", "nOnE", "", " ", "null", "rs256", "RS257", "RS256 ", "HS256\u{0}", "ES256K", "RS1"].flatMap
        { name in
            let header = TestIssuer.encoded("{\"alg\":\"\(name)\",\"kid\":\"\(kid)\"}")
            let body = header + "." + TestIssuer.encoded(claims())
            return ["", "." + signature, "."].map { Forgery(name: "alg \(name)\($0.isEmpty ? "" : " signed")", token: body + $0) }
        }
            + [
                #"{"kid":"\#(kid)"}"#, #"{"alg":null}"#, #"{"alg":["RS256"]}"#, #"{"alg":{"alg":"none"}}"#, #"{"alg":256}"#,
                #"{"ALG":"none"}"#,
                #"{"alg":"\#(issuer.algorithm.rawValue)","alg":"none"}"#, #"{"alg":"none","alg":"\#(issuer.algorithm.rawValue)"}"#,
                #"{"alg":"\#(issuer.algorithm.rawValue)","\u0061lg":"none"}"#,
            ].map { Forgery(name: "header \($0)", token: issuer.token(header: $0, payload: claims())) }
    }

    /// An HMAC whose secret is what everybody knows: the public key in each of its forms.
    private func confusion(_ issuer: TestIssuer, _ kid: String) -> [Forgery] {
        let pem = issuer.pem
        let secrets: [[UInt8]] = [
            pem, pem.dropLast(), issuer.der, Array(issuer.jwk(kid: kid).utf8), Array(Base64.encode(issuer.der, .standard).utf8), [],
            [UInt8](repeating: 0, count: 64),
        ]
        return secrets.enumerated().flatMap { i, secret in
            [TokenAlgorithm.hs256, .hs512].flatMap { algorithm in
                [kid, "hs", nil].map { name in
                    Forgery(
                        name: "\(algorithm.rawValue) under public form \(i) of \(kid)",
                        token: TestIssuer.secret(secret, algorithm).token(kid: name, claims()))
                }
            }
        }
    }

    /// A key, or the way to one, that the token brings along.
    private func embedded(_ issuer: TestIssuer, _ kid: String) -> [Forgery] {
        let own = Self.stranger
        let alg = #""alg":"RS256""#
        return [
            #"{\#(alg),"jwk":\#(own.jwk())}"#, #"{\#(alg),"jwk":\#(own.jwk()),"kid":"\#(kid)"}"#,
            #"{\#(alg),"jku":"https://evil.example/keys"}"#, #"{\#(alg),"jku":"file:///etc/passwd","kid":"\#(kid)"}"#,
            #"{\#(alg),"x5u":"https://evil.example/chain","kid":"\#(kid)"}"#, #"{\#(alg),"x5c":["AAAA"],"kid":"\#(kid)"}"#,
            #"{\#(alg),"crit":["exp"],"kid":"\#(kid)"}"#, #"{\#(alg),"crit":[],"kid":"\#(kid)"}"#,
            #"{\#(alg),"b64":false,"kid":"\#(kid)"}"#,
            #"{\#(alg),"zip":"DEF","kid":"\#(kid)"}"#,
        ].map { Forgery(name: "own key \($0.prefix(40))", token: own.token(header: $0, payload: claims())) }
            + [
                #","crit":["exp"],"exp":1"#, #","crit":["b64"],"b64":false"#, #","jwk":{}"#, #","jku":"""#, #","x5u":1"#,
                #","b64":true"#,
            ].map {
                // Rightly signed, but its header asks for what is not done.
                Forgery(
                    name: "header with \($0)",
                    token: issuer.token(
                        header: #"{"alg":"\#(issuer.algorithm.rawValue)","kid":"\#(kid)"\#($0)}"#, payload: claims()))
            }
    }

    /// `kid` is compared and nothing else.
    private func names(_ issuer: TestIssuer) -> [Forgery] {
        [
            "../../dev/null", "/dev/null", "' UNION SELECT 'secret' --", "rsa\\u0000", "RSA", " rsa", "rsa ", "|/usr/bin/id",
            "http://evil.example/k",
            "${jndi:ldap://evil.example}", "", String(repeating: "a", count: 300),
        ].flatMap { (kid: String) -> [Forgery] in
            [
                Forgery(name: "kid \(kid)", token: TestIssuer.secret([], .hs256).token(kid: kid, claims())),
                Forgery(name: "kid \(kid)", token: Self.stranger.token(kid: kid, claims())),
            ]
        }
            + ["1", "null", "[\"rsa\"]", "{\"$ne\":\"\"}", "true"].map {
                Forgery(
                    name: "kid \($0)",
                    token: issuer.token(header: #"{"alg":"\#(issuer.algorithm.rawValue)","kid":\#($0)}"#, payload: claims()))
            }
    }

    /// Not three parts, or not the ones that were signed.
    private func shapes(_ issuer: TestIssuer, _ kid: String) -> [Forgery] {
        let good = issuer.token(kid: kid, claims())
        let parts = good.split(separator: ".").map(String.init)
        let admin = TestIssuer.encoded(claims(#""admin":true"#))
        return [
            "", ".", "..", "...", parts[0], parts[0] + ".", parts[0] + "." + parts[1], parts[0] + "." + parts[1] + ".",
            "." + parts[1] + "." + parts[2],
            parts[0] + ".." + parts[2], good + ".", "." + good, good + "." + parts[2], good + "=", good + "==", good + " ",
            " " + good, good + "\n",
            "Bearer " + good, parts[0] + "." + admin + "." + parts[2], parts[1] + "." + parts[0] + "." + parts[2],
            parts[0] + "." + parts[1] + "." + String(parts[2].reversed()), parts[0] + "." + parts[1] + "." + parts[2] + parts[2],
            parts[0] + "." + parts[1] + "." + String(parts[2].dropLast(4)),
            parts[0] + "." + parts[1] + "." + String(repeating: "A", count: parts[2].count),
            parts[0] + "." + parts[1] + "." + String(repeating: "A", count: 86),
            good.replacing("-", with: "+").replacing("_", with: "/") + "=",
            good + String(repeating: "A", count: 10_000), String(repeating: "A.", count: 5_000), "%" + good, good.uppercased(),
            parts[0] + "." + parts[1] + "." + TestIssuer.encoded("") + "A",
        ].enumerated().map { Forgery(name: "shape \($0.offset) of \(kid)", token: $0.element) }
    }

    /// Rightly signed by the issuer, but not for us, or readable in two ways.
    private func payloads(_ issuer: TestIssuer, _ kid: String) -> [Forgery] {
        [
            #"{"iss":"https://evil.example","iss":"https://issuer.example","aud":"orders","exp":\#(now + 300)}"#,
            #"{"iss":"https://issuer.example","aud":"other","aud":"orders","exp":\#(now + 300)}"#,
            #"{"iss":"https://issuer.example","aud":"orders","exp":\#(now + 300),"sub":"ann","sub":"admin"}"#,
            #"{"iss":"https://issuer.example","aud":"other","exp":\#(now + 300)}"#,
            #"{"iss":"https://issuer.example","aud":"orders"}"#,
            #"{"aud":"orders","exp":\#(now + 300)}"#, "[]", "\"\(claims())\"",
        ].map { Forgery(name: "payload \($0)", token: issuer.token(kid: kid, $0)) }
    }

    private func times() -> [Forgery] {
        [
            "\(now - 30)", "\(now - 31)", "0", "1e300", "-1", "\"\(now + 300)\"", "null", "true", "[\(now + 300)]",
            "99999999999999999999", "1e10",
            "\(now + 300)000000000000",
        ].map { Forgery(name: "exp \($0)", token: Self.rsa.token(kid: "rsa", claims(exp: $0))) }
            + [
                "\"nbf\":\(now + 31)", "\"iat\":\(now + 31)", "\"nbf\":\"\(now)\"", "\"iat\":1e300", "\"nbf\":-1",
                "\"exp\":\(now + 600)",
            ].map {
                Forgery(name: $0, token: Self.rsa.token(kid: "rsa", claims($0)))
            }
    }
}
