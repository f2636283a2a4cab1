// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 8.
@Suite struct OutlierDetectorTests {
    typealias Action = OutlierDetector.Action

    static let draw = Draw(seed: Seed.current.value)
    static let connectRefused = Outcome(.failure, reason: .connectRefused, processed: .no)

    private func detector(_ n: Int, _ change: (inout OutlierSettings) -> Void = { _ in }) -> OutlierDetector {
        var settings = OutlierSettings()
        change(&settings)
        return OutlierDetector(settings, endpoints: n, draw: Self.draw, now: .origin)
    }

    /// One letter an outcome: success, failure (x), connection refused (c), neutral, local, backpressure.
    private func outcome(_ letter: Character) -> Outcome {
        switch letter {
        case ".": .success
        case "x": failure
        case "c": Self.connectRefused
        case "n": neutral
        case "l": local
        default: backpressure
        }
    }

    /// The actions that the outcomes cause at one endpoint, and after how many.
    private func feed(_ detector: inout OutlierDetector, _ endpoint: Int, _ letters: String, at ms: Int64 = 1) -> [(Int, Action)] {
        var actions: [(Int, Action)] = []
        for (position, letter) in letters.enumerated() {
            if let action = detector.report(endpoint: endpoint, outcome: outcome(letter), now: .milliseconds(ms)) {
                actions.append((position + 1, action))
            }
        }
        return actions
    }

    /// So many successes and failures, never more failures in a row than needed.
    private func fill(
        _ detector: inout OutlierDetector, _ endpoint: Int, good: Int, bad: Int, latencyMilliseconds: Int64? = nil, at ms: Int64
    ) {
        for position in 0..<(good + bad) {
            let isBad = (position + 1) * bad / (good + bad) > position * bad / (good + bad)
            _ = detector.report(
                endpoint: endpoint, outcome: isBad ? failure : .success,
                latencyNanoseconds: latencyMilliseconds.map { $0 * 1_000_000 }, now: .milliseconds(ms))
        }
    }

    private func kinds(_ actions: [Action]) -> [String] {
        actions.map {
            switch $0 {
            case .eject(let endpoint, _, let detector): "eject \(endpoint) \(detector.rawValue)"
            case .readmit(let endpoint): "readmit \(endpoint)"
            case .detected(let endpoint, let detector): "detected \(endpoint) \(detector.rawValue)"
            }
        }
    }

    private func end(_ action: Action?) -> Instant? {
        if case .eject(_, let until, _) = action { until } else { nil }
    }

    // MARK: Rows

    struct Row: CustomTestStringConvertible, Sendable {
        var letters: String
        var after: Int?
        var detector = OutlierDetector.Detector.consecutive
        var testDescription: String { letters }
    }

    @Test(arguments: [
        Row(letters: "xxxx", after: nil),
        Row(letters: "xxxxx", after: 5),
        Row(letters: "xxxx.xxxx", after: nil),
        Row(letters: "xxxx.xxxxx", after: 10),
        Row(letters: "xxxxnlbx", after: 8),
        Row(letters: "ccccc", after: 5, detector: .localOrigin),
        Row(letters: "ccxccx", after: 5),
        Row(letters: "c.c.c.c.c.c", after: nil),
    ])
    func failuresInARowEjectAtOnce(row: Row) {
        var detector = detector(3)
        let actions = feed(&detector, 1, row.letters)
        #expect(actions.first?.0 == row.after)
        #expect(kinds(actions.map(\.1)) == (row.after == nil ? [] : ["eject 1 \(row.detector.rawValue)"]))
        #expect(detector.isEjected(1) == (row.after != nil) && detector.ejectedCount == (row.after == nil ? 0 : 1))
    }

    @Test func aShorterRowOfConnections() {
        var detector = detector(3) { $0.consecutiveLocalOrigin = 2 }
        #expect(feed(&detector, 0, "cxcxc").map(\.1).isEmpty == false, "five failures in a row, but never two connections")
        #expect(kinds(feed(&detector, 1, "xcc").map(\.1)) == ["detected 1 local_origin"], "one of three is out already")
    }

