// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 5: sub-shares by priority, with a guaranteed minimum and borrowing.
@Suite struct BulkheadShareTests {
    private func bulkhead(
        _ permits: Int, _ places: Int, _ shares: PriorityShares = PriorityShares(), congestion: Duration? = nil
    ) -> BulkheadState<String> {
        var settings = BulkheadSettings()
        settings.concurrent = permits
        settings.queue = places
        settings.congestionInterval = congestion
        settings.shares = shares
        return BulkheadState(settings)
    }

    private static func priority(_ letter: Character) -> Priority {
        switch letter {
        case "c": .critical
        case "h": .high
        case "n": .normal
        default: .bulk
        }
    }

    /// Joins by name, of which the first letter is the class. What came of it: "+", "?" waits, "-".
    private func join(_ state: inout BulkheadState<String>, _ names: String..., at ms: Int64 = 0, until: Int64 = 1_000) -> String {
        names.map { name in
            switch state.join(
                name, now: .milliseconds(ms), expiry: .milliseconds(until), priority: Self.priority(name.first ?? "c"))
            {
            case .granted: "+"
            case .waiting: "?"
            case .full: "-"
            }
        }.joined()
    }

    /// Gives permits of these classes back, one after the other; who was told of it, the refused with a minus.
    private func release(_ state: inout BulkheadState<String>, _ classes: String, at ms: Int64 = 0) -> String {
        for letter in classes { state.release(now: .milliseconds(ms), priority: Self.priority(letter)) }
        return told(&state)
    }

    private func told(_ state: inout BulkheadState<String>) -> String {
        var result: [String] = []
        while let delivery = state.nextDelivery() {
            #expect(delivery.priority == Self.priority(delivery.waiter.first ?? "c"))
            result.append(delivery.refusal == nil ? delivery.waiter : "-" + delivery.waiter)
        }
        return result.joined(separator: " ")
    }

    @Test func theMostImportantGoFirstAndEachClassInItsOrder() {
        var state = bulkhead(1, 10)
        #expect(join(&state, "c0", "b1", "n1", "c1", "b2", "h1", "c2") == "+??????")
        #expect(release(&state, "c") == "c1")
        #expect(release(&state, "cchnb") == "c2 h1 n1 b1 b2")
    }

    @Test func aShareComesBeforeImportance() {
        var state = bulkhead(4, 10, PriorityShares(bulk: 2))
        #expect(join(&state, "c1", "c2", "c3", "c4", "c5", "c6", "b1", "b2", "b3") == "++++?????")
        // Two permits for bulk, then the critical ones.
        #expect(release(&state, "cccc") == "b1 b2 c5 c6")
        #expect(state.inUse(by: .bulk) == 2 && state.inUse(by: .critical) == 2)
        #expect(release(&state, "b") == "b3", "with one left bulk is owed one again")
    }

    @Test func whatIsNotAskedForIsLent() {
        var state = bulkhead(4, 4, PriorityShares(critical: 3, high: 1))
        #expect(join(&state, "b1", "b2", "b3", "b4", "b5") == "++++?", "all four, since nobody else wants them")
        #expect(join(&state, "c1", "c2", "h1") == "???", "nothing is revoked")
        #expect(release(&state, "bbb") == "c1 c2 h1")
        #expect(release(&state, "b") == "b5")
    }

    @Test func whoIsOwedAShareFindsAPlace() {
        var state = bulkhead(2, 3, PriorityShares(high: 1, bulk: 1))
        #expect(join(&state, "c1", "c2", "n1", "c3", "c4") == "++???")
        #expect(join(&state, "c5", "n2") == "--", "full")
        #expect(state.take(now: .origin, priority: .bulk) == .mustWait)
        #expect(join(&state, "b1") == "?" && told(&state) == "-n1", "the newest of the least important makes room")
        #expect(join(&state, "b2") == "-", "one is all that bulk is owed")
        #expect(join(&state, "h1") == "?" && told(&state) == "-c4", "of those that have no share")
        #expect(state.queued == 3)
        #expect(release(&state, "cc") == "h1 b1")
    }

    @Test func inACongestionTheLongestWaitingGoAndTheNewestOfTheFirstClassIsServed() {
        var state = bulkhead(1, 10, congestion: .milliseconds(100))
        #expect(join(&state, "c0") == "+")
        #expect(join(&state, "b1", "c1") == "??")
        #expect(join(&state, "c2", "b2", "c3", at: 97) == "???")
        #expect(release(&state, "c", at: 100) == "-b1 -c1 c3", "of two that came at once the less important goes first")
        #expect(state.isCongested && state.nextExpiry == .milliseconds(102))
    }

    @Test func sharesChangeLive() {
        var state = bulkhead(2, 4)
        #expect(join(&state, "c1", "c2", "c3", "b1") == "++??")
        var settings = BulkheadSettings()
        settings.concurrent = 2
        settings.queue = 4
        settings.shares.bulk = 1
        state.apply(settings, now: .origin)
        #expect(release(&state, "c") == "b1")
    }

