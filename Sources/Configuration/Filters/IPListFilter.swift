// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Who may come in by address. What `deny` names is refused, whatever `allow` says.
    public struct IPListFilter: Equatable, Sendable {
        /// Empty: everybody that `deny` does not name. Default: empty.
        public var allow: [IPNetwork] = []
        public var deny: [IPNetwork] = []

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "IP list filter",
                documentation:
                    "Who may come in by address: 403 `auth.forbidden` for others. The address is the client's, as `trusted_networks` tell it; an IPv4 address counts as itself also where it is written inside IPv6.",
                fields: [
                    Field(
                        "allow", \.allow, Kind<IPNetwork>.network.list(),
                        "Networks that may come in; with none of these, all that `deny` does not name."),
                    Field("deny", \.deny, Kind<IPNetwork>.network.list(), "Networks that may not, also where `allow` has them."),
                ],
                check: { filter, node, reader in
                    if filter == Self() { reader.complain(at: node.position, "lets everybody in; expected allow or deny") }
                }
            ).kind(Self())
        }
    }
}
