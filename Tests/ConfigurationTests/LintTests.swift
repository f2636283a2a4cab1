// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

/// Warnings show their arithmetic, and stand at the key that would be changed.
struct LintTests {
    typealias Row = ComplaintTests.Row

    @Test(arguments: [
        Row(
            "timeouts: { per_try: 5s, total: 5s }",
            "x.yaml:5:69: upstreams.a.guard.timeouts.per_try: per_try 5s ≥ total 5s: a try that times out leaves no time for another",
            "per_try ≥ total"),
        Row(
            "timeouts: { per_try: 2s, total: 4s }",
            "x.yaml:5:80: upstreams.a.guard.timeouts.total: 2 attempts · per_try 2s + back-offs 25ms = 4025ms > total 4s: the last try is cut short",
            "tries that do not fit"),
        Row("timeouts: { per_try: 2s, total: 4s }, retries: { attempts: 1 }", "", "one try fits"),
        Row("timeouts: { per_try: 2s, total: 4025ms }, retries: { max_retry_after: 4s }", "", "just fits"),
        Row(
            "timeouts: { per_try: 1s, total: 5s }, breaker: { slow_call: 500ms }, retries: { attempts: 5, backoff_base: 1s, backoff_cap: 3s }",
            "x.yaml:5:80: upstreams.a.guard.timeouts.total: 5 attempts · per_try 1s + back-offs 9s = 14s > total 5s: the last try is cut short",
            "back-offs double up to their cap: 1 + 2 + 3 + 3"),
        Row(
            "breaker: { minimum_calls: 200 }",
            "x.yaml:5:74: upstreams.a.guard.breaker.minimum_calls: minimum_calls 200 > window calls 100: the window never holds enough outcomes, so no rate is ever judged",
            "a window that is never full"),
        Row("breaker: { minimum_calls: 200, window: { kind: time } }", "", "a window of time has no such bound"),
        Row("breaker: { minimum_calls: 200, disabled: true }", "", "a breaker that is off"),
        Row(
            "breaker: { slow_call: 5s }",
            "x.yaml:5:70: upstreams.a.guard.breaker.slow_call: slow_call 5s ≥ per_try 5s: every call times out before it is slow, so the slow rule is dead",
            "a slow rule that is dead"),
        Row(
            "breaker: { saturation: false }, bulkhead: { concurrent: 79 }",
            "x.yaml:5:71: upstreams.a.guard.breaker.saturation: bulkhead concurrent 79 < 80 = 80% of 100 calls, and saturation is off: the breaker cannot see a hang",
            "a hang that cannot be seen"),
        Row(
            "breaker: { half_open_wait: 1s }",
            "x.yaml:5:75: upstreams.a.guard.breaker.half_open_wait: half_open_wait 1s < per_try 5s: a slow probe fails before its time is up",
            "probes without patience"),
        Row(
            "breaker: { open_max: 1s }",
            "x.yaml:5:69: upstreams.a.guard.breaker.open_max: open_max 1s < open_for 5s: no opening lasts for open_for",
            "openings upside down"),
        Row(
            "retries: { budget: { ratio: 60% } }",
            "x.yaml:5:76: upstreams.a.guard.retries.budget.ratio: budget ratio 60% > 50%: an upstream that fails gets 60% more load just then",
            "a large budget"),
        Row(
            "retries: { max_retry_after: 20s }",
            "x.yaml:5:76: upstreams.a.guard.retries.max_retry_after: max_retry_after 20s > total 15s: such a wait never fits the deadline",
            "waits that never fit"),
        Row(
            "bulkhead: { concurrent: 10, adaptive: {} }, breaker: { saturation: true }",
            "x.yaml:5:86: upstreams.a.guard.bulkhead.adaptive.minimum: adaptive minimum 10 ≥ concurrent 10: the permits never change",
            "permits that cannot adapt"),
        Row(
            "bulkhead: { adaptive: { latency: 5s } }",
            "x.yaml:5:81: upstreams.a.guard.bulkhead.adaptive.latency: adaptive latency 5s ≥ per_try 5s: no answer takes longer, so only timeouts take permits away",
            "a latency that no answer has"),
        Row("bulkhead: { adaptive: { latency: 5s, rule: gradient2 } }", "", "a rule that does not ask for it"),
    ])
    func warns(row: Row) throws {
        let loaded = try read(minimal(upstream: "guard: { \(row.text) }"))
        #expect(loaded.warnings.map(\.description).joined(separator: "\n") == row.said)
    }

    @Test func defaultsAreQuiet() throws {
        #expect(try read(minimal()).warnings == [])
    }

    /// Below half of all endpoints the picker uses all of them, so that checks cannot take out the only one.
    @Test func aCheckOfOneEndpointOnlyReports() throws {
        let warnings = try read(minimal(upstream: "health_check: {}")).warnings
        #expect(
            warnings.map(\.description) == [
                "x.yaml:5:53: upstreams.a.health_check: 1 endpoint: with it out none of 1 is available, fewer than half, so requests go to it all the same; the check only reports"
            ])
        let two = minimal().replacing("[\"127.0.0.1:9001\"]", with: "[\"127.0.0.1:9001\", \"127.0.0.1:9002\"], health_check: {}")
        #expect(try read(two).warnings == [])
    }

    @Test func passwordsInClear() throws {
        let local = minimal(route: "to: a, filters: [{ basic: { users_file: u } }]")
        #expect(try read(local).warnings == [])
        let open = local.replacing("127.0.0.1:8080", with: "0.0.0.0:8080")
        #expect(
            try read(open).warnings.map(\.description) == [
                "x.yaml:3:5: listeners[0]: it is in clear, and the filter basic asks for what nobody else may see: anybody on the way can read it"
            ])
        #expect(try read("trusted_networks: [10.0.0.0/8]\n" + open).warnings == [], "a peer in front may end TLS")
        #expect(try read(open.replacing("basic: { users_file: u }", with: "ip_list: { deny: [10.0.0.1] }")).warnings == [])
    }

    @Test func hedgesThatAreNeverSent() throws {
        let alone = try read(minimal(upstream: "guard: { hedging: {} }")).warnings
        #expect(
            alone.map(\.description) == [
                "x.yaml:5:57: upstreams.a.guard.hedging: 1 endpoint: there is no other to send a hedge to"
            ])
        let two = minimal().replacing(
            "[\"127.0.0.1:9001\"]",
            with: "[\"127.0.0.1:9001\", \"127.0.0.1:9002\"], guard: { hedging: {}, retries: { attempts: 1 } }")
        #expect(
            try read(two).warnings.map(\.description) == [
                "x.yaml:5:75: upstreams.a.guard.hedging: retries.attempts 1: a hedge is a second attempt, and is never sent"
            ])
    }

    @Test func looksAtRoutesAndUse() throws {
        let text = minimal(
            upstream: "tls: { verify: false } }\n  b: { endpoints: [\"127.0.0.1:9002\"]", route: "to: a, timeouts: { total: 6s }")
        #expect(
            try read(text).warnings.map(\.description) == [
                "x.yaml:5:54: upstreams.a.tls.verify: verify is off: anybody between here and the upstream can read and change everything",
                "x.yaml:6:6: upstreams.b: no route leads to it",
                "x.yaml:8:56: routes[0].timeouts.total: 2 attempts · per_try 5s + back-offs 25ms = 10025ms > total 6s: the last try is cut short",
            ])
    }
}
