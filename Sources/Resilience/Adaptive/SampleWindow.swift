// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Samples that are judged together: at least ten, over at least 100 ms (semantics, section 6, rule c).
struct SampleWindow: Sendable {
    static let leastSpan: Int64 = 100_000_000
    static let leastSamples = 10
    /// 2^42 ns, more than an hour, so that a thousand times 1024ths of it are a number.
    static let longestRTT: Int64 = 1 << 42

    private var beganAt: Int64 = 0
    private var sum: Int64 = 0
    private(set) var samples = 0
    private(set) var drops = 0
    /// The most that was under way when one of them began.
    private(set) var greatestInflight = 0

    /// Adds one; whether the window is complete with it: a million are enough in any time. `rtt` is in 0 … `longestRTT`, so
    /// their sum fits.
    mutating func record(_ rtt: Int64?, inflight: Int, at now: Int64) -> Bool {
        if samples == 0 { beganAt = now }
        samples += 1
        greatestInflight = max(greatestInflight, inflight)
        if let rtt { sum += rtt } else { drops += 1 }
        return (samples >= Self.leastSamples && now - beganAt >= Self.leastSpan) || samples == 1 << 20
    }

    /// Nanoseconds; `nil` where all were dropped.
    var meanRTT: Int64? { samples > drops ? sum / Int64(samples - drops) : nil }

    /// One in twenty or more: the few timeouts that a large upstream always has say nothing about its load, and if each
    /// took a tenth of the permits away a healthy one would be refused its traffic (A5).
    var isDropped: Bool { drops > 0 && drops * 20 >= samples }

    /// Whether the traffic asked for at least half of `limit` permits: else it shows nothing of what more would do.
    func tests(_ limit: Int) -> Bool { greatestInflight * 2 >= limit }
}
