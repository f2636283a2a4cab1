// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, sections 0.1 and 6: what of an attempt is a sample, and what the guard does with the limit.
@Suite struct AdaptiveGuardTests {
    /// Ten attempts at once over 100 ms, each with its request sent at its begin.
    @discardableResult
    private func window(_ guardian: Guard, from ms: Int64, took: Int64 = 0, _ outcome: Outcome) -> Int {
        for n in 0..<10 as Range<Int64> {
            var kept: AttemptPermit?
            let begin = ms + n * 12
            #expect(guardian.ask(begin, keep: &kept) == .admitted)
            if var permit = kept.take() {
                permit.requestSent(now: .milliseconds(begin))
                permit.report(outcome, now: .milliseconds(begin + took))
            }
        }
        return guardian.snapshot().adaptiveLimit ?? -1
    }

    private func make(concurrent: Int = 20) -> Guard { Guard(.adaptive(.aimd, concurrent: concurrent), draw: Draw(seed: 1)) }

    struct Row: Sendable, CustomTestStringConvertible {
        var outcome: Outcome
        var isDrop: Bool
        var testDescription: String { "\(outcome.outcomeClass) \(outcome.reason?.rawValue ?? "")" }
    }

    @Test(arguments: [
        Row(outcome: .success, isDrop: false),
        Row(outcome: backpressure, isDrop: true),
        Row(outcome: Outcome(.backpressure, reason: .http2RefusedStream, processed: .no), isDrop: true),
        Row(outcome: Outcome(.failure, reason: .timeoutPerTry, processed: .maybe), isDrop: true),
        Row(outcome: Outcome(.failure, reason: .timeoutFirstByte, processed: .maybe), isDrop: true),
        Row(outcome: Outcome(.failure, reason: .connectTimeout, processed: .no), isDrop: true),
        Row(outcome: failure, isDrop: false),
        Row(outcome: Outcome(.failure, reason: .connectRefused, processed: .no), isDrop: false),
        Row(outcome: Outcome(.neutral, reason: .timeoutPerTry, processed: .maybe), isDrop: false),
        Row(outcome: neutral, isDrop: false),
        Row(outcome: local, isDrop: false),
    ])
    func timeoutsAndBackpressureAreDrops(row: Row) {
        #expect(window(make(), from: 0, row.outcome) == (row.isDrop ? 18 : 20))
    }

    @Test func A4_instantErrorsNeverRaiseIt() {
        let guardian = make(concurrent: 8)
        for n in 0..<20 as Range<Int64> { window(guardian, from: n * 200, backpressure) }
        #expect(guardian.snapshot().adaptiveLimit == 4)
        // At half of the limit a success of the same speed would raise it.
        for n in 0..<50 as Range<Int64> {
            var other: AttemptPermit?
            #expect(guardian.ask(10_000, keep: &other) == .admitted)
            window(guardian, from: 10_000 + n * 200, failure)
            window(guardian, from: 10_100 + n * 200, Outcome(.failure, reason: .connectRefused, processed: .no))
        }
        #expect(guardian.snapshot().adaptiveLimit == 4)
        var other: AttemptPermit?
        #expect(guardian.ask(90_000, keep: &other) == .admitted)
        #expect(window(guardian, from: 90_000, .success) == 5)
    }

