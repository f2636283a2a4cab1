// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// A client's own conditions, answered from a stored answer (RFC 9111 §4.3.2, RFC 9110 §13).
enum Conditions {
    /// Whether the client has what is stored, so that 304 says all.
    static func isNotModified(_ request: RequestTerms, _ head: borrowing FieldSection, _ stored: StoredAnswer) -> Bool {
        if !request.ifNoneMatch.isEmpty {
            for i in request.ifNoneMatch where head.withValue(i, { matches($0, stored) }) { return true }
            return false
        }
        guard let i = request.ifModifiedSince,
            let since = head.withValue(i, { HTTPDate.parse($0, now: stored.date) })
        else { return false }
        // Without a Last-Modified it cannot have changed after its own Date (§4.3.2).
        return (stored.lastModified ?? stored.date) <= since
    }

    /// If-None-Match: weak comparison (RFC 9110 §13.1.2).
    private static func matches(_ field: Span<UInt8>, _ stored: StoredAnswer) -> Bool {
        var position = 0
        while let range = field.nextElement(&position) {
            let member = field.extracting(range)
            if member.equals("*") { return true }
            let isSame = stored.withETag { tag in
                guard let tag else { return false }
                return opaque(tag).equals(opaque(member))
            }
            if isSame { return true }
        }
        return false
    }

    /// Without the mark of a weak one.
    @_lifetime(copy tag)
    private static func opaque(_ tag: Span<UInt8>) -> Span<UInt8> {
        tag.count >= 2 && tag[0] == 87 && tag[1] == 47 ? tag.extracting(2..<tag.count) : tag
    }

    /// Whether a Range applies: If-Range names what is stored, compared strongly (RFC 9110 §13.1.5).
    static func allowsRange(_ request: RequestTerms, _ head: borrowing FieldSection, _ stored: StoredAnswer) -> Bool {
        guard let i = request.ifRange else { return true }
        return head.withValue(i) { value in
            if value.count > 0, value[0] == 34 {
                return stored.withETag { tag in
                    guard let tag else { return false }
                    return tag.equals(value)
                }
            }
            // A date is strong only where the answer is some seconds younger than the change (RFC 9110 §8.8.2.2).
            guard let date = HTTPDate.parse(value, now: stored.date), let modified = stored.lastModified else { return false }
            return date == modified && stored.date > sum(modified, 1)
        }
    }
}
