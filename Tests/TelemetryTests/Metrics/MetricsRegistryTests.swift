// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Synchronization
import Testing

@testable import Telemetry

@Suite struct MetricsRegistryTests {
    private func scrape(_ registry: MetricsRegistry) throws -> PrometheusChecker {
        try PrometheusChecker(text { registry.write(into: &$0) })
    }

    @Test func theSameSeriesIsTheSameCount() throws {
        let registry = MetricsRegistry(shards: 1)
        registry.counter("c_total", help: "h", labels: [("route", "a")]).add(2, shard: 0)
        registry.counter("c_total", help: "h", labels: [("route", "a")]).add(3, shard: 0)
        #expect(registry.seriesCount == 1)
        let value = try scrape(registry).value("c_total", ["route": "a"])
        #expect(value == 5)
    }

    @Test func labelValuesThatLookAlikeAreKeptApart() throws {
        let registry = MetricsRegistry(shards: 1)
        registry.counter("c_total", help: "", labels: [("x", "a"), ("y", "bc")]).add(1, shard: 0)
        registry.counter("c_total", help: "", labels: [("x", "ab"), ("y", "c")]).add(2, shard: 0)
        registry.counter("c_total", help: "", labels: [("x", "1:a"), ("y", "")]).add(3, shard: 0)
        let checker = try scrape(registry)
        #expect(checker.value("c_total", ["x": "a", "y": "bc"]) == 1)
        #expect(checker.value("c_total", ["x": "ab", "y": "c"]) == 2)
        #expect(checker.value("c_total", ["x": "1:a", "y": ""]) == 3)
    }

    @Test func beyondTheLimitSeriesShareOneAndSumsStayRight() throws {
        let registry = MetricsRegistry(shards: 2, seriesLimit: 100)
        for i in 0..<100_000 {
            registry.counter("c_total", help: "", labels: [("route", "r\(i)")]).add(1, shard: i % 2)
        }
        registry.histogram("h_seconds", help: "", labels: [("route", "r")]).record(nanoseconds: 1, shard: 0)
        registry.gauge("g", help: "", read: { 1 })
        #expect(registry.seriesCount == 100)
        #expect(registry.refusedSeries == 100_000 - 100 + 2)
        let checker = try scrape(registry)
        #expect(checker.samples.filter { $0.name == "c_total" }.count == 101)
        #expect(checker.value("c_total", ["route": "overflow"]) == 99_900)
        #expect(checker.samples.filter { $0.name == "c_total" }.map(\.value).reduce(0, +) == 100_000)
        #expect(checker.value("h_seconds_count", ["route": "overflow"]) == 1)
        let refusals = registry.takeRefusals()
        #expect(refusals.count == MetricsRegistry.rememberedRefusals)
        #expect(refusals.first == "c_total{route=r100}: the limit of 100 series is reached")
        #expect(registry.takeRefusals() == [])
    }

    /// Only what has all of the labels, so that an endpoint of one upstream is not taken for that of another.
    @Test func retiringByMoreThanOneLabel() throws {
        let registry = MetricsRegistry(shards: 1)
        for (upstream, endpoint) in [("users", "a"), ("users", "b"), ("orders", "a")] {
            registry.gauge("up", help: "", labels: [("upstream", upstream), ("endpoint", endpoint)], read: { 1 })
        }
        registry.counter("c_total", help: "", labels: [("upstream", "users")]).add(1, shard: 0)
        registry.retire(labels: [("endpoint", "a"), ("upstream", "users")])
        let left = try scrape(registry).samples.map(\.labels)
        #expect(left.count == 3 && registry.seriesCount == 3)
        #expect(!left.contains(["upstream": "users", "endpoint": "a"]) && left.contains(["upstream": "orders", "endpoint": "a"]))
        #expect(left.contains(["upstream": "users"]), "what lacks one of the labels stays")
    }

    @Test func whatAReloadRemovedLeavesTheScrapeAndComesBack() throws {
        let registry = MetricsRegistry(shards: 1, seriesLimit: 3)
        let old = registry.counter("c_total", help: "", labels: [("upstream", "users")])
        old.add(4, shard: 0)
        registry.counter("c_total", help: "", labels: [("upstream", "orders")]).add(1, shard: 0)
        registry.gauge("state", help: "", labels: [("upstream", "users")], read: { 2 })
        registry.retire(label: "upstream", value: "users")
        registry.retire(label: "upstream", value: "users")
        registry.retire(label: "route", value: "users")
        #expect(registry.seriesCount == 1)
        // A running exchange still counts.
        old.add(1, shard: 0)
        let without = try scrape(registry)
        #expect(without.samples.map(\.labels) == [["upstream": "orders"]])
        // Back again: the counter goes on, the gauge has its new closure.
        _ = registry.counter("c_total", help: "", labels: [("upstream", "users")])
        registry.gauge("state", help: "", labels: [("upstream", "users")], read: { 7 })
        let again = try scrape(registry)
        #expect(again.value("c_total", ["upstream": "users"]) == 5)
        #expect(again.value("state", ["upstream": "users"]) == 7)
        #expect(registry.seriesCount == 3)
        #expect(registry.refusedSeries == 0)
    }

    @Test func aRetiredSeriesThatComesBackTooLateIsRefused() throws {
        let registry = MetricsRegistry(shards: 1, seriesLimit: 1)
        registry.gauge("a", help: "", labels: [("x", "1")], read: { 1 })
        registry.retire(label: "x", value: "1")
        _ = registry.counter("b_total", help: "")
        registry.gauge("a", help: "", labels: [("x", "1")], read: { 2 })
        #expect(registry.refusedSeries == 1)
        #expect(try scrape(registry).samples.map(\.name) == ["a", "b_total"])
    }

    @Test func retiringAndReplacingLetClosuresGo() {
        final class Guard: Sendable {
            let alive: @Sendable () -> Void
            init(_ died: @escaping @Sendable () -> Void) { alive = died }
            deinit { alive() }
        }
        let died = Mutex(0)
        let registry = MetricsRegistry(shards: 1)
        for label in ["a", "b"] {
            let one = Guard { died.withLock { $0 += 1 } }
            registry.gauge("g", help: "", labels: [("x", label)], read: { withExtendedLifetime(one) { 1 } })
        }
        #expect(died.withLock { $0 } == 0)
        registry.retire(label: "x", value: "a")
        #expect(died.withLock { $0 } == 1)
        registry.gauge("g", help: "", labels: [("x", "b")], read: { 2 })
        #expect(died.withLock { $0 } == 2)
    }

    @Test(arguments: [
        ("holdfast_requests_total", true), ("a:b", true), ("_x9", true), ("", false), ("9x", false), ("a-b", false), ("ä", false),
        ("a b", false),
    ])
    func metricNames(name: String, isGood: Bool) {
        #expect(MetricFamily.isMetricName(name) == isGood)
    }

    @Test func labelNames() {
        #expect(MetricFamily.areLabelNames(["route", "status_class"], of: .counter))
        #expect(!MetricFamily.areLabelNames(["a", "a"], of: .counter))
        #expect(!MetricFamily.areLabelNames(["__name__"], of: .counter))
        #expect(!MetricFamily.areLabelNames(["a:b"], of: .counter))
        #expect(!MetricFamily.areLabelNames(["le"], of: .histogram))
        #expect(MetricFamily.areLabelNames(["le"], of: .gauge))
    }
}
