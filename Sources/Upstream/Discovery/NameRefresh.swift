// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import Reactor

/// Decides for one name when it is looked up again, and which endpoints its upstream has meanwhile.
///
///     pending ──► current ◄──► stale        stale: it has failed since; the last answer goes on
///        └──────► failing ──► current       failing: it has never had an answer
///
/// An answer holds for its time to live, within the settings' bounds. After a failure the next look comes after a back-off, doubled with
/// each failure in a row and drawn from its upper half, so that gateways that lost their name server together do not come back as
/// one. Whatever the failure, also that the name is gone: the last endpoints stay, since to have none would only refuse every request.
/// Pure: time, draws and answers come in, an action goes out.
package struct NameRefresh: Sendable {
    package enum State: String, CaseIterable, Sendable {
        case pending, current, stale, failing
    }

    package enum Action: Equatable, Sendable {
        case none
        case ask([NameQuestion])
        case settle(Settlement)
    }

    /// A look that is over.
    package struct Settlement: Equatable, Sendable {
        /// When to look again.
        package var next: Instant
        /// `nil`: it succeeded.
        package var failure: NameFailure?
        /// The endpoints from now on; `nil`: as they were.
        package var targets: [NameTarget]?
        /// Whether state or failure differ from those after the look before.
        package var isNews: Bool
        /// Endpoints beyond the most that are taken.
        package var surplus: Int
    }

    package let settings: NameSettings
    package private(set) var state = State.pending
    /// In order of address.
    package private(set) var targets: [NameTarget] = []
    /// Of the latest look.
    package private(set) var failure: NameFailure?
    /// When the answer that holds was given.
    package private(set) var answeredAt: Instant?
    package private(set) var failuresInRow = 0
    private var lookup: NameLookup?
    private var hasStopped = false
    private var looks: UInt64 = 0
    private let key: UInt64

    /// Failures in a row are looked at again after at most this.
    static let longestBackOff: Duration = .seconds(30)

    /// `key` tells this name's draws from others'. `targets`: what is known from before.
    package init(_ settings: NameSettings, key: UInt64, targets: [NameTarget] = []) {
        self.settings = settings
        self.key = key
        self.targets = targets
    }

    package var isAsking: Bool { lookup != nil }

    // MARK: Events

    /// The time has come: at the start at once, then when a settlement said.
    package mutating func due() -> Action {
        guard !hasStopped, lookup == nil else { return .none }
        looks += 1
        var fresh = NameLookup(settings)
        let step = fresh.begin()
        lookup = fresh
        guard case .ask(let questions) = step else { return .none }
        return .ask(questions)
    }

    package mutating func answered(_ question: NameQuestion, _ answer: NameAnswer, now: Instant, draw: Draw) -> Action {
        guard !hasStopped, var running = lookup else { return .none }
        let step = running.answered(question, answer)
        lookup = running
        switch step {
        case .wait: return .none
        case .ask(let questions): return .ask(questions)
        case .done(let result):
            lookup = nil
            return .settle(settle(result, now: now, draw: draw))
        }
    }

    /// Nothing is asked any more, and no answer counts.
    package mutating func stop() {
        hasStopped = true
        lookup = nil
    }

    // MARK: Rules

    private mutating func settle(_ result: NameLookup.Result, now: Instant, draw: Draw) -> Settlement {
        let before = (state, failure)
        failure = result.failure
        var changed: [NameTarget]?
        let next: Instant
        var surplus = 0
        if result.failure == nil {
            failuresInRow = 0
            state = .current
            answeredAt = now
            // What could not be asked now stays as it was: half an answer is none about the other half.
            let kept = targets.filter {
                result.unanswered.contains($0.source) && !result.targets.map(\.address).contains($0.address)
            }
            let merged = NameLookup.unique(result.targets + kept)
            surplus = result.surplus + merged.surplus
            if merged.targets != targets { changed = merged.targets }
            targets = merged.targets
            next = now.advanced(by: bounded(result.timeToLive))
        } else {
            failuresInRow += 1
            state = targets.isEmpty ? .failing : .stale
            next = now.advanced(byNanoseconds: backOff(draw))
        }
        return Settlement(
            next: next, failure: failure, targets: changed, isNews: before != (state, failure), surplus: surplus)
    }

    private func bounded(_ timeToLive: Duration) -> Duration {
        max(settings.minimumTimeToLive, min(settings.maximumTimeToLive, timeToLive))
    }

    private func backOff(_ draw: Draw) -> Int64 {
        let first = max(settings.minimumTimeToLive, .milliseconds(100)).wholeNanoseconds
        let cap = max(first, min(settings.maximumTimeToLive, NameRefresh.longestBackOff).wholeNanoseconds)
        var whole = first
        for _ in 1..<max(2, min(failuresInRow, 32)) where failuresInRow > 1 && whole < cap { whole = min(cap, whole * 2) }
        return whole - whole / 2 + Int64(draw.below(Int(whole / 2 + 1), request: key, .nameRefresh, looks))
    }
}
