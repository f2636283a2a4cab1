// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// How one cache filter stores and serves; the store itself is shared.
package struct CachePolicy: Equatable, Sendable {
    /// Largest body that is stored, in bytes. Default 1 MiB: an edge's typical object, and many of them fit.
    package var objectBytes = 1_048_576
    /// Lifetime of an answer that says nothing about it, in seconds; nil is off, the default: an origin that says nothing may mean anything.
    package var defaultLifetime: Int64?
    /// Share of the time since Last-Modified for which an answer that says nothing is taken to be fresh (RFC 9111 §4.2.2), in 1/10,000. Default 0, off.
    package var heuristicShare: Int64 = 0
    /// The most that a heuristic gives, in seconds: a day.
    package var heuristicLimit: Int64 = 86_400
    /// Whether HEAD is answered from a stored GET.
    package var answersHead = true
    /// Parameters of the query that are no part of the key; one that ends with `*` is a prefix.
    package var ignoredParameters: [[UInt8]] = []
    /// Request fields that tell variants apart even if no answer's Vary says so; lower case.
    package var vary: [[UInt8]] = []
    /// For how long after its lifetime an answer is served while a fresh one is fetched, in seconds (RFC 5861 §3), where the answer itself does not say.
    package var staleWhileRevalidate: Int64 = 0
    /// For how long after its lifetime an answer is served where the upstream fails, in seconds (RFC 5861 §4), where the answer itself does not say.
    package var staleIfError: Int64 = 0
    /// Whether requests for what is being fetched wait for that fetch.
    package var collapses = true
    /// The longest that one waits, in nanoseconds. Default 5 s.
    package var collapseWait: Int64 = 5_000_000_000
    /// For how long requests for a key do not wait for each other after an answer to it could not be stored, in nanoseconds ("hit-for-pass"). Default 10 s.
    package var passFor: Int64 = 10_000_000_000
    /// Whether an answer with Set-Cookie may be stored: without that field, so that no client gets another's cookie.
    package var storesCookieSetters = false
    /// Whether a request's own Cache-Control is heeded. Where clients are not trusted to spare the origin: off (§5.2.1 calls these directives advisory).
    package var heedsRequests = true

    package init() {}
}

/// Seconds as nanoseconds, saturating.
func nanoseconds(_ seconds: Int64) -> Int64 {
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? (seconds < 0 ? .min : .max) : product
}

/// A sum that saturates: a peer chose one of the numbers.
func sum(_ a: Int64, _ b: Int64) -> Int64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? (b < 0 ? .min : .max) : sum
}
