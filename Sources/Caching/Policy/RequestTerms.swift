// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import HTTP

/// What of a request matters to a cache, read once.
package struct RequestTerms: Sendable {
    package var method: Method
    package var directives = RequestDirectives()
    /// `Authorization`, or a filter before this one knows who asks: §3.5 then decides what may be stored.
    package var isAuthenticated = false
    package var hasCookie = false
    package var hasBody: Bool
    /// If-Match or If-Unmodified-Since: the origin's to judge (RFC 9110 §13.1.1, §13.1.4).
    package var hasPrecondition = false
    /// A field by which some servers take the request for another one than its method and target say: the answer is then no answer to the key.
    package var isOverridden = false
    /// Where the client's own validators stand in the head; they can be read there even after they were taken out of it.
    package var ifNoneMatch: [Int] = []
    package var ifModifiedSince: Int?
    package var range: Int?
    package var ifRange: Int?

    /// - Parameter heedsDirectives: whether Cache-Control and Pragma of the request count.
    package init(_ head: RequestHead, isAuthenticated: Bool, heedsDirectives: Bool = true) {
        method = head.method
        hasBody = head.framing != .none
        self.isAuthenticated = isAuthenticated
        var pragmaNoCache = false
        for i in head.fields.entries.indices where !head.fields.entries[i].isRemoved {
            let entry = head.fields.entries[i]
            switch entry.known {
            case .authorization: self.isAuthenticated = true
            case .cookie: hasCookie = true
            case .cacheControl where heedsDirectives: head.fields.withValue(i) { directives.read($0) }
            case .other: head.fields.withBytes(entry.name) { note($0, i) }
            default: break
            }
            if entry.known == .other, heedsDirectives, head.fields.withBytes(entry.name, { $0.equals("pragma") }) {
                head.fields.withValue(i) { pragmaNoCache = pragmaNoCache || $0.equalsIgnoringCase("no-cache") }
            }
        }
        // §5.4: deprecated, and what old clients say instead of Cache-Control.
        if pragmaNoCache && directives.isEmpty { directives.noCache = true }
    }

    private mutating func note(_ name: Span<UInt8>, _ i: Int) {
        if name.isEmpty { return }
        switch name[0] {
        case UInt8(ascii: "i"):
            if name.equals("if-none-match") { ifNoneMatch.append(i) }
            if name.equals("if-modified-since") { ifModifiedSince = i }
            if name.equals("if-range") { ifRange = i }
            if name.equals("if-match") || name.equals("if-unmodified-since") { hasPrecondition = true }
        case UInt8(ascii: "r"):
            if name.equals("range") { range = i }
        case UInt8(ascii: "x"):
            for text in RequestTerms.overriding where name.equals(text) { isOverridden = true }
        default: break
        }
    }

    /// Fields by which frameworks and load balancers change method, host or path; no key has them (J. Kettle, "Practical Web Cache Poisoning",
    /// 2018). X-Forwarded-Host and -Proto are not among them: the gateway writes those, and `CacheVisit` puts what they say beside the key.
    static var overriding: [StaticString] {
        [
            "x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url", "x-original-host",
            "x-host", "x-host-override", "x-http-host-override", "x-forwarded-path", "x-forwarded-prefix", "x-forwarded-server",
            "x-forwarded-scheme", "x-forwarded-port", "x-forwarded-ssl",
        ]
    }

    package var isConditional: Bool { !ifNoneMatch.isEmpty || ifModifiedSince != nil }
    package var isRange: Bool { range != nil }
}
