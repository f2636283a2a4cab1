// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience
import Testing

@testable import Upstream

/// When an endpoint is checked and what its results come to, as tables.
@Suite struct EndpointHealthTests {
    private static let draw = Draw(seed: 7)

    private static func settings(
        _ interval: Duration = .seconds(10), timeout: Duration = .seconds(2), unhealthy: Int = 3, healthy: Int = 2, jitter: Int = 0
    ) -> HealthSettings {
        HealthSettings(
            probe: .tcp, interval: interval, timeout: timeout, unhealthyAfter: unhealthy, healthyAfter: healthy,
            jitter: Share(tenThousandths: jitter))
    }

    private static func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    struct Row: CustomTestStringConvertible {
        var results: String
        var shown: String
        var why: String
        var unhealthy = 3
        var healthy = 2
        var begins = true
        var testDescription: String { why }
    }

    /// `.` passes, `x` fails, `s` could not be asked; after each `?` unknown, `+` healthy, `-` unhealthy.
    @Test(arguments: [
        Row(results: "....", shown: "?+++", why: "healthy after two"),
        Row(results: "xx.xx.", shown: "??????", why: "a run that is broken begins anew, and nothing is known"),
        Row(results: "xxx", shown: "??-", why: "unhealthy after three, with nothing known before"),
        Row(results: "..xxx", shown: "?+++-", why: "unhealthy after three"),
        Row(results: "..xx.xxx", shown: "?++++++-", why: "a pass breaks the run"),
        Row(results: "xxx.", shown: "??--", why: "one pass is not enough"),
        Row(results: "xxx..", shown: "??--+", why: "two are"),
        Row(results: "xxx.x..", shown: "??----+", why: "a failure breaks the run of passes"),
        Row(results: "xxx..xxx", shown: "??--+++-", why: "out again"),
        Row(results: "xsxsx", shown: "????-", why: "what could not be asked neither counts nor breaks a run"),
        Row(results: "xxxs.s.", shown: "??----+", why: "nor one of passes"),
        Row(results: "ssssss", shown: "??????", why: "nor is it a failure"),
        Row(results: "x.x.", shown: "-+-+", why: "thresholds of one", unhealthy: 1, healthy: 1),
        Row(results: "..", shown: "-+", why: "known as unhealthy from before", begins: false),
        Row(results: "xx.x..", shown: "-----+", why: "and failing on", begins: false),
    ])
    func thresholds(row: Row) {
        let settings = Self.settings(unhealthy: row.unhealthy, healthy: row.healthy)
        var health = EndpointHealth(settings, key: 1, isAvailable: row.begins)
        var now = Instant.origin
        _ = health.start(now: now, draw: Self.draw)
        var shown = ""
        for result in row.results {
            now = now.advanced(by: .seconds(10))
            _ = health.timerFired(now: now, draw: Self.draw)
            let before = health.isAvailable
            let action = health.checked(result == "." ? .passed : result == "x" ? .failed : .skipped, now: now, draw: Self.draw)
            guard case .settle(_, _, let becomes) = action else {
                Issue.record("\(action)")
                return
            }
            #expect(becomes == (health.isAvailable == before ? nil : health.isAvailable))
            #expect(health.isAvailable == (health.verdict != .unhealthy))
            switch health.verdict {
            case .unknown: shown += "?"
            case .healthy: shown += "+"
            case .unhealthy: shown += "-"
            }
        }
        #expect(shown == row.shown)
    }

