// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// When a second attempt is sent beside one that is slow to answer (semantics, section 7).
public struct HedgeSettings: Equatable, Sendable {
    /// The share of first bytes that come sooner than the hedge is sent; what is left is about the extra load. Default 95 %.
    public var quantile = Share(tenThousandths: 9_500)
    /// Never sooner than this. Default 10 ms.
    public var minimumDelay: Duration = .milliseconds(10)
    /// The delay while too few first bytes are known. Default 100 ms.
    public var initialDelay: Duration = .milliseconds(100)

    public init() {}
}

/// How long the attempts at one upstream wait for their response head, and so how long a request waits before it hedges.
///
/// Rule: clamp(quantile of the first-byte times, `minimumDelay`, the try's own limit). Statistic: the times of the last 10 to 20 s, in
/// buckets an eighth of an octave wide. The leg that lost, and the try that ran out of time, count with the time they had waited, a
/// lower bound of what they would have taken: winners alone would drag the quantile down, and with it the delay [H].
/// Cold start: `initialDelay` until 100 are known. Recovery: old times are forgotten after 20 s.
/// Source: Dean and Barroso, "The Tail at Scale" (CACM 2013); gRPC A6 for what a hedge may do.
///
/// Shared by all threads, without a lock or an allocation.
public final class Hedging: Sendable {
    /// First bytes without which the quantile says nothing.
    public static let leastSamples = 100
    private static let interval: Int64 = 10_000_000_000

    /// The times of this interval and of the one before, in turn.
    private let times = [AtomicWords(count: LatencyBuckets.count), AtomicWords(count: LatencyBuckets.count)]
    private let words = AtomicWords(count: 6)

    /// What `words` holds.
    private enum Word {
        /// The number of the interval that is filled now; its parity chooses the times.
        static let interval = 0
        /// The quantile when it was last read, in nanoseconds; 0: too few are known.
        static let quantile = 1
        static let unread = 2
        static let launched = 3
        static let won = 4
        static let unpaid = 5
    }

    public init() {}

    /// An attempt's response head came after so long, or it was given up after so long.
    public func record(nanoseconds: Int64, now: Instant, settings: HedgeSettings) {
        turn(now: now, settings)
        times[Int(words[Word.interval] & 1)].add(1, at: LatencyBuckets.index(nanoseconds))
        words.add(1, at: Word.unread)
        // Each time until it can say something, some 200 ns, and then each time as much has come again.
        if words[Word.quantile] == 0 || words[Word.unread] >= UInt64(Self.leastSamples) { read(settings) }
    }

    /// How long to wait before a hedge, in nanoseconds.
    ///
    /// - Parameter perTry: the try's own limit, in nanoseconds.
    public func delay(now: Instant, settings: HedgeSettings, perTry: Int64) -> Int64 {
        turn(now: now, settings)
        let known = Int64(clamping: words[Word.quantile])
        let wanted = known > 0 ? max(known, settings.minimumDelay.wholeNanoseconds) : settings.initialDelay.wholeNanoseconds
        return max(0, min(wanted, perTry))
    }

    // MARK: Counting

    public func noteLaunched() { words.add(1, at: Word.launched) }
    public func noteWon() { words.add(1, at: Word.won) }
    /// The budget or the bulkhead had nothing left for a hedge that was due.
    public func noteUnpaid() { words.add(1, at: Word.unpaid) }

    /// Hedges that were sent.
    public var launched: UInt64 { words[Word.launched] }
    /// Hedges whose answer was the client's.
    public var won: UInt64 { words[Word.won] }
    /// Hedges that were due and that the guard did not grant.
    public var unpaid: UInt64 { words[Word.unpaid] }

    // MARK: Inside

    /// Begins the interval that `now` is in. One thread wins; what others add at that moment may be lost or count once more.
    private func turn(now: Instant, _ settings: HedgeSettings) {
        let current = words[Word.interval]
        let due = UInt64(clamping: now.nanoseconds / Self.interval)
        if due <= current { return }
        var isMine = false
        words.update(Word.interval) { word in
            isMine = word == current
            return isMine ? due : word
        }
        guard isMine else { return }
        clear(times[Int(due & 1)])
        // After a pause of more than one interval the other one is old as well.
        if due > current + 1 { clear(times[Int(due + 1) & 1]) }
        read(settings)
    }

    private func clear(_ buckets: AtomicWords) { for index in 0..<buckets.count { buckets[index] = 0 } }

    private func read(_ settings: HedgeSettings) {
        words[Word.unread] = 0
        var total = 0
        for buckets in times { for index in 0..<buckets.count { total += Int(buckets[index]) } }
        if total < Self.leastSamples {
            words[Word.quantile] = 0
            return
        }
        let rank = max(1, settings.quantile.leastPart(of: total))
        var seen = 0
        for index in 0..<LatencyBuckets.count {
            seen += Int(times[0][index]) + Int(times[1][index])
            if seen >= rank {
                words[Word.quantile] = UInt64(LatencyBuckets.middle(index))
                return
            }
        }
    }
}
