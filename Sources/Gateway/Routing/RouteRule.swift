// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension RouteTable {
    /// What one route asks of a request: all of it must hold.
    package struct Rule: Equatable, Sendable {
        /// `HostPattern`'s text. Default: every host.
        package var host: String?
        /// `PathPattern`'s text. Default: every path.
        package var path = "/*"
        /// Any of these; empty is every method. `GET` takes `HEAD` too (RFC 9110 §9.3.2).
        package var methods: [String] = []
        /// All of these.
        package var headers: [Condition] = []
        /// All of these, compared with the decoded parameters of the query.
        package var query: [Condition] = []
        /// Whether a path with `%2F` or `%5C` in it is taken; it is forwarded as it is. Default: no, 400 `request.target`.
        package var allowsEncodedSlash = false

        package init(
            host: String? = nil, path: String = "/*", methods: [String] = [], headers: [Condition] = [],
            query: [Condition] = [], allowsEncodedSlash: Bool = false
        ) {
            self.host = host
            self.path = path
            self.methods = methods
            self.headers = headers
            self.query = query
            self.allowsEncodedSlash = allowsEncodedSlash
        }
    }

    /// A header or a query parameter that must be there, with exactly this value if one is given. Where it stands several
    /// times, one that fits is enough.
    package struct Condition: Equatable, Sendable {
        package var name: String
        package var value: String?

        package init(name: String, value: String? = nil) {
            self.name = name
            self.value = value
        }
    }
}
