// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import JSON
import Reactor
import Telemetry
import Upstream

/// Asks several upstreams and answers with one JSON document (case E24).
///
/// Each part is a request of the gateway's own through its upstream's guard, with a limit of its own in time and bytes; what can go at once
/// does. Answers are held whole until the document is written: whether there is one, and with which status, is known only then. Of values nothing
/// is decoded; they are copied as they were written.
final class AggregateFilter: Filter {
    struct Request: Sendable {
        var upstream: Int
        var target: PartWriter
        var fields: [(name: [UInt8], value: PartWriter)]
        var timeout: Duration?
    }

    let plan: AggregatePlan
    let requests: [Request]
    let timeout: Duration?
    let cacheControl: [UInt8]
    private let counters: [[Counter]]

    /// What became of a part.
    enum Result: String, CaseIterable {
        case answered, absent, missing
    }

    init(
        _ settings: Configuration.AggregateFilter, upstreams: [Int], parameters: [String], scope: FilterScope,
        registry: MetricsRegistry
    ) {
        let names = settings.parts.map(\.name)
        plan = AggregatePlan(settings, names: names)
        requests = zip(settings.parts, upstreams).map { part, upstream in
            Request(
                upstream: upstream, target: PartWriter(part.path, parts: names, parameters: parameters),
                fields: part.headers.map { (Array($0.name.utf8), PartWriter($0.value, parts: names, parameters: parameters)) },
                timeout: part.timeout)
        }
        timeout = settings.timeout
        cacheControl = Array(settings.cacheControl.utf8)
        counters = names.map { name in
            Result.allCases.map {
                registry.counter(
                    "holdfast_aggregate_parts_total", help: "Parts of documents, by what became of them.",
                    labels: [("scope", scope.description), ("part", name), ("result", $0.rawValue)])
            }
        }
    }

    func count(_ part: Int, _ result: Result, shard: Int) {
        switch result {
        case .answered: counters[part][0].add(shard: shard)
        case .absent: counters[part][1].add(shard: shard)
        case .missing: counters[part][2].add(shard: shard)
        }
    }

    func request(_ pass: FilterPass) -> FilterStep {
        guard pass.head.method == .get || pass.head.method == .head else {
            var refusal = FilterRefusal(.requestMethod, detail: "this route is read only")
            refusal.fields = [("allow", Array("GET, HEAD".utf8))]
            return .refuse(refusal)
        }
        let call = AggregateCall(self, pass)
        pass.state = call
        call.begin()
        return .wait
    }

    func ended(_ pass: FilterPass) { (pass.state as? AggregateCall)?.cancel() }
}

extension AggregatePlan {
    init(_ settings: Configuration.AggregateFilter, names: [String]) {
        parts = settings.parts.map { part in
            let placement: Placement =
                switch part.placement {
                case .group(let member): .member(Array(member.utf8))
                case .flatten: .flatten
                case .join(let join):
                    .join(
                        Join(
                            into: names.firstIndex(of: join.into) ?? 0, list: join.list, on: join.on, key: join.key,
                            member: Array(join.member.utf8)))
                }
            var made = Part(name: Array(part.name.utf8), placement: placement)
            made.isRequired = part.isRequired
            made.fallback = part.fallback.flatMap { try? JSONDocument.parse($0.span) }
            made.notFoundIsAbsent = part.notFound == .absent
            made.take = part.take
            made.byteLimit = part.maximumBytes
            made.waitsFor = part.waitsFor.compactMap { names.firstIndex(of: $0) }.sorted()
            return made
        }
        completeName = settings.complete.map { Array($0.utf8) }
        missingName = settings.missing.map { Array($0.utf8) }
        byteLimit = settings.maximumBytes
    }
}
