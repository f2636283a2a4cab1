// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 2.
@Suite struct RetryBudgetTests {
    private func settings(ratio: Int = 2_000, perSecond: Int = 1_000, window: Duration = .seconds(10)) -> RetryBudgetSettings {
        var settings = RetryBudgetSettings()
        settings.ratio = Share(tenThousandths: ratio)
        settings.minimumPerSecondThousandths = perSecond
        settings.window = window
        return settings
    }

    /// How many of `n` withdrawals at one instant are granted; all are finished at once unless `holding`.
    private func grants(_ budget: inout RetryBudget, _ n: Int, at ms: Int64, holding: Bool = false) -> Int {
        var granted = 0
        for _ in 0..<n {
            if let grant = budget.withdraw(now: .milliseconds(ms)) {
                granted += 1
                if !holding { budget.finish(grant) }
            }
        }
        return granted
    }

    private func deposit(_ budget: inout RetryBudget, _ n: Int, at ms: Int64) {
        for _ in 0..<n { budget.depositFirst(now: .milliseconds(ms)) }
    }

    @Test(arguments: [
        (0, 1), (4, 1), (5, 2), (9, 2), (10, 3), (100, 21), (1_000, 201),
    ])
    func R1_theRatioOfTheFirstsAndOneFromTheFloor(firsts: Int, granted: Int) {
        var budget = RetryBudget(settings(), permits: 10_000)
        deposit(&budget, firsts, at: 1)
        #expect(budget.available(now: .milliseconds(1)) == granted)
        let got = grants(&budget, 1_000, at: 1)
        #expect(got == granted)
        #expect(budget.refused == UInt64(1_000 - granted))
    }

    @Test func R1_sevenTenthsIsNotAll() {
        // A budget that divides by a truncated 1/ratio grants everything at 0.7 (tower).
        var budget = RetryBudget(settings(ratio: 7_000, perSecond: 0), permits: 100_000)
        deposit(&budget, 1_000, at: 1)
        let got = grants(&budget, 1_000, at: 1)
        #expect(got == 700)
    }

    @Test func theFloorRefillsWithoutRounding() {
        var budget = RetryBudget(settings(ratio: 0, perSecond: 333), permits: 10)
        var granted = 0
        // A third of a token a second, asked for every 7 ms for 300 s: a burst of one and 99.9.
        for ms in stride(from: 0 as Int64, through: 300_000, by: 7) { granted += grants(&budget, 1, at: ms) }
        #expect(granted == 100)
    }

    @Test func R6_theFloorsBurstIsItsRate() {
        var budget = RetryBudget(settings(ratio: 0, perSecond: 10_000), permits: 1_000)
        let first = grants(&budget, 200, at: 0)
        #expect(first == 10, "not a whole window of it at once")
        let later = grants(&budget, 200, at: 60_000)
        #expect(later == 10)
    }

    @Test func R1_R2_boundedOverEveryWindow() {
        let seed = Seed.current
        for trial in 0..<30 {
            var random = seed.random(UInt64(trial))
            let ratio = random.below(10_001)
            let perSecond = random.below(5_000)
            var budget = RetryBudget(settings(ratio: ratio, perSecond: perSecond), permits: 1 << 30)
            let slots = 60
            var firsts = Array(repeating: 0, count: slots)
            var extras = Array(repeating: 0, count: slots)
            let burst = max(1_000, perSecond)
            for slot in 0..<slots {
                // Quiet, busy and mad seconds; firsts and extras come mixed.
                let load = [0, 3, 40, 200][random.below(4)]
                var now = Int64(slot) * 1_000
                for _ in 0..<load * 2 {
                    now = min(now + Int64(random.below(6)), Int64(slot) * 1_000 + 999)
                    if random.chance(50) {
                        deposit(&budget, 1, at: now)
                        firsts[slot] += 1
                    } else {
                        extras[slot] += grants(&budget, 1, at: now)
                    }
                }
                // R2, in thousandths, from the start.
                let allowed = ratio * firsts.reduce(0, +) / 10 + perSecond * (slot + 1) + burst
                #expect(extras.reduce(0, +) * 1_000 <= allowed, "\(seed) trial \(trial) slot \(slot)")
            }
            for end in 10...slots {
                let window = extras[(end - 10)..<end].reduce(0, +)
                let paid = firsts[max(0, end - 20)..<end].reduce(0, +)
                let allowed = ratio * paid / 10 + perSecond * 10 + (perSecond > 0 ? burst : 0)
                #expect(window * 1_000 <= allowed, "\(seed) trial \(trial) window to \(end)")
            }
        }
    }

    @Test func R3_simultaneousFailures() {
        var budget = RetryBudget(settings(perSecond: 0), permits: 100)
        deposit(&budget, 1_000, at: 1)
        // Tokens 200, cap 20.
        let held = grants(&budget, 1_000, at: 1, holding: true)
        #expect(held == 20)
        #expect(budget.outstanding == 20)
        var small = RetryBudget(settings(perSecond: 0), permits: 5)
        deposit(&small, 1_000, at: 1)
        let least = grants(&small, 1_000, at: 1, holding: true)
        #expect(least == 3, "a cap under three would make retries a matter of luck")
    }

