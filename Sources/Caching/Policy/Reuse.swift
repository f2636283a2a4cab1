// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Whether a stored answer may be served to a request (RFC 9111 §4), which matches it in key and variant.
package enum Reuse: Equatable, Sendable {
    case fresh
    /// Stale, and the client takes that (max-stale).
    case staleAccepted
    /// Stale, and served while a fresh one is fetched (RFC 5861 §3).
    case staleWhileRevalidating
    /// Only after the origin confirmed it.
    case needsValidation

    package init(_ stored: Freshness, _ request: RequestDirectives, now: Instant) {
        self = .needsValidation
        if request.noCache || stored.needsValidation { return }
        let age = stored.age(at: now)
        if let limit = request.maxAge.lifetime, age > nanoseconds(limit) { return }
        let staleness = stored.staleness(at: now)
        switch request.minFresh {
        case .absent: break
        case .invalid: return
        case .seconds(let n): if sum(staleness, nanoseconds(n)) > 0 { return }
        }
        if staleness < 0 {
            self = .fresh
        } else if !stored.forbidsMaxStale, Reuse.accepts(request.maxStale, staleness) {
            self = .staleAccepted
        } else if !stored.forbidsStale, staleness < stored.staleWhileRevalidate {
            self = .staleWhileRevalidating
        }
    }

    private static func accepts(_ wish: RequestDirectives.MaxStale, _ staleness: Int64) -> Bool {
        switch wish {
        case .none: false
        case .any: true
        case .seconds(let n): staleness <= nanoseconds(n)
        }
    }

    /// Whether it may be served because the origin fails (RFC 5861 §4). A client that asked for the origin's word (no-cache) gets the error.
    package static func isAllowedOnError(_ stored: Freshness, _ request: RequestDirectives, now: Instant) -> Bool {
        if stored.forbidsStale || request.noCache { return false }
        let staleness = stored.staleness(at: now)
        if staleness < 0 { return true }
        let asked = stored.forbidsMaxStale ? 0 : nanoseconds(request.staleIfError.permitted ?? 0)
        return staleness < max(stored.staleIfError, asked)
    }
}
