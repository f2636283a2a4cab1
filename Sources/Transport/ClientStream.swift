// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import Reactor
package import TLS

/// A protocol other than HTTP that is spoken over a connection of our own. All calls come on the connection's reactor.
package protocol StreamUser: AnyObject {
    /// TCP, and TLS where there is one, is up. Called once.
    func streamEstablished()
    /// Bytes arrived. What is not consumed is offered again with what follows.
    func streamReceived(_ input: inout ByteBuffer)
    /// The connection failed and is about to close.
    func streamFailed(_ failure: ConnectionFailure)
    /// The connection is closed; nothing is called after this.
    func streamClosed()
}

/// One connection to a server that does not speak HTTP, from the `connect` to its close. A class of this module, since a
/// `ConnectionHandler` cannot be inherited from in another.
package final class ClientStream: ConnectionHandler {
    package let reactor: Reactor
    private var connection: Connection?
    private weak var user: (any StreamUser)?

    /// - Parameter descriptor: a socket whose `connect` is under way.
    package init(
        connecting descriptor: Descriptor, peer: SocketAddress, context: TransportContext, tls: TLSEngine?,
        timeouts: Connection.Settings, user: any StreamUser
    ) {
        reactor = context.reactor
        self.user = user
        super.init()
        connection = Connection(
            connecting: descriptor, peer: peer, context: context, tls: tls, settings: timeouts, handler: self)
    }

    /// Sees that what `write` appends leaves this turn.
    package func write(_ write: (inout ByteBuffer) -> Void) { connection?.write(write) }

    /// Closes at once; what is queued is lost.
    package func abort() { connection?.abort() }

    package override func established(_ connection: Connection) { user?.streamEstablished() }
    package override func received(_ input: inout ByteBuffer) { user?.streamReceived(&input) }
    package override func receivedEnd(truncated: Bool) { connection?.abort() }
    package override func peerHungUp() { connection?.abort() }
    package override func failed(_ failure: ConnectionFailure) { user?.streamFailed(failure) }

    package override func closed() {
        connection = nil
        user?.streamClosed()
    }
}
