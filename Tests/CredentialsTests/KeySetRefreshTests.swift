// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Credentials

@Suite struct KeySetRefreshTests {
    private func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

    /// With a set since second 0.
    private func filled(_ change: (inout KeySetRefresh.Settings) -> Void = { _ in }) -> KeySetRefresh {
        var settings = KeySetRefresh.Settings()
        change(&settings)
        var refresh = KeySetRefresh(settings)
        #expect(refresh.needed(at: at(0)) == .wait(startFetch: true))
        refresh.fetchEnded(good: true, at: at(0))
        return refresh
    }

    @Test func theFirstTokenFetchesAndTheOthersWaitForIt() {
        var refresh = KeySetRefresh(KeySetRefresh.Settings())
        #expect(refresh.needed(at: at(0)) == .wait(startFetch: true))
        for _ in 0..<1_000 { #expect(refresh.needed(at: at(1)) == .wait(startFetch: false)) }
        refresh.fetchEnded(good: true, at: at(2))
        #expect(refresh.needed(at: at(2)) == .ready(startFetch: false))
    }

    @Test func aFirstFetchThatFailsLeavesNothingUntilTheNextMayBeMade() {
        var refresh = KeySetRefresh(KeySetRefresh.Settings())
        _ = refresh.needed(at: at(0))
        refresh.fetchEnded(good: false, at: at(1))
        #expect(refresh.needed(at: at(1)) == .unavailable(until: at(10)))
        #expect(refresh.missedKey(at: at(9)) == .unavailable(until: at(10)))
        #expect(refresh.needed(at: at(10)) == .wait(startFetch: true))
    }

    @Test func aThousandUnknownKeysASecondCostOneFetchAnInterval() {
        var refresh = filled()
        var fetches = 0
        for millisecond in Int64(0)..<60_000 {
            let now = Instant(nanoseconds: 1_000_000_000 + millisecond * 1_000_000)
            if case .wait(startFetch: true) = refresh.missedKey(at: now) { fetches += 1 }
            // Each fetch takes 50 ms.
            if millisecond % 50 == 49 { refresh.fetchEnded(good: true, at: now) }
        }
        #expect(fetches == 6)
    }

    @Test func anOldSetIsFetchedAnewBesideItsUse() {
        var refresh = filled()
        #expect(refresh.needed(at: at(599)) == .ready(startFetch: false))
        #expect(refresh.needed(at: at(600)) == .ready(startFetch: true))
        #expect(refresh.needed(at: at(601)) == .ready(startFetch: false))
        refresh.fetchEnded(good: false, at: at(602))
        #expect(refresh.needed(at: at(609)) == .ready(startFetch: false))
        #expect(refresh.needed(at: at(610)) == .ready(startFetch: true))
        refresh.fetchEnded(good: true, at: at(611))
        #expect(refresh.needed(at: at(1_210)) == .ready(startFetch: false))
    }

    @Test func theLastGoodSetCountsToItsLimitAndNotALittleLonger() {
        var refresh = filled { $0.keepFor = .seconds(1_000) }
        var second: Int64 = 600
        while second < 1_000 {
            if case .ready(startFetch: true) = refresh.needed(at: at(second)) { refresh.fetchEnded(good: false, at: at(second)) }
            #expect(refresh.isUsable(at: at(second)))
            second += 1
        }
        #expect(!refresh.isUsable(at: at(1_000)))
        #expect(refresh.needed(at: at(1_000)) == .wait(startFetch: true))
        refresh.fetchEnded(good: false, at: at(1_001))
        #expect(refresh.needed(at: at(1_001)) == .unavailable(until: at(1_010)))
    }

    @Test func aRotatedKeyIsFoundByTheNextFetch() {
        var refresh = filled()
        #expect(refresh.missedKey(at: at(9)) == .ready(startFetch: false))
        #expect(refresh.missedKey(at: at(10)) == .wait(startFetch: true))
        #expect(refresh.missedKey(at: at(10)) == .wait(startFetch: false))
        refresh.fetchEnded(good: true, at: at(11))
        #expect(refresh.missedKey(at: at(11)) == .ready(startFetch: false))
    }
}
