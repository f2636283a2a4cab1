// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// One key with the one algorithm that it is for (RFC 8725 §3.1): a token cannot choose how it is checked. An RSA key is never the
/// secret of an HMAC, whatever a token's header says.
package final class VerificationKey: Sendable {
    enum Material: Sendable {
        case asymmetric(KeyHandle)
        case secret([UInt8])
    }

    /// What tokens call it; nil if it has no name.
    package let identifier: [UInt8]?
    package let algorithm: TokenAlgorithm
    private let material: Material

    private init(_ identifier: [UInt8]?, _ algorithm: TokenAlgorithm, _ material: Material) {
        self.identifier = identifier
        self.algorithm = algorithm
        self.material = material
    }

    /// With the algorithm that `declared` names, else with the one that its kind has among `allowed`.
    convenience init(
        _ handle: KeyHandle, identifier: [UInt8]?, declared: TokenAlgorithm?, allowed: [TokenAlgorithm]
    ) throws(KeyProblem) {
        let possible: [TokenAlgorithm] =
            switch handle.kind {
            case .rsa: [.rs256, .rs384, .rs512, .ps256, .ps384, .ps512]
            case .elliptic(let curve): [curve.algorithm]
            case .ed25519: [.edDSA]
            }
        if let declared, !possible.contains(declared) { throw KeyProblem("a key that cannot be for \(declared.rawValue)") }
        let candidates = allowed.filter { possible.contains($0) && (declared == nil || declared == $0) }
        guard let first = candidates.first else { throw KeyProblem("a key for an algorithm that is not allowed") }
        // An RSA key that does not say is for RS256, by far the most common, or for the only one that is allowed.
        guard candidates.count == 1 || candidates.contains(.rs256) else {
            throw KeyProblem(
                "an RSA key that does not say which of \(candidates.map(\.rawValue).joined(separator: ", ")) it is for")
        }
        self.init(identifier, candidates.count == 1 ? first : .rs256, .asymmetric(handle))
    }

    /// For HMAC. At least as long as the digest (RFC 7518 §3.2).
    convenience init(
        secret: [UInt8], identifier: [UInt8]?, declared: TokenAlgorithm?, allowed: [TokenAlgorithm]
    ) throws(KeyProblem) {
        let candidates = allowed.filter { $0.isSymmetric && (declared == nil || declared == $0) }
        guard candidates.count == 1, let algorithm = candidates.first else {
            throw KeyProblem("a shared secret that does not say which allowed algorithm it is for")
        }
        guard secret.count >= algorithm.digestBytes, secret.count <= 4_096 else {
            throw KeyProblem(
                "a shared secret of \(secret.count) bytes, where \(algorithm.rawValue) needs \(algorithm.digestBytes) to 4096")
        }
        self.init(identifier, algorithm, .secret(secret))
    }

    func verifies(_ signature: [UInt8], of message: Span<UInt8>) -> Bool {
        switch material {
        case .asymmetric(let handle): handle.verifies(signature, of: message, algorithm)
        case .secret(let secret): SharedSecret.verifies(signature, of: message, key: secret, algorithm)
        }
    }
}

/// The keys of an issuer.
package struct KeySet: Sendable {
    package let keys: [VerificationKey]
    /// Why keys of the document are not among them; for the log. Names no key material.
    package let ignored: [String]

    /// Keys that a token without `kid` is held against at most: each costs a signature check that an attacker can ask for.
    static let anonymousTries = 4

    package init(_ keys: [VerificationKey], ignored: [String] = []) {
        self.keys = keys
        self.ignored = ignored
    }

    /// Keys that a token may be signed with. A `kid` is compared, never followed (case E11).
    func candidates(for algorithm: TokenAlgorithm, identifier: [UInt8]?) -> [VerificationKey] {
        guard let identifier else { return Array(keys.filter { $0.algorithm == algorithm }.prefix(KeySet.anonymousTries)) }
        return Array(keys.filter { $0.algorithm == algorithm && $0.identifier == identifier }.prefix(KeySet.anonymousTries))
    }

    /// Whether the set has a key of that name, for whatever algorithm.
    func has(_ identifier: [UInt8]) -> Bool { keys.contains { $0.identifier == identifier } }

    /// One public key of a file.
    package static func pem(_ text: [UInt8], allowed: [TokenAlgorithm]) throws(KeySetProblem) -> KeySet {
        do throws(KeyProblem) {
            return KeySet([try VerificationKey(try KeyHandle.pem(text), identifier: nil, declared: nil, allowed: allowed)])
        } catch { throw KeySetProblem(words: "it holds \(error.words)") }
    }

    /// One shared secret.
    package static func secret(_ bytes: [UInt8], allowed: [TokenAlgorithm]) throws(KeySetProblem) -> KeySet {
        do throws(KeyProblem) {
            return KeySet([try VerificationKey(secret: bytes, identifier: nil, declared: nil, allowed: allowed)])
        } catch { throw KeySetProblem(words: "it holds \(error.words)") }
    }
}

/// Why a document is no key set that can be used.
package struct KeySetProblem: Error, Equatable, Sendable {
    package var words: String

    package init(words: String) { self.words = words }
}
