// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The order in which filters see a request; an answer passes them the other way round. It is fixed, so that a file's order cannot put a cache
/// before authentication: what turns requests away for less goes first, who somebody is is known before it is counted, and
/// what changes a body sees what the upstream would.
package enum FilterRank: Int, Comparable, CaseIterable, Sendable {
    case maintenance
    case ipList
    case cors
    /// Outermost of what touches answers' bodies.
    case compress
    /// By what is known without credentials.
    case rateLimit
    case clientCertificate
    case basic
    case apiKey
    case jwt
    case forwardAuth
    /// By who it is.
    case rateLimitByIdentity
    case limits
    case canary
    case headers
    case custom
    case cache
    case transform
    case mirror
    case aggregate

    package static func < (a: FilterRank, b: FilterRank) -> Bool { a.rawValue < b.rawValue }
}
