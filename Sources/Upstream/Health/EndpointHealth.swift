// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import Resilience

/// Decides for one endpoint when it is checked, when a check is given up, and what the results in a row come to.
///
///                 timer                    result, or timer (failed)
///     waiting ──────────────► checking ────────────────────────────► waiting
///
///     unknown, healthy ── unhealthy_after failures in a row ──► unhealthy ── healthy_after passes in a row ──► healthy
///
/// An endpoint about which nothing is known yet is available: to keep a service from its clients until its checks have run would be an
/// outage at each start. Pure: time and draws come in, an action goes out. There is never more than one check under way, and there is one
/// timer, whose meaning is the phase.
package struct EndpointHealth: Equatable, Sendable {
    package enum Verdict: String, Sendable { case unknown, healthy, unhealthy }

    package enum Result: String, CaseIterable, Sendable {
        case passed, failed
        /// This machine could not ask: says nothing about the endpoint.
        case skipped
    }

    package enum Action: Equatable, Sendable {
        case none
        /// Arm the timer.
        case wait(until: Instant)
        /// Begin a check; arm the timer to give it up.
        case check(until: Instant)
        /// The check is over: let go of what is left of it, and arm the timer for the next one. `becomes` says whether the endpoint is
        /// available from now on, and is `nil` if that has not changed.
        case settle(Result, next: Instant, becomes: Bool?)
    }

    private enum Phase: Equatable, Sendable {
        case idle, waiting, stopped
        case checking(since: Instant)
    }

    package private(set) var verdict: Verdict
    private var phase = Phase.idle
    /// Results in a row that were the same, and which.
    private var run = (result: Result.skipped, length: 0)
    /// Checks begun.
    private var checks: UInt64 = 0
    private let settings: HealthSettings
    /// Tells this endpoint's draws from others'.
    private let key: UInt64

    /// The first check of an endpoint comes within this, however rare checks are.
    private static let firstWithin: Duration = .seconds(10)
    /// From the end of one check to the begin of the next at least, however long it took.
    private static let leastPause: Duration = .milliseconds(1)

    /// `isAvailable`: what is known from before.
    package init(_ settings: HealthSettings, key: UInt64, isAvailable: Bool = true) {
        self.settings = settings
        self.key = key
        verdict = isAvailable ? .unknown : .unhealthy
    }

    package static func == (left: EndpointHealth, right: EndpointHealth) -> Bool {
        left.verdict == right.verdict && left.phase == right.phase && left.run == right.run && left.checks == right.checks
            && left.settings == right.settings && left.key == right.key
    }

    package var isAvailable: Bool { verdict != .unhealthy }

    package var isChecking: Bool {
        if case .checking = phase { true } else { false }
    }

    // MARK: Events

    /// The first check comes at a drawn moment of the first interval, so that neither the endpoints of a gateway nor gateways that
    /// were started together are asked as one.
    package mutating func start(now: Instant, draw: Draw) -> Action {
        guard phase == .idle else { return .none }
        phase = .waiting
        let within = min(settings.interval, EndpointHealth.firstWithin).wholeNanoseconds
        return .wait(until: now.advanced(byNanoseconds: Int64(draw.below(Int(max(1, within)), request: key, .healthCheck))))
    }

    /// The timer has fired: a check is due, or has taken too long and failed.
    package mutating func timerFired(now: Instant, draw: Draw) -> Action {
        switch phase {
        case .idle, .stopped: return .none
        case .waiting:
            phase = .checking(since: now)
            checks += 1
            return .check(until: now.advanced(by: settings.timeout))
        case .checking: return checked(.failed, now: now, draw: draw)
        }
    }

    /// The check under way has come to a result. One that comes after its check was given up is ignored.
    package mutating func checked(_ result: Result, now: Instant, draw: Draw) -> Action {
        guard case .checking(let since) = phase else { return .none }
        phase = .waiting
        let next = max(since.advanced(byNanoseconds: pause(draw)), now.advanced(by: EndpointHealth.leastPause))
        return .settle(result, next: next, becomes: judge(result))
    }

    /// No check begins any more, and no result counts.
    package mutating func stop() { phase = .stopped }

    // MARK: Rules

    private mutating func judge(_ result: Result) -> Bool? {
        let wasAvailable = isAvailable
        switch result {
        case .skipped: return nil
        case .passed, .failed:
            // Counted no further than any threshold reaches.
            run = (result, run.result == result ? min(run.length + 1, 1_000) : 1)
        }
        if result == .failed && run.length >= settings.unhealthyAfter { verdict = .unhealthy }
        if result == .passed && run.length >= settings.healthyAfter { verdict = .healthy }
        return isAvailable == wasAvailable ? nil : isAvailable
    }

    /// The interval, give or take the jitter; drawn for each check.
    private func pause(_ draw: Draw) -> Int64 {
        let interval = settings.interval.wholeNanoseconds
        let reach = interval / 10_000 * Int64(settings.jitter.tenThousandths)
        guard reach > 0 else { return interval }
        return interval - reach + Int64(draw.below(Int(2 * reach + 1), request: key, .healthCheck, checks))
    }
}
