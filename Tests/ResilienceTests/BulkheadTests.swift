// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 5.
@Suite struct BulkheadTests {
    private func bulkhead(_ permits: Int, _ places: Int, congestion: Duration? = nil) -> BulkheadState<Int> {
        BulkheadState(settings(permits, places, congestion: congestion))
    }

    private func settings(_ permits: Int, _ places: Int, congestion: Duration? = nil) -> BulkheadSettings {
        var settings = BulkheadSettings()
        settings.concurrent = permits
        settings.queue = places
        settings.congestionInterval = congestion
        return settings
    }

    /// Everybody that was decided on: `3` granted, `-3` timed out, `-1003` turned away by congestion.
    private func told(_ bulkhead: inout BulkheadState<Int>) -> [Int] {
        var result: [Int] = []
        while let delivery = bulkhead.nextDelivery() {
            switch delivery.refusal {
            case nil: result.append(delivery.waiter)
            case .bulkheadQueueTimeout: result.append(-delivery.waiter)
            default: result.append(-1_000 - delivery.waiter)
            }
        }
        return result
    }

    @discardableResult
    private func join(_ bulkhead: inout BulkheadState<Int>, _ waiter: Int, at ms: Int64, until: Int64 = 1_000_000) -> WaitTicket? {
        if case .waiting(let ticket) = bulkhead.join(waiter, now: .milliseconds(ms), expiry: .milliseconds(until)) {
            ticket
        } else {
            nil
        }
    }

    @Test func takesQueuesRefuses() {
        var state = bulkhead(2, 1)
        #expect(state.take(now: .origin) == .granted)
        #expect(state.take(now: .origin) == .granted)
        #expect(state.take(now: .origin) == .mustWait)
        #expect(join(&state, 1, at: 0) != nil)
        #expect(state.take(now: .origin) == .full)
        #expect(state.join(2, now: .origin, expiry: .never) == .full)
        #expect(state.inUse == 2 && state.queued == 1)
    }

    @Test func withoutAQueueItIsFullAtOnce() {
        var state = bulkhead(1, 0)
        #expect(state.take(now: .origin) == .granted)
        #expect(state.take(now: .origin) == .full)
    }

    @Test func K6_aReleasedPermitIsHandedOn() {
        var state = bulkhead(1, 5)
        #expect(state.take(now: .origin) == .granted)
        for waiter in 1...3 { join(&state, waiter, at: 0) }
        state.release(now: .origin)
        #expect(state.inUse == 1, "never free in between, so nobody can barge in")
        #expect(state.take(now: .origin) == .mustWait)
        #expect(told(&state) == [1])
        state.release(now: .origin)
        state.release(now: .origin)
        state.release(now: .origin)
        #expect(told(&state) == [2, 3])
        #expect(state.inUse == 0)
    }

    @Test func K6_aPermitThatCameFreeMeansNoWait() {
        var state = bulkhead(1, 5)
        #expect(state.take(now: .origin) == .granted)
        #expect(state.take(now: .origin) == .mustWait)
        state.release(now: .origin)
        #expect(state.join(1, now: .origin, expiry: .never) == .granted)
        #expect(state.queued == 0 && state.inUse == 1)
    }

    @Test func K3_expiredWaitersAreSkippedAndToldSo() {
        var state = bulkhead(1, 5)
        #expect(state.take(now: .origin) == .granted)
        join(&state, 1, at: 0, until: 50)
        join(&state, 2, at: 0, until: 20)
        join(&state, 3, at: 0, until: 90)
        #expect(state.nextExpiry == .milliseconds(20))
        state.expire(now: .milliseconds(19))
        #expect(told(&state) == [])
        state.expire(now: .milliseconds(20))
        #expect(told(&state) == [-2])
        #expect(state.nextExpiry == .milliseconds(50))
        state.release(now: .milliseconds(50))
        #expect(told(&state) == [-1, 3])
        #expect(state.nextExpiry == .never)
    }

    @Test func anExpiredWaiterHoldsNoPlace() {
        var state = bulkhead(1, 1)
        #expect(state.take(now: .origin) == .granted)
        join(&state, 1, at: 0, until: 50)
        #expect(state.take(now: .milliseconds(49)) == .full)
        #expect(state.take(now: .milliseconds(50)) == .mustWait)
        #expect(told(&state) == [-1])
    }

