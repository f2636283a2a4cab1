// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP

/// One answer in the store: immutable, and shared by all that serve it.
///
/// What changes about a stored answer, its freshness after a validation, makes a new one that shares the body; who is serving the old one is
/// not disturbed, and no lock is held while it is sent.
package final class StoredAnswer: @unchecked Sendable {
    // Sendable: nothing of it changes after its initialiser; `fields`, whose memory is raw, is only read.

    package let key: CacheKey
    /// Whose answer it is, beside the key: route, upstream and what else the filter tells apart.
    package let partition: [UInt8]
    package let variant: Variant
    package let status: Int
    /// As the upstream sent them, without those that are not stored (RFC 9111 §3.1) and without Content-Length and Age.
    package let fields: FieldSection
    package let body: StoredBody
    package let freshness: Freshness
    /// Seconds since 1970: its Date, or when it came.
    package let date: Int64
    package let lastModified: Int64?
    package let tags: [UInt64]
    private let etag: Int?
    private let lastModifiedAt: Int?
    /// What it takes of the store's bytes.
    package let cost: Int

    /// Bookkeeping of one answer: the object, its place in the table and in the lists.
    static let overheadBytes = 512

    init(
        key: CacheKey, partition: [UInt8], variant: Variant, status: Int, fields: consuming FieldSection, body: StoredBody,
        freshness: Freshness, terms: AnswerTerms, unix: Int64
    ) {
        self.key = key
        self.partition = partition
        self.variant = variant
        self.status = status
        self.body = body
        self.freshness = freshness
        date = terms.date ?? unix
        lastModified = terms.lastModified
        tags = terms.tags
        var etag: Int?
        var modified: Int?
        fields.forEachLive { i in
            if fields.entries[i].known == .etag { etag = i }
            if fields.withBytes(fields.entries[i].name, { $0.equals("last-modified") }) { modified = i }
        }
        self.etag = terms.etag == nil ? nil : etag
        lastModifiedAt = terms.lastModifiedAt == nil ? nil : modified
        cost =
            StoredAnswer.overheadBytes + key.bytes.count + body.count + fields.arena.count + 24 * fields.count
            + variant.fields.reduce(0) { $0 + $1.name.count + ($1.value?.count ?? 0) + 48 }
        self.fields = fields
    }

    /// An origin can be asked whether it still holds.
    package var hasValidator: Bool { etag != nil || lastModifiedAt != nil }

    func withETag<Result>(_ body: (Span<UInt8>?) -> Result) -> Result {
        guard let etag else { return body(nil) }
        return fields.withValue(etag) { body($0) }
    }

    /// Makes a request ask whether this still holds (§4.3.1), in place of whatever the client asked.
    package func writeValidators(into head: RequestHead) {
        if let etag { fields.withValue(etag) { head.fields.append(name: StoredAnswer.ifNoneMatch.span, value: $0) } }
        if let lastModifiedAt {
            fields.withValue(lastModifiedAt) { head.fields.append(name: StoredAnswer.ifModifiedSince.span, value: $0) }
        }
    }

    private static let ifNoneMatch = Array("if-none-match".utf8)
    private static let ifModifiedSince = Array("if-modified-since".utf8)
}

/// The bytes of a stored body, shared by all answers that a validation made of the first.
package final class StoredBody: Sendable {
    package let bytes: [UInt8]
    package var count: Int { bytes.count }

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    package init(copying buffer: borrowing ByteBuffer) {
        bytes = buffer.withReadable { [UInt8](copying: $0) }
    }
}
