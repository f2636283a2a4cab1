// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
@testable import Resilience
import Testing

/// Semantics, section 9.
@Suite struct PeakEWMATests {
    static let draw = Draw(seed: Seed.current.value)
    static let millisecond: Int64 = 1_000_000

    // MARK: One endpoint

    @Test func aPeakCountsAtOnceAndFadesByTheFormula() {
        let latencies = PeakEWMA(count: 1)
        func report(_ ms: Int64, at instant: Int64) -> Int64 {
            latencies.report(0, .success, latencyNanoseconds: ms * Self.millisecond, now: .milliseconds(instant))
            return (latencies.averageNanoseconds(0) ?? 0) / 1_000
        }
        #expect(latencies.averageNanoseconds(0) == nil)
        #expect(report(10, at: 0) == 10_000)
        #expect(report(100, at: 1) == 100_000, "a peak replaces it")
        // 10 + 90 · e^(−1), then half of that way: ticks of 16 µs are lost in rounding.
        #expect(abs(report(10, at: 10_001) - 43_109) < 10)
        #expect(abs(report(10, at: 16_932) - 26_556) < 10)
        let before = latencies.averageNanoseconds(0)
        #expect(abs(report(10, at: 16_500) - (before ?? 0) / 1_000) < 2, "a clock that is behind changes nothing")
        #expect(report(200, at: 16_932) == 200_000)
    }

    @Test func anAverageFadesWhenItIsReadAndOneInFlightDoublesTheCost() {
        let latencies = PeakEWMA(count: 1)
        latencies.report(0, .success, latencyNanoseconds: 1_024_000_000, now: .origin)
        func cost(_ inFlight: Int, at ms: Int64) -> Int { latencies.cost(of: 0, inFlight: inFlight, now: .milliseconds(ms)) }
        #expect(cost(0, at: 0) == 1_000_000 && cost(1, at: 0) == 2_000_000 && cost(9, at: 0) == 10_000_000)
        #expect(abs(cost(0, at: 10_000) - 367_879) < 10)
        #expect(cost(0, at: 600_000) == 1, "never nothing")
        #expect(cost(-5, at: 0) == 1_000_000)
    }

    @Test func theUnseenCostWhatTheMedianCosts() {
        let latencies = PeakEWMA(count: 6)
        let nothing = (0..<6).map { latencies.cost(of: $0, inFlight: 1, now: .origin) }
        #expect(Set(nothing).count == 1, "by exchanges under way alone")
        for (endpoint, ms) in [10, 30, 20, 90, 80].enumerated() {
            latencies.report(endpoint, .success, latencyNanoseconds: Int64(ms) * Self.millisecond, now: .origin)
        }
        latencies.report(0, .success, latencyNanoseconds: 1, now: .milliseconds(1_000))
        // 30 ms, faded by a tenth of τ.
        #expect(abs(latencies.medianNanoseconds - 27_145_122) < 1_000)
        let unseen = latencies.cost(of: 5, inFlight: 0, now: .milliseconds(1_000))
        let median = latencies.cost(of: 1, inFlight: 0, now: .milliseconds(1_000))
        #expect(abs(unseen - median) <= 2)
        latencies.report(5, .success, latencyNanoseconds: 5 * Self.millisecond, now: .milliseconds(1_001))
        #expect(latencies.averageNanoseconds(5) == 5 * Self.millisecond, "what is known replaces the guess")
        latencies.forget(5)
        #expect(latencies.averageNanoseconds(5) == nil)
    }

    @Test func aFailureCountsAsTheNinetyNinthPercentile() {
        let latencies = PeakEWMA(count: 2)
        latencies.report(1, failure, latencyNanoseconds: 1, now: .origin)
        #expect(latencies.averageNanoseconds(1) == 1_000_000_000, "nothing else is known")
        latencies.forget(1)
        for step in 0..<400 {
            let ms: Int64 = step % 50 == 0 ? 200 : 10
            latencies.report(0, .success, latencyNanoseconds: ms * Self.millisecond, now: .milliseconds(Int64(step) * 10))
        }
        #expect(abs(latencies.penaltyNanoseconds - 200 * Self.millisecond) <= 200 * Self.millisecond / 16)
        let now = Instant.milliseconds(4_000)
        latencies.report(1, failure, latencyNanoseconds: Self.millisecond, now: now)
        #expect(abs((latencies.averageNanoseconds(1) ?? 0) - latencies.penaltyNanoseconds) < 20)
        // It counts as under way: nearly one more, and none any more after some such times.
        let once = latencies.cost(of: 1, inFlight: 0, now: now)
        let alive = latencies.cost(of: 1, inFlight: 0, now: .milliseconds(6_000))
        #expect(once > alive * 2 && once < alive * 3)
        latencies.report(1, failure, latencyNanoseconds: 5_000 * Self.millisecond, now: now)
        #expect(latencies.averageNanoseconds(1) == 5_000 * Self.millisecond, "a late failure counts as late as it was")
        for outcome in [neutral, local, backpressure] {
            latencies.report(1, outcome, latencyNanoseconds: .max, now: now)
            #expect(latencies.averageNanoseconds(1) == 5_000 * Self.millisecond)
        }
    }

