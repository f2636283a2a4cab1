// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

extension OutlierDetector {
    /// An endpoint that a detector finds bad. Worse first: rows of failures by length, then shares of failures, then slowness.
    private struct Suspect {
        var endpoint: Int
        var detector: Detector
        var amount: Double

        private var rank: Int {
            switch detector {
            case .consecutive, .localOrigin, .probe: 0
            case .failureShare, .successRate: 1
            case .latency: 2
            }
        }

        func isWorse(than other: Suspect) -> Bool {
            if rank != other.rank { return rank < other.rank }
            return amount != other.amount ? amount > other.amount : endpoint < other.endpoint
        }
    }

    /// Judges the interval that has ended, if one has; due at `nextEvaluation`. One that comes late judges all since the last.
    public mutating func evaluate(now: Instant) -> [Action] {
        advance(to: now)
        guard clock >= nextEvaluation.nanoseconds else { return [] }
        let suspects = findSuspects()
        healAll(but: suspects)
        var actions: [Action] = []
        for suspect in suspects {
            if limits.enforce && ejectedCount < ejectionCap {
                actions.append(eject(suspect.endpoint, suspect.detector))
            } else {
                actions.append(.detected(endpoint: suspect.endpoint, detector: suspect.detector))
            }
        }
        for index in hosts.indices { hosts[index].clearInterval() }
        intervalStart = clock
        nextEvaluation = Instant(nanoseconds: clock).advanced(byNanoseconds: limits.interval)
        return actions
    }

    /// Ejections are forgotten one a healthy interval: a whole one in rotation, more successes than failures, no suspicion. An
    /// interval without an answer is not healthy, else an endpoint that is seldom asked would fail anew each time (E4).
    private mutating func healAll(but suspects: [Suspect]) {
        var isSuspect = Array(repeating: false, count: hosts.count)
        for suspect in suspects { isSuspect[suspect.endpoint] = true }
        for index in hosts.indices where hosts[index].ejections > 0 && !isSuspect[index] {
            let host = hosts[index]
            guard host.standing == .inRotation, host.inRotationSince <= intervalStart, host.successes > host.failures,
                host.slowIntervals == 0
            else { continue }
            hosts[index].ejections -= 1
            hosts[index].longestEjection = 0
        }
    }

    // MARK: Detectors

    /// Each endpoint once, worst first.
    private mutating func findSuspects() -> [Suspect] {
        let slow = slowOnes()
        var suspects: [Suspect] = []
        var found = Array(repeating: false, count: hosts.count)
        for suspect in fullRows() + failingOnes() + belowTheCrowd() + slow where !found[suspect.endpoint] {
            found[suspect.endpoint] = true
            suspects.append(suspect)
        }
        return suspects.sorted { $0.isWorse(than: $1) }
    }

    /// Those whose row was full when as many were out as may be.
    private func fullRows() -> [Suspect] {
        hosts.indices.compactMap { index in
            guard hosts[index].standing == .inRotation, let detector = limits.runDetector(hosts[index]) else { return nil }
            return Suspect(endpoint: index, detector: detector, amount: Double(hosts[index].failureRun))
        }
    }

    /// Endpoints of enough volume, if they are enough to compare.
    private func comparable() -> [Int] {
        let enough = hosts.indices.filter { hosts[$0].standing == .inRotation && hosts[$0].completed >= limits.volume }
        return enough.count >= limits.hosts ? enough : []
    }

    private func failingOnes() -> [Suspect] {
        let compared = comparable()
        guard let threshold = limits.failureShare else { return [] }
        let successes = compared.reduce(0) { $0 + hosts[$1].successes }
        let completed = compared.reduce(0) { $0 + hosts[$1].completed }
        return compared.compactMap { index in
            let host = hosts[index]
            guard threshold.isReached(by: host.failures, of: host.completed) else { return nil }
            // Where all are equally bad another endpoint would not do better (E2).
            let others = Double(successes - host.successes) / Double(completed - host.completed)
            guard OutlierStatistics.isBeyondLuck(successes: host.successes, of: host.completed, expected: others) else {
                return nil
            }
            return Suspect(endpoint: index, detector: .failureShare, amount: host.failedShare)
        }
    }

    private func belowTheCrowd() -> [Suspect] {
        let compared = comparable()
        guard let distance = limits.successRateDistance, !compared.isEmpty else { return [] }
        let rates = compared.map { 1 - hosts[$0].failedShare }
        let median = OutlierStatistics.median(rates.sorted())
        let deviation = OutlierStatistics.medianAbsoluteDeviation(rates, from: median)
        let bound = median - max(3 * OutlierStatistics.deviationsPerMAD * deviation, distance)
        return zip(compared, rates).compactMap { index, rate in
            guard rate < bound,
                OutlierStatistics.isBeyondLuck(successes: hosts[index].successes, of: hosts[index].completed, expected: median)
            else { return nil }
            return Suspect(endpoint: index, detector: .successRate, amount: 1 - rate)
        }
    }

    private mutating func slowOnes() -> [Suspect] {
        guard let factor = limits.latencyFactor else { return [] }
        let enough = hosts.indices.filter { hosts[$0].standing == .inRotation && hosts[$0].latencies.count >= limits.volume }
        let ninetieth = Share(tenThousandths: 9_000)
        var percentiles = Array(repeating: 0.0, count: hosts.count)
        for index in enough { percentiles[index] = Double(hosts[index].latencies.percentile(ninetieth)) }
        let order = enough.count >= limits.hosts ? enough.sorted { percentiles[$0] < percentiles[$1] } : []
        let sorted = order.map { percentiles[$0] }
        var isSlow = Array(repeating: false, count: hosts.count)
        var suspects: [Suspect] = []
        for (position, index) in order.enumerated() {
            let others = OutlierStatistics.median(sorted, without: position)
            guard percentiles[index] > max(factor * others, others + limits.latencyDistance) else { continue }
            isSlow[index] = true
            if hosts[index].slowIntervals + 1 >= limits.latencyIntervals {
                suspects.append(Suspect(endpoint: index, detector: .latency, amount: percentiles[index] / max(1, others)))
            }
        }
        for index in hosts.indices { hosts[index].slowIntervals = isSlow[index] ? hosts[index].slowIntervals + 1 : 0 }
        return suspects
    }
}

extension OutlierDetector.Host {
    /// Failures among what completed in this interval; there must be one.
    fileprivate var failedShare: Double { Double(failures) / Double(completed) }
}
