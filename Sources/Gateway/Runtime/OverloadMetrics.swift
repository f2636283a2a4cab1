// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Resilience
import Telemetry

/// Shows the overload levels to a scrape.
enum OverloadMetrics {
    static func register(_ overload: Overload, in registry: MetricsRegistry) {
        for signal in OverloadSignal.allCases {
            registry.gauge(
                "holdfast_overload_level", help: "Classes of priority that the whole gateway turns away, 0 to 4.",
                labels: [("signal", signal.name)]
            ) { Double(overload.report[signal.rawValue].level) }
            registry.gauge(
                "holdfast_overload_reading", help: "Use of what overload allows; 1 sheds even critical requests.",
                labels: [("signal", signal.name)]
            ) { overload.report[signal.rawValue].reading.fraction }
        }
    }
}
