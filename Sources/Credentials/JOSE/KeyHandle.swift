// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// Why key material was refused; no part of it is in the words.
struct KeyProblem: Error, Equatable, Sendable {
    var words: String
    init(_ words: String) { self.words = words }
}

/// Owns one `EVP_PKEY` with a public key and checks signatures with it. Sendable: it is not changed once made, OpenSSL counts
/// references atomically, and each check has a context of its own.
@safe final class KeyHandle: @unchecked Sendable {
    private let raw: OpaquePointer
    /// The kind of key and, of RSA, its size in bits.
    let kind: Kind

    enum Kind: Equatable, Sendable {
        case rsa(bits: Int)
        case elliptic(EllipticCurve)
        case ed25519
    }

    private init(owning raw: OpaquePointer, _ kind: Kind) {
        unsafe self.raw = raw
        self.kind = kind
    }

    deinit { unsafe EVP_PKEY_free(raw) }

    /// Below: broken within reach. Above: one check costs milliseconds, which whoever writes the key set could ask of us.
    static let rsaBits = 2_048...8_192

    // MARK: Making

    /// Of modulus and exponent, big-endian.
    static func rsa(modulus: [UInt8], exponent: [UInt8]) throws(KeyProblem) -> KeyHandle {
        let n = Array(modulus.drop { $0 == 0 })
        let e = Array(exponent.drop { $0 == 0 })
        let bits = n.count * 8 - (n.first?.leadingZeroBitCount ?? 0)
        guard rsaBits.contains(bits) else {
            throw KeyProblem("an RSA key of \(bits) bits, where \(rsaBits.lowerBound) to \(rsaBits.upperBound) are accepted")
        }
        guard let lowest = e.last, lowest & 1 == 1, e.count <= 4, e != [1], n.last.map({ $0 & 1 == 1 }) == true else {
            throw KeyProblem("an RSA key whose exponent or modulus cannot be one")
        }
        ErrorState.clear()
        defer { ErrorState.clear() }
        // Both arrays are lent for the call, which copies them.
        let made = unsafe n.withUnsafeBufferPointer { n in
            unsafe e.withUnsafeBufferPointer { e in
                unsafe holdfast_rsa_public_key(n.baseAddress, n.count, e.baseAddress, e.count)
            }
        }
        guard let made = unsafe made else { throw KeyProblem("an RSA key that OpenSSL refuses") }
        return unsafe KeyHandle(owning: made, .rsa(bits: bits))
    }

    /// Of a point's coordinates, each in full length (RFC 7518 §6.2.1.2).
    static func elliptic(_ curve: EllipticCurve, x: [UInt8], y: [UInt8]) throws(KeyProblem) -> KeyHandle {
        guard x.count == curve.coordinateBytes, y.count == curve.coordinateBytes else {
            throw KeyProblem("a \(curve.rawValue) key whose coordinates do not have \(curve.coordinateBytes) bytes")
        }
        ErrorState.clear()
        defer { ErrorState.clear() }
        let point = [4] + x + y
        // The point is lent for the call, which copies it and refuses one that is not on the curve.
        let made = unsafe point.withUnsafeBufferPointer { bytes in
            unsafe holdfast_ec_public_key(curve.rawValue, bytes.baseAddress, bytes.count)
        }
        guard let made = unsafe made else { throw KeyProblem("a \(curve.rawValue) key whose point is not on the curve") }
        return unsafe KeyHandle(owning: made, .elliptic(curve))
    }

