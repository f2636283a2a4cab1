// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

extension CircuitBreaker {
    /// The settings in the form in which they are asked for: nanoseconds, clamped to what makes sense.
    struct Limits: Sendable {
        let minimumCalls: Int
        let failureRate: Share
        let slowRate: Share
        /// A call is slow from this long after its clock started: one more than the threshold, which itself is still fast.
        let slowCall: Int64?
        let consecutiveFailures: Int
        let probes: Int
        let probeWait: Int64
        let openFor: Int64
        let openMax: Int64
        let openJitter: Int64
        let ramp: Int64
        /// Failed and slow probes that open again.
        let failedProbes: Int
        let slowProbes: Int

        init(_ settings: BreakerSettings, perTry: Duration?) {
            minimumCalls = max(1, settings.minimumCalls)
            failureRate = Self.positive(settings.failureRate)
            slowRate = Self.positive(settings.slowRate)
            slowCall = settings.slowCall.map { Self.nanoseconds($0) &+ 1 }
            consecutiveFailures = settings.consecutiveFailures.map { max(1, $0) } ?? .max
            probes = min(max(1, settings.halfOpenCalls), 10_000)
            let twoTries = perTry.map { Self.nanoseconds($0).multipliedReportingOverflow(by: 2) }
            let automatic = max(5_000_000_000, twoTries.map { $0.overflow ? .max : $0.partialValue } ?? 0)
            probeWait = max(1, settings.halfOpenWait.map(Self.nanoseconds) ?? automatic)
            openFor = max(1, Self.nanoseconds(settings.openFor))
            openMax = max(1, Self.nanoseconds(settings.openMax))
            openJitter = Int64(min(max(0, settings.openJitter.tenThousandths), 10_000))
            ramp = Self.nanoseconds(settings.ramp)
            failedProbes = failureRate.leastPart(of: probes)
            slowProbes = settings.slowCall == nil ? .max : slowRate.leastPart(of: probes)
        }

        /// In 0 … 2^60 ns (36 years), so that a doubled or added limit does not overflow.
        private static func nanoseconds(_ duration: Duration) -> Int64 { min(max(0, duration.wholeNanoseconds), 1 << 60) }

        /// A threshold of nothing would be reached by nothing.
        private static func positive(_ share: Share) -> Share { Share(tenThousandths: min(max(1, share.tenThousandths), 10_000)) }
    }

    /// What follows from override, settings and state, kept as plain fields: every call reads them, few events change them.
    mutating func refreshFlags() {
        isDisabled = override == .disabled || (override == .automatic && settings.disabled)
        isEnforcing = override == .automatic && settings.mode == .enforce && !settings.disabled
        refusesUntil = .origin
        if override == .forcedOpen {
            refusesUntil = .never
        } else if isEnforcing, case .open(let until) = state {
            refusesUntil = until
        }
    }

    /// The machine's answer to one more call, at `clock`. Mutating only so that a caller that owns the breaker does not copy it.
    mutating func refusal(request: UInt64, isFirstAttempt: Bool) -> Refusal? {
        if override == .forcedOpen { return Refusal(.breakerForced) }
        switch state {
        case .closed:
            if clock >= rampEnds { return nil }
            let length = max(1, rampEnds - closedAt)
            // The same draw whenever a request asks: its chance only grows.
            if Int64(draw.below(Int(length), request: request, .breakerRamp)) < clock - closedAt { return nil }
            return Refusal(.breakerRamp, retryAfterNanoseconds: rampEnds - clock)
        case .open(let until):
            if clock < until.nanoseconds { return Refusal(.breakerOpen, retryAfterNanoseconds: until.nanoseconds - clock) }
            return isFirstAttempt ? nil : Refusal(.breakerHalfOpen)
        case .halfOpen:
            if isFirstAttempt && probes.taken < limits.probes { return nil }
            let next = probes.nextReclaim
            return Refusal(.breakerHalfOpen, retryAfterNanoseconds: next == .max ? nil : max(0, next - clock))
        }
    }
}
