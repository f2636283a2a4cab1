// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A socket's number, the kernel's or the simulated world's. Negative: none.
public typealias Descriptor = Int32

/// What a receive or a send came to.
package enum IOResult: Equatable, Sendable {
    case bytes(Int)
    /// Nothing now; a readiness event follows when there is.
    case wouldBlock
    /// The peer has sent its last byte.
    case endOfStream
    /// The `errno`; the socket is of no further use.
    case failed(Int32)
}

/// What an accept came to.
package enum AcceptResult: Equatable, Sendable {
    case accepted(Descriptor, peer: SocketAddress)
    case wouldBlock
    /// The `errno`: `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`, `ECONNABORTED`, …
    case failed(Int32)
}

/// What became true of a socket at once: the bits of one readiness event.
package struct Readiness: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let readable = Readiness(rawValue: 1)
    package static let writable = Readiness(rawValue: 2)
    /// The peer has ended its direction, or the connection has failed.
    package static let hangUp = Readiness(rawValue: 4)
}
