// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A machine of the simulated world: an address, and the sockets of the one process that runs on it.
package final class SimulatedHost {
    package let address: SocketAddress
    /// Place in the world's list.
    let number: Int
    /// Descriptors that its process may have open; then accept and connect fail with `EMFILE`. Default: no limit.
    package var descriptorLimit = Int.max
    /// What its next accepts fail with, first to last, before any succeeds again.
    package var acceptErrors: [Int32] = []
    /// Descriptors that are open.
    package internal(set) var descriptorCount = 0
    /// False after `kill`: nothing that is sent to it is answered.
    package internal(set) var isAlive = true
    /// Its process does not get to run; its kernel still takes what arrives, as far as windows go.
    package var isPaused = false

    var listeners: [SimulatedSocket] = []
    private var nextPort: UInt16 = 32_768

    init(address: SocketAddress, number: Int) {
        self.address = address
        self.number = number
    }

    func takePort() -> UInt16 {
        let port = nextPort
        nextPort = port == 60_999 ? 32_768 : port + 1
        return port
    }

    /// Whether `address` is this host's own, seen from itself.
    func owns(_ address: SocketAddress) -> Bool { address.isLoopback || address.host == self.address.host }
}
