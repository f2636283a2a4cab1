// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core
import Glibc

/// How latencies are averaged (semantics, section 9).
public struct PeakEWMASettings: Equatable, Sendable {
    /// An average has come down to 1/e of the way to what is measured now after this long. 1 ms or more. Default 10 s.
    public var decay: Duration = .seconds(10)
    /// What a failed attempt counts as while no latency is known. Default 1 s.
    public var firstPenalty: Duration = .seconds(1)

    public init() {}
}

/// The latency of each endpoint of one upstream, as a cost by which an ``EndpointPicker`` compares two of them.
///
/// Rule: cost = average · (exchanges under way + 1). A latency above the average replaces it at once, one below moves it by
/// 1 − e^(−Δt/τ): quick to believe in trouble, slow to believe in its end. Failures enter as the pool's 99th percentile if
/// they were quicker, and count as under way for as long as a success of that latency would have been: an endpoint that
/// refuses in 1 ms has nothing under way and would otherwise look idle, whatever its average (L3).
/// Statistic: an average an endpoint; the median of the averages and the pool's percentile, renewed ten times each τ.
/// Cold start: an endpoint of which nothing is known costs as one with the median, so that it gets its share and no flood;
/// the first answer replaces that guess. Recovery: an average that is not renewed fades when it is read, so that an endpoint
/// which lost every comparison is asked again after some τ.
/// Source: Finagle's `PeakEwma`, linkerd2-proxy; the count of failures is ours [H], by Little's law.
///
/// Shared by all threads: each endpoint's numbers are two words that are exchanged, and nothing locks or allocates. About 225
/// further words hold the pool's latencies.
public final class PeakEWMA: Sendable {
    public let count: Int
    private let decay: Double
    private let firstPenalty: Double
    private let averages: AtomicWords
    /// Failures that would still be under way had they been answers.
    private let ghosts: AtomicWords
    private let latencies = AtomicWords(count: LatencyBuckets.count)
    private let pool = AtomicWords(count: 3)
    /// Where whoever renews the median puts the averages as they are now.
    private let faded: AtomicWords

    /// What `pool` holds.
    private enum Pool {
        static let median = 0
        static let penalty = 1
        static let nextRefresh = 2
    }

    /// While nothing at all is known, endpoints are compared by exchanges under way, as if each took 1 ms.
    private static let nominal = 1_000_000.0
    /// Costs are in units of 1,024 ns and below 2^42, so that 52 days times the greatest weight do not overflow.
    private static let greatestCost = 4_398_046_511_103.0

    public init(_ settings: PeakEWMASettings = PeakEWMASettings(), count: Int) {
        self.count = max(0, count)
        decay = Double(min(max(1_000_000, settings.decay.wholeNanoseconds), 1 << 60))
        firstPenalty = Double(min(max(1, settings.firstPenalty.wholeNanoseconds), 1 << 60))
        averages = AtomicWords(count: self.count)
        ghosts = AtomicWords(count: self.count)
        faded = AtomicWords(count: self.count)
    }

    /// An attempt ended. Successes and failures count, the rest says nothing of the endpoint.
    ///
    /// - Parameter latencyNanoseconds: from dispatch to the response head, or to the failure.
    public func report(_ endpoint: Int, _ outcome: Outcome, latencyNanoseconds: Int64, now: Instant) {
        guard endpoint >= 0 && endpoint < count else { return }
        let latency = Double(max(1, latencyNanoseconds))
        switch outcome.outcomeClass {
        case .success:
            latencies.add(1, at: LatencyBuckets.index(latencyNanoseconds))
            observe(endpoint, latency, now: now)
        case .failure:
            let penalty = Double(penaltyNanoseconds)
            observe(endpoint, max(latency, penalty), now: now)
            if latency < penalty { addGhost(endpoint, 1 - latency / penalty, lasting: penalty, now: now) }
        case .backpressure, .neutral, .local: return
        }
        refreshIfDue(now: now)
    }

    /// What another exchange with an endpoint costs: for comparison only, 1 … 2^42.
    public func cost(of endpoint: Int, inFlight: Int, now: Instant) -> Int {
        guard endpoint >= 0 && endpoint < count else { return Int(Self.greatestCost) }
        var average = fadedMedian(now: now)
        if let known = DatedAverage(word: averages[endpoint]) {
            average = Double(known.value) * known.remainder(at: now, decayNanoseconds: decay)
        } else if average == 0 {
            average = Self.nominal
        }
        var underWay = Double(max(0, inFlight)) + 1
        if let dead = DatedAverage(word: ghosts[endpoint]) {
            underWay += Double(dead.value) * dead.remainder(at: now, decayNanoseconds: Double(penaltyNanoseconds))
        }
        return Int(max(1, min(average * underWay / 1_024, Self.greatestCost)))
    }

    /// Forgets an endpoint: another one has its place, or it comes back after an ejection.
    public func forget(_ endpoint: Int) {
        guard endpoint >= 0 && endpoint < count else { return }
        averages[endpoint] = 0
        ghosts[endpoint] = 0
    }

    /// Takes over what an older one has measured of an endpoint. The pool's median and percentile come with the next report.
    func inherit(_ previous: PeakEWMA, _ old: Int, as endpoint: Int) {
        guard old >= 0 && old < previous.count && endpoint >= 0 && endpoint < count else { return }
        averages[endpoint] = previous.averages[old]
        ghosts[endpoint] = previous.ghosts[old]
    }

