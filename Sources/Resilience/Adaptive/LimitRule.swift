// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// One way of moving the limit.
protocol LimitRule: Sendable {
    /// The limit after a window, in thousandths of a permit like the one before, and still without bounds.
    mutating func limit(after window: SampleWindow, from thousandths: Int) -> Int
}

/// Additive increase, multiplicative decrease: a tenth fewer, and one at least, for a window with drops or a mean latency above
/// the threshold; else one more, if at least half of the limit was used.
///
/// Statistic: the window's mean and its drops; no memory, so no cold start. Where more work only means longer waits, c workers
/// of s each take L · s / c, so the limit settles in a saw of a tenth just below c · T / s. Recovery: one permit a window.
/// Source: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance" (1989); Netflix's
/// concurrency-limits, `AIMDLimit`.
struct AIMDRule: LimitRule {
    /// Nanoseconds; `.max`: latency takes nothing away.
    var threshold: Int64

    func limit(after window: SampleWindow, from thousandths: Int) -> Int {
        let limit = thousandths / 1_000
        if window.isDropped || window.meanRTT.map({ $0 > threshold }) ?? false { return min(limit - 1, limit * 9 / 10) * 1_000 }
        return window.tests(limit) ? (limit + 1) * 1_000 : thousandths
    }
}

/// Gradient2: L ← 0.8 · L + 0.2 · (L · g + 4), where g = long / short in [½, 1] compares the window's latency with that of the
/// last 600 windows; a queue of four is what it always tries. A window with drops takes a tenth, as AIMD's does.
///
/// Statistic: an average of the windows' means with the weight 2/601 for the newest. Cold start: the plain mean of the first ten. Recovery: where the
/// average is more than twice the latency of now, it falls by a tenth a window. The average learns what it sees: under an
/// overload that never ends it follows the queue that the limit itself makes, and the limit drifts up, slower and slower
/// (docs/guard.md has figures). `maximum` ends that; AIMD has no such memory.
/// Source: Netflix's concurrency-limits, `Gradient2Limit`.
struct Gradient2Rule: LimitRule {
    private static let warmUp = 10
    private static let queue = 4_000

    /// Of the windows' means, in 1024ths of a nanosecond.
    private var long: Int64 = 0
    private var windows = 0

    mutating func limit(after window: SampleWindow, from thousandths: Int) -> Int {
        if window.isDropped { return min(thousandths - 1_000, thousandths * 9 / 10) }
        guard let mean = window.meanRTT else { return thousandths }
        let short = max(1, mean) << 10
        learn(short)
        if !window.tests(thousandths / 1_000) { return thousandths }
        let gradient = Int(min(max(long * 1_000 / short, 500), 1_000))
        let wanted = thousandths * gradient / 1_000 + Self.queue
        return thousandths + (wanted - thousandths) / 5
    }

    private mutating func learn(_ short: Int64) {
        if windows < Self.warmUp {
            windows += 1
            long += (short - long) / Int64(windows)
        } else {
            long += (short - long) * 2 / 601
        }
        if long > short * 2 { long = long / 10 * 9 }
    }
}
