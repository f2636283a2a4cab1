// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What happens to bytes on their way from one simulated host to another, and to connections made that way.
///
/// Conditions may change while connections are open: what is already under way keeps its arrival time. Draws depend on the
/// world's seed, the connection, its direction and the position, so one connection's fate does not depend on another's.
package struct LinkConditions: Sendable, Equatable {
    /// One way. Default 100 µs.
    package var latency: Duration = .microseconds(100)
    /// Up to this is added to each segment's latency, uniformly. Order is kept, as TCP keeps it. Default 0.
    package var jitter: Duration = .zero
    /// `nil`: not limited.
    package var bytesPerSecond: Int?
    /// Bytes that arrive together: small ones make partial reads. At least 1. Default 64 KiB.
    package var segment: ClosedRange<Int> = 65_536...65_536
    /// Bytes that one `send` takes at most: small ones make partial writes. Default: whatever the send buffer has room for.
    package var sendLimit: ClosedRange<Int>?
    /// Share of segments that are lost once and come a retransmission time (200 ms) later, in 0...1.
    package var loss = 0.0
    /// Bytes that the sending side holds, unsent or under way. Default 256 KiB.
    package var sendBuffer = 262_144
    /// Bytes that the receiving side holds unread: a small one makes a slow reader felt at once. Default 256 KiB.
    package var receiveWindow = 262_144

    /// Share of connects that are refused, in 0...1.
    package var refused = 0.0
    /// Share of connects whose packets vanish, in 0...1.
    package var blackholed = 0.0

    /// Share of connections that the faults below concern, in 0...1. Default 1: those that are set concern all.
    package var faultShare = 1.0
    /// Both ends see a reset when this many bytes have gone this way.
    package var resetAfter: Int?
    /// Nothing more arrives, either way and without a word, when this many bytes have gone this way: a half-open peer.
    package var silentAfter: Int?
    /// The receiver sees a clean end after this many bytes; the rest vanishes.
    package var truncatedAfter: Int?
    /// Share of segments in which one bit is flipped, in 0...1.
    package var corrupted = 0.0

    package init() {}
}
