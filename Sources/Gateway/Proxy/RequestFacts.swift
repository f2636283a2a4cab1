// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Transport

/// What is known of one request beside its head: who sent it, what it is called, and how it went. What the log needs is here
/// and not in the head, since the head becomes the upstream's.
struct RequestFacts {
    var key: UInt64 = 0
    var startedAt = Instant.origin
    var answeredAt: Instant?
    /// In the head's arena.
    var id = Slice.empty
    var path = Slice.empty
    var authority = Slice.empty
    var identity: ClientIdentity?
    var status = 0
    var reason: Reason?
    var retryReason: Reason?
    /// Why the client gets a degraded answer.
    var degradedBy: Reason?
    var upstreamIndex: Int?
    /// A trusted caller asked for the decisions in a header.
    var wantsExplanation = false

    init() {}

    init(_ exchange: ServerExchange, home: GatewayReactor) {
        key = home.nextKey()
        startedAt = exchange.startedAt
        path = exchange.head.path
        authority = exchange.head.authority
    }
}

/// Why a request is not served, for one who has not asked the guard yet.
struct Refusal {
    var reason: Reason
    var detail: StaticString
}