    @Test func rulesCanBeOff() {
        var detector = detector(4) {
            $0.consecutiveFailures = nil
            $0.consecutiveLocalOrigin = nil
            $0.failureShare = nil
            $0.successRateDistance = nil
            $0.latencyFactor = nil
        }
        let actions = feed(&detector, 0, String(repeating: "c", count: 200))
        for endpoint in 1..<4 { fill(&detector, endpoint, good: 100, bad: 0, latencyMilliseconds: 1, at: 2) }
        #expect(actions.isEmpty)
        for interval in 1...3 {
            let actions = detector.evaluate(now: .milliseconds(Int64(interval) * 10_000))
            #expect(actions.isEmpty)
        }
    }

    // MARK: Shares and percentiles

    /// Good and bad outcomes of each endpoint in an interval, and what comes of them.
    struct Interval: CustomTestStringConvertible, Sendable {
        var counts: [(good: Int, bad: Int)]
        var actions: [String]
        var testDescription: String { "\(counts)" }
    }

    @Test(arguments: [
        Interval(counts: [(15, 85), (100, 0), (100, 0)], actions: ["eject 0 failure_percentage"]),
        Interval(counts: [(16, 84), (100, 0), (100, 0)], actions: ["eject 0 success_rate"]),
        Interval(counts: [(7, 43), (50, 0), (50, 0)], actions: ["eject 0 failure_percentage"]),
        Interval(counts: [(7, 42), (50, 0), (50, 0)], actions: []),  // 49 are no volume
        Interval(counts: [(7, 43), (50, 0), (49, 0)], actions: []),  // two are no crowd
        Interval(counts: [(0, 200), (0, 200), (0, 200)], actions: []),
        Interval(
            counts: [(20, 180), (21, 179), (100, 100)], actions: ["eject 0 failure_percentage", "detected 1 failure_percentage"]),
        // Two of five: out of reach of a mean and 1.9 deviations. The worse of them goes, the other is told.
        Interval(
            counts: [(200, 0), (110, 90), (200, 0), (100, 100), (200, 0)],
            actions: ["eject 3 success_rate", "detected 1 success_rate"]),
        // 5 % is the least distance, however quiet the crowd.
        Interval(counts: [(9_510, 490), (10_000, 0), (10_000, 0), (10_000, 0)], actions: []),
        Interval(counts: [(9_490, 510), (10_000, 0), (10_000, 0), (10_000, 0)], actions: ["eject 0 success_rate"]),
        // A wide crowd has no outliers: median 80 %, MAD 10 %.
        Interval(counts: [(400, 600), (700, 300), (800, 200), (900, 100), (950, 50)], actions: []),
        // Too few to tell from bad luck: 4 of 50 where others have none.
        Interval(counts: [(46, 4), (50, 0), (50, 0)], actions: []),
    ])
    func judgedByTheInterval(row: Interval) {
        var detector = detector(row.counts.count) {
            $0.consecutiveFailures = nil
            $0.consecutiveLocalOrigin = nil
        }
        for (endpoint, counts) in row.counts.enumerated() {
            fill(&detector, endpoint, good: counts.good, bad: counts.bad, at: 5)
        }
        let early = detector.evaluate(now: Instant(nanoseconds: 9_999_999_999))
        #expect(early.isEmpty && detector.nextEvaluation == .milliseconds(10_000))
        let actions = detector.evaluate(now: .milliseconds(10_000))
        #expect(kinds(actions) == row.actions)
        #expect(detector.nextEvaluation == .milliseconds(20_000))
        let again = detector.evaluate(now: .milliseconds(20_000))
        #expect(again.isEmpty, "each interval stands by itself")
    }

    /// 90th percentiles in milliseconds, interval after interval, and in which one endpoint 0 goes.
    struct Latencies: CustomTestStringConvertible, Sendable {
        var own: [Int64]
        var others: Int64
        var after: Int?
        var volume = 60
        var testDescription: String { "\(own) against \(others)" }
    }

