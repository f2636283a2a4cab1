// Holdfast
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Reactor

/// The demo's ports on 127.0.0.1. One that is taken is replaced by a free one, with a notice: a demo should come up.
struct DemoPorts {
    let tls: Int
    let clear: Int
    let admin: Int
    /// What was asked for and is not what is used.
    let notices: [String]

    init(tls: Int, clear: Int, admin: Int) throws {
        do {
            let network = try EpollNetwork()
            // Held until all are chosen, so that none is chosen twice.
            var held: [Descriptor] = []
            defer { for descriptor in held { network.close(descriptor) } }
            var notices: [String] = []
            func choose(_ wanted: Int, _ use: String) throws(NetworkError) -> Int {
                if wanted != 0, (try? network.checkFree(.loopback(port: UInt16(clamping: wanted)))) != nil { return wanted }
                let descriptor = try network.listen(on: .loopback(port: 0), reusePort: false)
                held.append(descriptor)
                let found = Int(network.localAddress(descriptor)?.port ?? 0)
                if wanted != 0 { notices.append("port \(wanted) is taken or not allowed: \(use) is at \(found)") }
                return found
            }
            self.tls = try choose(tls, "TLS")
            self.clear = try choose(clear, "clear HTTP")
            self.admin = try choose(admin, "the admin listener")
            self.notices = notices
        } catch {
            Complain.standardError("demo: \(error)")
            throw ExitCode(1)
        }
    }
}
