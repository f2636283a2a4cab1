// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// All series of one metric name.
struct MetricFamily: Sendable {
    enum Kind: String, Sendable { case counter, gauge, histogram }

    let name: String
    let help: String
    let kind: Kind
    let labelNames: [String]
    var series: [String: MetricSeries] = [:]

    init(name: String, help: String, kind: Kind, labelNames: [String]) {
        self.name = name
        self.help = help
        self.kind = kind
        self.labelNames = labelNames
    }

    /// Marks the matching series and drops their closures. Returns how many were live.
    mutating func retire(where matches: ([String]) -> Bool) -> Int {
        var count = 0
        for key in series.keys {
            guard var one = series[key], !one.isRetired, !one.isOverflow, matches(one.values) else { continue }
            one.isRetired = true
            if one.isReadByClosure { one.source = nil }
            series[key] = one
            count += 1
        }
        return count
    }

    /// One text for a list of label values; the lengths keep ["a", "bc"] and ["ab", "c"] apart.
    static func key(_ values: [String]) -> String { values.map { "\($0.utf8.count):\($0)" }.joined() }

    /// `[a-zA-Z_:][a-zA-Z0-9_:]*` (Prometheus data model).
    static func isMetricName(_ name: String) -> Bool { isName(name, colon: true) }

    static func areLabelNames(_ names: [String], of kind: Kind) -> Bool {
        names.allSatisfy { isName($0, colon: false) && !$0.hasPrefix("__") && !(kind == .histogram && $0 == "le") }
            && Set(names).count == names.count
    }

    private static func isName(_ name: String, colon: Bool) -> Bool {
        guard let first = name.utf8.first, !(48...57).contains(first) else { return false }
        return name.utf8.allSatisfy {
            (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || $0 == 95 || (colon && $0 == 58)
        }
    }
}

/// One series: its label values and where its value comes from.
struct MetricSeries: Sendable {
    enum Source: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(LatencyHistogram)
        case read(@Sendable () -> Double)
        case readCount(@Sendable () -> UInt64)
    }

    let values: [String]
    /// `route="x",status_class="2xx"`, escaped, without braces.
    let labelText: [UInt8]
    var source: Source?
    var isRetired = false
    var isOverflow = false

    init(names: [String], values: [String], source: Source) {
        self.values = values
        self.source = source
        labelText = PrometheusText.labels(names, values)
    }

    var isReadByClosure: Bool {
        switch source {
        case .read, .readCount: true
        case .counter, .gauge, .histogram, nil: false
        }
    }
}
