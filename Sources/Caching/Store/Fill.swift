// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// One who waits for another's fetch. Woken from any thread, at most once a wait; it goes on on its own reactor.
package protocol CacheWaiter: AnyObject, Sendable {
    func wake(_ news: FillNews)
}

/// What becomes of those who waited for a fetch.
package enum FillNews: Sendable {
    /// It is over: look into the store again.
    case look
    /// The upstream failed and what is stored may be served stale: look with that in mind.
    case lookAfterFailure
    /// What came may not be stored, or there was too much of failure: go on by yourself.
    case alone
    /// The one who fetched is gone: you fetch now, and the others wait for you.
    case takeOver(FillTicket)
}

/// A fetch under way for one key and variant.
struct Fill {
    let id: UInt64
    let partition: [UInt8]
    /// The variant as far as it was known when the fetch began; `none` where nothing was stored yet.
    let scope: Variant
    var waiters: [any CacheWaiter] = []
    /// How many have failed at it so far.
    var failures = 0
    /// Nobody joins any more: the key was purged or changed since.
    var isClosed = false

    /// More requests than this do not wait, but go on by themselves.
    static let waiterLimit = 10_000
    /// After so many failures nobody is asked to try for the others.
    static let failureLimit = 2
}

/// The right, and the duty, to fetch for those who wait. Whoever drops it unsettled hands it over.
package final class FillTicket: @unchecked Sendable {
    // Sendable: it is held by one exchange at a time, and moves between reactors only inside a message.
    let store: CacheStore
    let key: CacheKey
    let id: UInt64
    private var isSettled = false

    init(store: CacheStore, key: CacheKey, id: UInt64) {
        self.store = store
        self.key = key
        self.id = id
    }

    deinit {
        if !isSettled { store.end(key, id, .abandoned) }
    }

    /// How a fetch ended.
    package enum End: Equatable, Sendable {
        /// The answer is in the store, or a stored one was confirmed.
        case stored
        /// It is not, and will not be for a while.
        case uncacheable(until: Instant)
        /// No answer of use; whether what is stored may be served all the same.
        case failed(servesStale: Bool)
        /// The one who fetched went away.
        case abandoned
    }

    package func settle(_ end: End) {
        if isSettled { return }
        isSettled = true
        store.end(key, id, end)
    }
}
