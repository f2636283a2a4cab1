// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// What one check has found: for the log.
package struct HealthFinding: Sendable {
    /// Why it failed, in the words that requests have for it; `nil` if it passed.
    package var reason: Reason?
    package var detail: String

    init(_ reason: Reason?, _ detail: String) {
        self.reason = reason
        self.detail = detail
    }
}

/// Is told what health checks find: for the log and the metrics. Called on the reactor that checks.
package protocol HealthObserver: AnyObject {
    func endpointChecked(_ cluster: UpstreamCluster, _ endpoint: Endpoint, _ result: EndpointHealth.Result)
    /// By the check that `endpointChecked` has just told of.
    func endpointChanged(_ cluster: UpstreamCluster, _ endpoint: Endpoint, isAvailable: Bool, _ finding: HealthFinding)
}
