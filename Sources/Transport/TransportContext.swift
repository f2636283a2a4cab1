// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
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

    package let handshakes = HandshakeGate()
    private var agesDrawn: UInt64 = 0

    package init(reactor: Reactor) { self.reactor = reactor }

    /// When a connection that begins now is old: `age` from now give or take 10 %, drawn once a connection, so that those
    /// which came together do not all come back together.
    package func expiry(after age: Duration?) -> Instant {
        guard let age else { return .never }
        agesDrawn &+= 1
        let share = 0.9 + 0.2 * reactor.draw.unit(request: UInt64(reactor.index) << 48 | agesDrawn, .connectionAge)
        // A year is far beyond the configuration's limit and far below what a `Double` counts wrong.
        let nanoseconds = min(max(age.wholeNanoseconds, 0), 31_536_000_000_000_000)
        return reactor.now.advanced(byNanoseconds: Int64(Double(nanoseconds) * share))
    }
}