    @Test func wildNumbersDoNotTrap() {
        var settings = PeakEWMASettings()
        settings.decay = .seconds(-1)
        settings.firstPenalty = .seconds(Int64.max)
        let latencies = PeakEWMA(settings, count: 2)
        for latency in [Int64.min, -1, 0, 1, .max] {
            for now in [Instant.origin, .never, Instant(nanoseconds: .min), .milliseconds(5)] {
                for endpoint in [-1, 0, 1, 2] {
                    latencies.report(endpoint, .success, latencyNanoseconds: latency, now: now)
                    latencies.report(endpoint, failure, latencyNanoseconds: latency, now: now)
                    let cost = latencies.cost(of: endpoint, inFlight: .max, now: now)
                    #expect(cost >= 1 && cost < 1 << 42)
                }
            }
        }
        latencies.forget(-1)
        #expect(latencies.averageNanoseconds(9) == nil && PeakEWMA(count: -3).count == 0)
    }

    // MARK: A pool under load

    struct Host: Sendable {
        var milliseconds: ClosedRange<Double>
        var fails = false
    }

    /// Requests that come at random, at so many a second, until `requests` have been sent; how many each host got after the
    /// first tenth.
    private func shares(
        _ hosts: [Host], perSecond: Int, requests: Int = 4_000, seed: Seed, latencies: PeakEWMA? = nil
    ) -> [Int] {
        var random = seed.random(UInt64(perSecond))
        let latencies = latencies ?? PeakEWMA(count: hosts.count)
        let picker = EndpointPicker(.leastRequest, count: hosts.count)
        var inFlight = Array(repeating: 0, count: hosts.count)
        var underWay: [(end: Int64, host: Int, latency: Int64)] = []
        var counts = Array(repeating: 0, count: hosts.count)
        var now: Int64 = 0
        for request in 0..<requests {
            now += Int64(Double.random(in: 0...2, using: &random) * 1e9 / Double(perSecond))
            for done in underWay.filter({ $0.end <= now }).sorted(by: { $0.end < $1.end }) {
                inFlight[done.host] -= 1
                latencies.report(
                    done.host, hosts[done.host].fails ? failure : .success, latencyNanoseconds: done.latency,
                    now: Instant(nanoseconds: done.end))
            }
            underWay.removeAll { $0.end <= now }
            let host = picker.pick(
                request: UInt64(request), attempt: 0, draw: Self.draw, tried: TriedEndpoints(), latencies: latencies,
                now: Instant(nanoseconds: now), load: { inFlight[$0] })
            guard let host else { continue }
            if request >= requests / 10 { counts[host] += 1 }
            inFlight[host] += 1
            let latency = Int64(Double.random(in: hosts[host].milliseconds, using: &random) * 1e6)
            underWay.append((now + latency, host, latency))
        }
        return counts
    }

    @Test(arguments: [2, 3, 10])
    func L1_equalHostsGetEqualShares(n: Int) {
        let seed = Seed.current
        for perSecond in [5, 200, 2_000] {
            let counts = shares(
                Array(repeating: Host(milliseconds: 10...10), count: n), perSecond: perSecond, requests: 10_000, seed: seed)
            let total = counts.reduce(0, +)
            let mean = Double(total) / Double(n)
            let bound = 5 * (mean * (1 - 1 / Double(n))).squareRoot()
            #expect(counts.allSatisfy { abs(Double($0) - mean) <= bound }, "\(seed) \(perSecond): \(counts)")
        }
    }

    @Test(arguments: [3, 5, 10], [20, 200, 1_000])
    func L2_tenTimesTheLatencyIsLessThanAQuarterOfTheShare(n: Int, perSecond: Int) {
        let seed = Seed.current
        var hosts = Array(repeating: Host(milliseconds: 5...15), count: n)
        hosts[0].milliseconds = 50...150
        let counts = shares(hosts, perSecond: perSecond, seed: seed)
        #expect(counts[0] * n * 4 < counts.reduce(0, +), "\(seed) \(counts)")
        #expect(counts.dropFirst().allSatisfy { $0 * n * 2 > counts.reduce(0, +) }, "the others share the rest: \(seed) \(counts)")
    }

    @Test(arguments: [2, 3, 8], [20, 200, 1_000])
    func L3_failingFastAttractsNothing(n: Int, perSecond: Int) {
        let seed = Seed.current
        var hosts = Array(repeating: Host(milliseconds: 30...70), count: n)
        hosts[0] = Host(milliseconds: 1...1, fails: true)
        let counts = shares(hosts, perSecond: perSecond, seed: seed)
        #expect(counts[0] * n <= counts.reduce(0, +), "\(seed) \(counts)")
    }