    @Test func whoHasBeenDecidedOnCannotCancel() {
        var state = bulkhead(1, 5)
        #expect(state.take(now: .origin) == .granted)
        let first = join(&state, 1, at: 0)
        let second = join(&state, 2, at: 0)
        if let second {
            #expect(state.cancel(second) == 2)
            #expect(state.cancel(second) == nil)
        }
        state.release(now: .origin)
        if let first { #expect(state.cancel(first) == nil, "granted, though not told yet") }
        #expect(told(&state) == [1])
        let third = join(&state, 3, at: 0)
        #expect(third?.slot == first?.slot || third?.slot == second?.slot, "places are used again")
        if let first { #expect(state.cancel(first) == nil) }
    }

    @Test func limitsChangeLive() {
        var state = bulkhead(4, 4)
        for _ in 0..<4 { #expect(state.take(now: .origin) == .granted) }
        for waiter in 1...4 { join(&state, waiter, at: 0) }
        state.apply(settings(2, 1), now: .origin)
        #expect(state.inUse == 4 && state.queued == 4, "nothing is revoked")
        state.release(now: .origin)
        state.release(now: .origin)
        #expect(told(&state) == [], "lowered limits drain first")
        #expect(state.inUse == 2)
        state.release(now: .origin)
        #expect(told(&state) == [1])
        #expect(state.take(now: .origin) == .full)
        state.apply(settings(4, 4), now: .origin)
        #expect(told(&state) == [2, 3], "raised ones are granted at once")
        #expect(state.inUse == 4 && state.queued == 1)
    }

    @Test func K1_K2_K5_K6_property() {
        let seed = Seed.current
        for trial in 0..<100 {
            var random = seed.random(UInt64(trial))
            var permits = 1 + random.below(6)
            var places = random.below(6)
            var state = bulkhead(permits, places)
            var now: Int64 = 0
            var arrivals = 0, taken = 0, granted = 0, refused = 0, cancelled = 0, released = 0
            var queue: [(id: Int, ticket: WaitTicket, until: Int64)] = []
            var inUseBefore = 0
            for step in 0..<400 {
                now += Int64(random.below(4))
                switch random.below(10) {
                case 0..<5:
                    arrivals += 1
                    let until = now + Int64(random.below(30))
                    switch state.join(arrivals, now: .milliseconds(now), expiry: .milliseconds(until)) {
                    case .granted: taken += 1
                    case .full: refused += 1
                    case .waiting(let ticket): queue.append((arrivals, ticket, until))
                    }
                case 5..<8:
                    if state.inUse > 0 {
                        state.release(now: .milliseconds(now))
                        released += 1
                    }
                case 8:
                    if !queue.isEmpty {
                        let waiter = queue[random.below(queue.count)]
                        if state.cancel(waiter.ticket) != nil {
                            cancelled += 1
                            queue.removeAll { $0.id == waiter.id }
                        }
                    }
                default:
                    permits = 1 + random.below(6)
                    places = random.below(6)
                    state.apply(settings(permits, places), now: .milliseconds(now))
                }
                while let delivery = state.nextDelivery() {
                    let place = queue.firstIndex { $0.id == delivery.waiter }
                    if delivery.refusal == nil {
                        granted += 1
                        // K5: everybody before it in the queue has expired; K3: it has not.
                        let ahead = queue[..<(place ?? 0)]
                        #expect(ahead.allSatisfy { $0.until <= now }, "\(seed) trial \(trial) step \(step)")
                        #expect(place.map { queue[$0].until > now } == true, "\(seed) trial \(trial) step \(step)")
                    } else {
                        refused += 1
                    }
                    if let place { queue.remove(at: place) }
                }
                // K1: a grant is only ever made below the limit in force.
                #expect(state.inUse <= max(permits, inUseBefore), "K1 \(seed) trial \(trial) step \(step)")
                inUseBefore = state.inUse
                #expect(state.inUse == taken + granted - released, "\(seed) trial \(trial) step \(step)")
                #expect(state.queued == queue.count, "\(seed) trial \(trial) step \(step)")
                #expect(!(state.inUse < permits && queue.contains { $0.until > now }), "K6 \(seed) trial \(trial) step \(step)")
                #expect(taken + granted + refused + cancelled + queue.count == arrivals, "K2 \(seed) trial \(trial) step \(step)")
            }
            while state.inUse > 0 {
                state.release(now: .milliseconds(now))
                while state.nextDelivery() != nil {}
            }
            #expect(state.inUse == 0)
        }
    }

    // MARK: Congestion

    @Test func aLongQueueServesTheNewestAndKeepsNobodyWaiting() {
        var state = bulkhead(1, 100, congestion: .milliseconds(100))
        #expect(state.take(now: .origin) == .granted)
        join(&state, 1, at: 0)
        #expect(state.nextExpiry == .milliseconds(100))
        for waiter in 2...9 { join(&state, waiter, at: Int64(90 + waiter)) }  // 92 … 99
        state.expire(now: .milliseconds(99))
        #expect(!state.isCongested)
        // At 100 the mode begins: whoever has waited 5 ms or longer goes, whatever its own limit was.
        state.release(now: .milliseconds(100))
        #expect(state.isCongested)
        #expect(told(&state) == [-1_001, -1_002, -1_003, -1_004, -1_005, 9])
        #expect(state.nextExpiry == .milliseconds(101))
        state.expire(now: .milliseconds(103))
        #expect(told(&state) == [-1_006, -1_007, -1_008])
    }

    @Test func congestionEndsWhenNoWaitWasLongForAnInterval() {
        var state = bulkhead(1, 100, congestion: .milliseconds(100))
        #expect(state.take(now: .origin) == .granted)
        join(&state, 1, at: 0)
        state.release(now: .milliseconds(150))
        #expect(told(&state) == [-1_001], "nobody was left to take the permit")
        #expect(state.isCongested && state.inUse == 0)
        // The last long wait was at 100.
        state.expire(now: .milliseconds(199))
        #expect(state.isCongested)
        state.expire(now: .milliseconds(200))
        #expect(!state.isCongested)
        #expect(state.take(now: .milliseconds(200)) == .granted)
        join(&state, 2, at: 200)
        join(&state, 3, at: 200)
        state.release(now: .milliseconds(250))
        #expect(told(&state) == [2], "first in, first out again")
    }

    @Test func whoJoinsLongAfterACongestionHasHisWholeTime() {
        var state = bulkhead(1, 10, congestion: .milliseconds(100))
        #expect(state.take(now: .origin) == .granted)
        join(&state, 1, at: 0)
        state.expire(now: .milliseconds(100))
        #expect(told(&state) == [-1_001] && state.isCongested)
        // The queue is empty for ten seconds, in which nobody looks; the only permit is still out.
        join(&state, 2, at: 10_000, until: 10_050)
        #expect(state.nextExpiry == .milliseconds(10_050))
        state.expire(now: .milliseconds(10_005))
        #expect(told(&state) == [] && !state.isCongested)
    }

    @Test func whoWaitsWhenACongestionEndsIsNotRefusedByIt() {
        var settings = settings(1, 10, congestion: .milliseconds(100))
        settings.congestionTarget = .milliseconds(60)
        var state = BulkheadState<Int>(settings)
        #expect(state.take(now: .origin) == .granted)
        join(&state, 1, at: 0)
        state.expire(now: .milliseconds(100))
        join(&state, 2, at: 150)
        // It ended at 200, before the second one's 60 ms were over; the next one cannot begin before 300.
        state.expire(now: .milliseconds(210))
        #expect(told(&state) == [-1_001] && !state.isCongested)
        #expect(state.nextExpiry == .milliseconds(300))
    }

    @Test func K5_waitsOfTheServedAreShortUnderCongestion() {
        // Two and a half times the load that one permit of 10 ms can serve, for 20 s.
        var state = bulkhead(1, 1_000, congestion: .milliseconds(100))
        var arrived: [Int: Int64] = [:]
        var waits: [Int64] = []
        var busyUntil: Int64?
        for now in 0..<20_000 as Range<Int64> {
            if busyUntil == now {
                busyUntil = nil
                state.release(now: .milliseconds(now))
            }
            if now % 4 == 0 {
                let id = Int(now)
                arrived[id] = now
                if case .granted = state.join(id, now: .milliseconds(now), expiry: .milliseconds(now + 1_000)) {
                    busyUntil = now + 10
                    waits.append(0)
                }
            }
            while let delivery = state.nextDelivery() {
                if delivery.refusal != nil { continue }
                busyUntil = now + 10
                if now > 1_000 { waits.append(now - (arrived[delivery.waiter] ?? 0)) }
            }
        }
        waits.sort()
        #expect(waits.count > 1_000)
        #expect(waits[waits.count / 2] <= 5 + 10)
    }
}
