// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import Resilience

/// The limits of one route's requests: those of time in nanoseconds, worked out once when a configuration is loaded: `Duration` is
/// 128 bits wide and its divisions have no place on the proxied path. `Int64.max` where there is no limit.
package struct AttemptLimits: Sendable, Equatable {
    package var total: Int64
    package var perTry: Int64
    package var firstByte: Int64
    package var idle: Int64
    package var minimumTry: Int64
    package var queue: Int64
    package var totalIncludesBody: Bool
    package var hopMargin: Int64
    /// Of the route; a trusted caller's word counts before it.
    package var priority: Priority
    /// Of the route, where it has its own; `nil`: the upstream's.
    package var retries: RouteRetries?

    package init(_ timeouts: TimeoutSettings, queueTimeout: Duration, priority: Priority = .critical, retries: RetrySettings? = nil)
    {
        self.retries = retries.map { RouteRetries($0) }
        self.priority = priority
        total = timeouts.total?.wholeNanoseconds ?? .max
        perTry = timeouts.perTry?.wholeNanoseconds ?? .max
        firstByte = timeouts.firstByte?.wholeNanoseconds ?? .max
        idle = timeouts.idle?.wholeNanoseconds ?? .max
        minimumTry = timeouts.minimumTry.wholeNanoseconds
        queue = queueTimeout.wholeNanoseconds
        totalIncludesBody = timeouts.totalIncludesBody
        hopMargin = timeouts.hopMargin.wholeNanoseconds
    }
}

/// What of one route's requests is tried again: an object, so that a request copies one word of it.
package final class RouteRetries: Sendable, Equatable {
    let settings: RetrySettings

    init(_ settings: RetrySettings) { self.settings = settings }

    package static func == (left: RouteRetries, right: RouteRetries) -> Bool { left.settings == right.settings }
}
