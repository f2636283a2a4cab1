// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// What an answer's Cache-Control says (RFC 9111 §5.2.2, RFC 5861), or the targeted field that a cache at an edge goes by
/// instead (`CDN-Cache-Control`, RFC 9213).
///
/// A restriction counts however it is spelled; a permission only if it is spelled well. `private="…"` and `no-cache="…"` are taken for the
/// unqualified ones, as §5.2.2.4 and §5.2.2.7 allow: stricter, and what most caches do.
package struct ResponseDirectives: Equatable, Sendable {
    package var noStore = false
    package var noCache = false
    package var isPrivate = false
    package var isPublic = false
    package var mustRevalidate = false
    package var proxyRevalidate = false
    package var mustUnderstand = false
    package var maxAge = DeltaSeconds.absent
    package var sharedMaxAge = DeltaSeconds.absent
    package var staleWhileRevalidate = DeltaSeconds.absent
    package var staleIfError = DeltaSeconds.absent
    /// A quoted string does not end, so that a restriction may be hidden in it.
    package var isUnreadable = false
    /// Any directive was well-formed.
    private(set) var isEmpty = true
    /// Any was not: a targeted field is then not gone by (RFC 9213 §2.2).
    private(set) var hasMalformed = false

    package init() {}

    /// Takes one field line in.
    package mutating func read(_ field: Span<UInt8>) {
        var position = 0
        while let item = DirectiveList.next(field, &position) { take(item, field) }
    }

    private mutating func take(_ item: DirectiveList.Item, _ field: Span<UInt8>) {
        if item.isUnterminated { isUnreadable = true }
        if item.isMalformed || item.name.isEmpty { hasMalformed = true } else { isEmpty = false }
        let name = field.extracting(item.name)
        switch name.count {
        case 6:
            if name.equalsIgnoringCase("public"), !item.isMalformed, item.value == nil { isPublic = true }
        case 7:
            if name.equalsIgnoringCase("private") { isPrivate = true }
            if name.equalsIgnoringCase("max-age") { maxAge.merge(item, in: field) }
        case 8:
            if name.equalsIgnoringCase("no-store") { noStore = true }
            if name.equalsIgnoringCase("no-cache") { noCache = true }
            if name.equalsIgnoringCase("s-maxage") { sharedMaxAge.merge(item, in: field) }
        case 14: if name.equalsIgnoringCase("stale-if-error") { staleIfError.merge(item, in: field) }
        case 15:
            if name.equalsIgnoringCase("must-revalidate") { mustRevalidate = true }
            if name.equalsIgnoringCase("must-understand") { mustUnderstand = true }
        case 16: if name.equalsIgnoringCase("proxy-revalidate") { proxyRevalidate = true }
        case 22: if name.equalsIgnoringCase("stale-while-revalidate") { staleWhileRevalidate.merge(item, in: field) }
        default: break
        }
    }

    /// Whether a targeted field that reads like this replaces Cache-Control and Expires.
    var isUsableAsTargeted: Bool { !isEmpty && !hasMalformed }
}
