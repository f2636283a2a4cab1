// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Resilience

/// How an upstream's endpoints are asked whether they are well.
package struct HealthSettings: Equatable, Sendable {
    package enum Probe: Equatable, Sendable {
        /// A connection, and its TLS handshake where the upstream speaks TLS.
        case tcp
        /// GET of a path, answered by one of these statuses. `host` is `nil` for the endpoint's own name.
        case http(path: String, host: String?, statuses: [ClosedRange<Int>])
    }

    package var probe: Probe
    /// From the begin of one check to the begin of the next, give or take `jitter`.
    package var interval: Duration
    /// A check that has no result after this has failed.
    package var timeout: Duration
    /// Failed checks in a row that take an endpoint out.
    package var unhealthyAfter: Int
    /// Passed checks in a row that bring it back.
    package var healthyAfter: Int
    package var jitter: Share

    package init(
        probe: Probe, interval: Duration = .seconds(10), timeout: Duration = .seconds(2), unhealthyAfter: Int = 3,
        healthyAfter: Int = 2, jitter: Share = Share(tenThousandths: 1_000)
    ) {
        self.probe = probe
        self.interval = interval
        self.timeout = timeout
        self.unhealthyAfter = unhealthyAfter
        self.healthyAfter = healthyAfter
        self.jitter = jitter
    }
}
