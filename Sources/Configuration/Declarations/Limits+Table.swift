// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

extension Configuration.Limits {
    static var table: Table<Self> {
        Table(
            name: "Limits",
            documentation: "How much of anything a peer may ask for. A limit that is reached has a reason word and a counter.",
            fields: heads + bodies + connections + upstreamSide)
    }

    private static let patience: ClosedRange<Duration> = .milliseconds(100) ... .seconds(3600)

    private static var heads: [Field<Self>] {
        [
            Field(
                "header_bytes", \.headerBytes, .size(1_024...1_048_576), "A request head; in HTTP/2 name + value + 32 bytes each."),
            Field("header_count", \.headerCount, .integer(8...10_000), "Fields of a request head."),
            Field(
                "cookie_crumbs", \.cookieCrumbs, .integer(8...10_000),
                "Cookie fields of an HTTP/2 request, counted apart because clients split them."),
            Field("uri_bytes", \.uriBytes, .size(64...1_048_576), "A request target."),
            Field(
                "header_timeout", \.headerTimeout, .duration(.milliseconds(100) ... .seconds(300)),
                "From the first byte of a head to its end."),
        ]
    }

    private static var bodies: [Field<Self>] {
        [
            Field(
                "body_bytes", \.bodyBytes, Kind.size(0...1 << 40).orOff(),
                "A request body. Off, because bodies stream and are never collected: their size costs the gateway nothing."),
            Field(
                "chunk_extension_bytes", \.chunkExtensionBytes, .size(0...1_048_576),
                "Chunk extensions of one body; they are never passed on."),
            Field(
                "replay_bytes", \.replayBytes, .size(0...1 << 40),
                "What all requests together keep of their bodies for another attempt; whoever gets no room cannot be tried again. Each has its own cap in `guard.retries.replay_body`."
            ),
            Field(
                "body_idle_timeout", \.bodyIdleTimeout, .duration(patience),
                "Longest silence inside a request body while the gateway is reading."),
            Field(
                "body_minimum_rate", \.bodyMinimumBytesPerSecond, .sizePerSecond(0...1 << 30),
                "What a request body must reach on average once it is older than `body_idle_timeout`; time in which it has not been read on is not counted. 0 asks for nothing."
            ),
            Field(
                "write_timeout", \.writeTimeout, .duration(patience),
                "Longest time for which a client takes nothing of what is ready for it."),
        ]
    }

    private static var connections: [Field<Self>] {
        [
            Field("connections", \.connections, .integer(1...10_000_000), "Client connections at once, over all listeners."),
            Field(
                "handshakes", \.handshakes, .integer(1...100_000),
                "TLS handshakes under way at once, over all listeners; further connections wait unaccepted. Each reactor has an equal part, at least 1."
            ),
            Field(
                "requests_per_connection", \.requestsPerConnection, Kind.integer(1...1_000_000_000).orOff(),
                "Requests on one client connection before it is closed in good order."),
            Field("keep_alive_timeout", \.keepAliveTimeout, .duration(patience), "Life of a client connection without a request."),
            Field(
                "connection_max_age", \.connectionMaximumAge, Kind.duration(.seconds(1) ... .seconds(7 * 86_400)).orOff(),
                "Age at which a client connection is closed in good order, give or take 10 %, so that clients spread over new gateways."
            ),
            Field(
                "http2_glitches", \.http2Glitches, .integer(10...10_000),
                "Oddities (resets on either side, empty frames, settings, pings) an HTTP/2 client has free before its connection is cut."
            ),
            Field(
                "http2_glitches_forgiven", \.http2GlitchesForgivenPerSecond, .wholeRate(0...10_000),
                "How fast such oddities are forgotten."),
        ]
    }

    private static var upstreamSide: [Field<Self>] {
        [
            Field(
                "informational_responses", \.informationalResponses, .integer(0...1_000),
                "Interim (1xx) responses passed on for one request."),
            Field("upstream_header_bytes", \.upstreamHeaderBytes, .size(1_024...1_048_576), "An upstream's response head."),
            Field("upstream_header_count", \.upstreamHeaderCount, .integer(8...10_000), "Fields of an upstream's response head."),
        ]
    }
}
