// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience

/// A breaker on a clock in milliseconds, driven call by call or by a string.
/// A class, because `#expect` cannot call what mutates a value.
final class BreakerBench {
    var breaker: CircuitBreaker
    var now: Int64 = 0
    var request: UInt64 = 0

    init(_ settings: BreakerSettings, perTry: Duration? = .seconds(5), seed: UInt64 = 1) {
        breaker = CircuitBreaker(settings, perTry: perTry, expectedCalls: 4, draw: Draw(seed: seed))
    }

    var instant: Instant { .milliseconds(now) }

    var letter: Character {
        switch breaker.state {
        case .closed: "C"
        case .open: "O"
        case .halfOpen: "H"
        }
    }

    var openUntil: Int64? {
        if case .open(let until) = breaker.state { return until.nanoseconds } else { return nil }
    }

    func admit(first: Bool = true) -> CircuitBreaker.Admission {
        request += 1
        return breaker.admit(now: instant, request: request, isFirstAttempt: first)
    }

    var isClosed: Bool { breaker.isClosed(now: instant) }

    /// The call, if it was let through and not only in show.
    func call(first: Bool = true) -> CircuitBreaker.Call? {
        if case .admitted(let call, wouldRefuse: nil) = admit(first: first) { return call }
        return nil
    }

    func refusal(first: Bool = true) -> Refusal? {
        if case .refused(let refusal) = admit(first: first) { return refusal }
        return nil
    }

    func send(_ call: CircuitBreaker.Call) { breaker.requestSent(call, now: instant) }
    func report(_ call: CircuitBreaker.Call, _ outcome: Outcome) { breaker.report(call, outcome, now: instant) }

    /// One whole call that takes no time. False: refused.
    @discardableResult
    func run(_ outcome: Outcome, retryAfter: Int64? = nil) -> Bool {
        guard let call = call() else { return false }
        breaker.requestSent(call, now: instant)
        breaker.report(call, outcome, retryAfterNanoseconds: retryAfter, now: instant)
        return true
    }

    /// One letter a step in, the state after it out: `.` success, `x` failure, `n` neutral, `b` backpressure, `l` local,
    /// `s` a call that becomes slow and then succeeds, `-` a second passes, `=` ten do.
    func states(after script: String) -> String {
        var result = ""
        for step in script {
            switch step {
            case ".": run(.success)
            case "x": run(failure)
            case "n": run(neutral)
            case "b": run(backpressure)
            case "l": run(local)
            case "s":
                if let call = call() {
                    send(call)
                    now += 1_001
                    report(call, .success)
                }
            case "-": now += 1_000
            case "=": now += 10_000
            default: break
            }
            breaker.advance(to: instant)
            result.append(letter)
        }
        return result
    }
}

extension BreakerSettings {
    /// Count window, no ramp, no jitter, nothing but the failure rate: one rule at a time.
    static func plain(_ calls: Int, minimum: Int, rate: Int = 5_000) -> BreakerSettings {
        var settings = BreakerSettings()
        settings.window = .count(calls: calls)
        settings.minimumCalls = minimum
        settings.failureRate = Share(tenThousandths: rate)
        settings.slowCall = nil
        settings.ramp = .zero
        settings.openJitter = Share(tenThousandths: 0)
        return settings
    }

    func with(_ change: (inout BreakerSettings) -> Void) -> BreakerSettings {
        var copy = self
        change(&copy)
        return copy
    }
}
