// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What an `Authorization` field holds (RFC 9110 §11.6.2): a scheme and the rest.
package enum AuthorizationField {
    /// The range of what follows `scheme` (lower case) and one or more spaces; nil if the field names another scheme or has nothing
    /// behind it. Schemes have no case (RFC 9110 §11.1).
    package static func credentials(of scheme: StaticString, in value: Span<UInt8>) -> Range<Int>? {
        let n = scheme.utf8CodeUnitCount
        guard value.count > n + 1 else { return nil }
        let matches = scheme.withUTF8Buffer { name in
            for i in 0..<n where unsafe value[i] | 0x20 != name[i] { return false }
            return true
        }
        guard matches, value[n] == UInt8(ascii: " ") else { return nil }
        var start = n
        while start < value.count && value[start] == UInt8(ascii: " ") { start += 1 }
        return start < value.count ? start..<value.count : nil
    }
}

/// A user and a password as a client sends them (RFC 7617): raw bytes, since whatever charset they are in is in the stored hash too.
package struct BasicCredential: Sendable {
    package var user: [UInt8]
    package var password: [UInt8]

    /// Longest pair in bytes.
    package static let limit = 1_024

    /// Reads what follows `Basic `; nil if it is no canonical base64, is too long, has no colon, no user, or a control character
    /// (RFC 7617 §2), which is also what would let a name reach into a log or a field.
    package init?(_ text: Span<UInt8>) {
        guard text.count <= BasicCredential.limit * 4 / 3 + 4, let bytes = Base64.decode(text, .standard),
            bytes.count <= BasicCredential.limit, let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon > 0,
            bytes.allSatisfy({ $0 >= 32 && $0 != 127 })
        else { return nil }
        user = Array(bytes[..<colon])
        password = Array(bytes[(colon + 1)...])
    }

    /// Under which a pair that was right is remembered; `pepper` is this process's own.
    package func fingerprint(_ pepper: [UInt8]) -> Digest256 {
        // A user has no colon, so that no two pairs run together.
        Digest256.sha256(pepper, (user + [UInt8(ascii: ":")] + password).span)
    }
}

/// Who may come in by password.
package struct PasswordFile: Sendable {
    private let users: [[UInt8]: PasswordHash]
    /// What an unknown user's password is held against, so that it takes as long as a known one's.
    private let decoy: PasswordHash

    package init(_ users: [(name: String, hash: PasswordHash)]) {
        self.users = Dictionary(users.map { (Array($0.name.utf8), $0.hash) }, uniquingKeysWith: { first, _ in first })
        decoy = PasswordHash(
            rounds: users.map(\.hash.rounds).max() ?? PasswordHash.usualRounds, salt: [UInt8](repeating: 0x5A, count: 16),
            hash: Digest256(words: (0, 0, 0, 0)))
    }

    package var count: Int { users.count }

    /// The hash to check against, and whether it is the user's own.
    package func hash(of user: [UInt8]) -> (hash: PasswordHash, isKnown: Bool) {
        users[user].map { ($0, true) } ?? (decoy, false)
    }
}