    /// Each event in each phase, with the instants.
    @Test func everyEventInEveryPhase() {
        let draw = Self.draw
        var health = EndpointHealth(Self.settings(unhealthy: 2), key: 1)
        // Idle.
        #expect(health.timerFired(now: Self.at(0), draw: draw) == .none)
        #expect(health.checked(.failed, now: Self.at(0), draw: draw) == .none)
        guard case .wait(let first) = health.start(now: Self.at(5_000), draw: draw) else {
            Issue.record("does not begin")
            return
        }
        #expect(first >= Self.at(5_000) && first < Self.at(15_000))
        // Waiting.
        #expect(health.start(now: Self.at(6_000), draw: draw) == .none, "begins once")
        #expect(health.checked(.passed, now: Self.at(6_000), draw: draw) == .none && !health.isChecking)
        #expect(health.timerFired(now: Self.at(20_000), draw: draw) == .check(until: Self.at(22_000)))
        // Checking.
        #expect(health.isChecking && health.start(now: Self.at(20_001), draw: draw) == .none)
        #expect(
            health.checked(.failed, now: Self.at(20_700), draw: draw) == .settle(.failed, next: Self.at(30_000), becomes: nil),
            "the interval is from begin to begin")
        #expect(health.checked(.failed, now: Self.at(20_701), draw: draw) == .none, "a check has one result")
        // Its timeout.
        #expect(health.timerFired(now: Self.at(30_000), draw: draw) == .check(until: Self.at(32_000)))
        #expect(health.timerFired(now: Self.at(32_000), draw: draw) == .settle(.failed, next: Self.at(40_000), becomes: false))
        #expect(health.checked(.passed, now: Self.at(32_001), draw: draw) == .none, "an answer that comes too late")
        #expect(health.verdict == .unhealthy)
        // Stopped, from waiting and from checking.
        #expect(health.timerFired(now: Self.at(40_000), draw: draw) == .check(until: Self.at(42_000)))
        health.stop()
        #expect(health.checked(.passed, now: Self.at(40_001), draw: draw) == .none && !health.isChecking)
        #expect(health.timerFired(now: Self.at(42_000), draw: draw) == .none)
        #expect(health.start(now: Self.at(42_000), draw: draw) == .none)
        #expect(health.verdict == .unhealthy, "what was found stays")
    }

    /// A check that takes longer than the interval puts the next one off; two are never under way at once.
    @Test func aLongCheckPutsTheNextOneOff() {
        var health = EndpointHealth(Self.settings(.milliseconds(100), timeout: .seconds(2)), key: 1)
        _ = health.start(now: .origin, draw: Self.draw)
        #expect(health.timerFired(now: Self.at(1_000), draw: Self.draw) == .check(until: Self.at(3_000)))
        #expect(health.timerFired(now: Self.at(3_000), draw: Self.draw) == .settle(.failed, next: Self.at(3_001), becomes: nil))
    }

    @Test func jitterSpreadsAndIsDrawnEachTime() {
        func pauses(seed: UInt64, key: UInt64, jitter: Int) -> [Int64] {
            var health = EndpointHealth(Self.settings(jitter: jitter), key: key)
            let draw = Draw(seed: seed)
            var now = Instant.origin
            _ = health.start(now: now, draw: draw)
            return (0..<500).map { _ in
                _ = health.timerFired(now: now, draw: draw)
                guard case .settle(_, let next, _) = health.checked(.passed, now: now, draw: draw) else { return -1 }
                defer { now = next }
                return next.nanoseconds(since: now)
            }
        }
        let seen = pauses(seed: 7, key: 3, jitter: 1_000)
        #expect(seen.allSatisfy { (9_000_000_000...11_000_000_000).contains($0) })
        #expect(seen.contains { $0 < 9_100_000_000 } && seen.contains { $0 > 10_900_000_000 })
        let mean = seen.reduce(0, +) / Int64(seen.count)
        #expect((9_900_000_000...10_100_000_000).contains(mean))
        #expect(seen == pauses(seed: 7, key: 3, jitter: 1_000), "the same from the same seed")
        #expect(seen != pauses(seed: 8, key: 3, jitter: 1_000) && seen != pauses(seed: 7, key: 4, jitter: 1_000))
        #expect(Set(pauses(seed: 7, key: 3, jitter: 0)) == [10_000_000_000])
    }

    /// First checks are spread over the interval, but for rare checks over ten seconds.
    @Test(arguments: [(Duration.seconds(1), Int64(1_000)), (.seconds(10), 10_000), (.seconds(3600), 10_000)])
    func firstChecksAreSpread(interval: Duration, within: Int64) {
        let firsts = (0..<400 as Range<UInt64>).compactMap { key -> Instant? in
            var health = EndpointHealth(Self.settings(interval), key: key)
            guard case .wait(let first) = health.start(now: Self.at(500), draw: Self.draw) else { return nil }
            return first
        }
        #expect(firsts.count == 400 && Set(firsts).count == 400)
        #expect(firsts.allSatisfy { $0 >= Self.at(500) && $0 < Self.at(500 + within) })
        #expect(firsts.contains { $0 < Self.at(500 + within / 10) } && firsts.contains { $0 > Self.at(500 + within * 9 / 10) })
    }
}