    @Test func anEndpointThatRecoversGetsItsShareBack() {
        let seed = Seed.current
        let latencies = PeakEWMA(count: 4)
        latencies.report(0, .success, latencyNanoseconds: 5_000 * Self.millisecond, now: .origin)
        let counts = shares(
            Array(repeating: Host(milliseconds: 5...15), count: 4), perSecond: 200, requests: 40_000, seed: seed,
            latencies: latencies)
        #expect(counts[0] * 4 * 2 > counts.reduce(0, +), "\(seed) \(counts)")
    }

    @Test func triedWeightsAndAvailabilityHoldAsWithTheOtherPolicies() {
        let latencies = PeakEWMA(count: 3)
        for endpoint in 0..<3 {
            latencies.report(endpoint, .success, latencyNanoseconds: 1_024_000 * Int64(endpoint + 1), now: .origin)
        }
        let picker = EndpointPicker(.leastRequest, count: 3, weights: [1, 1, 1_000_000])
        func picks(_ tried: TriedEndpoints = TriedEndpoints()) -> [Int] {
            var counts = [0, 0, 0]
            for request in 0..<300 as Range<UInt64> {
                let index = picker.pick(
                    request: request, attempt: 0, draw: Self.draw, tried: tried, latencies: latencies, now: .origin,
                    load: { _ in 1 })
                if let index { counts[index] += 1 }
            }
            return counts
        }
        #expect(picks() == [0, 0, 300], "two thousandths of the cost for each unit of weight")
        var tried = TriedEndpoints()
        tried.insert(2)
        #expect(picks(tried) == [300, 0, 0])
        picker.setEjected(true, 0)
        #expect(picks(tried) == [0, 300, 0])
    }

    // MARK: Panic and availability

    @Test(arguments: [0, 1, 3_333, 5_000, 5_001, 10_000], [1, 2, 3, 4, 7, 16])
    func L5_panicExactlyBelowTheThreshold(threshold: Int, n: Int) {
        let picker = EndpointPicker(.leastRequest, count: n, panicThreshold: Share(tenThousandths: threshold))
        let latencies = PeakEWMA(count: n)
        func picks() -> Set<Int> {
            Set(
                (0..<400).compactMap {
                    picker.pick(
                        request: $0, attempt: 0, draw: Self.draw, tried: TriedEndpoints(), latencies: latencies, now: .origin,
                        load: { _ in 0 })
                })
        }
        func check(_ out: Int) {
            let mustPanic = (n - out) * 10_000 < threshold * n
            #expect(picker.isPanicking == mustPanic && picker.availableCount == n - out, "\(out) of \(n) out")
            let picked = picks()
            if mustPanic {
                #expect(out * 3 < n || picked.contains { $0 < out }, "all are picked from: \(Seed.current)")
            } else {
                #expect(picked.allSatisfy { $0 >= out } && picked.isEmpty == (out == n), "lb.no_healthy when none is left")
            }
        }
        for out in 0...n {
            if out > 0 { if out % 2 == 0 { picker.setEjected(true, out - 1) } else { picker.setAvailable(false, out - 1) } }
            check(out)
        }
        for out in (0..<n).reversed() {
            if out % 2 == 1 { picker.setEjected(false, out) } else { picker.setAvailable(true, out) }
            check(out)
        }
    }

    @Test func aGoodCheckDoesNotEndAnEjectionNorItsEndABadCheck() {
        let picker = EndpointPicker(.roundRobin, count: 3)
        picker.setEjected(true, 1)
        picker.setAvailable(true, 1)
        #expect(!picker.isAvailable(1) && picker.isEjected(1) && picker.availableCount == 2)
        picker.setAvailable(false, 1)
        picker.setEjected(false, 1)
        #expect(!picker.isAvailable(1) && !picker.isEjected(1) && picker.availableCount == 2)
        picker.setAvailable(true, 1)
        #expect(picker.isAvailable(1) && picker.availableCount == 3)
    }

    // MARK: Threads

    @Test func eightThreadsNeverTearANumber() {
        let seed = Seed.current
        let latencies = PeakEWMA(count: 4)
        let done = DispatchSemaphore(value: 0)
        for index in 0..<8 {
            Thread {
                var random = seed.random(UInt64(index))
                for step in 0..<5_000 {
                    let endpoint = random.below(4)
                    latencies.report(
                        endpoint, random.chance(90) ? .success : failure,
                        latencyNanoseconds: Int64(1_000_000 + random.below(9_000_000)),
                        now: Instant(nanoseconds: Int64(step) * 1_000_000))
                }
                done.signal()
            }.start()
        }
        for _ in 0..<8 { done.wait() }
        // A thread that was renewing the pool's numbers may have been the last to write old ones; the next renewal is right.
        latencies.report(0, .success, latencyNanoseconds: 5_000_000, now: .milliseconds(10_000))
        for endpoint in 0..<4 {
            // A failure counts as 1 s before the first answer, and that fades in 5 s to 0.6 of it.
            let average = latencies.averageNanoseconds(endpoint) ?? 0
            #expect(average >= 1_000_000 && average <= 1_000_000_000, "\(seed) \(average)")
        }
        #expect(latencies.penaltyNanoseconds > 9_000_000 && latencies.penaltyNanoseconds < 11_000_000)
    }
}
