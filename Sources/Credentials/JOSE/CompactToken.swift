// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A signed token in its compact form (RFC 7515 §3.1), taken apart and checked for form, but not yet for who signed it.
struct CompactToken: ~Copyable {
    let algorithm: TokenAlgorithm
    /// `kid`: only ever compared.
    let identifier: [UInt8]?
    /// `typ`, in lower case and without `application/` (RFC 7515 §4.1.9).
    let type: [UInt8]?
    /// Where what was signed ends in the token: header, point, payload.
    let signedCount: Int
    let payload: [UInt8]
    let signature: [UInt8]

    static let headerBytes = 2_048

    /// Members of a header that change what a signature means or bring a key along. None is followed, and a token that has one is
    /// somebody's try (RFC 7515 §4.1.11: what is critical and not understood must be refused; RFC 8725 §3.10: no fetch).
    private static let refusedMembers = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc", "epk"]

    init?(_ token: Span<UInt8>, limit: Int) {
        guard token.count <= limit else { return nil }
        var points: (Int, Int)?
        var first: Int?
        for i in token.indices where token[i] == UInt8(ascii: ".") {
            if points != nil { return nil }
            if let first { points = (first, i) } else { first = i }
        }
        guard let points, points.0 > 0, points.0 <= CompactToken.headerBytes, points.1 > points.0 + 1, points.1 < token.count - 1,
            let header = Base64.decode(token.extracting(0..<points.0), .url),
            let payload = Base64.decode(token.extracting((points.0 + 1)..<points.1), .url),
            let signature = Base64.decode(token.extracting((points.1 + 1)..<token.count), .url),
            let object = ClaimObject(header.span, depth: 4)
        else { return nil }
        guard case .string(let name)? = object["alg"], let algorithm = TokenAlgorithm.recognise(name) else { return nil }
        for member in CompactToken.refusedMembers where object[member] != nil { return nil }
        var identifier: [UInt8]?
        if let kid = object["kid"] {
            guard case .string(let bytes) = kid, bytes.count <= 256 else { return nil }
            identifier = bytes
        }
        var type: [UInt8]?
        if let typ = object["typ"] {
            guard case .string(let bytes) = typ, bytes.count <= 256 else { return nil }
            type = CompactToken.normalised(bytes)
        }
        self.algorithm = algorithm
        self.identifier = identifier
        self.type = type
        signedCount = points.1
        self.payload = payload
        self.signature = signature
    }

    static func normalised(_ type: [UInt8]) -> [UInt8] {
        let lower = type.map { (65...90).contains($0) ? $0 | 0x20 : $0 }
        let prefix = Array("application/".utf8)
        return lower.starts(with: prefix) ? Array(lower.dropFirst(prefix.count)) : lower
    }
}
