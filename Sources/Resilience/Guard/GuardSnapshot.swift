// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// A guard's state and counters at one instant, for metrics, the dashboard and tests.
public struct GuardSnapshot: Equatable, Sendable {
    // Breaker.
    public var breaker = CircuitBreaker.State.closed
    public var override = CircuitBreaker.Override.automatic
    public var generation: UInt64 = 0
    public var evidence = BreakerEvidence()
    public var openings = 0
    public var transitions = BreakerTransitions()

    // Bulkhead.
    public var permits = 0
    public var permitsInUse = 0
    /// By rank of priority; read with `permitsInUse(by:)`.
    var permitsInUseByRank = SIMD4<Int32>(repeating: 0)
    public var highWater = 0
    public var queued = 0
    public var places = 0
    public var isCongested = false
    /// The permits that the upstream was found to take; `nil`: their number is fixed.
    public var adaptiveLimit: Int?
    /// Classes of priority that are turned away, least important first, 0 to 3.
    public var shedLevel = 0
    /// Share of the requests that the throttle turns away, 0 to 1; `nil`: there is none.
    public var throttle: Double?

    // Retry budget.
    public var retriesAvailable = 0
    public var retriesOutstanding = 0
    public var retriesGranted: UInt64 = 0
    public var retriesRefunded: UInt64 = 0
    public var retriesFree: UInt64 = 0

    public var counters = GuardCounters()

    /// Permits that attempts of one class hold.
    public func permitsInUse(by priority: Priority) -> Int { Int(permitsInUseByRank[priority.rank]) }
}

/// What a guard has decided since it was made.
public struct GuardCounters: Equatable, Sendable {
    public var admitted: UInt64 = 0
    public var queued: UInt64 = 0
    /// Waiters that were granted a permit.
    public var grantedFromQueue: UInt64 = 0
    public var cancelledInQueue: UInt64 = 0
    /// Admitted although an enforcing breaker would have refused.
    public var wouldRefuse: UInt64 = 0

    public var refusedOpen: UInt64 = 0
    public var refusedHalfOpen: UInt64 = 0
    public var refusedRamp: UInt64 = 0
    public var refusedForced: UInt64 = 0
    public var refusedFull: UInt64 = 0
    public var refusedQueueTimeout: UInt64 = 0
    public var refusedCongestion: UInt64 = 0
    public var refusedShed: UInt64 = 0
    public var refusedThrottle: UInt64 = 0
    public var refusedRetryBudget: UInt64 = 0

    /// Refusals with their reason words, in a fixed order.
    public var refusals: [(reason: Reason, count: UInt64)] {
        [
            (.breakerOpen, refusedOpen), (.breakerHalfOpen, refusedHalfOpen), (.breakerRamp, refusedRamp),
            (.breakerForced, refusedForced), (.bulkheadFull, refusedFull), (.bulkheadQueueTimeout, refusedQueueTimeout),
            (.bulkheadCoDel, refusedCongestion), (.shedOccupancy, refusedShed),
            (.shedThrottle, refusedThrottle), (.retryBudget, refusedRetryBudget),
        ]
    }

    mutating func count(_ reason: Reason) {
        switch reason {
        case .breakerOpen: refusedOpen += 1
        case .breakerHalfOpen: refusedHalfOpen += 1
        case .breakerRamp: refusedRamp += 1
        case .breakerForced: refusedForced += 1
        case .bulkheadFull: refusedFull += 1
        case .bulkheadQueueTimeout: refusedQueueTimeout += 1
        case .bulkheadCoDel: refusedCongestion += 1
        case .shedOccupancy: refusedShed += 1
        case .shedThrottle: refusedThrottle += 1
        case .retryBudget: refusedRetryBudget += 1
        default: break
        }
    }
}
