// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core

/// A route's degraded answer, ready to be given.
struct FallbackPlan: Sendable {
    enum Action: Sendable {
        /// Position among the snapshot's upstreams.
        case upstream(Int)
        case answer(FixedAnswer)
    }

    let reasons: Set<Reason>
    let action: Action

    init(causes: [Configuration.Fallback.Cause], action: Action) {
        reasons = Set(causes.flatMap { FallbackPlan.reasons(of: $0) })
        self.action = action
    }

    static func reasons(of cause: Configuration.Fallback.Cause) -> [Reason] {
        switch cause {
        case .open: [.breakerOpen, .breakerHalfOpen, .breakerRamp, .breakerForced]
        case .shed:
            [
                .bulkheadFull, .bulkheadQueueTimeout, .bulkheadCoDel, .shedOccupancy, .shedLag, .shedMemory, .shedDescriptors,
                .shedThrottle, .loadBalancerNoHealthy,
            ]
        case .timeout:
            [.deadline, .deadlineInsufficient, .timeoutPerTry, .timeoutFirstByte, .connectTimeout, .tlsTimeout]
        case .unreachable:
            [
                .dns, .connectRefused, .connectTimeout, .connectFailed, .tlsHandshake, .tlsVerify, .tlsTimeout, .resetBeforeHeaders,
                .loadBalancerNoHealthy,
            ]
        }
    }
}
