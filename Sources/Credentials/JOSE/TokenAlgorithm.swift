// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// How a token may be signed (RFC 7518 §3.1, RFC 8037). `none` is not among them, in any spelling.
package enum TokenAlgorithm: String, CaseIterable, Hashable, Sendable {
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"
    case edDSA = "EdDSA"
    case hs256 = "HS256"
    case hs384 = "HS384"
    case hs512 = "HS512"

    package enum Family: Sendable { case rsa, rsaPSS, ecdsa, edDSA, hmac }

    package var family: Family {
        switch self {
        case .rs256, .rs384, .rs512: .rsa
        case .ps256, .ps384, .ps512: .rsaPSS
        case .es256, .es384, .es512: .ecdsa
        case .edDSA: .edDSA
        case .hs256, .hs384, .hs512: .hmac
        }
    }

    /// Whether who can check a token can also make one.
    package var isSymmetric: Bool { family == .hmac }

    /// Bytes of the digest; EdDSA hashes by itself.
    var digestBytes: Int {
        switch self {
        case .rs256, .ps256, .es256, .hs256: 32
        case .rs384, .ps384, .es384, .hs384: 48
        case .rs512, .ps512, .es512, .hs512: 64
        case .edDSA: 0
        }
    }

    /// Names have case (RFC 7515 §4.1.1): `none`, `NONE` and `hs256` are all unknown.
    static func recognise(_ name: [UInt8]) -> TokenAlgorithm? { TokenAlgorithm(rawValue: String(decoding: name, as: UTF8.self)) }
}

/// The curves for ECDSA, each with its one algorithm (RFC 7518 §3.4).
enum EllipticCurve: String, CaseIterable, Sendable {
    case p256 = "P-256"
    case p384 = "P-384"
    case p521 = "P-521"

    var algorithm: TokenAlgorithm {
        switch self {
        case .p256: .es256
        case .p384: .es384
        case .p521: .es512
        }
    }

    /// Bytes of a coordinate, and of each half of a signature.
    var coordinateBytes: Int {
        switch self {
        case .p256: 32
        case .p384: 48
        case .p521: 66
        }
    }
}
