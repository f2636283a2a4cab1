// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Counts how many of the recent events were marked (failed, or slow), where "recent" is the last N, the last T, or both.
///
/// All memory is taken at `init`; recording and forgetting cost a few nanoseconds each and never allocate. Totals are kept
/// as they change, so a rate is read without a walk. Instants must not run backwards; the owner sees to that.
///
/// - Ring (count and hybrid): one word an event, `instant << 1 | mark`. An event leaves when N newer ones have come or when it
///   is older than T.
/// - Buckets (time): ten buckets of T/10, so that the window covers between nine tenths of T and all of it.
struct SlidingWindow: Sendable {
    static let bucketCount = 10
    /// The greatest instant that fits a ring word. 2^61 ns are 73 years.
    static let latestInstant: Int64 = 1 << 61
    /// A window of more calls than this is not a window; it bounds the memory of a mistaken setting to 8 MiB.
    static let greatestCallCount = 1 << 20

    private struct Bucket: Sendable {
        var epoch: Int64 = .min
        var total = 0
        var marked = 0
    }

    private(set) var total = 0
    private(set) var marked = 0
    private let isRing: Bool
    private let span: Int64  // ring: greatest age; buckets: width of one
    private var ring: [Int64] = []
    private var oldest = 0
    private var buckets: [Bucket] = []
    private var currentEpoch: Int64 = .min

    init(_ window: BreakerSettings.Window) {
        switch window {
        case .count(let calls):
            isRing = true
            span = .max
            ring = Self.ring(calls)
        case .hybrid(let calls, let time):
            isRing = true
            span = max(1, time.wholeNanoseconds)
            ring = Self.ring(calls)
        case .time(let time):
            isRing = false
            span = max(1, time.wholeNanoseconds / Int64(Self.bucketCount))
            buckets = Array(repeating: Bucket(), count: Self.bucketCount)
        }
    }

    private static func ring(_ calls: Int) -> [Int64] { Array(repeating: 0, count: min(max(1, calls), greatestCallCount)) }

    /// Adds one event.
    mutating func record(_ isMarked: Bool, at now: Int64) {
        forget(before: now)
        if isRing {
            if total == ring.count { dropOldest() }
            var index = oldest + total
            if index >= ring.count { index -= ring.count }
            ring[index] = now << 1 | (isMarked ? 1 : 0)
        } else {
            let epoch = now / span
            let index = Int(epoch % Int64(Self.bucketCount))
            if buckets[index].epoch != epoch { buckets[index] = Bucket(epoch: epoch) }
            buckets[index].total += 1
            if isMarked { buckets[index].marked += 1 }
        }
        total += 1
        if isMarked { marked += 1 }
    }

    /// Lets go of what is too old at `now`.
    mutating func forget(before now: Int64) {
        if isRing {
            while total > 0, now - (ring[oldest] >> 1) > span { dropOldest() }
        } else {
            let epoch = now / span
            if epoch == currentEpoch { return }
            currentEpoch = epoch
            for index in buckets.indices where buckets[index].epoch <= epoch - Int64(Self.bucketCount) && buckets[index].total > 0 {
                total -= buckets[index].total
                marked -= buckets[index].marked
                buckets[index] = Bucket()
            }
        }
    }

    mutating func clear() {
        total = 0
        marked = 0
        oldest = 0
        for index in buckets.indices { buckets[index] = Bucket() }
    }

    /// This window's events under another shape. The order inside a bucket is not known, so buckets carry over only to the
    /// same buckets; otherwise the new window starts empty.
    func reshaped(_ window: BreakerSettings.Window) -> SlidingWindow {
        var fresh = SlidingWindow(window)
        if isRing {
            for i in 0..<total {
                let word = ring[(oldest + i) % ring.count]
                fresh.record(word & 1 == 1, at: word >> 1)
            }
        } else if !fresh.isRing && fresh.span == span {
            fresh = self
        }
        return fresh
    }

    private mutating func dropOldest() {
        marked -= Int(ring[oldest] & 1)
        total -= 1
        oldest += 1
        if oldest == ring.count { oldest = 0 }
    }
}
