// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import Reactor

/// Where an upstream's endpoints come from if the configuration gives a name in place of addresses.
package struct NameSettings: Hashable, Sendable {
    package enum Record: Sendable {
        /// A and AAAA; the port is the configuration's.
        case address
        /// Port and weight come with each target (RFC 2782).
        case service
    }

    package var name: String
    /// Of no account for services.
    package var port: UInt16
    package var record: Record
    /// An answer is kept for its time to live, but no shorter and no longer than these.
    package var minimumTimeToLive: Duration
    package var maximumTimeToLive: Duration
    package var resolver: ResolverSettings

    package init(
        name: String, port: UInt16, record: Record = .address, minimumTimeToLive: Duration = .seconds(1),
        maximumTimeToLive: Duration = .seconds(300), resolver: ResolverSettings = ResolverSettings()
    ) {
        self.name = name
        self.port = port
        self.record = record
        self.minimumTimeToLive = minimumTimeToLive
        self.maximumTimeToLive = maximumTimeToLive
        self.resolver = resolver
    }

    /// Whether an answer for one is an answer for the other.
    package func asksTheSame(as other: NameSettings) -> Bool {
        name == other.name && port == other.port && record == other.record
    }
}

/// One address that a name stands for.
package struct NameTarget: Hashable, Sendable {
    package var address: SocketAddress
    /// The name that has the address: the configured one, or a service's target.
    package var host: String
    /// As services weigh their targets; 1 without.
    package var weight: Int
    /// The question whose answer it is.
    package var source: NameQuestion

    package init(address: SocketAddress, host: String, weight: Int, source: NameQuestion) {
        self.address = address
        self.host = host
        self.weight = weight
        self.source = source
    }
}
