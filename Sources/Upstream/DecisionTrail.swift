// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import Resilience

/// What the guard decided about one request, in order, with its numbers at that instant: the answer to "why did this request fail?".
///
/// Steps are always noted, since that costs a few nanoseconds; the numbers behind a step cost a look under the guard's lock, so they are
/// taken for every step only where somebody will read them, and else where a step is unusual.
package struct DecisionTrail: Sendable {
    package enum Step: UInt8, Sendable {
        case admitted
        /// Sent to an ejected endpoint, to see whether it is well again.
        case probing
        /// Sent though the endpoint is out, since too few are available (`lb.panic`).
        case panicking
        case queued, granted, refused, failed, answered
        case retry
        /// Sent a second time beside the first.
        case hedged
        /// No further attempt, and why.
        case final
        /// To the upstream that the route falls back to.
        case elsewhere
        case cancelled

        package var word: StaticString {
            switch self {
            case .admitted: "admitted"
            case .probing: "probing"
            case .panicking: "lb.panic"
            case .queued: "queued"
            case .granted: "granted"
            case .refused: "refused"
            case .failed: "failed"
            case .answered: "answered"
            case .retry: "retry"
            case .hedged: "hedged"
            case .final: "no_retry"
            case .elsewhere: "elsewhere"
            case .cancelled: "cancelled"
            }
        }
    }

    /// How closely a request is looked at.
    package enum Detail: UInt8, Sendable {
        /// Steps without numbers.
        case steps
        /// Numbers of unusual steps.
        case unusual
        /// Numbers of every step.
        case all
    }

    /// The guard at the instant of a step.
    package struct Numbers: Sendable {
        package var breaker: StaticString
        package var completed: Int
        package var failed: Int
        package var slow: Int
        package var permitsInUse: Int
        package var permits: Int
        package var queued: Int
        package var retryTokens: Int
        /// Nanoseconds left of the whole; `.max`: no deadline.
        package var deadlineLeft: Int64
    }

    package struct Decision: Sendable {
        package var step: Step
        /// From 1; 0 before the first.
        package var attempt: UInt8
        package var reason: Reason?
        /// Position of the endpoint among the upstream's; -1 where there is none.
        package var endpoint: Int32
        /// Position among `numbers`; -1 where there are none.
        package var numbers: Int32
        /// Nanoseconds since the request began.
        package var at: Int64
        /// A status, or how long a retry waits in nanoseconds.
        package var value: Int64
    }

    /// More than this many steps are not noted: five attempts have fewer.
    static let longest = 64

    package private(set) var decisions: [Decision] = []
    package private(set) var numbers: [Numbers] = []
    package private(set) var detail = Detail.steps
    /// Whether anything happened beyond "sent once, answered".
    package private(set) var isUnusual = false

    init() {}

    mutating func begin(_ detail: Detail) {
        decisions.removeAll(keepingCapacity: true)
        numbers.removeAll(keepingCapacity: true)
        isUnusual = false
        self.detail = detail
    }

    /// The endpoints have other positions from now on; `nil`: one is no longer there.
    mutating func renumber(_ position: (Int) -> Int?) {
        for i in decisions.indices where decisions[i].endpoint >= 0 {
            decisions[i].endpoint = Int32(clamping: position(Int(decisions[i].endpoint)) ?? -1)
        }
    }

    mutating func note(
        _ step: Step, attempt: Int, reason: Reason? = nil, endpoint: Int = -1, at: Int64, value: Int64 = 0,
        numbers taken: () -> Numbers
    ) {
        guard decisions.count < DecisionTrail.longest else { return }
        let isRoutine = step == .admitted && attempt <= 1 || step == .answered && value < 500
        if !isRoutine { isUnusual = true }
        var index: Int32 = -1
        if detail == .all || detail == .unusual && !isRoutine {
            index = Int32(numbers.count)
            numbers.append(taken())
        }
        decisions.append(
            Decision(
                step: step, attempt: UInt8(clamping: attempt), reason: reason, endpoint: Int32(clamping: endpoint), numbers: index,
                at: at,
                value: value))
    }
}

extension DecisionTrail.Numbers {
    init(_ state: GuardSnapshot, deadlineLeft: Int64) {
        let isForced = state.override != .automatic
        switch state.breaker {
        case _ where isForced: breaker = "forced"
        case .closed: breaker = "closed"
        case .halfOpen: breaker = "half_open"
        case .open: breaker = "open"
        }
        completed = state.evidence.completed
        failed = state.evidence.failed
        slow = state.evidence.slow
        permitsInUse = state.permitsInUse
        permits = state.permits
        queued = state.queued
        retryTokens = state.retriesAvailable
        self.deadlineLeft = deadlineLeft
    }
}
