// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import TLS

/// Why a connection came to an end that was not a clean one.
package enum ConnectionFailure: Sendable {
    /// `connect` failed with this errno.
    case connect(Int32)
    case connectTimeout
    case tls(TLSFailure)
    case tlsTimeout
    /// A send or receive failed with this errno after the connection was open.
    case reset(Int32)
    /// The other side took none of our bytes for too long.
    case writeBlocked
}

/// The protocol that speaks over one `Connection`; subclasses hold an HTTP engine and no socket.
///
/// All calls come on the connection's reactor. A base class and not a protocol, so that a call is one vtable jump.
package class ConnectionHandler {
    package init() {}

    /// TCP, and TLS where there is one, is up. Called once.
    package func established(_ connection: Connection) {}

    /// Bytes arrived. Consume what can be used; the rest is kept and offered again with what follows.
    package func received(_ input: inout ByteBuffer) {}

    /// The peer will send no more. `truncated`: over TLS, without a close_notify before it.
    package func receivedEnd(truncated: Bool) {}

    /// The peer closed its side while we were not reading, so that `receivedEnd` cannot come in order.
    package func peerHungUp() {}

    /// Whether `willFlush` writes anything.
    package var writesAtTurnEnd: Bool { false }

    /// The loop turn ends: append what should leave in this turn's one write.
    package func willFlush(into output: inout ByteBuffer) {}

    /// `output` was congested and is not any more.
    package func drained() {}

    /// All bytes handed over so far have been taken by the kernel.
    package func flushed() {}

    /// The connection failed and is about to close.
    package func failed(_ failure: ConnectionFailure) {}

    /// The connection is closed; nothing is called after this.
    package func closed() {}
}
