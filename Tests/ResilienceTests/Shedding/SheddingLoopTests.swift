// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 10: a guard with priorities before a server that really queues.
@Suite struct SheddingLoopTests {
    /// Ten workers of 50 ms; six more permits than that, and eight places to wait.
    private func loop(_ changes: [(atMilliseconds: Int64, percent: Int64)], stream: UInt64) -> ModelServer {
        var settings = GuardSettings()
        settings.breaker.disabled = true
        settings.bulkhead.concurrent = 16
        settings.bulkhead.queue = 8
        var load = ModelServer.Load()
        load.service = 50_000
        load.percentOfCapacity = 60
        load.changes = changes
        load.priority = { random in
            // 10 % critical, 20 % high, 30 % normal, 40 % bulk.
            switch random.below(10) {
            case 0: .critical
            case 1, 2: .high
            case 3, 4, 5: .normal
            default: .bulk
            }
        }
        return ModelServer(settings, load, seed: .current, stream: stream)
    }

    @Test func S2_overloadCostsTheLeastImportant() {
        let calm = loop([], stream: 4)
        calm.run(seconds: 20)
        let unloaded = calm.latency(percentile: 99, 2..<20)
        let loop = loop([(0, 300)], stream: 5)
        loop.run(seconds: 40)
        let share = loop.goodput(5..<40) / loop.load.capacity
        #expect(share >= 0.9, "\(Seed.current) goodput \(share)")
        // The queue's target under congestion is 5 ms, but its first 100 ms may take 50 ms.
        let served = loop.latency(percentile: 99, 5..<40)
        #expect(served <= 2 * unloaded + 50_000, "\(Seed.current) \(served) µs, unloaded \(unloaded)")
        // Of 300 % the first three classes ask for 30, 60 and 90 %.
        func part(_ priority: Priority) -> Double {
            let refused = loop.refused.count { $0.priority == priority }
            let served = loop.served.count { $0.priority == priority }
            return Double(served) / Double(served + refused)
        }
        let parts = Priority.allCases.map(part)
        // Whoever finds a free permit has it, whatever its class.
        #expect(parts[0] > 0.75 && parts[1] > 0.4 && parts[2] < 0.3 && parts[3] < 0.3, "\(Seed.current) \(parts)")
    }

    @Test func S4_sheddingStopsSoonAfterTheLoadIsNormal() {
        let loop = loop([(0, 300), (10_000, 60)], stream: 6)
        loop.run(seconds: 30)
        let shed = loop.refused.filter { $0.reason == .shedOccupancy }
        #expect(shed.count > 100)
        // A dwell of one second, and one more.
        #expect(shed.allSatisfy { $0.at < 12_000_000 }, "\(Seed.current) the last at \(shed.last?.at ?? 0) µs")
    }
}