    @Test func aSlowAnswerTakesPermitsAwayAndTheBulkheadHasFewer() {
        let guardian = make(concurrent: 10)
        #expect(window(guardian, from: 0, took: 101, .success) == 9)
        var kept: [Held] = []
        for n in 0..<9 {
            let held = Held()
            #expect(guardian.ask(1_000, keep: &held.permit) == .admitted, "\(n)")
            kept.append(held)
        }
        var more: AttemptPermit?
        if case .refused(let refusal) = guardian.ask(1_000, keep: &more) { #expect(refusal.reason == .bulkheadFull) }
        let snapshot = guardian.snapshot()
        #expect(snapshot.permits == 9 && snapshot.permitsInUse == 9)
    }

    @Test func aPermitMoreGoesToAWaiter() {
        var settings = GuardSettings.adaptive(.aimd, concurrent: 5)
        settings.bulkhead.queue = 3
        let guardian = Guard(settings, draw: Draw(seed: 1))
        #expect(window(guardian, from: 0, backpressure) == 4)
        var held: [Held] = []
        for n in 0..<4 as Range<Int64> {
            let one = Held()
            #expect(guardian.ask(500 + n, keep: &one.permit) == .admitted)
            one.permit?.requestSent(now: .milliseconds(500 + n))
            held.append(one)
        }
        let waiters = [RecordingWaiter(), RecordingWaiter()]
        for waiter in waiters { _ = guardian.join(waiter, 510, until: 100_000) }
        // Six answers pass through one permit and its waiters; the four heads at the end complete the window.
        guardian.apply(settings, now: .milliseconds(511))
        #expect(guardian.snapshot().permits == 4, "a reload leaves the limit as it was found")
        held[0].permit?.headArrived(.success, now: .milliseconds(520))
        for n in 1..<4 { held[n].permit?.headArrived(.success, now: .milliseconds(520)) }
        #expect(waiters.map(\.isGranted) == [false, false], "a head frees no permit")
        for _ in 0..<2 { held[0].permit = nil }
        #expect(waiters.map(\.isGranted) == [true, false])
        for n in 0..<6 as Range<Int64> {
            held[1].permit = nil
            if let permit = waiters[1].take() { _ = consume permit }
            #expect(guardian.ask(530 + n * 20, keep: &held[1].permit) == .admitted)
            held[1].permit?.requestSent(now: .milliseconds(530 + n * 20))
            if n == 5 { _ = guardian.join(waiters[1], 640, until: 100_000) }
            held[1].permit?.headArrived(.success, now: .milliseconds(530 + n * 20))
        }
        #expect(guardian.snapshot().adaptiveLimit == 5)
        #expect(guardian.inUse == 5 && waiters[1].isGranted)
    }

    @Test func theClientsOwnSlownessIsNoLatency() {
        let guardian = make()
        for n in 0..<20 as Range<Int64> {
            var kept: AttemptPermit?
            _ = guardian.ask(n * 20, keep: &kept)
            guard var permit = kept.take() else { return }
            permit.requestSent(now: .milliseconds(n * 20))
            permit.requestWaits(now: .milliseconds(n * 20 + 1))
            permit.requestSent(now: .milliseconds(n * 20 + 5_000))
            permit.headArrived(.success, now: .milliseconds(n * 20 + 5_010))
            permit.report(.success, now: .milliseconds(n * 20 + 60_000))
        }
        #expect(guardian.snapshot().adaptiveLimit == 20)
        // Never sent whole: no sample, whatever it took.
        for n in 0..<20 as Range<Int64> {
            var kept: AttemptPermit?
            _ = guardian.ask(100_000 + n * 20, keep: &kept)
            if let permit = kept.take() { permit.report(.success, now: .milliseconds(120_000)) }
        }
        #expect(guardian.snapshot().adaptiveLimit == 20)
    }

    @Test func aHeadThatDoesNotDecideIsASampleAtTheEndOfItsOwnTime() {
        let guardian = make()
        for n in 0..<10 as Range<Int64> {
            var kept: AttemptPermit?
            _ = guardian.ask(n * 12, keep: &kept)
            guard var permit = kept.take() else { return }
            permit.requestSent(now: .milliseconds(n * 12))
            permit.headArrived(now: .milliseconds(n * 12 + 1))
            // A stream of an hour; its status is in the trailers.
            permit.report(n == 9 ? backpressure : .success, now: .milliseconds(3_600_000 + n))
        }
        #expect(guardian.snapshot().adaptiveLimit == 20, "ten samples within 9 ms are no window")
        #expect(window(guardian, from: 3_600_000, .success) == 18, "the one that was turned away counts with them")
    }

    @Test func anAttemptIsOneSample() {
        let guardian = make()
        for n in 0..<5 as Range<Int64> {
            var kept: AttemptPermit?
            _ = guardian.ask(n * 30, keep: &kept)
            guard var permit = kept.take() else { return }
            permit.requestSent(now: .milliseconds(n * 30))
            permit.headArrived(backpressure, now: .milliseconds(n * 30))
            permit.settle(backpressure, now: .milliseconds(n * 30))
            permit.report(backpressure, now: .milliseconds(n * 30))
        }
        #expect(guardian.snapshot().adaptiveLimit == 20, "five, not fifteen")
    }

    @Test func settingsSwitchItOnAndOff() {
        var settings = GuardSettings.adaptive(.aimd, concurrent: 20)
        settings.bulkhead.adaptive = nil
        let guardian = Guard(settings, draw: Draw(seed: 1))
        #expect(window(guardian, from: 0, backpressure) == -1)
        var kept: AttemptPermit?
        #expect(guardian.ask(500, keep: &kept) == .admitted)
        guardian.apply(.adaptive(.aimd, concurrent: 20), now: .milliseconds(500))
        if let permit = kept.take() { permit.report(backpressure, now: .milliseconds(700)) }
        #expect(window(guardian, from: 1_000, backpressure) == 18)
        #expect(guardian.snapshot().permits == 18)
        guardian.apply(.adaptive(.aimd, concurrent: 9), now: .milliseconds(2_000))
        #expect(guardian.snapshot().permits == 9 && guardian.snapshot().adaptiveLimit == 9)
        guardian.apply(settings, now: .milliseconds(3_000))
        let snapshot = guardian.snapshot()
        #expect(snapshot.permits == 20 && snapshot.adaptiveLimit == nil)
    }
}
