// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Reads a JWK set (RFC 7517 §5). Keys that it cannot use are left out and said, as §5 asks, so that one new kind of key does not lock
/// everybody out; a document that is not a key set, or has no key at all for us, is refused as a whole and the last good one goes on.
package struct JSONWebKeySet {
    /// Longest document. Default 256 KiB.
    package static let documentBytes = 262_144
    /// Keys in a document.
    package static let keyCount = 100

    let allowed: [TokenAlgorithm]
    /// Whether shared secrets may be in it: in a file of our own, not in what a service hands out.
    let acceptsSecrets: Bool

    package init(allowed: [TokenAlgorithm], acceptsSecrets: Bool) {
        self.allowed = allowed
        self.acceptsSecrets = acceptsSecrets
    }

    package func read(_ bytes: Span<UInt8>) throws(KeySetProblem) -> KeySet {
        guard bytes.count <= JSONWebKeySet.documentBytes else {
            throw KeySetProblem(words: "it is longer than \(JSONWebKeySet.documentBytes) bytes")
        }
        guard let root = ClaimObject(bytes, depth: 16) else {
            throw KeySetProblem(words: "it is no JSON object, or has a member twice")
        }
        guard case .list(let entries)? = root["keys"] else { throw KeySetProblem(words: "it has no list of keys") }
        guard entries.count <= JSONWebKeySet.keyCount else {
            throw KeySetProblem(words: "it has more than \(JSONWebKeySet.keyCount) keys")
        }
        var keys: [VerificationKey] = []
        var ignored: [String] = []
        for (i, entry) in entries.enumerated() {
            guard case .object(let object) = entry else { throw KeySetProblem(words: "key \(i + 1) is no object") }
            do throws(KeyProblem) { keys.append(try key(object)) } catch { ignored.append("key \(i + 1): \(error.words)") }
        }
        guard !keys.isEmpty else {
            throw KeySetProblem(words: "it has no key that can be used" + (ignored.first.map { " (\($0))" } ?? ""))
        }
        return KeySet(keys, ignored: ignored)
    }

    private func key(_ object: ClaimObject) throws(KeyProblem) -> VerificationKey {
        let kind = try text(object, "kty")
        let identifier = try optionalBytes(object, "kid")
        if let identifier, identifier.count > 256 { throw KeyProblem("a key with a name of more than 256 bytes") }
        if let use = try optionalBytes(object, "use"), use != Array("sig".utf8) {
            throw KeyProblem("a key that is not for signatures")
        }
        if let operations = object["key_ops"] {
            guard case .list(let list) = operations, list.contains(where: { $0 == .string(Array("verify".utf8)) }) else {
                throw KeyProblem("a key that is not for checking signatures")
            }
        }
        var declared: TokenAlgorithm?
        if let name = try optionalBytes(object, "alg") {
            guard let algorithm = TokenAlgorithm.recognise(name) else {
                throw KeyProblem("a key for an algorithm that is not known")
            }
            declared = algorithm
        }
        // Who publishes the private part has no secret any more, and whoever read it can sign.
        if kind != "oct", object["d"] != nil { throw KeyProblem("a private key, which must not be here") }
        switch kind {
        case "RSA":
            let handle = try KeyHandle.rsa(modulus: try binary(object, "n"), exponent: try binary(object, "e"))
            return try VerificationKey(handle, identifier: identifier, declared: declared, allowed: allowed)
        case "EC":
            guard let curve = EllipticCurve(rawValue: try text(object, "crv")) else {
                throw KeyProblem("an EC key on an unknown curve")
            }
            let handle = try KeyHandle.elliptic(curve, x: try binary(object, "x"), y: try binary(object, "y"))
            return try VerificationKey(handle, identifier: identifier, declared: declared, allowed: allowed)
        case "OKP":
            guard try text(object, "crv") == "Ed25519" else { throw KeyProblem("an OKP key on another curve than Ed25519") }
            let handle = try KeyHandle.ed25519(try binary(object, "x"))
            return try VerificationKey(handle, identifier: identifier, declared: declared, allowed: allowed)
        case "oct":
            guard acceptsSecrets else { throw KeyProblem("a shared secret, which must not be handed out") }
            return try VerificationKey(
                secret: try binary(object, "k"), identifier: identifier, declared: declared, allowed: allowed)
        default: throw KeyProblem("a key of an unknown kind")
        }
    }

    private func optionalBytes(_ object: ClaimObject, _ name: String) throws(KeyProblem) -> [UInt8]? {
        switch object[name] {
        case nil: return nil
        case .string(let bytes)?: return bytes
        default: throw KeyProblem("a key whose \(name) is no text")
        }
    }

    private func text(_ object: ClaimObject, _ name: String) throws(KeyProblem) -> String {
        guard let bytes = try optionalBytes(object, name) else { throw KeyProblem("a key without \(name)") }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func binary(_ object: ClaimObject, _ name: String) throws(KeyProblem) -> [UInt8] {
        guard let text = try optionalBytes(object, name) else { throw KeyProblem("a key without \(name)") }
        guard text.count <= 4_096, let bytes = Base64.decode(text.span, .url), !bytes.isEmpty else {
            throw KeyProblem("a key whose \(name) is no base64url")
        }
        return bytes
    }
}
