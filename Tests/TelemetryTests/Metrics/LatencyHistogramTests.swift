// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Telemetry

@Suite struct LatencyHistogramTests {
    @Test func fineBucketsFollowEachOtherWithoutGap() {
        var expected: UInt64 = 0
        for i in 0..<LatencyBuckets.fineCount {
            let (start, width) = LatencyBuckets.fineRange(i)
            #expect(start == expected)
            #expect(LatencyBuckets.fineIndex(start) == i)
            #expect(LatencyBuckets.fineIndex(start + width - 1) == i)
            #expect(i < 32 || width * 32 <= start)
            expected = start + width
        }
        #expect(LatencyBuckets.fineIndex(expected) == LatencyBuckets.fineCount - 1)
        #expect(LatencyBuckets.fineIndex(.max) == LatencyBuckets.fineCount - 1)
        #expect(expected > 120_000_000_000)
    }

    @Test func coarseBucketsAreInclusiveAbove() {
        #expect(LatencyBuckets.bounds.count == LatencyBuckets.boundCount)
        for (i, bound) in LatencyBuckets.bounds.enumerated() {
            #expect(LatencyBuckets.coarseIndex(bound.nanoseconds) == i)
            #expect(LatencyBuckets.coarseIndex(bound.nanoseconds + 1) == i + 1)
            #expect(Double(bound.label.description).map { UInt64(($0 * 1e9).rounded()) } == bound.nanoseconds)
        }
        #expect(LatencyBuckets.coarseIndex(0) == 0)
        #expect(LatencyBuckets.coarseIndex(.max) == 15)
    }

    @Test func quantilesAreWithinTwoPercent() {
        var random = Seeded()
        let registry = MetricsRegistry(shards: 2)
        let histogram = registry.histogram("h_seconds", help: "")
        // From 50 µs to 50 s, evenly by order of magnitude.
        var values = (0..<20_000).map { _ in
            let magnitude = Int64.random(in: 0..<6, using: &random)
            return Int64.random(in: 50_000..<500_000, using: &random) * [1, 10, 100, 1_000, 10_000, 100_000][Int(magnitude)]
        }
        for (i, value) in values.enumerated() { histogram.record(nanoseconds: value, shard: i % 2) }
        values.sort()
        let snapshot = histogram.snapshot()
        #expect(snapshot.sumNanoseconds == values.reduce(0) { $0 + UInt64($1) })
        for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = Double(values[max(Int((q * 20_000).rounded(.up)) - 1, 0)])
            let told = Double(snapshot.quantile(q)?.wholeNanoseconds ?? -1)
            #expect(abs(told - exact) / exact < 0.017, "q \(q): \(told) for \(exact); \(Seeded.note)")
        }
    }

    @Test func oddValuesHaveAPlace() {
        let registry = MetricsRegistry(shards: 1)
        let histogram = registry.histogram("h_seconds", help: "")
        let empty = histogram.snapshot()
        #expect(empty.quantile(0.5) == nil)
        histogram.record(nanoseconds: -5, shard: 0)
        histogram.record(nanoseconds: 0, shard: 0)
        histogram.record(nanoseconds: .max, shard: 0)
        histogram.record(from: .never, to: .origin, shard: 0)
        let snapshot = histogram.snapshot()
        #expect(snapshot.count == 4)
        #expect(snapshot.sumNanoseconds == UInt64(Int64.max))
        #expect(histogram.coarseCounts() == [3] + [UInt64](repeating: 0, count: 14) + [1])
    }

    @Test func snapshotsAddAndSubtract() {
        let registry = MetricsRegistry(shards: 1)
        let a = registry.histogram("h_seconds", help: "", labels: [("x", "a")])
        let b = registry.histogram("h_seconds", help: "", labels: [("x", "b")])
        a.record(nanoseconds: 1_000_000, shard: 0)
        let before = a.snapshot()
        for _ in 0..<10 { a.record(nanoseconds: 8_000_000, shard: 0) }
        b.record(nanoseconds: 50, shard: 0)
        let recent = a.snapshot().since(before)
        #expect(recent.count == 10)
        #expect(recent.sumNanoseconds == 80_000_000)
        var both = a.snapshot()
        both.add(b.snapshot())
        #expect(both.count == 12)
    }
}
