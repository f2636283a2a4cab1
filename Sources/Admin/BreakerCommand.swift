// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Gateway
import Resilience

/// What an operator asks of a breaker: `state=open|closed|disabled|automatic|reset`, `reason=…`, and for what is forced `for=10m`.
struct BreakerCommand {
    struct Problem: Error {
        let text: String
    }

    enum Action {
        case force(CircuitBreaker.Override, Duration)
        case reset
    }

    let action: Action
    let reason: String

    init(_ items: QueryItems) throws(Problem) {
        if let name = items.unknown(beside: ["state", "for", "reason"]) {
            throw Problem(text: "there is no parameter \(name); known are state, for and reason")
        }
        guard let state = items["state"] else {
            throw Problem(text: "state is missing: open, closed, disabled, automatic or reset")
        }
        guard let reason = items["reason"], !reason.isEmpty, reason.utf8.count <= 200 else {
            throw Problem(text: "reason is missing, or longer than 200 bytes: say why, for whoever reads the log")
        }
        self.reason = reason
        let override: CircuitBreaker.Override
        switch state {
        case "open": override = .forcedOpen
        case "closed": override = .forcedClosed
        case "disabled": override = .disabled
        case "automatic":
            action = .force(.automatic, .zero)
            return
        case "reset":
            action = .reset
            return
        default: throw Problem(text: "state is \(state); expected open, closed, disabled, automatic or reset")
        }
        guard let text = items["for"] else { throw Problem(text: "for is missing: how long, such as for=10m, at most 24h") }
        guard let duration = Configuration.duration(text), duration > .zero, duration <= BreakerOverrides.longest else {
            throw Problem(text: "for is \(text); expected a duration such as 10m, at most 24h")
        }
        action = .force(override, duration)
    }
}
