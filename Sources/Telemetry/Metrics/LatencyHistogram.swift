// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// How long something took, counted for each reactor in fine log-linear buckets (for quantiles) and in the buckets that
/// Prometheus is shown.
///
/// Written without lock by one thread a shard and read by the scraper at any time, which no histogram built on an `Array`
/// allows; so this is an HDR histogram's bucket scheme over `MetricSlot`, and not the HdrHistogram package. One record is
/// three single-writer additions.
@frozen public struct LatencyHistogram: Sendable {
    @usableFromInline let slot: MetricSlot

    init(slot: MetricSlot) { self.slot = slot }

    /// Counts one value; negative counts as 0. Only the thread of reactor `shard` may call this.
    @inlinable @inline(__always)
    public func record(nanoseconds: Int64, shard: Int) {
        let value = UInt64(max(nanoseconds, 0))
        slot.add(1, shard: shard, word: LatencyBuckets.fineIndex(value))
        slot.add(1, shard: shard, word: LatencyBuckets.fineCount &+ LatencyBuckets.coarseIndex(value))
        slot.add(value, shard: shard, word: LatencyBuckets.sumWord)
    }

    /// Counts the time from `start` to `end`.
    @inlinable @inline(__always)
    public func record(from start: Instant, to end: Instant, shard: Int) {
        record(nanoseconds: end.nanoseconds(since: start), shard: shard)
    }

    /// What was counted so far by all reactors.
    package func snapshot() -> LatencySnapshot {
        var fine = [UInt64](repeating: 0, count: LatencyBuckets.fineCount)
        for i in fine.indices { fine[i] = slot.total(word: i) }
        return LatencySnapshot(fine: fine, sumNanoseconds: slot.total(word: LatencyBuckets.sumWord))
    }

    /// The count of each Prometheus bucket, not cumulative; the last is `+Inf`.
    func coarseCounts() -> [UInt64] {
        (0...LatencyBuckets.boundCount).map { slot.total(word: LatencyBuckets.fineCount + $0) }
    }

    var sumNanoseconds: UInt64 { slot.total(word: LatencyBuckets.sumWord) }
}

/// The two bucket schemes of a latency.
///
/// Fine: values in units of 1,024 ns; 0 to 31 each alone, then 32 buckets for each doubling up to 137 s, so a bucket is
/// at most 3.2 % wide and its middle at most 1.6 % off. What is longer lands in the last.
@usableFromInline enum LatencyBuckets {
    @usableFromInline static var unitShift: UInt64 { 10 }
    @usableFromInline static var octaves: Int { 22 }
    @usableFromInline static var fineCount: Int { 32 * (octaves + 1) }
    @usableFromInline static var boundCount: Int { 15 }
    @usableFromInline static var sumWord: Int { fineCount + boundCount + 1 }
    /// Words of one histogram in one shard.
    static var words: Int { sumWord + 1 }

    /// Upper bounds (inclusive) in nanoseconds with the `le` value that Prometheus is shown.
    static let bounds: [(nanoseconds: UInt64, label: StaticString)] = [
        (1_000_000, "0.001"), (2_500_000, "0.0025"), (5_000_000, "0.005"), (10_000_000, "0.01"), (25_000_000, "0.025"),
        (50_000_000, "0.05"), (100_000_000, "0.1"), (250_000_000, "0.25"), (500_000_000, "0.5"), (1_000_000_000, "1"),
        (2_500_000_000, "2.5"), (5_000_000_000, "5"), (10_000_000_000, "10"), (30_000_000_000, "30"),
        (60_000_000_000, "60"),
    ]

    @inlinable @inline(__always)
    static func fineIndex(_ nanoseconds: UInt64) -> Int {
        let units = nanoseconds >> unitShift
        if units < 32 { return Int(truncatingIfNeeded: units) }
        let doubling = 58 &- units.leadingZeroBitCount  // 0 for 32 to 63
        let index = (doubling &+ 1) &* 32 &+ Int(truncatingIfNeeded: units >> UInt64(truncatingIfNeeded: doubling)) &- 32
        return min(index, fineCount &- 1)
    }

    /// Position among `bounds`. Most answers are fast, so a scan from the low end beats a search.
    @inlinable @inline(__always)
    static func coarseIndex(_ n: UInt64) -> Int {
        if n <= 10_000_000 { return n <= 2_500_000 ? (n <= 1_000_000 ? 0 : 1) : (n <= 5_000_000 ? 2 : 3) }
        if n <= 250_000_000 { return n <= 50_000_000 ? (n <= 25_000_000 ? 4 : 5) : (n <= 100_000_000 ? 6 : 7) }
        if n <= 5_000_000_000 {
            return n <= 1_000_000_000 ? (n <= 500_000_000 ? 8 : 9) : (n <= 2_500_000_000 ? 10 : 11)
        }
        return n <= 30_000_000_000 ? (n <= 10_000_000_000 ? 12 : 13) : (n <= 60_000_000_000 ? 14 : 15)
    }

    /// The first value of a fine bucket and its width, in nanoseconds.
    static func fineRange(_ index: Int) -> (start: UInt64, width: UInt64) {
        if index < 32 { return (UInt64(index) << unitShift, 1 << unitShift) }
        let doubling = UInt64(index / 32 - 1)
        let units = UInt64(index % 32 + 32) << doubling
        return (units << unitShift, 1 << (doubling + unitShift))
    }
}

/// The counts of a latency histogram at one time; snapshots add up over series and subtract over time.
package struct LatencySnapshot: Sendable, Equatable {
    private var fine: [UInt64]
    package private(set) var sumNanoseconds: UInt64

    init(fine: [UInt64], sumNanoseconds: UInt64) {
        self.fine = fine
        self.sumNanoseconds = sumNanoseconds
    }

    package var count: UInt64 { fine.reduce(0, &+) }

    /// The middle of the bucket that holds the value of rank ⌈q · count⌉, at most 1.6 % off above 32 µs; nil without values.
    package func quantile(_ q: Double) -> Duration? {
        let total = count
        guard total > 0 else { return nil }
        let rank = max(1, UInt64((min(max(q, 0), 1) * Double(total)).rounded(.up)))
        var seen: UInt64 = 0
        for i in fine.indices {
            seen &+= fine[i]
            if seen >= rank {
                let (start, width) = LatencyBuckets.fineRange(i)
                return .nanoseconds(Int64(clamping: start + width / 2))
            }
        }
        return nil
    }

    package mutating func add(_ other: LatencySnapshot) {
        for i in fine.indices { fine[i] &+= other.fine[i] }
        sumNanoseconds &+= other.sumNanoseconds
    }

    /// What was counted after `earlier`, a snapshot of the same histogram: for quantiles of the last seconds.
    package func since(_ earlier: LatencySnapshot) -> LatencySnapshot {
        var difference = self
        for i in fine.indices { difference.fine[i] &-= earlier.fine[i] }
        difference.sumNanoseconds &-= earlier.sumNanoseconds
        return difference
    }
}
