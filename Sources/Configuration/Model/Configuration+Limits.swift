// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// How much of anything a peer may ask for. Each limit that is reached has a reason word and a counter.
    public struct Limits: Equatable, Sendable {
        /// Octets of a request head; in HTTP/2 name + value + 32 each (RFC 9113 §6.5.2). 1 KiB to 1 MiB. Default 64 KiB.
        public var headerBytes = 65_536
        /// Fields of a request head, 8 to 10,000. Default 100.
        public var headerCount = 100
        /// Cookie fields of an HTTP/2 request, counted apart because clients split them. 8 to 10,000. Default 256:
        /// legitimate clients send up to about 100.
        public var cookieCrumbs = 256
        /// Octets of a request target, 64 B to 1 MiB. Default 8 KiB (RFC 9110 §4.1 asks for 8,000).
        public var uriBytes = 8_192
        /// Octets of a request body, 0 B to 1 TiB. Default `off` (`nil`): bodies stream and are never collected, so their size costs no
        /// memory; the upstream knows best what it takes.
        public var bodyBytes: Int?
        /// What all requests together keep of their bodies for another attempt, 0 to 1 TiB. Default 64 MiB.
        public var replayBytes = 64 << 20
        /// Octets of chunk extensions in one body, 0 B to 1 MiB. Default 16 KiB.
        public var chunkExtensionBytes = 16_384
        /// Client connections at once over all listeners, 1 to 10,000,000. Default 10,000.
        public var connections = 10_000
        /// TLS handshakes under way at once, 1 to 100,000; further connections wait unaccepted. Each reactor has an
        /// equal part, at least 1. Default 1,000.
        public var handshakes = 1_000
        /// Requests on one client connection before it is closed in good order, 1 to 1,000,000,000. Default `off`: its
        /// age already bounds it.
        public var requestsPerConnection: Int?
        /// First octet of a head to its end, 100 ms to 5 min. Default 10 s (semantics, section 4).
        public var headerTimeout: Duration = .seconds(10)
        /// Longest silence inside a request body, 100 ms to 1 h. Default 10 s.
        public var bodyIdleTimeout: Duration = .seconds(10)
        /// Octets a second that a request body must reach on average once it is older than `bodyIdleTimeout`, while the gateway is
        /// waiting for it. 0 to 1 GiB, 0 asks for nothing. Default 500.
        public var bodyMinimumBytesPerSecond = 500
        /// Longest time for which a client takes nothing of what is ready for it, 100 ms to 1 h. Default 30 s.
        public var writeTimeout: Duration = .seconds(30)
        /// Life of a connection without a request, 100 ms to 1 h. Default 60 s.
        public var keepAliveTimeout: Duration = .seconds(60)
        /// Age at which a connection is closed in good order, give or take 10 %, 1 s to 7 d. Default 10 min, so that
        /// clients spread over gateways that were added. `nil` is `off`.
        public var connectionMaximumAge: Duration? = .seconds(600)
        /// Interim (1xx) responses passed on for one request, 0 to 1,000. Default 16.
        public var informationalResponses = 16
        /// Octets of an upstream's response head, 1 KiB to 1 MiB. Default 64 KiB.
        public var upstreamHeaderBytes = 65_536
        /// Fields of an upstream's response head, 8 to 10,000. Default 200.
        public var upstreamHeaderCount = 200
        /// Oddities (resets on either side, empty frames, settings and pings) that an HTTP/2 client has free before its connection is cut,
        /// 10 to 10,000. Default 200: promise P18 asks for at most 500.
        public var http2Glitches = 200
        /// Oddities forgiven a second, 0 to 10,000. Default 20.
        public var http2GlitchesForgivenPerSecond = 20

        public init() {}
    }
}
