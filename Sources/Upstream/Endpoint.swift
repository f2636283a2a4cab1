// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import Reactor
import Synchronization

/// One address of an upstream, as all reactors share it.
package final class Endpoint: Sendable {
    package let address: SocketAddress
    /// As the configuration spells it, or the address that its name has: for logs, metrics and the Host field.
    package let label: String
    /// The label without its port: what TLS verifies unless the configuration names another. A Unix socket is `localhost`.
    package let hostName: String
    /// What Host or `:authority` says of an upstream that is to see its own name and has none.
    let authority: [UInt8]
    package let weight: Int
    private let underWay: UnderWay

    /// Apart, so that an endpoint whose weight changes goes on counting what it counted before.
    private final class UnderWay: Sendable {
        let count = Atomic<Int>(0)
    }

    package init(address: SocketAddress, label: String, weight: Int) {
        self.address = address
        self.label = label
        underWay = UnderWay()
        let host = address.isUnix ? "localhost" : label.lastIndex(of: ":").map { String(label[..<$0]) } ?? label
        authority = Array((address.isUnix ? host : label).utf8)
        hostName = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        self.weight = weight
    }

    /// One that a name stands for: TLS verifies the name, and Host has it, with the port.
    init(address: SocketAddress, name: String, weight: Int, countingWith old: Endpoint?) {
        self.address = address
        label = "\(address)"
        hostName = name
        authority = Array("\(name):\(address.port)".utf8)
        self.weight = weight
        underWay = old?.underWay ?? UnderWay()
    }

    /// Exchanges under way on all reactors: what least-request balancing compares. Relaxed, since a choice made on a number
    /// that is a moment old is as good.
    package var exchangesUnderWay: Int { underWay.count.load(ordering: .relaxed) }

    package func exchangeBegan() { underWay.count.add(1, ordering: .relaxed) }
    package func exchangeEnded() { underWay.count.subtract(1, ordering: .relaxed) }
}
