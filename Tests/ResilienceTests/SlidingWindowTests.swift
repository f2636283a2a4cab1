// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// The window against a list of all events.
@Suite struct SlidingWindowTests {
    @Test func agreesWithAListOfEvents() {
        let seed = Seed.current
        for trial in 0..<150 {
            var random = seed.random(UInt64(trial))
            let calls = 1 + random.below(40)
            let time = Int64(10 * (1 + random.below(50)))
            let kind = trial % 3
            let shape: BreakerSettings.Window =
                [.count(calls: calls), .time(.nanoseconds(time)), .hybrid(calls: calls, time: .nanoseconds(time))][kind]
            var window = SlidingWindow(shape)
            var events: [(at: Int64, isMarked: Bool)] = []
            var now: Int64 = 0
            for step in 0..<400 {
                now += Int64(random.below(random.chance(3) ? Int(time) * 3 : 12))
                if random.chance(80) {
                    let isMarked = random.chance(30)
                    window.record(isMarked, at: now)
                    events.append((now, isMarked))
                } else {
                    window.forget(before: now)
                }
                var live = events
                if kind != 0 {
                    let width = time / 10
                    live = live.filter { kind == 2 ? now - $0.at <= time : now / width - $0.at / width < 10 }
                }
                if kind != 1 { live = live.suffix(calls) }
                #expect(window.total == live.count, "\(seed) trial \(trial) step \(step)")
                #expect(window.marked == live.count { $0.isMarked }, "\(seed) trial \(trial) step \(step)")
            }
        }
    }

    @Test func reshapedKeepsTheNewest() {
        var window = SlidingWindow(.count(calls: 6))
        for mark in [true, true, false, true, false, false, true] { window.record(mark, at: 1) }
        #expect((window.total, window.marked) == (6, 3))
        let smaller = window.reshaped(.hybrid(calls: 3, time: .seconds(1)))
        #expect((smaller.total, smaller.marked) == (3, 1))
        let timed = window.reshaped(.time(.seconds(1)))
        #expect((timed.total, timed.marked) == (6, 3))
        let same = timed.reshaped(.time(.seconds(1)))
        #expect((same.total, same.marked) == (6, 3))
        #expect(timed.reshaped(.count(calls: 3)).total == 0)
    }
}
