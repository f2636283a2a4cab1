// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What one side of an HTTP/2 connection announces (RFC 9113 §6.5.2), and how much oddity it takes.
package struct HTTP2Settings: Equatable, Sendable {
    /// Server: streams of one connection at once, those included whose client has cancelled them and whose work goes on
    /// (case C01). Client: the most that are opened, if the peer allows as many. 1 … 10,000. Default 128: browsers use about 100.
    package var maximumConcurrentStreams = 128
    /// Octets of one body that may be on their way to us unconsumed: what an exchange may hold in memory. 64 KiB … 16 MiB.
    /// Default 256 KiB, which carries 256 MiB/s at a round trip of 1 ms.
    package var streamWindowBytes = 262_144
    /// Octets of all bodies of a connection that may be on their way unconsumed. 64 KiB … 1 GiB. Default 1 MiB. A client
    /// session makes it at least all its streams' windows together: else a few exchanges whose own clients are slow would
    /// stop all others that share the upstream connection.
    package var connectionWindowBytes = 1_048_576
    /// Longest frame accepted. 16 KiB … 16 MiB − 1. Default 16 KiB: one TLS record.
    package var maximumFrameBytes = 16_384
    /// The HPACK table of each direction. 0 … 64 KiB. Default 4 KiB.
    package var headerTableBytes = 4_096
    /// Oddities that a peer has free before its connection is cut (`GlitchBudget`). Default 200.
    package var glitchBurst = 200
    /// Oddities forgiven a second. Default 20.
    package var glitchesPerSecond: Double = 20
    /// Bytes waiting in a stream below which its producer is told to go on. Default 64 KiB.
    package var outboundLowWaterBytes = 65_536

    package init() {}

    /// These settings within what the protocol and nghttp2 can carry, whatever the configuration says.
    var bounded: HTTP2Settings {
        var settings = self
        settings.maximumConcurrentStreams = min(max(maximumConcurrentStreams, 1), 1_000_000)
        settings.streamWindowBytes = min(max(streamWindowBytes, 0), Int(Int32.max))
        settings.connectionWindowBytes = min(max(connectionWindowBytes, 65_535), Int(Int32.max))
        settings.maximumFrameBytes = min(max(maximumFrameBytes, 16_384), 16_777_215)
        settings.headerTableBytes = min(max(headerTableBytes, 0), 1 << 20)
        settings.outboundLowWaterBytes = max(outboundLowWaterBytes, 1)
        return settings
    }
}
