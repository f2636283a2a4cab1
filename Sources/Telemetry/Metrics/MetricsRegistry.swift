// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Where metrics are declared, once, and from where they are scraped.
///
/// A series (a name with label values) is resolved to a handle at start or when a configuration is loaded, never by name
/// on the way of a request. Registering the same series again gives the same counts, so a reload simply registers all of
/// its own. Label values come from closed sets (routes, upstreams, reasons, status classes), never from a peer; and the
/// number of series is bounded all the same: beyond the limit a family's further series share one whose label values are
/// all `overflow`, so that sums stay right (promise P28).
///
/// Registering takes a lock and allocates. A scrape takes the lock only to copy the list.
package final class MetricsRegistry: Sendable {
    /// Reactor shards: valid shard numbers are `0..<shards`.
    package let shards: Int
    let seriesLimit: Int
    private let state: GuardLock<State>

    private struct State: ~Copyable {
        var cells: MetricCells
        var families: [String: MetricFamily] = [:]
        var liveSeries = 0
        var refusedSeries: UInt64 = 0
        var refusals: [String] = []
    }

    /// How many refused series are remembered by name.
    static let rememberedRefusals = 16

    package init(shards: Int, seriesLimit: Int = 2_000) {
        precondition(shards > 0 && shards <= 1_024)
        self.shards = shards
        self.seriesLimit = seriesLimit
        state = GuardLock(State(cells: MetricCells(regions: shards + 1)))
    }

    // MARK: Declaring

    package func counter(_ name: String, help: String, labels: [(String, String)] = []) -> Counter {
        guard case .counter(let counter) = resolve(name, help, .counter, labels, make: { .counter(Counter(slot: $0(1))) })
        else { preconditionFailure("\(name) is read by a closure and cannot be counted in") }
        return counter
    }

    package func gauge(_ name: String, help: String, labels: [(String, String)] = []) -> Gauge {
        guard case .gauge(let gauge) = resolve(name, help, .gauge, labels, make: { .gauge(Gauge(slot: $0(1))) })
        else { preconditionFailure("\(name) is read by a closure and cannot be set") }
        return gauge
    }

    /// A histogram of seconds; its name should end in `_seconds`.
    package func histogram(_ name: String, help: String, labels: [(String, String)] = []) -> LatencyHistogram {
        guard
            case .histogram(let histogram) = resolve(
                name, help, .histogram, labels,
                make: { .histogram(LatencyHistogram(slot: $0(LatencyBuckets.words))) })
        else { preconditionFailure("\(name) is not a histogram") }
        return histogram
    }

    /// A gauge whose value is asked for at each scrape. `read` runs on the scraping thread and must not register or scrape.
    /// Registering it again replaces the closure. NaN leaves the series out of that scrape.
    package func gauge(
        _ name: String, help: String, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) {
        _ = resolve(name, help, .gauge, labels, replacing: true, make: { _ in .read(read) })
    }

    /// A counter whose value something else keeps; as `gauge(…, read:)`.
    package func counter(
        _ name: String, help: String, labels: [(String, String)] = [], read: @escaping @Sendable () -> UInt64
    ) {
        _ = resolve(name, help, .counter, labels, replacing: true, make: { _ in .readCount(read) })
    }

    /// A counter of seconds that something else keeps.
    func counter(_ name: String, help: String, seconds read: @escaping @Sendable () -> Double) {
        _ = resolve(name, help, .counter, [], replacing: true, make: { _ in .read(read) })
    }

    /// Takes every series with this label out of the scrape, after a reload removed what it stood for. Closures are let
    /// go; counts stay where running exchanges may still add to them, and come back if the series is registered again.
    package func retire(label name: String, value: String) { retire(labels: [(name, value)]) }

    /// Those that have all of these labels.
    package func retire(labels: [(String, String)]) {
        // What the closures held dies after the lock is left, since a deinit may do anything.
        var released: [MetricFamily] = []
        state.withLock { state in
            for family in state.families.keys {
                guard let before = state.families[family] else { continue }
                let places = labels.map { before.labelNames.firstIndex(of: $0.0) }
                guard !places.contains(nil) else { continue }
                released.append(before)
                state.liveSeries -=
                    state.families[family]?.retire { values in
                        zip(places, labels).allSatisfy { at, label in at.map { values[$0] } == label.1 }
                    } ?? 0
            }
        }
        released.removeAll()
    }

    /// Series refused so far because of the limit.
    package var refusedSeries: UInt64 { state.withLock { $0.refusedSeries } }
    /// The first few of them by name and labels, for the operational log; reading empties the list.
    package func takeRefusals() -> [String] {
        state.withLock { state in
            let list = state.refusals
            state.refusals = []
            return list
        }
    }

    package var seriesCount: Int { state.withLock { $0.liveSeries } }

    /// Finds or makes a series. Names are ours, so a bad one is a mistake that stops the process at start.
    private func resolve(
        _ name: String, _ help: String, _ kind: MetricFamily.Kind, _ labels: [(String, String)], replacing: Bool = false,
        make: ((Int) -> MetricSlot) -> MetricSeries.Source
    ) -> MetricSeries.Source {
        let names = labels.map(\.0)
        let values = labels.map(\.1)
        precondition(MetricFamily.isMetricName(name), "not a metric name: \(name)")
        precondition(MetricFamily.areLabelNames(names, of: kind), "\(name): bad label names \(names)")
        var released: MetricSeries.Source?
        defer { _ = released }
        return state.withLock { state in
            var family = state.families[name] ?? MetricFamily(name: name, help: help, kind: kind, labelNames: names)
            precondition(family.kind == kind, "\(name) is registered as a \(family.kind)")
            precondition(family.labelNames == names, "\(name) is registered with labels \(family.labelNames)")
            defer { state.families[name] = family }

            let key = MetricFamily.key(values)
            if var known = family.series[key] {
                if known.isRetired && !known.isOverflow {
                    guard state.liveSeries < seriesLimit else { return refuse(&state, &family, values, make) }
                    known.isRetired = false
                    state.liveSeries += 1
                }
                if replacing || known.source == nil {
                    released = known.source
                    known.source = makeSource(&state, make)
                }
                family.series[key] = known
                guard let source = known.source else { preconditionFailure("a live series has a source") }
                return source
            }
            guard state.liveSeries < seriesLimit else { return refuse(&state, &family, values, make) }
            let source = makeSource(&state, make)
            family.series[key] = MetricSeries(names: names, values: values, source: source)
            state.liveSeries += 1
            return source
        }
    }

    private func makeSource(_ state: inout State, _ make: ((Int) -> MetricSlot) -> MetricSeries.Source) -> MetricSeries.Source {
        make { words in unsafe MetricSlot(base: state.cells.allocate(words: words), shards: shards) }
    }

    /// Counts the refusal and answers with the family's overflow series, made at the first need.
    private func refuse(
        _ state: inout State, _ family: inout MetricFamily, _ values: [String],
        _ make: ((Int) -> MetricSlot) -> MetricSeries.Source
    ) -> MetricSeries.Source {
        state.refusedSeries += 1
        if state.refusals.count < MetricsRegistry.rememberedRefusals {
            let labels = zip(family.labelNames, values).map { "\($0)=\($1)" }.joined(separator: ",")
            state.refusals.append("\(family.name){\(labels)}: the limit of \(seriesLimit) series is reached")
        }
        let overflow = values.map { _ in "overflow" }
        let key = MetricFamily.key(overflow)
        if let source = family.series[key]?.source { return source }
        let source = makeSource(&state, make)
        var series = MetricSeries(names: family.labelNames, values: overflow, source: source)
        series.isOverflow = true
        family.series[key] = series
        return source
    }

    /// The families with a live series, by name.
    func familiesInOrder() -> [MetricFamily] {
        state.withLock { Array($0.families.values) }.sorted { $0.name < $1.name }
    }
}
