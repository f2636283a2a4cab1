// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension SocketAddress {
    /// The host as an IPv6 number, IPv4 in its mapped form (RFC 4291 §2.5.5.2); `nil` for a path.
    package var hostBits: UInt128? {
        switch host {
        case .v4(let bits): 0xFFFF_0000_0000 | UInt128(bits)
        case .v6(let high, let low, _): UInt128(high) << 64 | UInt128(low)
        case .unix: nil
        }
    }

    package var isIPv4: Bool {
        if case .v4 = folded.host { return true }
        return false
    }
}
