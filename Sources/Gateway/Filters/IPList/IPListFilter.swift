// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core

/// Lets in by address. An IPv4 address is one, however a socket or a field spells it (case E14).
final class IPListFilter: Filter {
    private let allow: [IPNetwork]
    private let deny: [IPNetwork]

    init(_ settings: Configuration.IPListFilter) {
        allow = settings.allow.compactMap { IPNetwork($0.description) }
        deny = settings.deny.compactMap { IPNetwork($0.description) }
    }

    func request(_ pass: FilterPass) -> FilterStep {
        admits(IPAddress(bits: pass.clientAddress)) ? .next : .refuse(FilterRefusal(.authForbidden))
    }

    func admits(_ address: IPAddress) -> Bool {
        if deny.contains(where: { $0.contains(address) }) { return false }
        return allow.isEmpty || allow.contains { $0.contains(address) }
    }
}