    @Test func K1_K2_K5_K6_property() {
        let seed = Seed.current
        for trial in 0..<100 {
            var random = seed.random(UInt64(trial))
            func shares(_ random: inout SeededRandom) -> PriorityShares {
                PriorityShares(critical: random.below(3), high: random.below(3), normal: random.below(3), bulk: random.below(3))
            }
            var (permits, places, share) = (1 + random.below(6), random.below(8), shares(&random))
            var state = bulkhead(permits, places, share)
            var now: Int64 = 0
            var arrivals = 0, granted = 0, refused = 0, cancelled = 0, released = 0
            var held: [Priority: Int] = [:]
            var queue: [(name: String, ticket: WaitTicket, until: Int64, priority: Priority)] = []
            var inUseBefore = 0
            func owed(_ priority: Priority) -> Bool {
                let least = [share.critical, share.high, share.normal, share.bulk][priority.rank]
                return held[priority, default: 0] < least
            }
            for step in 0..<400 {
                let place = "\(seed) trial \(trial) step \(step)"
                now += Int64(random.below(4))
                switch random.below(10) {
                case 0..<5:
                    arrivals += 1
                    let until = now + Int64(random.below(30))
                    let letter = Array("chnb")[random.below(4)]
                    let priority = Self.priority(letter)
                    let name = "\(letter)\(arrivals)"
                    switch state.join(name, now: .milliseconds(now), expiry: .milliseconds(until), priority: priority) {
                    case .granted:
                        granted += 1
                        held[priority, default: 0] += 1
                    case .full: refused += 1
                    case .waiting(let ticket): queue.append((name, ticket, until, priority))
                    }
                case 5..<8:
                    let holders = Priority.allCases.filter { held[$0, default: 0] > 0 }
                    if !holders.isEmpty {
                        let priority = holders[random.below(holders.count)]
                        held[priority, default: 0] -= 1
                        state.release(now: .milliseconds(now), priority: priority)
                        released += 1
                    }
                case 8:
                    if !queue.isEmpty {
                        let waiter = queue[random.below(queue.count)]
                        if state.cancel(waiter.ticket) != nil {
                            cancelled += 1
                            queue.removeAll { $0.name == waiter.name }
                        }
                    }
                default:
                    (permits, places, share) = (1 + random.below(6), random.below(8), shares(&random))
                    var settings = BulkheadSettings()
                    (settings.concurrent, settings.queue, settings.shares) = (permits, places, share)
                    settings.congestionInterval = nil
                    state.apply(settings, now: .milliseconds(now))
                }
                while let delivery = state.nextDelivery() {
                    guard let index = queue.firstIndex(where: { $0.name == delivery.waiter }) else {
                        Issue.record("a stranger, \(place)")
                        return
                    }
                    let waiter = queue.remove(at: index)
                    if delivery.refusal != nil {
                        refused += 1
                        continue
                    }
                    granted += 1
                    // K5: nobody of its class waited longer; nobody of a better claim waits.
                    let live = queue.filter { $0.until > now }
                    #expect(!queue[..<index].contains { $0.priority == waiter.priority && $0.until > now }, "K5 \(place)")
                    let claims = live.map(\.priority).filter { owed($0) }
                    if owed(waiter.priority) {
                        #expect(claims.allSatisfy { $0 >= waiter.priority }, "a share of a more important class, \(place)")
                    } else {
                        #expect(claims.isEmpty, "a share was owed, \(place)")
                        #expect(live.allSatisfy { $0.priority >= waiter.priority }, "importance, \(place)")
                    }
                    held[waiter.priority, default: 0] += 1
                }
                #expect(state.inUse <= max(permits, inUseBefore), "K1 \(place)")
                inUseBefore = state.inUse
                #expect(state.queued == queue.count && state.inUse == granted - released, "\(place)")
                #expect(Priority.allCases.allSatisfy { state.inUse(by: $0) == held[$0, default: 0] }, "\(place)")
                #expect(!(state.inUse < permits && queue.contains { $0.until > now }), "K6 \(place)")
                #expect(granted + refused + cancelled + queue.count == arrivals, "K2 \(place)")
            }
        }
    }

    // MARK: In the guard

    @Test func aShareIsKeptByTheTokensAndTheShedderHeedsIt() {
        var settings = GuardSettings.small(permits: 2, places: 2)
        settings.bulkhead.shares.bulk = 1
        let guardian = Guard(settings, draw: Draw(seed: 7))
        var kept: AttemptPermit?
        var other: AttemptPermit?
        _ = guardian.ask(0, keep: &kept)
        _ = guardian.ask(0, keep: &other)
        func ask(_ priority: Priority) -> Reason? {
            switch guardian.admit(now: .milliseconds(1), request: 1, isFirstAttempt: true, priority: priority) {
            case .refused(let refusal): refusal.reason
            case .admitted: .internal
            case .mustWait: nil
            }
        }
        #expect(ask(.bulk) == nil, "half full, but bulk has not got its share")
        let waiters = [RecordingWaiter(), RecordingWaiter()]
        for (waiter, priority) in zip(waiters, [Priority.critical, .bulk]) {
            guard case .waiting = guardian.wait(waiter, now: .milliseconds(1), expiry: .milliseconds(50), priority: priority) else {
                Issue.record("does not wait")
                return
            }
        }
        #expect(ask(.bulk) == .shedOccupancy && ask(.normal) == .shedOccupancy)
        kept = nil
        #expect(waiters.map(\.isGranted) == [false, true])
        // Through reserve and back.
        if let permit = waiters[1].take() {
            if case .admitted(let permit) = guardian.reserve(permit, now: .milliseconds(2), request: 1, isFirstAttempt: true) {
                kept = consume permit
            }
        }
        other = nil
        #expect(waiters[0].isGranted && ask(.bulk) == .shedOccupancy)
        #expect(guardian.snapshot().permitsInUse(by: .bulk) == 1)
        kept = nil
        #expect(guardian.snapshot().permitsInUse(by: .bulk) == 0 && guardian.snapshot().permitsInUse(by: .critical) == 1)
        #expect(guardian.inUse == 1)
        guard case .admitted(let permit) = guardian.admit(now: .milliseconds(3), request: 1, isFirstAttempt: true, priority: .bulk)
        else {
            Issue.record("no permit")
            return
        }
        permit.report(.success, now: .milliseconds(4))
        #expect(guardian.inUse == 1)
        _ = waiters[0].take()
        #expect(guardian.inUse == 0)
    }
}
