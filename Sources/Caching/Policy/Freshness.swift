// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import HTTP

/// How long a stored answer is good, and how old it is (RFC 9111 §4.2). Nanoseconds throughout; sums saturate.
///
/// The time since the answer came is taken from the monotonic clock, so that a step of the wall clock ages nothing; the wall clock is only
/// compared with the answer's own Date.
package struct Freshness: Equatable, Sendable {
    /// freshness_lifetime.
    package var lifetime: Int64
    /// corrected_initial_age (§4.2.3).
    package var initialAge: Int64
    /// request_time and response_time.
    package var requestedAt: Instant
    package var receivedAt: Instant
    /// no-cache: not without asking (§5.2.2.4).
    package var needsValidation: Bool
    /// Never served stale, whatever client and configuration say (§4.2.4).
    package var forbidsStale: Bool
    /// Not served stale because a client would take it: s-maxage says proxy-revalidate (§5.2.2.10).
    package var forbidsMaxStale: Bool
    package var staleWhileRevalidate: Int64
    package var staleIfError: Int64

    /// Nil: nothing says how long the answer is good, so that it is of no use.
    package init?(
        _ request: RequestTerms, _ answer: AnswerTerms, _ policy: CachePolicy, requestedAt: Instant, receivedAt: Instant,
        unix: Int64
    ) {
        let says = answer.directives
        let date = answer.date ?? unix
        let isExplicit: Bool
        if let seconds = says.sharedMaxAge.lifetime ?? says.maxAge.lifetime {
            lifetime = nanoseconds(seconds)
            isExplicit = true
        } else if answer.expires != .absent {
            if case .at(let end) = answer.expires { lifetime = max(0, nanoseconds(sum(end, -date))) } else { lifetime = 0 }
            isExplicit = true
        } else if says.noCache {
            lifetime = 0
            isExplicit = true
        } else {
            guard let seconds = Freshness.assumed(request, answer, policy, date: date) else { return nil }
            lifetime = nanoseconds(seconds)
            isExplicit = false
        }
        // More than DeltaSeconds.longest is no lifetime that anyone means.
        lifetime = min(lifetime, nanoseconds(DeltaSeconds.longest))
        let apparent = max(0, nanoseconds(sum(unix, -date)))
        let delay = max(0, receivedAt.nanoseconds(since: requestedAt))
        initialAge = max(apparent, sum(nanoseconds(answer.age), delay))
        self.requestedAt = requestedAt
        self.receivedAt = receivedAt
        needsValidation = says.noCache
        forbidsStale = says.noCache || says.mustRevalidate || says.proxyRevalidate
        forbidsMaxStale = forbidsStale || says.sharedMaxAge != .absent
        // An origin that writes s-maxage and one of these in one field means both. Our own default is only for an answer that
        // said itself how long it is good and does not say with s-maxage that this was all.
        let mayDefault = isExplicit && !forbidsMaxStale && lifetime > 0
        staleWhileRevalidate =
            forbidsStale ? 0 : nanoseconds(says.staleWhileRevalidate.lifetime ?? (mayDefault ? policy.staleWhileRevalidate : 0))
        staleIfError = forbidsStale ? 0 : nanoseconds(says.staleIfError.lifetime ?? (mayDefault ? policy.staleIfError : 0))
    }

    /// §4.2.2, and the configured default. Not for what was made for one client, as a cookie or a name lets one fear.
    private static func assumed(_ request: RequestTerms, _ answer: AnswerTerms, _ policy: CachePolicy, date: Int64) -> Int64? {
        let says = answer.directives
        guard Storability.isHeuristicallyCacheable(answer.status) || says.isPublic else { return nil }
        if (request.hasCookie || request.isAuthenticated || answer.hasSetCookie) && !says.isPublic { return nil }
        if policy.heuristicShare > 0, let modified = answer.lastModified, modified < date {
            let (scaled, overflow) = sum(date, -modified).multipliedReportingOverflow(by: policy.heuristicShare)
            return overflow ? policy.heuristicLimit : min(scaled / 10_000, policy.heuristicLimit)
        }
        return policy.defaultLifetime
    }

    /// current_age (§4.2.3).
    package func age(at now: Instant) -> Int64 { sum(initialAge, max(0, now.nanoseconds(since: receivedAt))) }

    /// By how much the age exceeds the lifetime; negative while it is fresh.
    package func staleness(at now: Instant) -> Int64 { sum(age(at: now), -lifetime) }

    package func isFresh(at now: Instant) -> Bool { staleness(at: now) < 0 }
}
