// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// Whether a shared cache may store an answer (RFC 9111 §3, §3.5), and whether that would be of use.
package enum Storability {
    /// Why an answer is not stored; the word is the `detail` of Cache-Status.
    package enum Refusal: String, Sendable {
        case method, status, authorization, freshness, vary, length
        case requestNoStore = "request-no-store"
        case noStore = "no-store"
        case isPrivate = "private"
        case setCookie = "set-cookie"
        case partial
        case conditional
        case unreadable
        case closeDelimited = "close-delimited"
    }

    /// Nil: store it.
    package static func refusal(_ request: RequestTerms, _ answer: AnswerTerms, _ policy: CachePolicy) -> Refusal? {
        guard request.method == .get, !request.hasBody, !request.isOverridden else { return .method }
        if request.directives.noStore { return .requestNoStore }
        if answer.status < 200 || answer.status > 599 { return .status }
        if answer.status == 206 || answer.hasContentRange { return .partial }
        if answer.status == 304 || answer.status == 412 || answer.status == 416 { return .conditional }
        // What a Range or a precondition made of the resource is no answer to those who ask without.
        if (request.isRange || request.hasPrecondition) && answer.status != 200 { return .conditional }
        let says = answer.directives
        if says.isUnreadable { return .unreadable }
        if says.isPrivate { return .isPrivate }
        if says.mustUnderstand {
            // Its no-store is for caches that do not know the status (§5.2.2.3).
            if !isUnderstood(answer.status) { return .status }
        } else if says.noStore {
            return .noStore
        }
        if request.isAuthenticated && !allowsAuthenticated(says) { return .authorization }
        if answer.hasSetCookie && !policy.storesCookieSetters { return .setCookie }
        if answer.variesOnAnything { return .vary }
        // A connection that was cut looks the same in clear as one that was closed at the end (case B04).
        if answer.isCloseDelimited { return .closeDelimited }
        if let length = answer.contentLength, length > UInt64(policy.objectBytes) { return .length }
        return nil
    }

    /// §3.5: the three that allow the answer to one user's request to be another's.
    static func allowsAuthenticated(_ says: ResponseDirectives) -> Bool {
        says.isPublic || says.mustRevalidate || says.sharedMaxAge.permitted != nil
    }

    /// Statuses whose rules of caching are implemented here.
    static func isUnderstood(_ status: Int) -> Bool {
        switch status {
        case 200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 451, 500, 501, 502, 503, 504: true
        default: false
        }
    }

    /// Statuses that may be stored without a word about it (RFC 9110 §15.1).
    static func isHeuristicallyCacheable(_ status: Int) -> Bool {
        switch status {
        case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501: true
        default: false
        }
    }
}

extension Storability {
    /// Statuses for which `stale-if-error` was made (RFC 5861 §4).
    static func isFailure(_ status: Int) -> Bool {
        switch status {
        case 500, 502, 503, 504: true
        default: false
        }
    }
}
