// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Telemetry

@Suite struct PrometheusTextTests {
    @Test func goldenScrape() throws {
        let registry = MetricsRegistry(shards: 2)
        // Declared out of order on purpose.
        let latency = registry.histogram("z_seconds", help: "How long.", labels: [("route", "r")])
        registry.counter("m_total", help: "Answers.", labels: [("status_class", "5xx")]).add(1, shard: 1)
        registry.counter("m_total", help: "Answers.", labels: [("status_class", "2xx")]).add(12, shard: 0)
        registry.gauge("a_open", help: "Open now.").add(-3, shard: 1)
        registry.gauge("b_ratio", help: "A share.", read: { 0.25 })
        registry.gauge("b_gone", help: "Absent.", read: { .nan })
        registry.gauge("b_most", help: "No bound.", read: { .infinity })
        registry.counter("b_seen_total", help: "Kept elsewhere.", read: { 18_446_744_073_709_551_615 })
        latency.record(nanoseconds: 1_000_000, shard: 0)
        latency.record(nanoseconds: 1_500_000, shard: 1)
        latency.record(nanoseconds: 90_000_000_000, shard: 1)
        let output = text { registry.write(into: &$0) }
        #expect(
            output == """
                # HELP a_open Open now.
                # TYPE a_open gauge
                a_open -3
                # HELP b_most No bound.
                # TYPE b_most gauge
                b_most +Inf
                # HELP b_ratio A share.
                # TYPE b_ratio gauge
                b_ratio 0.25
                # HELP b_seen_total Kept elsewhere.
                # TYPE b_seen_total counter
                b_seen_total 18446744073709551615
                # HELP m_total Answers.
                # TYPE m_total counter
                m_total{status_class="2xx"} 12
                m_total{status_class="5xx"} 1
                # HELP z_seconds How long.
                # TYPE z_seconds histogram
                z_seconds_bucket{route="r",le="0.001"} 1
                z_seconds_bucket{route="r",le="0.0025"} 2
                z_seconds_bucket{route="r",le="0.005"} 2
                z_seconds_bucket{route="r",le="0.01"} 2
                z_seconds_bucket{route="r",le="0.025"} 2
                z_seconds_bucket{route="r",le="0.05"} 2
                z_seconds_bucket{route="r",le="0.1"} 2
                z_seconds_bucket{route="r",le="0.25"} 2
                z_seconds_bucket{route="r",le="0.5"} 2
                z_seconds_bucket{route="r",le="1"} 2
                z_seconds_bucket{route="r",le="2.5"} 2
                z_seconds_bucket{route="r",le="5"} 2
                z_seconds_bucket{route="r",le="10"} 2
                z_seconds_bucket{route="r",le="30"} 2
                z_seconds_bucket{route="r",le="60"} 2
                z_seconds_bucket{route="r",le="+Inf"} 3
                z_seconds_sum{route="r"} 90.0025
                z_seconds_count{route="r"} 3

                """)
        _ = try PrometheusChecker(output)
    }

    @Test(arguments: [
        #"plain"#, #"quote"inside"#, #"back\slash"#, "line\nfeed", #"\n is two characters"#, "ends with \\", "brace} # HELP x",
        "ünïcode 😀", "",
    ])
    func labelValuesReadBack(value: String) throws {
        let registry = MetricsRegistry(shards: 1)
        registry.counter("c_total", help: "Help \(value)", labels: [("a", value), ("b", "x")]).add(5, shard: 0)
        let checker = try PrometheusChecker(text { registry.write(into: &$0) })
        #expect(checker.value("c_total", ["a": value, "b": "x"]) == 5)
        #expect(checker.samples.count == 1)
    }

    @Test func aCarriageReturnEndsNoLine() {
        let registry = MetricsRegistry(shards: 1)
        registry.gauge("g", help: "a\r\nb", labels: [("x", "c\rd")], read: { 1 })
        let output = text { registry.write(into: &$0) }
        #expect(output == "# HELP g a \\nb\n# TYPE g gauge\ng{x=\"c d\"} 1\n")
    }

    @Test func theCheckerItselfRefusesWhatIsWrong() {
        for bad in [
            "x 1", "x 1\n", "# HELP x h\n# TYPE x gauge\ny 1\n", "# HELP x h\n# TYPE x gauge\nx{a=\"1} 1\n",
            "# HELP x h\n# TYPE x gauge\nx one\n", "# HELP x h\n# TYPE x gauge\nx 1\nx 2\n",
            "# HELP h h\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
        ] {
            #expect(throws: PrometheusChecker.Complaint.self) { try PrometheusChecker(bad) }
        }
    }
}
