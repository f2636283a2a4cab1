// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Telemetry

/// What one route counts, resolved when the configuration is loaded.
struct RouteMetrics: Sendable {
    /// By status class: 1xx … 5xx at 1 … 5; 0 is an exchange without an answer.
    let requests: [Counter]
    let duration: LatencyHistogram
    let firstByte: LatencyHistogram
    let degraded: Counter

    init(registry: MetricsRegistry, route: String) {
        let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]
        requests = classes.map {
            registry.counter(
                "holdfast_requests_total", help: "Requests answered, by route and class of status.",
                labels: [("route", route), ("status_class", $0)])
        }
        duration = registry.histogram(
            "holdfast_request_duration_seconds", help: "From the request's first byte to the end of its answer.",
            labels: [("route", route)])
        degraded = registry.counter(
            "holdfast_degraded_total", help: "Requests that got the route's fallback.", labels: [("route", route)])
        firstByte = registry.histogram(
            "holdfast_upstream_first_byte_seconds", help: "From an attempt's admission to its response head.",
            labels: [("route", route)])
    }
}

/// What one listener counts.
struct ListenerMetrics: Sendable {
    let accepted: Counter
    let refused: Counter
    let open: Gauge
    let handshakes: Counter
    let resumed: Counter
    let handshakeFailures: Counter
    let bytesIn: Counter
    let bytesOut: Counter

    init(registry: MetricsRegistry, listener: String) {
        let labels = [("listener", listener)]
        accepted = registry.counter("holdfast_connections_total", help: "Connections accepted.", labels: labels)
        refused = registry.counter(
            "holdfast_connections_refused_total", help: "Connections reset because a limit was reached.", labels: labels)
        open = registry.gauge("holdfast_connections_open", help: "Client connections open now.", labels: labels)
        handshakes = registry.counter("holdfast_tls_handshakes_total", help: "TLS handshakes completed.", labels: labels)
        resumed = registry.counter("holdfast_tls_resumed_total", help: "TLS handshakes that resumed a session.", labels: labels)
        handshakeFailures = registry.counter(
            "holdfast_tls_handshake_failures_total", help: "TLS handshakes that failed or timed out.", labels: labels)
        bytesIn = registry.counter(
            "holdfast_client_bytes_received_total", help: "Bytes read from clients' sockets.", labels: labels)
        bytesOut = registry.counter("holdfast_client_bytes_sent_total", help: "Bytes written to clients' sockets.", labels: labels)
    }
}

/// What one upstream's attempts count.
struct UpstreamMetrics: Sendable {
    let attempts: Counter
    let retries: Counter

    init(registry: MetricsRegistry, upstream: String) {
        let labels = [("upstream", upstream)]
        attempts = registry.counter("holdfast_upstream_attempts_total", help: "Attempts sent to an endpoint.", labels: labels)
        retries = registry.counter("holdfast_upstream_retries_total", help: "Attempts beyond a request's first.", labels: labels)
    }

    func count(attempts n: Int, shard: Int) {
        if n > 0 { attempts.add(UInt64(n), shard: shard) }
        if n > 1 { retries.add(UInt64(n - 1), shard: shard) }
    }
}

/// What is counted of every request, whatever its route.
final class RequestMetrics: Sendable {
    /// By position of the reason in `Reason.allCases`.
    private let reasons: [Counter]
    let methods: [Counter]
    let protocols: [Counter]
    let bodyBytesIn: Counter
    let bodyBytesOut: Counter
    let malformedTimeouts: Counter
    /// Requests that no route took.
    let unrouted: RouteMetrics
    let upstreams: [UpstreamMetrics]
    /// Handles are addresses in it: it lives as long as a snapshot by which somebody counts.
    private let registry: MetricsRegistry

    init(registry: MetricsRegistry, upstreams names: [String]) {
        self.registry = registry
        reasons = Reason.allCases.map {
            registry.counter(
                "holdfast_reasons_total", help: "Requests by the reason that Holdfast gave them; see the table of reasons.",
                labels: [("reason", $0.rawValue)])
        }
        methods = Method.allCases.map {
            registry.counter(
                "holdfast_requests_by_method_total", help: "Requests by method; unknown ones are `other`.",
                labels: [("method", "\($0.text)")])
        }
        protocols = ["HTTP/1.0", "HTTP/1.1", "HTTP/2"].map {
            registry.counter(
                "holdfast_requests_by_protocol_total", help: "Requests by the client's protocol.", labels: [("protocol", $0)])
        }
        bodyBytesIn = registry.counter("holdfast_request_body_bytes_total", help: "Bytes of request bodies.")
        bodyBytesOut = registry.counter("holdfast_response_body_bytes_total", help: "Bytes of response bodies.")
        malformedTimeouts = registry.counter(
            "holdfast_malformed_timeouts_total", help: "Requests whose grpc-timeout or X-Request-Timeout-ms could not be read.")
        unrouted = RouteMetrics(registry: registry, route: "none")
        upstreams = names.map { UpstreamMetrics(registry: registry, upstream: $0) }
    }

    func count(_ reason: Reason, shard: Int) {
        guard let i = RequestMetrics.positions[reason] else { return }
        reasons[i].add(shard: shard)
    }

    private static let positions = Dictionary(uniqueKeysWithValues: Reason.allCases.enumerated().map { ($1, $0) })
}
