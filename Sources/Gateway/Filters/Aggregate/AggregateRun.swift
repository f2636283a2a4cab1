// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import JSON

/// One document in the making: which parts are asked for, which are there, and what is to be done next. Pure: whoever asks tells it what came.
///
///     waiting ──start──► asked ──answered──► there
///        │                 └──failed, timeUp──► missing (required: the document fails)
///        └── nothing to ask for ──► absent
struct AggregateRun: ~Copyable {
    enum Action: Equatable {
        /// Ask for these parts now; none: something is still awaited.
        case start([Int])
        /// Every part has ended: write the document.
        case finish
        /// There is no document without this part. What is under way is to be cancelled.
        case fail(part: Int, Reason)
    }

    private enum State {
        case waiting
        case asked
        case there(JSONDocument, JSONValue)
        /// There is none, and none is missing.
        case absent
        case missing(Reason)
    }

    let plan: AggregatePlan
    private var states: [State]
    private var bytes = 0
    private var hasFailed = false

    init(_ plan: AggregatePlan) {
        self.plan = plan
        states = plan.parts.map { _ in .waiting }
    }

    /// The parts that need no other.
    mutating func start() -> Action { next() }

    /// What a part brought: its value, or what stands for it.
    func value(of part: Int) -> JSONValue? {
        switch states[part] {
        case .there(_, let value): value
        case .absent, .missing: plan.parts[part].fallback?.root
        case .waiting, .asked: nil
        }
    }

    func isAsked(_ part: Int) -> Bool { if case .asked = states[part] { true } else { false } }

    // MARK: Events

    /// A part's answer is here, whole.
    mutating func answered(_ part: Int, status: Int, isJSON: Bool, body: Span<UInt8>) -> Action {
        guard isAsked(part) else { return .start([]) }
        if status == 404, plan.parts[part].notFoundIsAbsent {
            states[part] = .absent
            return next()
        }
        guard (200..<300).contains(status) else { return failed(part, .statusFailure) }
        guard isJSON else { return failed(part, .responseUnusable) }
        let (limit, taken) = (plan.parts[part].byteLimit, bytes)
        guard body.count <= limit, body.count <= plan.byteLimit &- taken else { return failed(part, .responseTooLarge) }
        bytes = taken &+ body.count
        let limits = JSONLimits(bytes: limit, nodes: max(65_536, limit / 4))
        guard let document = try? JSONDocument.parse(body, limits: limits), let value = document.root[plan.parts[part].take] else {
            return failed(part, .responseUnusable)
        }
        if case .flatten = plan.parts[part].placement, value.kind != .object { return failed(part, .responseUnusable) }
        states[part] = .there(document, value)
        return next()
    }

    /// A part cannot be had, or was never asked for because of what another one lacks.
    mutating func failed(_ part: Int, _ reason: Reason) -> Action {
        guard isAsked(part) else { return .start([]) }
        states[part] = .missing(reason)
        if plan.parts[part].isRequired { return fail(part, reason) }
        return next()
    }

    /// The list that a part is asked about has nothing in it.
    mutating func hasNothingToAsk(_ part: Int) -> Action {
        guard isAsked(part) else { return .start([]) }
        states[part] = .absent
        return next()
    }

    /// No time is left: what is not there is missing.
    mutating func timeUp() -> Action {
        for i in plan.parts.indices {
            switch states[i] {
            case .waiting, .asked: states[i] = .missing(.deadline)
            case .there, .absent, .missing: continue
            }
        }
        for i in plan.parts.indices {
            if case .missing(let reason) = states[i], plan.parts[i].isRequired { return fail(i, reason) }
        }
        return .finish
    }

    private mutating func fail(_ part: Int, _ reason: Reason) -> Action {
        hasFailed = true
        return .fail(part: part, reason)
    }

    private mutating func next() -> Action {
        if hasFailed { return .start([]) }
        var started: [Int] = []
        var isOver = true
        for i in plan.parts.indices {
            switch states[i] {
            case .asked: isOver = false
            case .there, .absent, .missing: continue
            case .waiting:
                isOver = false
                if plan.parts[i].waitsFor.allSatisfy({ hasEnded($0) }) {
                    states[i] = .asked
                    started.append(i)
                }
            }
        }
        return isOver ? .finish : .start(started)
    }

    private func hasEnded(_ part: Int) -> Bool {
        switch states[part] {
        case .there, .absent, .missing: true
        case .waiting, .asked: false
        }
    }

    /// Whether every part is there or known to be nothing.
    var isComplete: Bool { states.allSatisfy { if case .missing = $0 { false } else { true } } }

    /// What became of a part; one that nobody waits for any more is missing.
    func result(of part: Int) -> AggregateFilter.Result {
        switch states[part] {
        case .there: .answered
        case .absent: .absent
        case .missing, .waiting, .asked: .missing
        }
    }

    /// The parts that are missing, with the reasons.
    var missing: [(part: Int, reason: Reason)] {
        states.indices.compactMap { i in if case .missing(let reason) = states[i] { (i, reason) } else { nil } }
    }
}
