// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP
import Resilience

/// By what the requests of an upstream with `balance: hash` are told apart: those of one key go to one endpoint.
package enum BalancingKey: Sendable, Equatable {
    /// An IPv4 address in its IPv6-mapped form is the same however it came.
    case clientAddress
    /// As it is sent on, without the query.
    case path
    /// Its name, in lower case; of several fields the first.
    case header([UInt8])
    /// Its name; of several the first.
    case cookie([UInt8])

    /// The hash of a request's key, the same in every process; `nil`: it has none.
    package func hash(of head: RequestHead, clientAddress: UInt128?) -> UInt64? {
        switch self {
        case .clientAddress:
            // A client over a Unix socket has none.
            guard let clientAddress, clientAddress != 0 else { return nil }
            var hash = StableHash()
            hash.combine(UInt64(truncatingIfNeeded: clientAddress >> 64))
            hash.combine(UInt64(truncatingIfNeeded: clientAddress))
            return hash.finalize()
        case .path:
            return head.withBytes(head.path) { path in
                var hash = StableHash()
                for i in path.indices {
                    if path[i] == UInt8(ascii: "?") { break }
                    hash.combine(path[i])
                }
                return hash.finalize()
            }
        case .header(let name):
            guard let i = head.fields.first(named: name.span) else { return nil }
            return head.fields.withValue(i) { $0.isEmpty ? nil : BalancingKey.hash($0, 0..<$0.count) }
        case .cookie(let name):
            guard let slice = head.fields.cookie(named: name.span) else { return nil }
            return head.withBytes(slice) { $0.isEmpty ? nil : BalancingKey.hash($0, 0..<$0.count) }
        }
    }

    private static func hash(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
        var hash = StableHash()
        for i in range { hash.combine(text[i]) }
        return hash.finalize()
    }
}
