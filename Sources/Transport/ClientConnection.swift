// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
package import Reactor
package import TLS

/// Owns connections to one endpoint: the pool.
package protocol ClientConnectionOwner: AnyObject {
    /// The connection is up and its protocol known.
    func connectionEstablished(_ connection: ClientConnection)
    /// It never came up, or was lost; `connectionClosed` follows.
    func connectionFailed(_ connection: ClientConnection, _ failure: ConnectionFailure)
    /// It can take an exchange more than a moment ago.
    func connectionAvailable(_ connection: ClientConnection)
    func connectionClosed(_ connection: ClientConnection)
}

/// Which protocol an upstream is spoken to in.
package enum UpstreamProtocol: Sendable {
    case http1, http2
    /// What ALPN says; HTTP/1 in clear.
    case automatic
}

/// One connection to an endpoint, of whatever protocol, from the `connect` to its close.
package final class ClientConnection: ConnectionHandler {
    package struct Settings: Sendable {
        package var heads: HeadLimits
        package var http2: HTTP2Settings
        package var wanted: UpstreamProtocol
        /// Exchanges, then the connection is closed.
        package var maximumExchanges: UInt64

        package init(
            heads: HeadLimits = HeadLimits(), http2: HTTP2Settings = HTTP2Settings(), wanted: UpstreamProtocol = .http1,
            maximumExchanges: UInt64 = .max
        ) {
            self.heads = heads
            self.http2 = http2
            self.wanted = wanted
            self.maximumExchanges = maximumExchanges
        }
    }

    package private(set) var connection: Connection?
    package let settings: Settings
    package let owner: any ClientConnectionOwner
    package private(set) var http1: HTTP1Client?
    package private(set) var http2: HTTP2Client?
    /// Exchanges begun.
    package internal(set) var exchanges: UInt64 = 0
    /// After this it takes no further exchange.
    package var expiresAt = Instant.never
    /// When it was last free of exchanges.
    package var idleSince = Instant.origin
    /// No new exchange may begin on it.
    package internal(set) var isDraining = false
    package private(set) var isClosed = false
    /// Free for the pool's use: the place in its list.
    package var isPooled = false

    /// Starts connecting. `descriptor` is a socket whose `connect` is under way.
    package init(
        connecting descriptor: Descriptor, peer: SocketAddress, context: TransportContext, tls: TLSEngine?,
        timeouts: Connection.Settings, settings: Settings, owner: any ClientConnectionOwner
    ) {
        self.settings = settings
        self.owner = owner
        super.init()
        connection = Connection(
            connecting: descriptor, peer: peer, context: context, tls: tls, settings: timeouts, handler: self)
    }

    package var isEstablished: Bool { http1 != nil || http2 != nil }

    package override func established(_ connection: Connection) {
        let speaksHTTP2: Bool
        switch settings.wanted {
        case .http1: speaksHTTP2 = false
        case .http2: speaksHTTP2 = true
        case .automatic: speaksHTTP2 = connection.tls?.negotiatedProtocol == .http2
        }
        if let tls = connection.tls, settings.wanted == .http2, tls.negotiatedProtocol != .http2 {
            owner.connectionFailed(
                self, .tls(TLSFailure(reason: .tlsHandshake, detail: "the upstream did not agree to h2 by ALPN")))
            connection.close()
            return
        }
        if speaksHTTP2 {
            let client = HTTP2Client(client: self, connection: connection)
            http2 = client
            connection.setHandler(client)
        } else {
            let client = HTTP1Client(client: self, connection: connection)
            http1 = client
            connection.setHandler(client)
        }
        owner.connectionEstablished(self)
    }

    package override func failed(_ failure: ConnectionFailure) { owner.connectionFailed(self, failure) }

    package override func closed() { connectionClosed() }

    /// From whichever handler the connection has now.
    func connectionClosed() {
        guard !isClosed else { return }
        isClosed = true
        connection = nil
        http1 = nil
        http2 = nil
        owner.connectionClosed(self)
    }

    /// Exchanges that could begin right now.
    package var freeExchanges: Int {
        if isDraining || isClosed || exchanges >= settings.maximumExchanges { return 0 }
        if let http1 { return http1.isIdle ? 1 : 0 }
        if let http2 { return http2.freeStreams }
        return 0
    }

    package var exchangesUnderWay: Int {
        if let http1 { return http1.isIdle ? 0 : 1 }
        return http2?.streamCount ?? 0
    }

    /// Begins an exchange, or `nil` if the connection turned out to be unusable (it then closes itself).
    package func begin(_ handler: any ResponseHandler) -> ClientExchange? {
        guard freeExchanges > 0 else { return nil }
        if let http1 {
            guard http1.begin(handler) else { return nil }
            exchanges += 1
            return .http1(http1)
        }
        if let http2, let stream = http2.begin(handler) {
            exchanges += 1
            return .http2(stream)
        }
        return nil
    }

    /// Closes when the exchanges under way are over.
    package func drain() {
        isDraining = true
        if exchangesUnderWay == 0 { connection?.closeAfterFlush() }
    }

    package func close() { connection?.close() }
}
