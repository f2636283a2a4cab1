// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The API keys that are known, by their hash: each belongs to a consumer, who may have several, so that one can be replaced while
/// the other still works.
///
/// A plain SHA-256 suffices because a key is drawn at random with at least 128 bits: there is nothing to guess (`holdfast hash key`
/// makes such keys and hashes none that is shorter). A look-up is one hash of what came and one of a table; the digests are compared
/// without a branch, and what a client can steer is the key, not its digest.
package struct APIKeys: Sendable {
    package struct Key: Equatable, Sendable {
        package var consumer: String
        /// Which of the consumer's keys, for logs; nil if the file does not say.
        package var label: String?
        package var hash: Digest256
        /// Unix seconds from which on it no longer counts.
        package var expires: Int64?

        package init(consumer: String, label: String? = nil, hash: Digest256, expires: Int64? = nil) {
            self.consumer = consumer
            self.label = label
            self.hash = hash
            self.expires = expires
        }
    }

    package enum Verdict: Equatable, Sendable {
        case known(Key)
        case expired(Key)
        case unknown
    }

    /// Shortest key that is looked at; a random one of 128 bits has 22 characters in base64.
    package static let shortest = 16
    package static let longest = 512

    private let keys: [Digest256: Key]

    /// A hash that stands twice belongs to the first; the file's reader has complained by then.
    package init(_ keys: [Key]) {
        self.keys = Dictionary(keys.map { ($0.hash, $0) }, uniquingKeysWith: { first, _ in first })
    }

    package var count: Int { keys.count }

    package func find(_ presented: Span<UInt8>, unixSeconds: Int64) -> Verdict {
        guard (APIKeys.shortest...APIKeys.longest).contains(presented.count) else { return .unknown }
        guard let key = keys[Digest256.sha256([], presented)] else { return .unknown }
        if let expires = key.expires, unixSeconds >= expires { return .expired(key) }
        return .known(key)
    }
}
