// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience
import Telemetry
import Upstream

/// A request's decision trail in words: a short line for headers and the access log, JSON for `GET /explain/ID`.
struct Explanation {
    let trail: DecisionTrail
    /// The endpoints of the upstream that was asked last.
    let endpoints: [Endpoint]

    /// `0us admitted #1; 210us failed #1 connect.refused (closed 3/40 failed, 2/256 permits, 12 tokens, 14999ms left); …`
    func writeLine(into text: inout ByteBuffer) {
        for (i, decision) in trail.decisions.enumerated() {
            if i > 0 { text.append("; ") }
            text.append(decimal: UInt64(max(0, decision.at / 1_000)))
            text.append("us ")
            text.append(decision.step.word)
            if decision.attempt > 0 {
                text.append(" #")
                text.append(decimal: Int(decision.attempt))
            }
            if let reason = decision.reason {
                text.append(" ")
                text.append(utf8: reason.rawValue)
            }
            switch decision.step {
            case .answered:
                text.append(" ")
                text.append(decimal: UInt64(max(0, decision.value)))
            case .retry:
                text.append(" in ")
                text.append(decimal: UInt64(max(0, decision.value / 1_000)))
                text.append("us")
            default: break
            }
            if decision.numbers >= 0 { writeNumbers(trail.numbers[Int(decision.numbers)], into: &text) }
        }
    }

    private func writeNumbers(_ numbers: DecisionTrail.Numbers, into text: inout ByteBuffer) {
        text.append(" (")
        text.append(numbers.breaker)
        text.append(" ")
        text.append(decimal: numbers.failed)
        text.append("/")
        text.append(decimal: numbers.completed)
        text.append(" failed, ")
        text.append(decimal: numbers.permitsInUse)
        text.append("/")
        text.append(decimal: numbers.permits)
        text.append(" permits, ")
        text.append(decimal: numbers.retryTokens)
        text.append(" tokens")
        if numbers.deadlineLeft != .max {
            text.append(", ")
            text.append(decimal: UInt64(max(0, numbers.deadlineLeft / 1_000_000)))
            text.append("ms left")
        }
        text.append(")")
    }

    /// The elements of a JSON array.
    func writeJSON(into text: inout ByteBuffer) {
        for (i, decision) in trail.decisions.enumerated() {
            text.append(i == 0 ? "\n {\"at_us\":" : ",\n {\"at_us\":")
            text.append(decimal: UInt64(max(0, decision.at / 1_000)))
            text.append(",\"step\":\"")
            text.append(decision.step.word)
            text.append("\"")
            if decision.attempt > 0 { number("attempt", Int64(decision.attempt), &text) }
            if let reason = decision.reason {
                text.append(",\"reason\":\"")
                text.append(utf8: reason.rawValue)
                text.append("\"")
            }
            if endpoints.indices.contains(Int(decision.endpoint)) {
                text.append(",\"endpoint\":\"")
                text.append(escaping: Array(endpoints[Int(decision.endpoint)].label.utf8).span, as: .json)
                text.append("\"")
            }
            switch decision.step {
            case .answered: number("status", decision.value, &text)
            case .retry: number("wait_us", decision.value / 1_000, &text)
            default: break
            }
            if decision.numbers >= 0 {
                let numbers = trail.numbers[Int(decision.numbers)]
                text.append(",\"breaker\":\"")
                text.append(numbers.breaker)
                text.append("\"")
                number("completed", Int64(numbers.completed), &text)
                number("failed", Int64(numbers.failed), &text)
                number("slow", Int64(numbers.slow), &text)
                number("permits_in_use", Int64(numbers.permitsInUse), &text)
                number("permits", Int64(numbers.permits), &text)
                number("queued", Int64(numbers.queued), &text)
                number("retry_tokens", Int64(numbers.retryTokens), &text)
                if numbers.deadlineLeft != .max { number("deadline_us", numbers.deadlineLeft / 1_000, &text) }
            }
            text.append("}")
        }
    }

    private func number(_ name: StaticString, _ value: Int64, _ text: inout ByteBuffer) {
        text.append(",\"")
        text.append(name)
        text.append("\":")
        text.append(decimal: UInt64(max(0, value)))
    }
}
