// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import HTTP

/// What of an answer matters to a cache, read once.
package struct AnswerTerms: Sendable {
    package var status: Int
    package var directives = ResponseDirectives()
    /// `CDN-Cache-Control` is there and well-formed: it replaced Cache-Control and Expires (RFC 9213 §2.1).
    package var isTargeted = false
    /// Seconds since 1970; nil without a valid Date.
    package var date: Int64?
    package var lastModified: Int64?
    package var age: Int64 = 0
    package var expires = Expiry.absent
    package var hasSetCookie = false
    package var hasContentRange = false
    /// `Vary: *`, or a Vary that cannot be read.
    package var variesOnAnything = false
    /// Names in Vary, in lower case, each once, in order.
    package var vary: [[UInt8]] = []
    /// Where the ETag stands in the head.
    package var etag: Int?
    package var lastModifiedAt: Int?
    package var tags: [UInt64] = []
    package var contentLength: UInt64?
    package var isCloseDelimited: Bool

    /// What Expires says (§5.3).
    package enum Expiry: Equatable, Sendable {
        case absent
        /// Not a date, or two different ones: expired already.
        case invalid
        case at(Int64)
    }

    /// More tags than any real answer has.
    package static let tagLimit = 64

    /// - Parameter unix: seconds since 1970, to read years of two digits.
    package init(_ head: ResponseHead, unix: Int64) {
        status = head.status
        isCloseDelimited = head.framing == .untilClose
        if case .length(let n) = head.framing { contentLength = n }
        var targeted = ResponseDirectives()
        var hasAge = false
        for i in head.fields.entries.indices where !head.fields.entries[i].isRemoved {
            let entry = head.fields.entries[i]
            switch entry.known {
            case .cacheControl: head.fields.withValue(i) { directives.read($0) }
            case .date: date = head.fields.withValue(i) { HTTPDate.parse($0, now: unix) }
            case .setCookie: hasSetCookie = true
            case .etag:
                // Two of them are none: which one is it?
                if etag == nil, head.fields.withValue(i, { AnswerTerms.isETag($0) }) { etag = i } else { etag = nil }
            case .age:
                // The first member of a list counts; an invalid one is ignored (§5.1).
                if !hasAge { age = head.fields.withValue(i) { AnswerTerms.firstAge($0) } }
                hasAge = true
            case .other:
                head.fields.withBytes(entry.name) { name in head.fields.withValue(i) { note(name, $0, i, unix, &targeted) } }
            default: break
            }
        }
        if targeted.isUsableAsTargeted {
            isTargeted = true
            directives = targeted
            expires = .absent
        }
    }

    private mutating func note(
        _ name: Span<UInt8>, _ value: Span<UInt8>, _ i: Int, _ unix: Int64, _ targeted: inout ResponseDirectives
    ) {
        switch name.count {
        case 4: if name.equals("vary") { readVary(value) }
        case 7:
            if name.equals("expires") {
                let next = HTTPDate.parse(value, now: unix).map { Expiry.at($0) } ?? .invalid
                expires = expires == .absent || expires == next ? next : .invalid
            }
        case 9: if name.equals("cache-tag") { readTags(value) }
        case 13:
            if name.equals("last-modified") {
                lastModified = HTTPDate.parse(value, now: unix)
                lastModifiedAt = lastModified == nil ? nil : i
            }
            if name.equals("content-range") { hasContentRange = true }
            if name.equals("surrogate-key") { readTags(value) }
        case 17: if name.equals("cdn-cache-control") { targeted.read(value) }
        default: break
        }
    }

    private mutating func readVary(_ value: Span<UInt8>) {
        var position = 0
        while let range = value.nextElement(&position) {
            let name = value.extracting(range)
            if name.equals("*") {
                variesOnAnything = true
                continue
            }
            var lower: [UInt8] = []
            for i in 0..<name.count {
                // What is no name cannot be compared.
                if !name[i].isToken { variesOnAnything = true }
                lower.append(name[i].asciiLowercased)
            }
            if AnswerTerms.isPerClient(lower.span) { variesOnAnything = true }
            if !vary.contains(lower) { vary.append(lower) }
        }
        if vary.count > Variant.fieldLimit { variesOnAnything = true }
    }

    /// Fields that the gateway itself writes for each client or request, after the cache has looked, or drops unless the client is trusted:
    /// what the next client says in them is not what the upstream would see.
    private static func isPerClient(_ name: Span<UInt8>) -> Bool {
        for text in perClient where name.equals(text) { return true }
        return name.count > 12 && name.extracting(0..<12).equals("x-forwarded-") && !name.equals("x-forwarded-host")
            && !name.equals("x-forwarded-proto")
    }

    private static var perClient: [StaticString] {
        [
            "x-forwarded", "forwarded", "x-real-ip", "via", "x-request-id", "traceparent", "x-client-ip", "x-cluster-client-ip",
            "true-client-ip", "front-end-https", "x-request-timeout-ms", "x-holdfast-attempt", "x-holdfast-priority",
        ]
    }

    /// Words separated by spaces (Surrogate-Key) or commas (Cache-Tag).
    private mutating func readTags(_ value: Span<UInt8>) {
        var start = 0
        for end in 0...value.count where end == value.count || value[end].isBlank || value[end] == 44 {
            if end > start, tags.count < AnswerTerms.tagLimit {
                let tag = AnswerTerms.tag(value.extracting(start..<end))
                if !tags.contains(tag) { tags.append(tag) }
            }
            start = end + 1
        }
    }

    /// A tag is kept as a hash: two that collide are purged together, which costs two fetches and no more.
    package static func tag(_ text: Span<UInt8>) -> UInt64 { CacheKey(bytes: [UInt8](copying: text)).stableHash }

    static func firstAge(_ value: Span<UInt8>) -> Int64 {
        var position = 0
        guard let range = value.nextElement(&position) else { return 0 }
        return DeltaSeconds.read(value.extracting(range)).permitted ?? 0
    }

    /// `"…"` or `W/"…"` (RFC 9110 §8.8.3).
    static func isETag(_ value: Span<UInt8>) -> Bool {
        let start = value.count >= 2 && value[0] == 87 && value[1] == 47 ? 2 : 0
        guard value.count >= start + 2, value[start] == 34, value[value.count - 1] == 34 else { return false }
        for i in (start + 1)..<(value.count - 1) where value[i] == 34 || value[i] <= 32 || value[i] == 127 { return false }
        return true
    }
}