    @Test(arguments: [
        Latencies(own: [400, 400], others: 100, after: 2),
        Latencies(own: [400, 100, 400], others: 100, after: nil),
        Latencies(own: [400, 100, 400, 400], others: 100, after: 4),
        Latencies(own: [260, 260, 260], others: 100, after: nil),
        // Three times, but no 50 ms.
        Latencies(own: [45, 45, 45], others: 2, after: nil),
        Latencies(own: [60, 60], others: 2, after: 2),
        Latencies(own: [400, 400], others: 100, after: nil, volume: 49),
    ])
    func slowInTwoIntervals(row: Latencies) {
        var detector = detector(3)
        var ejectedAfter: Int?
        for (position, own) in row.own.enumerated() {
            let start = Int64(position) * 10_000
            for endpoint in 0..<3 {
                fill(
                    &detector, endpoint, good: row.volume, bad: 0, latencyMilliseconds: endpoint == 0 ? own : row.others, at: start)
            }
            let actions = detector.evaluate(now: .milliseconds(start + 10_000))
            if !actions.isEmpty {
                #expect(kinds(actions) == ["eject 0 latency"])
                ejectedAfter = position + 1
            }
        }
        #expect(ejectedAfter == row.after)
    }

    @Test func bucketsAreOffByASixteenthAtMost() {
        var previous = -1
        for exponent in 0..<400 {
            var value = 10_000.0
            for _ in 0..<exponent { value *= 1.05 }
            guard value < 2e12 else { break }
            let index = LatencyBuckets.index(Int64(value))
            #expect(index >= previous)
            previous = index
            #expect(abs(Double(LatencyBuckets.middle(index)) - value) <= value / 16)
        }
        for odd in [Int64.min, -1, 0, 8_191] { #expect(LatencyBuckets.index(odd) == 0) }
        #expect(LatencyBuckets.index(.max) == LatencyBuckets.count - 1 && LatencyBuckets.middle(0) < 8_192)
    }

    // MARK: Out and back

    @Test func aProbeDecides() {
        var detector = detector(3)
        let until = end(feed(&detector, 0, "xxxxx", at: 0).last?.1) ?? .never
        #expect(until >= .milliseconds(30_000) && until <= .milliseconds(36_000) && detector.nextProbe == until)
        let early = detector.admitProbe(now: until.advanced(byNanoseconds: -1))
        #expect(early == nil)
        // Silence alone readmits nobody.
        let evaluation = detector.evaluate(now: until)
        #expect(evaluation.isEmpty && detector.isEjected(0))
        let probe = detector.admitProbe(now: until)
        #expect(probe?.endpoint == 0 && probe?.isProbe == true)
        let second = detector.admitProbe(now: until)
        #expect(second == nil, "one request, not all that come")
        // What others say meanwhile, sent in panic or before, decides nothing.
        let strangers = feed(&detector, 0, ".....xxxxx")
        #expect(strangers.isEmpty && detector.isEjected(0))
        guard let probe else { return }
        let readmitted = detector.report(probe, .success, now: until)
        #expect(readmitted == .readmit(endpoint: 0) && !detector.isEjected(0) && detector.nextProbe == .never)
        let twice = detector.report(probe, .success, now: until)
        #expect(twice == nil, "settled once")
    }

    @Test func aProbeThatSaysNothingGivesWayToTheNext() {
        var detector = detector(3)
        let until = end(feed(&detector, 0, "xxxxx", at: 0).last?.1) ?? .never
        for outcome in [neutral, local, backpressure] {
            guard let probe = detector.admitProbe(now: until) else {
                Issue.record("no probe")
                return
            }
            let action = detector.report(probe, outcome, now: until)
            #expect(action == nil && detector.isEjected(0))
        }
        let lost = detector.admitProbe(now: until)
        #expect(detector.nextProbe == until.advanced(by: .seconds(5)))
        let next = detector.admitProbe(now: until.advanced(by: .seconds(5)))
        #expect(lost != nil && next != nil)
        guard let lost, let next else { return }
        let late = detector.report(lost, .success, now: until.advanced(by: .seconds(6)))
        #expect(late == nil, "its place is taken")
        let failed = detector.report(next, failure, now: until.advanced(by: .seconds(6)))
        #expect(kinds([failed].compactMap(\.self)) == ["eject 0 probe"])
    }

    @Test func whatWasSentBeforeSaysNothingAfter() {
        var detector = detector(3)
        let straggler = detector.attempt(at: 0)
        let until = end(feed(&detector, 0, "xxxxx", at: 0).last?.1) ?? .never
        if let probe = detector.admitProbe(now: until) { _ = detector.report(probe, .success, now: until) }
        for _ in 0..<20 {
            let action = detector.report(straggler, failure, now: until)
            #expect(action == nil)
        }
        #expect(!detector.isEjected(0))
        let fresh = feed(&detector, 0, "xxxxx", at: 40_000)
        #expect(fresh.count == 1, "a clean slate, but a watched one")
    }

    @Test func theBackOffGrowsAndIsForgottenByHealthyIntervals() {
        var detector = detector(3) { $0.jitter = Share(tenThousandths: 0) }
        var now = Instant.origin
        func eject() -> Int64 {
            var until: Instant?
            for _ in 0..<5 { until = end(detector.report(endpoint: 0, outcome: failure, now: now)) }
            guard let until else { return -1 }
            let length = until.nanoseconds(since: now) / 1_000_000_000
            now = until
            if let probe = detector.admitProbe(now: now) { _ = detector.report(probe, .success, now: now) }
            return length
        }
        #expect((0..<12).map { _ in eject() } == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300])
        func interval(good: Int, bad: Int) {
            now = max(now, detector.nextEvaluation)
            _ = detector.evaluate(now: now)
            for position in 0..<(good + bad) {
                _ = detector.report(endpoint: 0, outcome: position % 2 == 0 && position / 2 < bad ? failure : .success, now: now)
            }
            now = detector.nextEvaluation
            _ = detector.evaluate(now: now)
        }
        for _ in 0..<10 { interval(good: 9, bad: 1) }
        #expect(eject() == 90, "12 − 10 + 1")
        for _ in 0..<20 { interval(good: 0, bad: 0) }
        #expect(eject() == 120, "silence does not heal")
        for _ in 0..<20 { interval(good: 4, bad: 4) }
        #expect(eject() == 150, "half is not healthy")
        for _ in 0..<50 { interval(good: 1, bad: 0) }
        #expect(eject() == 30)
    }

    @Test func onlyReportedWhenNotEnforcing() {
        var detector = detector(3) { $0.enforce = false }
        let row = feed(&detector, 0, "xxxxxxxxxxxx")
        #expect(row.map(\.0) == [5] && kinds(row.map(\.1)) == ["detected 0 consecutive"])
        for endpoint in 1..<3 { fill(&detector, endpoint, good: 100, bad: 0, at: 2) }
        fill(&detector, 0, good: 0, bad: 100, at: 2)
        let actions = detector.evaluate(now: .milliseconds(10_000))
        #expect(kinds(actions) == ["detected 0 consecutive"])
        #expect(detector.ejectedCount == 0 && detector.nextProbe == .never)
    }

    @Test func settingsChangeInPlace() {
        var detector = detector(10)
        for endpoint in 0..<3 { _ = feed(&detector, endpoint, "xxxxx", at: Int64(endpoint) * 1_000) }
        #expect(detector.ejectedCount == 3)
        var settings = OutlierSettings()
        settings.maximumEjected = Share(tenThousandths: 1_000)
        let fewer = detector.apply(settings, now: .milliseconds(4_000))
        #expect(fewer.count == 2 && detector.ejectedCount == 1 && detector.ejectionCap == 1)
        settings.enforce = false
        settings.interval = .seconds(5)
        let none = detector.apply(settings, now: .milliseconds(4_000))
        #expect(none.count == 1 && detector.ejectedCount == 0 && detector.nextEvaluation == .milliseconds(5_000))
    }

    @Test func numbersOfAPeerAndOfAConfigurationDoNotTrap() {
        var wild = OutlierSettings()
        wild.interval = .seconds(Int64.max)
        wild.baseTime = .seconds(Int64.max)
        wild.maximumTime = .seconds(Int64.max)
        wild.probeWait = .seconds(-1)
        wild.consecutiveFailures = -3
        wild.latencyFactor = -.infinity
        wild.minimumVolume = -1
        wild.minimumHosts = 0
        wild.maximumEjected = Share(tenThousandths: .max)
        wild.jitter = Share(tenThousandths: .max)
        var detector = OutlierDetector(wild, endpoints: 3, draw: Self.draw, now: Instant(nanoseconds: .max - 5))
        for endpoint in [-1, 0, 1, 2, 3, .max] {
            for latency in [Int64.min, -1, 0, .max] {
                _ = detector.report(endpoint: endpoint, outcome: failure, latencyNanoseconds: latency, now: .never)
                _ = detector.report(endpoint: endpoint, outcome: .success, latencyNanoseconds: latency, now: .origin)
            }
        }
        _ = detector.evaluate(now: .never)
        #expect(detector.ejectedCount == 2)
        var none = OutlierDetector(endpoints: 0, draw: Self.draw, now: .origin)
        let actions = none.evaluate(now: .never)
        #expect(actions.isEmpty && none.ejectionCap == 0)
    }

    @Test func namesOfDetectorsAreAnAPI() {
        #expect(
            OutlierDetector.Detector.allCases.map(\.rawValue) == [
                "consecutive", "local_origin", "failure_percentage", "success_rate", "latency", "probe",
            ])
    }

