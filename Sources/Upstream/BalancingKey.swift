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
            var next = head.fields.first(.cookie)
            while let i = next {
                if let hash = head.fields.withValue(i, { BalancingKey.cookie(named: name, in: $0) }) { return hash }
                next = head.fields.first(.cookie, from: i + 1)
            }
            return nil
        }
    }

    /// RFC 6265 §4.2.1: pairs with "; " between them. HTTP/2 may have each in a field of its own.
    private static func cookie(named name: [UInt8], in text: Span<UInt8>) -> UInt64? {
        var start = 0
        while start < text.count {
            while start < text.count, text[start] == UInt8(ascii: " ") || text[start] == UInt8(ascii: "\t") { start += 1 }
            var end = start
            while end < text.count, text[end] != UInt8(ascii: ";") { end += 1 }
            let value = start + name.count + 1
            if value < end, text[value - 1] == UInt8(ascii: "="), name.indices.allSatisfy({ text[start + $0] == name[$0] }) {
                return hash(text, value..<end)
            }
            start = end + 1
        }
        return nil
    }

    private static func hash(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
        var hash = StableHash()
        for i in range { hash.combine(text[i]) }
        return hash.finalize()
    }
}
