// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Telemetry

/// A filter with its place among others and what it counts.
package struct RankedFilter: Sendable {
    let rank: FilterRank
    let filter: any Filter
    let metrics: FilterMetrics
}

/// The filters of one route on one listener, or of one upstream, in order.
package final class FilterChain: Sendable {
    let filters: [RankedFilter]

    /// Of a route that has none itself and leads to an upstream that has.
    static let empty = FilterChain(sorted: [])

    private init(sorted: [RankedFilter]) { filters = sorted }

    /// `nil` where there is no filter.
    init?(_ filters: [RankedFilter]) {
        if filters.isEmpty { return nil }
        // `sort` is not stable by its contract: within a rank the order given stays.
        self.filters = filters.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(\.element)
    }
}

/// What one filter counts. The chain counts for all of them, so that none forgets.
package struct FilterMetrics: Sendable {
    package enum Result: String, CaseIterable, Sendable {
        /// The request went on.
        case passed
        /// It was refused, with a reason.
        case refused
        /// The filter answered it.
        case answered
        /// The filter changed or replaced the answer's body.
        case transformed
    }

    private let counters: [Counter]

    init(registry: MetricsRegistry, scope: FilterScope, kind: String) {
        counters = Result.allCases.map {
            registry.counter(
                "holdfast_filter_requests_total", help: "What filters did with requests.",
                labels: [("scope", scope.description), ("filter", kind), ("result", $0.rawValue)])
        }
    }

    func count(_ result: Result, shard: Int) {
        switch result {
        case .passed: counters[0].add(shard: shard)
        case .refused: counters[1].add(shard: shard)
        case .answered: counters[2].add(shard: shard)
        case .transformed: counters[3].add(shard: shard)
        }
    }
}

/// Where a filter is written.
package struct FilterScope: Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable { case listener, route, upstream }

    package var kind: Kind
    package var name: String

    init(_ kind: Kind, _ name: String) {
        self.kind = kind
        self.name = name
    }

    /// As metrics and messages name it: `route /users/*`.
    package var description: String { "\(kind.rawValue) \(name)" }
}
