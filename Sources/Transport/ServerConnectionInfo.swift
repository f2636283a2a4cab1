// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
import TLS
package import Reactor

/// What is true of every exchange on one accepted connection.
package final class ServerConnectionInfo {
    package let connection: Connection
    package let settings: ServerSettings
    package let service: any RequestService
    /// After this it is closed in good order.
    package let expiresAt: Instant
    /// Exchanges begun on this connection.
    package internal(set) var exchanges: UInt64 = 0
    /// Whether the connection should end after the exchanges under way.
    package internal(set) var isDraining = false
    /// Whether the gateway cut the connection at the end of a drain: not the client's doing.
    var isCut = false
    /// Who is told when the connection is closed; let go then.
    var owner: ServerConnection?

    package var peer: SocketAddress { connection.peer }
    package var isTLS: Bool { connection.tls != nil }

    /// Names for the log, made once a connection and only if one asks.
    package private(set) lazy var tlsVersion = connection.tls?.version ?? ""
    package private(set) lazy var tlsCipher = connection.tls?.cipherName ?? ""

    /// No exchange follows those under way (HTTP/1: `Connection: close`; HTTP/2: GOAWAY in two steps).
    package func endAfterExchanges() { owner?.drain() }

    init(connection: Connection, settings: ServerSettings, service: any RequestService) {
        self.connection = connection
        self.settings = settings
        expiresAt = connection.context.expiry(after: settings.maximumAge)
        self.service = service
    }
}

/// The limits of one listener's connections, as `Transport` needs them.
package final class ServerSettings: Sendable {
    package let heads: HeadLimits
    package let http2: HTTP2Settings
    /// Whether HTTP/2 may be spoken: over TLS by ALPN, in clear by its preface (RFC 9113 §3.3).
    package let allowsHTTP2: Bool
    /// From a head's first byte to its end.
    package let headerTimeout: Duration
    /// Longest silence of a connection without an exchange.
    package let idleTimeout: Duration
    /// Exchanges of one connection; then it is closed, gracefully.
    package let requestsPerConnection: UInt64
    /// After this, give or take 10 %, the connection is closed, gracefully.
    package let maximumAge: Duration?

    package init(
        heads: HeadLimits = HeadLimits(), http2: HTTP2Settings = HTTP2Settings(), allowsHTTP2: Bool = true,
        headerTimeout: Duration = .seconds(10), idleTimeout: Duration = .seconds(60), requestsPerConnection: UInt64 = .max,
        maximumAge: Duration? = nil
    ) {
        self.heads = heads
        self.http2 = http2
        self.allowsHTTP2 = allowsHTTP2
        self.headerTimeout = headerTimeout
        self.idleTimeout = idleTimeout
        self.requestsPerConnection = requestsPerConnection
        self.maximumAge = maximumAge
    }
}