    static func ed25519(_ bytes: [UInt8]) throws(KeyProblem) -> KeyHandle {
        guard bytes.count == 32 else { throw KeyProblem("an Ed25519 key that does not have 32 bytes") }
        ErrorState.clear()
        defer { ErrorState.clear() }
        let made = unsafe bytes.withUnsafeBufferPointer {
            unsafe EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, $0.baseAddress, $0.count)
        }
        guard let made = unsafe made else { throw KeyProblem("an Ed25519 key that OpenSSL refuses") }
        return unsafe KeyHandle(owning: made, .ed25519)
    }

    /// Of `PUBLIC KEY` in PEM (RFC 7468 §13).
    static func pem(_ text: [UInt8]) throws(KeyProblem) -> KeyHandle {
        ErrorState.clear()
        defer { ErrorState.clear() }
        let read = unsafe text.withUnsafeBufferPointer { unsafe holdfast_pem_public_key($0.baseAddress, Int32(clamping: $0.count)) }
        guard let raw = unsafe read else { throw KeyProblem("no public key in PEM form (BEGIN PUBLIC KEY)") }
        var owned = true
        defer { if owned { unsafe EVP_PKEY_free(raw) } }
        let kind: Kind
        switch unsafe EVP_PKEY_get_base_id(raw) {
        case EVP_PKEY_RSA:
            let bits = Int(unsafe EVP_PKEY_get_bits(raw))
            guard rsaBits.contains(bits) else {
                throw KeyProblem("an RSA key of \(bits) bits, where \(rsaBits.lowerBound) to \(rsaBits.upperBound) are accepted")
            }
            kind = .rsa(bits: bits)
        case EVP_PKEY_EC:
            let curves: [Int32: EllipticCurve] = [NID_X9_62_prime256v1: .p256, NID_secp384r1: .p384, NID_secp521r1: .p521]
            guard let curve = curves[unsafe holdfast_ec_group_nid(raw)] else {
                throw KeyProblem("an EC key on a curve other than P-256, P-384 and P-521")
            }
            kind = .elliptic(curve)
        case EVP_PKEY_ED25519: kind = .ed25519
        default: throw KeyProblem("a key that is neither RSA, EC nor Ed25519")
        }
        owned = false
        return unsafe KeyHandle(owning: raw, kind)
    }

    // MARK: Checking

    /// Whether `signature` is this key's under `message`. An algorithm of another kind of key is false, not a try.
    func verifies(_ signature: [UInt8], of message: Span<UInt8>, _ algorithm: TokenAlgorithm) -> Bool {
        var signature = signature
        switch (kind, algorithm.family) {
        case (.rsa(let bits), .rsa), (.rsa(let bits), .rsaPSS):
            // As long as the modulus (RFC 8017 §8.1.2, §8.2.2).
            if signature.count != (bits + 7) / 8 { return false }
        case (.elliptic(let curve), .ecdsa):
            if curve.algorithm != algorithm || signature.count != 2 * curve.coordinateBytes { return false }
            signature = KeyHandle.der(signature)
        case (.ed25519, .edDSA):
            if signature.count != 64 { return false }
        default: return false
        }
        ErrorState.clear()
        defer { ErrorState.clear() }
        let digest = Int32(algorithm.digestBytes * 8)
        // Signature and message are lent for the call.
        return unsafe signature.withUnsafeBufferPointer { signature in
            unsafe message.withUnsafeBufferPointer { message in
                unsafe holdfast_verify(
                    raw, digest, algorithm.family == .rsaPSS ? 1 : 0, signature.baseAddress, signature.count, message.baseAddress,
                    message.count) == 1
            }
        }
    }

    /// `r ‖ s` of RFC 7518 §3.4 as the SEQUENCE of two INTEGERs that OpenSSL takes (X.690 §8.3).
    static func der(_ pair: [UInt8]) -> [UInt8] {
        func integer(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
            var value = Array(bytes.drop { $0 == 0 })
            if value.isEmpty || value[0] & 0x80 != 0 { value.insert(0, at: 0) }
            return [2, UInt8(value.count)] + value  // at most 67 bytes
        }
        let body = integer(pair[..<(pair.count / 2)]) + integer(pair[(pair.count / 2)...])
        return (body.count < 128 ? [0x30, UInt8(body.count)] : [0x30, 0x81, UInt8(body.count)]) + body  // at most 138
    }
}

/// HMAC of a message under a shared secret (RFC 2104), compared in constant time.
enum SharedSecret {
    static func verifies(_ signature: [UInt8], of message: Span<UInt8>, key: [UInt8], _ algorithm: TokenAlgorithm) -> Bool {
        guard algorithm.isSymmetric, signature.count == algorithm.digestBytes else { return false }
        var mac = [UInt8](repeating: 0, count: 64)
        ErrorState.clear()
        defer { ErrorState.clear() }
        // All four are lent for the call; the longest MAC has 64 bytes.
        let length = unsafe mac.withUnsafeMutableBufferPointer { mac in
            unsafe key.withUnsafeBufferPointer { key in
                unsafe message.withUnsafeBufferPointer { message in
                    unsafe holdfast_hmac(
                        Int32(algorithm.digestBytes * 8), key.baseAddress, key.count, message.baseAddress, message.count,
                        mac.baseAddress)
                }
            }
        }
        guard Int(length) == signature.count else { return false }
        return unsafe signature.withUnsafeBytes { left in
            unsafe mac.withUnsafeBytes { right in unsafe CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0 }
        }
    }
}

/// OpenSSL's error queue of this thread: left empty, so that no connection reads our failures as its own (D01).
enum ErrorState {
    static func clear() { ERR_clear_error() }
}
