// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Decides when a key set that lives at another service is fetched, and until when the last good one counts (case E13).
///
/// Pure: time comes in, what to do comes out, and the owner fetches. One fetch is under way at most. An unknown `kid` asks for a fetch,
/// since the issuer may have changed its keys, but not sooner after the last than `minimumInterval`: a thousand tokens with invented
/// ids a second cost the issuer nothing. When fetches fail the last good set goes on, up to `keepFor`; from then on there is none, and
/// who asks is refused: never let in.
package struct KeySetRefresh: Sendable {
    package struct Settings: Equatable, Sendable {
        /// Age at which a set is fetched anew while it is in use. Default 10 min.
        package var refreshEvery: Duration = .seconds(600)
        /// Between the start of one fetch and the next, whatever asks for it. Default 10 s.
        package var minimumInterval: Duration = .seconds(10)
        /// Age until which the last good set counts. Default 24 h.
        package var keepFor: Duration = .seconds(86_400)

        package init() {}
    }

    package enum Need: Equatable, Sendable {
        /// The set answers; fetch beside that, if so told.
        case ready(startFetch: Bool)
        /// Wait for the fetch: start it, if so told.
        case wait(startFetch: Bool)
        /// There is no set that counts, and no fetch that may be made now; one may at that instant.
        case unavailable(until: Instant)
    }

    private let settings: Settings
    private var goodAt: Instant?
    private var startedAt: Instant?
    private var isFetching = false

    package init(_ settings: Settings) { self.settings = settings }

    /// Whether there is a set and it still counts.
    package func isUsable(at now: Instant) -> Bool {
        goodAt.map { now < $0.advanced(by: settings.keepFor) } ?? false
    }

    private func mayFetch(at now: Instant) -> Bool {
        !isFetching && startedAt.map { now >= $0.advanced(by: settings.minimumInterval) } ?? true
    }

    /// A token is to be checked.
    package mutating func needed(at now: Instant) -> Need {
        guard isUsable(at: now), let goodAt else { return waitForFetch(at: now) }
        if now < goodAt.advanced(by: settings.refreshEvery) || !mayFetch(at: now) { return .ready(startFetch: false) }
        begin(at: now)
        return .ready(startFetch: true)
    }

    /// A token names a key that the set does not have. `ready`: it stays unknown.
    package mutating func missedKey(at now: Instant) -> Need {
        guard isUsable(at: now) else { return waitForFetch(at: now) }
        if isFetching { return .wait(startFetch: false) }
        guard mayFetch(at: now) else { return .ready(startFetch: false) }
        begin(at: now)
        return .wait(startFetch: true)
    }

    private mutating func waitForFetch(at now: Instant) -> Need {
        if isFetching { return .wait(startFetch: false) }
        guard mayFetch(at: now) else {
            return .unavailable(until: startedAt?.advanced(by: settings.minimumInterval) ?? now)
        }
        begin(at: now)
        return .wait(startFetch: true)
    }

    private mutating func begin(at now: Instant) {
        isFetching = true
        startedAt = now
    }

    /// The fetch that was started is over; `good`: it brought a set that was put in force.
    package mutating func fetchEnded(good: Bool, at now: Instant) {
        isFetching = false
        if good { goodAt = now }
    }
}
