// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The buckets in which latencies are counted: eight to an octave from 8 µs to 36 min, so that a percentile read from them
/// is off by at most a sixteenth. What lies outside counts in the first or the last. (The idea of HdrHistogram, Gil Tene.)
enum LatencyBuckets {
    private static let firstOctave = 13
    private static let octaves = 28
    /// One below the first octave, and eight for each.
    static let count = octaves * 8 + 1

    static func index(_ nanoseconds: Int64) -> Int {
        guard nanoseconds >= 1 << firstOctave else { return 0 }
        let octave = 63 - nanoseconds.leadingZeroBitCount
        guard octave < firstOctave + octaves else { return count - 1 }
        return (octave - firstOctave) * 8 + Int(nanoseconds >> Int64(octave - 3) & 7) + 1
    }

    /// The middle of a bucket, in nanoseconds.
    static func middle(_ index: Int) -> Int64 {
        if index <= 0 { return 1 << (firstOctave - 1) }
        let octave = (index - 1) / 8 + firstOctave
        let lower = Int64(8 + (index - 1) % 8) << Int64(octave - 3)
        return lower + (1 << Int64(octave - 4))
    }
}

/// The latencies of one endpoint in one interval.
struct LatencyHistogram: Sendable {
    private var buckets = Array(repeating: 0 as UInt32, count: LatencyBuckets.count)
    private(set) var count = 0

    mutating func record(_ nanoseconds: Int64) {
        buckets[LatencyBuckets.index(nanoseconds)] &+= 1
        count += 1
    }

    /// The latency that `share` of all do not exceed; 0 if there are none.
    func percentile(_ share: Share) -> Int64 {
        let rank = max(1, share.leastPart(of: count))
        var seen = 0
        for (index, bucket) in buckets.enumerated() {
            seen += Int(bucket)
            if seen >= rank { return LatencyBuckets.middle(index) }
        }
        return 0
    }

    mutating func clear() {
        if count == 0 { return }
        for index in buckets.indices { buckets[index] = 0 }
        count = 0
    }
}
