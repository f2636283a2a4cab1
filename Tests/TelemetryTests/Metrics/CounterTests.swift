// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Telemetry

@Suite struct CounterTests {
    @Test func fourWritersSumExactly() {
        let registry = MetricsRegistry(shards: 4)
        let counter = registry.counter("c_total", help: "")
        let neighbour = registry.counter("d_total", help: "")
        let gauge = registry.gauge("g", help: "")
        let histogram = registry.histogram("h_seconds", help: "")
        onThreads(4) { shard in
            for i in 0..<50_000 {
                counter.add(shard: shard)
                neighbour.add(3, shard: shard)
                gauge.add(i % 2 == 0 ? 2 : -1, shard: shard)
                histogram.record(nanoseconds: 2_000_000, shard: shard)
                counter.addFromAnyThread()
            }
        }
        #expect(counter.value == 400_000)
        #expect(neighbour.value == 600_000)
        #expect(gauge.value == 100_000)
        let snapshot = histogram.snapshot()
        #expect(snapshot.count == 200_000)
        #expect(snapshot.sumNanoseconds == 200_000 * 2_000_000)
    }

    @Test func aScrapeDuringWritesNeverGoesBack() {
        let registry = MetricsRegistry(shards: 2)
        let counter = registry.counter("c_total", help: "")
        let histogram = registry.histogram("h_seconds", help: "")
        onThreads(3) { number in
            if number < 2 {
                for i in 0..<20_000 {
                    counter.add(shard: number)
                    histogram.record(nanoseconds: Int64(i) * 10_000, shard: number)
                }
            } else {
                var last: UInt64 = 0
                for _ in 0..<50 {
                    let output = text { registry.write(into: &$0) }
                    // The checker compares `_count` with the last bucket.
                    #expect(throws: Never.self) { try PrometheusChecker(output) }
                    let now = counter.value
                    #expect(now >= last)
                    last = now
                }
            }
        }
        #expect(counter.value == 40_000)
    }

    @Test func gaugesSetTheirPartAndGoBelowZero() {
        let registry = MetricsRegistry(shards: 3)
        let gauge = registry.gauge("g", help: "")
        gauge.set(10, shard: 0)
        gauge.set(-25, shard: 2)
        #expect(gauge.value == -15)
        gauge.addFromAnyThread(5)
        gauge.set(0, shard: 0)
        #expect(gauge.value == -20)
    }

    /// Pages go from registry to registry; what the last one counted must not show.
    @Test func pagesComeBackEmpty() {
        for round in 0..<5 {
            let registry = MetricsRegistry(shards: 7)
            let counters = (0..<1_500).map { registry.counter("c_total", help: "", labels: [("n", "\($0)")]) }
            let histograms = (0..<40).map { registry.histogram("h_seconds", help: "", labels: [("n", "\($0)")]) }
            for counter in counters {
                let before = counter.value
                #expect(before == 0, "round \(round)")
                counter.add(7, shard: 6)
            }
            for histogram in histograms {
                let before = histogram.snapshot().count
                #expect(before == 0)
                histogram.record(nanoseconds: .max, shard: 3)
            }
            // No two series share a slot.
            for counter in counters {
                let after = counter.value
                #expect(after == 7)
            }
            for histogram in histograms {
                let after = histogram.snapshot().count
                #expect(after == 1)
            }
        }
    }
}
