// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

/// How many plain attempts a second one guard takes: admitted, sent, answered, reported, with permits for all.
///
/// The stress itself is slower on purpose: its threads give way while they hold permits, and count everything a second time.
enum PlainRate {
    /// The best of some rounds in turn, since other programs only ever make it slower.
    static func best(of rounds: Int, threads: [Int], operations: Int) -> [(threads: Int, rate: Int)] {
        var best = threads.map { (threads: $0, rate: 0) }
        for _ in 0..<rounds {
            for index in best.indices {
                let rate = perSecond(threads: best[index].threads, operations: operations)
                best[index].rate = max(best[index].rate, rate)
            }
        }
        return best
    }

    private static func perSecond(threads: Int, operations: Int) -> Int {
        let guardian = Guard(draw: Draw(seed: 1))
        let share = max(1, operations / threads)
        let start = monotonicNanoseconds()
        Threads.run(threads) { index in
            var request = UInt64(index) << 40
            for operation in 0..<share {
                let now = Instant(nanoseconds: Int64(operation) * 100)
                request += 1
                switch guardian.admit(now: now, request: request, isFirstAttempt: true) {
                case .refused: break
                case .mustWait: break
                case .admitted(var permit):
                    permit.requestSent(now: now)
                    permit.headArrived(.success, now: now)
                    permit.report(.success, now: now)
                }
            }
        }
        return Int(Double(share * threads) * 1e9 / Double(max(1, monotonicNanoseconds() - start)))
    }

    static func inWords(_ rate: Int) -> String {
        if rate < 1_000_000 { return "\(rate)" }
        let hundredths = rate / 10_000 % 100
        return "\(rate / 1_000_000).\(hundredths < 10 ? "0" : "")\(hundredths) million"
    }
}
