// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Gateway
import Reactor
import Resilience
import Telemetry
import Upstream

/// The state of every upstream's guard and endpoints at this instant, as JSON: what `GET /upstreams` shows.
struct UpstreamReport {
    let clusters: [UpstreamCluster]
    let overrides: BreakerOverrides?
    let overload: Overload
    let now: Instant

    func write(into body: inout ByteBuffer) {
        body.append("{\"upstreams\":[")
        for (i, cluster) in clusters.enumerated() {
            body.append(i == 0 ? "\n" : ",\n")
            write(cluster, into: &body)
        }
        body.append("\n],\"overload\":{")
        for (i, entry) in overload.report.enumerated() {
            body.append(i == 0 ? "" : ",")
            text(entry.signal.name, &body)
            body.append(":{\"level\":")
            body.append(decimal: entry.level)
            number("reading_percent", UInt64(max(0, entry.reading.tenThousandths / 100)), &body)
            body.append("}")
        }
        body.append("}}\n")
    }

    private func write(_ cluster: UpstreamCluster, into body: inout ByteBuffer) {
        let state = cluster.guardian.snapshot(now: now)
        body.append("{\"name\":")
        text(cluster.name, &body)
        body.append(",\"breaker\":{\"state\":")
        switch state.breaker {
        case _ where state.override != .automatic: text(state.override.rawValue, &body)
        case .closed: text("closed", &body)
        case .halfOpen: text("half_open", &body)
        case .open(let until):
            text("open", &body)
            number("open_for_ms", UInt64(max(0, until.nanoseconds(since: now) / 1_000_000)), &body)
        }
        number("generation", state.generation, &body)
        number("openings", UInt64(state.openings), &body)
        number("completed", UInt64(state.evidence.completed), &body)
        number("failed", UInt64(state.evidence.failed), &body)
        number("slow", UInt64(state.evidence.slow), &body)
        if let entry = overrides?.entry(for: cluster) {
            number("forced_for_ms", UInt64(max(0, entry.until.nanoseconds(since: now) / 1_000_000)), &body)
            body.append(",\"reason\":")
            text(entry.reason, &body)
        }
        body.append("},\"bulkhead\":{\"permits\":")
        body.append(decimal: state.permits)
        number("in_use", UInt64(state.permitsInUse), &body)
        number("high_water", UInt64(state.highWater), &body)
        number("queued", UInt64(state.queued), &body)
        number("places", UInt64(state.places), &body)
        if let limit = state.adaptiveLimit { number("adaptive_limit", UInt64(max(0, limit)), &body) }
        number("shed_level", UInt64(state.shedLevel), &body)
        if let throttle = state.throttle { number("throttle_percent", UInt64(max(0, throttle) * 100), &body) }
        body.append("},\"retries\":{\"available\":")
        body.append(decimal: state.retriesAvailable)
        number("outstanding", UInt64(state.retriesOutstanding), &body)
        number("granted", state.retriesGranted, &body)
        number("refunded", state.retriesRefunded, &body)
        number("free", state.retriesFree, &body)
        body.append("},\"refused\":{")
        var isFirst = true
        for (reason, count) in state.counters.refusals where count > 0 {
            if !isFirst { body.append(",") }
            isFirst = false
            text(reason.rawValue, &body)
            body.append(":")
            body.append(decimal: count)
        }
        if let name = cluster.upstreamName { write(name, into: &body) }
        body.append("},\"endpoints\":[")
        for (i, endpoint) in cluster.endpoints.enumerated() {
            if i > 0 { body.append(",") }
            body.append("{\"address\":")
            text(endpoint.label, &body)
            body.append(",\"available\":")
            body.append(cluster.picker.isAvailable(i) ? "true" : "false")
            body.append(",\"well\":")
            body.append(cluster.picker.isWell(i) ? "true" : "false")
            body.append(",\"ejected\":")
            body.append(cluster.picker.isEjected(i) ? "true" : "false")
            number("under_way", UInt64(max(0, endpoint.exchangesUnderWay)), &body)
            body.append("}")
        }
        body.append("]}")
    }

    /// Behind the refusals, whose brace it closes.
    private func write(_ name: UpstreamName, into body: inout ByteBuffer) {
        let status = name.status
        body.append("},\"dns\":{\"name\":")
        text(name.settings.name, &body)
        body.append(",\"state\":")
        text(status.state.rawValue, &body)
        if let failure = status.failure {
            body.append(",\"failure\":")
            text(failure.rawValue, &body)
        }
        if let answeredAt = status.answeredAt {
            number("answered_ms_ago", UInt64(max(0, now.nanoseconds(since: answeredAt) / 1_000_000)), &body)
        }
        if let next = status.next { number("next_in_ms", UInt64(max(0, next.nanoseconds(since: now) / 1_000_000)), &body) }
    }

    private func number(_ name: StaticString, _ value: UInt64, _ body: inout ByteBuffer) {
        body.append(",\"")
        body.append(name)
        body.append("\":")
        body.append(decimal: value)
    }

    private func text(_ value: String, _ body: inout ByteBuffer) {
        body.append("\"")
        body.append(escaping: Array(value.utf8).span, as: .json)
        body.append("\"")
    }
}
