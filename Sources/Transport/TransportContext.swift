// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import Reactor

/// What all connections of one reactor share: its read and cipher buffers, so that an idle connection owns none.
///
/// 256 KiB a read: on a bulk transfer the number of system calls is what a proxy can save (docs/decisions).
package final class TransportContext {
    package let reactor: Reactor
    static let readSize = 256 * 1024

    /// Where a socket is read into: cipher bytes with TLS, plain bytes without.
    var received = ByteBuffer(capacity: TransportContext.readSize)
    /// Where TLS decrypts into.
    var plain = ByteBuffer(capacity: TransportContext.readSize + 16_384)
    /// Where TLS encrypts into.
    var cipher = ByteBuffer(capacity: TransportContext.readSize + 65_536)

    let spares = SpareBuffers()
    let spareHeads = SpareHeads()

    /// Connections of this reactor that are open, accepted ones and our own.
    package internal(set) var openConnections = 0

    package init(reactor: Reactor) { self.reactor = reactor }
}