    // MARK: Invariants

    @Test(arguments: [(0, 0), (1, 0), (2, 1), (3, 1), (6, 1), (7, 2), (9, 2), (10, 3), (100, 33)])
    func E1_theCap(n: Int, cap: Int) {
        var detector = detector(n)
        for endpoint in 0..<n { _ = feed(&detector, endpoint, "xxxxxx") }
        #expect(detector.ejectionCap == cap && detector.ejectedCount == cap)
        // Those left in are ejected, worst first, as soon as there is room: here by one that came.
        let grown = detector.replaceEndpoints(Array(0..<n) + Array(repeating: nil, count: 4), now: .milliseconds(2))
        #expect(grown.isEmpty)
        if n > 2 { fill(&detector, n - 1, good: 0, bad: 20, at: 3) }
        let more = detector.evaluate(now: .milliseconds(10_000))
        if n == 3 || n == 6 {
            #expect(kinds(more).first == "detected \(n - 1) consecutive" || detector.isEjected(n - 1), "the longest row goes first")
        }
        #expect(detector.ejectedCount <= detector.ejectionCap)
    }

    @Test func E1_atAllTimesWhateverHappens() {
        let seed = Seed.current
        for trial in 0..<40 {
            var random = seed.random(UInt64(trial))
            var detector = detector(1 + random.below(12)) {
                $0.maximumEjected = Share(tenThousandths: [0, 1_000, 3_300, 5_000, 10_000][random.below(5)])
                $0.minimumVolume = 5
                $0.latencyIntervals = 1
            }
            var now: Int64 = 0
            var probes: [OutlierDetector.Attempt] = []
            var told = Set<Int>()
            for step in 0..<1_500 {
                now += Int64(random.below(300))
                let instant = Instant.milliseconds(now)
                let n = detector.endpointCount
                var actions: [Action] = []
                switch random.below(100) {
                case 0:
                    // Some leave, some come, all may move.
                    var previous: [Int?] = (0..<n).filter { _ in !random.chance(20) }
                    for _ in 0..<random.below(3) { previous.append(nil) }
                    previous.shuffle(using: &random)
                    if previous.isEmpty { previous = [nil] }
                    told = Set(previous.indices.filter { index in previous[index].map { told.contains($0) } ?? false })
                    actions = detector.replaceEndpoints(previous, now: instant)
                case 1..<4: actions = detector.evaluate(now: instant)
                case 4..<8: if let probe = detector.admitProbe(now: instant) { probes.append(probe) }
                case 8..<12:
                    if let probe = probes.popLast(),
                        let action = detector.report(probe, random.chance(50) ? .success : failure, now: instant)
                    {
                        actions = [action]
                    }
                default:
                    let endpoint = random.below(n)
                    let outcome = random.chance(endpoint * 8) ? failure : .success
                    let action = detector.report(
                        endpoint: endpoint, outcome: outcome, latencyNanoseconds: Int64(random.below(400_000_000)), now: instant)
                    actions = [action].compactMap(\.self)
                }
                for action in actions {
                    switch action {
                    case .eject(let endpoint, _, _): told.insert(endpoint)
                    case .readmit(let endpoint): told.remove(endpoint)
                    case .detected: break
                    }
                }
                let all = detector.endpointCount
                #expect(
                    detector.ejectedCount <= detector.ejectionCap && detector.ejectedCount < max(1, all), "\(seed) \(trial) \(step)"
                )
                // Who only follows the actions knows the same.
                #expect(told == Set((0..<all).filter { detector.isEjected($0) }), "\(seed) \(trial) \(step)")
                #expect(told.count == detector.ejectedCount)
            }
        }
    }

    @Test func E1_worstFirst() {
        // Room for two of seven: all three are found in one interval.
        var detector = detector(7) { $0.consecutiveFailures = nil }
        for (endpoint, bad) in [30, 0, 90, 0, 60, 0, 0].enumerated() { fill(&detector, endpoint, good: 100 - bad, bad: bad, at: 1) }
        let actions = detector.evaluate(now: .milliseconds(10_000))
        #expect(kinds(actions) == ["eject 2 failure_percentage", "eject 4 success_rate", "detected 0 success_rate"])
    }

    @Test func E1_whenHostsLeaveTheNearestToItsEndComesBack() {
        var detector = detector(7) { $0.jitter = Share(tenThousandths: 0) }
        _ = feed(&detector, 5, "xxxxx", at: 0)
        _ = feed(&detector, 2, "xxxxx", at: 1_000)
        #expect(detector.ejectedCount == 2)
        let actions = detector.replaceEndpoints([6, 5, 2], now: .milliseconds(2_000))
        #expect(actions == [.readmit(endpoint: 1)] && detector.isEjected(2) && detector.ejectedCount == 1)
        let last = detector.replaceEndpoints([2], now: .milliseconds(2_000))
        #expect(last == [.readmit(endpoint: 0)], "never the last host")
        #expect(feed(&detector, 0, "xxxxxxxxxx").allSatisfy { $0.1 == .detected(endpoint: 0, detector: .consecutive) })
    }

    @Test func attemptsFollowTheirEndpointWhenItMoves() {
        var detector = detector(4)
        let attempt = detector.attempt(at: 3)
        let gone = detector.attempt(at: 0)
        _ = detector.replaceEndpoints([1, 3, 2, nil], now: .origin)
        for _ in 0..<4 { _ = detector.report(attempt, failure, now: .milliseconds(1)) }
        for _ in 0..<9 { _ = detector.report(gone, failure, now: .milliseconds(1)) }
        let action = detector.report(attempt, failure, now: .milliseconds(1))
        #expect(kinds([action].compactMap(\.self)) == ["eject 1 consecutive"])
    }

    /// By chance alone the share of one is always the worst: with 3 to 30 alike, whatever their common share of failures.
    @Test func E2_equallyBadHostsAreNotEjectedByComparison() {
        let seed = Seed.current
        var judged = 0
        for trial in 0..<120 {
            var random = seed.random(UInt64(trial))
            let n = 3 + random.below(trial % 4 == 0 ? 28 : 4)
            let percent = [0, 1, 2, 5, 10, 20, 30, 50, 60, 70, 80, 85, 90, 95, 99, 100][trial % 16]
            let volume = [50, 60, 100, 200][random.below(4)]
            var detector = detector(n) {
                $0.consecutiveFailures = nil
                $0.consecutiveLocalOrigin = nil
            }
            for interval in 1...8 {
                let now = Instant.milliseconds(Int64(interval) * 10_000)
                for endpoint in 0..<n {
                    for _ in 0..<volume {
                        // The same long tail of latencies for all.
                        let latency = Int64(20_000_000 / (1 + random.below(100)))
                        _ = detector.report(
                            endpoint: endpoint, outcome: random.chance(percent) ? failure : .success, latencyNanoseconds: latency,
                            now: now)
                    }
                }
                let actions = detector.evaluate(now: now)
                #expect(actions.isEmpty, "\(seed) trial \(trial), \(n) hosts, \(percent) %, \(volume) calls: \(actions)")
                judged += n
            }
        }
        #expect(judged > 5_000)
    }

    /// A host that always fails, requests of random length and a uniform balancer: a period is from one ejection to the next.
    @Test func E3_aDeadHostIsSentFewRequestsAPeriod() {
        let seed = Seed.current
        for trial in 0..<6 {
            var random = seed.random(UInt64(trial))
            let n = 3 + random.below(6)
            var detector = detector(n)
            var underWay: [(end: Int64, attempt: OutlierDetector.Attempt)] = []
            var sent = 0
            var probes = 0
            var periods = 0
            var now: Int64 = 0
            while periods < 5 && now < 1_500_000_000 {
                now += Int64(random.below(40_000))  // microseconds
                let instant = Instant(nanoseconds: now * 1_000)
                for (end, attempt) in underWay.filter({ $0.end <= now }).sorted(by: { $0.end < $1.end }) {
                    let action = detector.report(
                        attempt, attempt.endpoint == 0 ? failure : .success, now: Instant(nanoseconds: end * 1_000))
                    if case .eject(0, _, let by) = action {
                        let inFlight = underWay.count { $0.attempt.endpoint == 0 && $0.end > end }
                        #expect(by == (periods == 0 ? .consecutive : .probe))
                        // Its own stragglers are of the period before, and were counted there.
                        #expect(sent <= 5 + inFlight + probes + 1, "\(seed) \(trial): \(sent), \(inFlight) in flight")
                        if periods > 0 { #expect(sent == 1 && probes == 1, "\(seed) \(trial)") }
                        (sent, probes) = (0, 0)
                        periods += 1
                    }
                }
                underWay.removeAll { $0.end <= now }
                _ = detector.evaluate(now: instant)
                let attempt: OutlierDetector.Attempt
                if let probe = detector.admitProbe(now: instant) {
                    attempt = probe
                    probes += 1
                } else {
                    let open = (0..<n).filter { !detector.isEjected($0) }
                    attempt = detector.attempt(at: open[random.below(open.count)])
                }
                if attempt.endpoint == 0 { sent += 1 }
                underWay.append((now + Int64(1 + random.below(200_000)), attempt))
            }
            #expect(periods == 5, "\(seed) \(trial)")
        }
    }

    @Test func E4_ejectionsDoNotGetShorterWhileAHostKeepsFailing() {
        let seed = Seed.current
        for trial in 0..<60 {
            var random = seed.random(UInt64(trial))
            var detector = OutlierDetector(endpoints: 3, draw: Draw(seed: UInt64(trial)), now: .origin)
            var now = Instant.origin
            var lengths: [Int64] = []
            while lengths.count < 16 {
                var action: Action?
                if let probe = detector.admitProbe(now: now) {
                    // Some probes come through: the host fails only under load.
                    action = detector.report(probe, random.chance(30) ? .success : failure, now: now)
                } else if !detector.isEjected(0) {
                    action = detector.report(endpoint: 0, outcome: failure, now: now)
                }
                if let until = end(action) {
                    lengths.append(until.nanoseconds(since: now))
                    now = until
                }
                // So slowly that intervals pass within a row, or so fast that none does.
                now = now.advanced(by: .milliseconds(random.chance(50) ? 1 : 15_000))
                _ = detector.evaluate(now: now)
            }
            #expect(zip(lengths, lengths.dropFirst()).allSatisfy(<=), "\(seed) \(trial) \(lengths)")
            #expect(lengths.allSatisfy { $0 >= 30_000_000_000 && $0 <= 360_000_000_000 })
        }
    }

    @Test(arguments: ["l", "n", "b"])
    func E5_localRejectionsAndCancellationsEjectNobody(letter: Character) {
        var detector = detector(3)
        for endpoint in 1..<3 { fill(&detector, endpoint, good: 100, bad: 0, latencyMilliseconds: 1, at: 1) }
        for interval in 1...4 {
            for _ in 0..<500 {
                let action = detector.report(
                    endpoint: 0, outcome: outcome(letter), latencyNanoseconds: 60_000_000_000,
                    now: .milliseconds(Int64(interval) * 10_000 - 1))
                #expect(action == nil)
            }
            let actions = detector.evaluate(now: .milliseconds(Int64(interval) * 10_000))
            #expect(actions.isEmpty && detector.ejectedCount == 0)
        }
    }

    @Test func O4_theSameTraceIsJudgedAlike() {
        func run() -> [String] {
            var random = Seed.current.random(7)
            var detector = detector(5) { $0.minimumVolume = 10 }
            var trace: [String] = []
            for step in 0..<5_000 {
                let now = Instant.milliseconds(Int64(step) * 50)
                if let probe = detector.admitProbe(now: now), let action = detector.report(probe, .success, now: now) {
                    trace.append("\(action)")
                }
                let endpoint = random.below(5)
                let outcome = random.chance(endpoint == 2 ? 70 : 2) ? failure : .success
                if let action = detector.report(endpoint: endpoint, outcome: outcome, now: now) { trace.append("\(action)") }
                trace += detector.evaluate(now: now).map { "\($0)" }
            }
            return trace
        }
        let first = run()
        #expect(first == run() && first.count > 6)
    }
}
