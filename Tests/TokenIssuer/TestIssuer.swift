// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
package import Credentials

/// Signs tokens, right ones and wrong ones: what an issuer, or somebody who would like to be one, does.
@safe package final class TestIssuer: @unchecked Sendable {
    private let key: OpaquePointer?
    private let secret: [UInt8]
    package let algorithm: TokenAlgorithm

    /// Of the digest; 0 where the key's algorithm hashes by itself.
    private var bits: Int { algorithm == .edDSA ? 0 : Int(algorithm.rawValue.suffix(3)) ?? 0 }

    private init(_ key: OpaquePointer?, secret: [UInt8] = [], _ algorithm: TokenAlgorithm) {
        unsafe self.key = key
        self.secret = secret
        self.algorithm = algorithm
    }

    deinit { unsafe EVP_PKEY_free(key) }

    package static func rsa(_ algorithm: TokenAlgorithm, bits: UInt32 = 2_048) -> TestIssuer {
        unsafe TestIssuer(holdfast_EVP_RSA_gen(bits), algorithm)
    }

    package static func elliptic(_ algorithm: TokenAlgorithm) -> TestIssuer {
        let curve = algorithm == .es256 ? "P-256" : algorithm == .es384 ? "P-384" : "P-521"
        return unsafe TestIssuer(holdfast_EVP_EC_gen(curve), algorithm)
    }

    package static func ed25519() -> TestIssuer {
        var key: OpaquePointer?
        let context = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nil)
        unsafe EVP_PKEY_keygen_init(context)
        unsafe EVP_PKEY_keygen(context, &key)
        unsafe EVP_PKEY_CTX_free(context)
        return unsafe TestIssuer(key, .edDSA)
    }

    package static func secret(_ secret: [UInt8], _ algorithm: TokenAlgorithm) -> TestIssuer {
        unsafe TestIssuer(nil, secret: secret, algorithm)
    }

    // MARK: Tokens

    /// A token of exactly these two texts.
    package func token(header: String, payload: String) -> String {
        let signed = TestIssuer.encoded(header) + "." + TestIssuer.encoded(payload)
        return signed + "." + Base64.encode(sign(Array(signed.utf8)), .url)
    }

    package func token(kid: String? = nil, _ payload: String) -> String {
        token(header: #"{"alg":"\#(algorithm.rawValue)""# + (kid.map { #","kid":"\#($0)""# } ?? "") + "}", payload: payload)
    }

    package static func encoded(_ text: String) -> String { Base64.encode(Array(text.utf8), .url) }

    package func sign(_ message: [UInt8]) -> [UInt8] {
        if algorithm.isSymmetric { return TestIssuer.mac(message, secret, bits: bits) }
        let context = unsafe EVP_MD_CTX_new()
        defer { unsafe EVP_MD_CTX_free(context) }
        var parameters: OpaquePointer?
        unsafe EVP_DigestSignInit(context, &parameters, holdfast_digest(Int32(bits)), nil, key)
        if algorithm.family == .rsaPSS {
            unsafe EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING)
            unsafe EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST)
        }
        var length = 0
        unsafe EVP_DigestSign(context, nil, &length, message, message.count)
        var signature = [UInt8](repeating: 0, count: length)
        unsafe EVP_DigestSign(context, &signature, &length, message, message.count)
        signature = Array(signature.prefix(length))
        return algorithm.family == .ecdsa ? raw(signature) : signature
    }

    package static func mac(_ message: [UInt8], _ secret: [UInt8], bits: Int) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: 64)
        let length = unsafe holdfast_hmac(Int32(bits), secret, secret.count, message, message.count, &out)
        return Array(out.prefix(Int(length)))
    }

    /// r ‖ s of OpenSSL's DER.
    private func raw(_ der: [UInt8]) -> [UInt8] {
        func integer(_ at: inout Int) -> [UInt8] {
            let length = Int(der[at + 1])
            defer { at += 2 + length }
            return Array(der[(at + 2)..<(at + 2 + length)].drop { $0 == 0 })
        }
        var at = der[1] & 0x80 == 0 ? 2 : 3
        let half = algorithm == .es256 ? 32 : algorithm == .es384 ? 48 : 66
        let (r, s) = (integer(&at), integer(&at))
        return [UInt8](repeating: 0, count: half - r.count) + r + [UInt8](repeating: 0, count: half - s.count) + s
    }

    // MARK: Keys

    /// The members of the key as a JWK, without braces.
    package func members(kid: String? = nil, declares: Bool = true) -> String {
        var text = ""
        func add(_ name: String, _ value: String) { text += (text.isEmpty ? "" : ",") + "\"\(name)\":\"\(value)\"" }
        if let kid { add("kid", kid) }
        if declares { add("alg", algorithm.rawValue) }
        switch algorithm.family {
        case .rsa, .rsaPSS:
            add("kty", "RSA")
            add("n", Base64.encode(number(OSSL_PKEY_PARAM_RSA_N), .url))
            add("e", Base64.encode(number(OSSL_PKEY_PARAM_RSA_E), .url))
        case .ecdsa:
            let point = octets(OSSL_PKEY_PARAM_PUB_KEY)
            let half = (point.count - 1) / 2
            add("kty", "EC")
            add("crv", half == 32 ? "P-256" : half == 48 ? "P-384" : "P-521")
            add("x", Base64.encode(Array(point[1...half]), .url))
            add("y", Base64.encode(Array(point[(half + 1)...]), .url))
        case .edDSA:
            add("kty", "OKP")
            add("crv", "Ed25519")
            add("x", Base64.encode(octets(OSSL_PKEY_PARAM_PUB_KEY), .url))
        case .hmac:
            add("kty", "oct")
            add("k", Base64.encode(secret, .url))
        }
        return text
    }

    package func jwk(kid: String? = nil, declares: Bool = true) -> String { "{" + members(kid: kid, declares: declares) + "}" }

    /// The public key in PEM, which confused verifiers take for a secret.
    package var pem: [UInt8] {
        let bio = unsafe BIO_new(BIO_s_mem())
        defer { unsafe BIO_free_all(bio) }
        unsafe PEM_write_bio_PUBKEY(bio, key)
        var data: UnsafeMutablePointer<CChar>?
        let length = unsafe holdfast_BIO_get_mem_data(bio, &data)
        return unsafe UnsafeRawBufferPointer(start: data, count: length).map { $0 }
    }

    /// The same in DER.
    package var der: [UInt8] {
        let length = unsafe i2d_PUBKEY(key, nil)
        var bytes = [UInt8](repeating: 0, count: Int(length))
        _ = unsafe bytes.withUnsafeMutableBufferPointer { out in
            var start = out.baseAddress
            return unsafe i2d_PUBKEY(key, &start)
        }
        return bytes
    }

    func number(_ name: String) -> [UInt8] {
        var value: OpaquePointer?
        unsafe EVP_PKEY_get_bn_param(key, name, &value)
        defer { unsafe BN_free(value) }
        var bytes = [UInt8](repeating: 0, count: (Int(unsafe BN_num_bits(value)) + 7) / 8)
        _ = unsafe BN_bn2bin(value, &bytes)
        return bytes
    }

    private func octets(_ name: String) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 256)
        var length = 0
        _ = unsafe EVP_PKEY_get_octet_string_param(key, name, &bytes, bytes.count, &length)
        return Array(bytes.prefix(length))
    }
}
