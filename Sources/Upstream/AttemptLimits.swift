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

    package init(_ timeouts: TimeoutSettings, queueTimeout: Duration, priority: Priority = .critical) {
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