    /// N failures at once are granted the least of N, the tokens and what the cap leaves, however many are out already, and whichever of them
    /// comes first: the answers are so many yes and then only no.
    @Test func R3_property() {
        let seed = Seed.current
        for trial in 0..<300 {
            var random = seed.random(UInt64(trial))
            let permits = 1 + random.below(300)
            let ratio = random.below(10_001)
            let perSecond = random.below(4) * 1_000
            var budget = RetryBudget(settings(ratio: ratio, perSecond: perSecond), permits: permits)
            deposit(&budget, random.below(2_000), at: 1)
            let outstanding = grants(&budget, random.below(40), at: 1, holding: true)
            let tokens = budget.available(now: .milliseconds(1))
            let cap = max(3, ratio * permits / 10_000)
            let n = random.below(500)
            let answers = (0..<n).map { _ in budget.withdraw(now: .milliseconds(1)) != nil }
            let expected = min(n, min(tokens, cap - outstanding))
            #expect(
                answers == (0..<n).map { $0 < expected }, "\(seed) trial \(trial): \(tokens) tokens, cap \(cap), \(outstanding) out"
            )
            #expect(budget.outstanding == outstanding + expected)
        }
    }

    @Test func R4_nothingLeaks() {
        let seed = Seed.current
        var random = seed.random(4)
        var budget = RetryBudget(settings(perSecond: 50_000), permits: 100_000)
        var waiting: [RetryBudget.Grant] = []
        var sent = 0
        var now: Int64 = 0
        for _ in 0..<20_000 {
            now += Int64(random.below(40))
            switch random.below(4) {
            case 0: deposit(&budget, 1 + random.below(5), at: now)
            case 1:
                if let grant = budget.withdraw(now: .milliseconds(now)) { waiting.append(grant) }
            default:
                guard !waiting.isEmpty else { break }
                let grant = waiting.remove(at: random.below(waiting.count))
                if random.chance(50) {
                    budget.finish(grant)
                    sent += 1
                } else {
                    budget.refund(grant, now: .milliseconds(now))
                }
            }
            #expect(budget.granted - budget.refunded == UInt64(sent + waiting.count), "\(seed)")
            #expect(budget.outstanding == waiting.count, "\(seed)")
        }
        for grant in waiting { budget.refund(grant, now: .milliseconds(now)) }
        #expect(budget.outstanding == 0)
    }

    @Test func R4_aRefundIsWorthWhatWasTaken() {
        var budget = RetryBudget(settings(), permits: 100)
        deposit(&budget, 5, at: 1)
        let one = budget.withdraw(now: .milliseconds(1))
        let two = budget.withdraw(now: .milliseconds(1))
        #expect(one?.epoch == 0 && two != nil && two?.epoch == nil, "one of the ratio, one of the floor")
        #expect(budget.withdraw(now: .milliseconds(1)) == nil)
        if let one, let two {
            budget.refund(one, now: .milliseconds(2))
            budget.refund(two, now: .milliseconds(2))
        }
        #expect(budget.available(now: .milliseconds(2)) == 2)
        // A slot that is gone is not refunded into the one in its place.
        let late = budget.withdraw(now: .milliseconds(3))
        deposit(&budget, 5, at: 10_500)
        if let late { budget.refund(late, now: .milliseconds(10_500)) }
        #expect(budget.available(now: .milliseconds(10_500)) == 2)
    }

    @Test func R5_nothingMeansNothing() {
        var budget = RetryBudget(settings(ratio: 0, perSecond: 0), permits: 100)
        deposit(&budget, 1_000, at: 1)
        let got = grants(&budget, 100, at: 1) + grants(&budget, 100, at: 100_000)
        #expect(got == 0)
        budget.noteFree()
        #expect(budget.free == 1 && budget.granted == 0)
    }

    @Test func R6_idleLeavesOnlyTheFloorsBurst() {
        var budget = RetryBudget(settings(ratio: 10_000, perSecond: 2_000), permits: 10_000)
        deposit(&budget, 500, at: 1)
        let got = grants(&budget, 1_000, at: 10_001)
        #expect(got == 2)
    }

    @Test func settingsChangeInPlace() {
        var budget = RetryBudget(settings(ratio: 1_000, perSecond: 0), permits: 1_000)
        deposit(&budget, 100, at: 1)
        let held = grants(&budget, 100, at: 1, holding: true)
        #expect(held == 10)
        budget.apply(settings(ratio: 5_000, perSecond: 0), permits: 1_000, now: .milliseconds(2))
        #expect(budget.outstanding == 10)
        let more = grants(&budget, 100, at: 2)
        #expect(more == 40)
        budget.apply(settings(ratio: 5_000, perSecond: 0, window: .seconds(20)), permits: 1_000, now: .milliseconds(3))
        #expect(budget.available(now: .milliseconds(3)) == 0)
    }
}