    /// The average of an endpoint as it was last changed; `nil`: nothing is known.
    public func averageNanoseconds(_ endpoint: Int) -> Int64? {
        guard endpoint >= 0 && endpoint < count else { return nil }
        return DatedAverage(word: averages[endpoint]).map { Int64($0.value) }
    }

    /// The median of the endpoints' averages, as they were when it was last renewed; 0 while nothing is known.
    public var medianNanoseconds: Int64 { Int64(pool[Pool.median]) }

    /// What a failure counts as at least: the 99th percentile of the pool's answers.
    public var penaltyNanoseconds: Int64 {
        let known = pool[Pool.penalty]
        return known == 0 ? Int64(firstPenalty) : Int64(known)
    }

    // MARK: Inside

    /// The median as it would be by now: it fades as the averages do, else an endpoint of which nothing is known would lose to each of
    /// the others by a hair, and nothing would ever become known of it.
    private func fadedMedian(now: Instant) -> Double {
        let median = Double(medianNanoseconds)
        if median == 0 { return 0 }
        let renewed = Double(pool[Pool.nextRefresh]) - decay / 10
        return median * exp(-max(0, Double(now.nanoseconds) - renewed) / decay)
    }

    private func observe(_ endpoint: Int, _ latency: Double, now: Instant) {
        averages.update(endpoint) { word in
            guard let known = DatedAverage(word: word) else { return DatedAverage(latency, at: now).word }
            let average = Double(known.value)
            if latency > average { return known.changed(to: latency, at: now).word }
            let remainder = known.remainder(at: now, decayNanoseconds: decay)
            return known.changed(to: latency + (average - latency) * remainder, at: now).word
        }
    }

    private func addGhost(_ endpoint: Int, _ part: Double, lasting penalty: Double, now: Instant) {
        ghosts.update(endpoint) { word in
            guard let known = DatedAverage(word: word) else { return DatedAverage(part, at: now).word }
            let left = Double(known.value) * known.remainder(at: now, decayNanoseconds: penalty)
            return known.changed(to: left + part, at: now).word
        }
    }

    /// Renews what is known of the pool: one thread when it is due, and whoever comes while nothing is known.
    private func refreshIfDue(now: Instant) {
        let instant = UInt64(clamping: now.nanoseconds)
        let due = pool[Pool.nextRefresh]
        if instant < due && pool[Pool.median] != 0 { return }
        var isMine = false
        pool.update(Pool.nextRefresh) { current in
            isMine = current == due
            return isMine ? instant &+ UInt64(decay / 10) : current
        }
        guard isMine else { return }
        pool[Pool.median] = medianOfAverages(now: now)
        if let percentile = ninetyNinth() { pool[Pool.penalty] = percentile }
    }

    /// By halving the range of values, since there is no place to sort them; positive floats are in the order of their bits.
    /// Faded as a pick reads them, else the unseen would lose to all of a pool that is seldom asked.
    private func medianOfAverages(now: Instant) -> UInt64 {
        var all = 0
        for index in 0..<count {
            let average = DatedAverage(word: averages[index])
            let value = average.map { Double($0.value) * $0.remainder(at: now, decayNanoseconds: decay) }
            faded[index] = value.map { UInt64(Float(max(1, $0)).bitPattern) } ?? UInt64.max
            if average != nil { all += 1 }
        }
        func known(upTo bound: UInt32) -> Int {
            var found = 0
            for index in 0..<count where faded[index] <= UInt64(bound) { found += 1 }
            return found
        }
        if all == 0 { return 0 }
        var low = 0 as UInt32
        var high = Float.greatestFiniteMagnitude.bitPattern
        while low < high {
            let middle = low + (high - low) / 2
            if known(upTo: middle) >= (all + 1) / 2 { high = middle } else { low = middle + 1 }
        }
        return UInt64(max(1, min(Float(bitPattern: low), 0x1p62)))
    }

    /// `nil` if there were no answers. An eighth of each bucket goes, so that the percentile is that of about the last τ.
    private func ninetyNinth() -> UInt64? {
        var total = 0
        for index in 0..<latencies.count { total += Int(latencies[index]) }
        if total == 0 { return nil }
        let rank = Share(tenThousandths: 9_900).leastPart(of: total)
        var seen = 0
        var found: Int?
        for index in 0..<latencies.count {
            let bucket = latencies[index]
            seen += Int(bucket)
            if found == nil && seen >= rank { found = index }
            if bucket > 0 { latencies.subtract((bucket + 7) / 8, at: index) }
        }
        return UInt64(LatencyBuckets.middle(found ?? LatencyBuckets.count - 1))
    }
}

extension EndpointPicker {
    /// The endpoint for an attempt, the cheaper of two drawn; with the policy `leastRequest`. `nil`: there is none.
    ///
    /// - Parameter load: exchanges under way at an endpoint.
    @inlinable
    public func pick(
        request: UInt64, attempt: Int, draw: Draw, tried: TriedEndpoints, latencies: PeakEWMA, now: Instant, load: (Int) -> Int
    ) -> Int? {
        pick(request: request, attempt: attempt, draw: draw, tried: tried) {
            latencies.cost(of: $0, inFlight: load($0), now: now)
        }
    }
}
