// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import HTTP
package import Reactor
package import TLS

/// One reactor's socket of one listener: accepts connections, takes them through TLS and gives each its protocol.
package final class ServerListener: Listener {
    private let context: TransportContext
    private var tls: ServerTLSContext?
    private var settings: ServerSettings
    private var connectionSettings: Connection.Settings
    private let service: any RequestService
    /// Connections of this listener on this reactor, for draining. Never iterated in an order that anyone can see: draining
    /// visits all of them within one turn.
    private var open: [ObjectIdentifier: ServerConnection] = [:]

    package init(
        on address: SocketAddress, options: ListenOptions = ListenOptions(), context: TransportContext, tls: ServerTLSContext?,
        settings: ServerSettings, connectionSettings: Connection.Settings, service: any RequestService
    ) throws(NetworkError) {
        self.context = context
        self.tls = tls
        self.settings = settings
        self.connectionSettings = connectionSettings
        self.service = service
        try super.init(on: address, reactor: context.reactor, options: options)
        context.handshakes.join(self)
    }

    package var connectionCount: Int { open.count }
    var speaksTLS: Bool { tls != nil }

    /// New certificates and limits for connections accepted from now on.
    package func reconfigure(tls: ServerTLSContext?, settings: ServerSettings, connectionSettings: Connection.Settings) {
        self.tls = tls
        self.settings = settings
        self.connectionSettings = connectionSettings
    }

    package override func accepted(_ descriptor: Descriptor, peer: SocketAddress) {
        guard service.admitsConnection(peer) else {
            context.reactor.network.reset(descriptor)
            return
        }
        let engine = tls.map { TLSEngine(server: $0) }
        let server = ServerConnection(listener: self, settings: settings, service: service)
        let connection = Connection(
            accepted: descriptor, peer: peer, context: context, tls: engine, settings: connectionSettings, handler: server)
        server.opened(connection)
        if connection.state == .handshaking { server.handshakeBegan(context.handshakes) }
        open[ObjectIdentifier(server)] = server
        service.connectionOpened(connection)
        if connection.isOpen { server.begin() }
    }

    func closed(_ server: ServerConnection) { open[ObjectIdentifier(server)] = nil }

    package override func close() {
        context.handshakes.leave(self)
        super.close()
    }

    /// Accepts no more; connections end as soon as their exchanges do (HTTP/2: GOAWAY in two steps, RFC 9113 §6.8).
    package func drain() {
        close()
        for server in open.values { server.drain() }
    }

    /// Ends connections that have had no exchange since `instant`.
    package func endConnections(idleSince instant: Instant) {
        for server in open.values { server.end(idleSince: instant) }
    }

    /// Closes whatever is still open.
    package func abort() {
        close()
        for server in open.values { server.abort() }
    }
}

/// One accepted connection, from the accept to its close: first the handshake, then a protocol.
package final class ServerConnection: ConnectionHandler {
    private let listener: ServerListener
    private let settings: ServerSettings
    private let service: any RequestService
    private var connection: Connection?
    private var info: ServerConnectionInfo?
    private var http1: HTTP1Server?
    private var http2: HTTP2Server?
    private var isDraining = false
    /// Set while the handshake is under way.
    private var handshakes: HandshakeGate?

    init(listener: ServerListener, settings: ServerSettings, service: any RequestService) {
        self.listener = listener
        self.settings = settings
        self.service = service
        super.init()
    }

    func opened(_ connection: Connection) { self.connection = connection }

    func handshakeBegan(_ gate: HandshakeGate) {
        handshakes = gate
        gate.began()
    }

    private func handshakeEnded() { handshakes.take()?.ended() }

    package override func established(_ connection: Connection) {
        // In clear this comes from within `Connection.init`; `begin` follows.
        if self.connection != nil { begin() }
    }

    func begin() {
        guard let connection, http1 == nil, http2 == nil else { return }
        let info = ServerConnectionInfo(connection: connection, settings: settings, service: service)
        info.owner = self
        info.isDraining = isDraining
        self.info = info
        handshakeEnded()
        service.connectionEstablished(connection)
        if connection.tls?.negotiatedProtocol == .http2 {
            speakHTTP2(info, connection)
        } else {
            let server = HTTP1Server(info: info)
            http1 = server
            connection.setHandler(server)
        }
    }

    func speakHTTP2(_ info: ServerConnectionInfo, _ connection: Connection) {
        let server = HTTP2Server(info: info)
        http1 = nil
        http2 = server
        connection.setHandler(server)
        if isDraining { server.drain() }
    }

    func drain() {
        isDraining = true
        if let http1 {
            http1.drain()
        } else if let http2 {
            http2.drain()
        } else {
            connection?.close()
        }
    }

    func end(idleSince instant: Instant) {
        guard let idleSince = http1?.idleSince ?? http2?.idleSince, idleSince <= instant, !isDraining else { return }
        drain()
    }

    func abort() {
        info?.isCut = true
        connection?.abort()
    }

    /// The connection failed before a protocol was chosen.
    package override func failed(_ failure: ConnectionFailure) {
        handshakeEnded()
        if let connection { service.connectionFailed(connection, failure) }
    }

    package override func closed() { closedByProtocol() }

    func closedByProtocol() {
        guard let connection else { return }
        self.connection = nil
        handshakeEnded()
        info?.owner = nil
        info = nil
        http1 = nil
        http2 = nil
        service.connectionClosed(connection)
        listener.closed(self)
    }
}
