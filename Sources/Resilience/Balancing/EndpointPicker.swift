// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core
import Synchronization

/// Chooses the endpoint of an attempt among those of one upstream (semantics, section 9).
///
/// An endpoint is its index. Available ones that the request has not tried come first; if all available ones have been
/// tried, they are tried again. When too few are available the picker panics: it spreads over all, since to send
/// everything to the few would only fell them too. Shared by all threads; a pick takes no lock and does not allocate.
public final class EndpointPicker: Sendable {
    public let policy: BalancingPolicy
    public let count: Int
    /// Below this share of available endpoints all are picked from; zero turns that off.
    public let panicThreshold: Share
    /// One an endpoint, 1 to 1,000,000; `nil` where all are alike.
    @usableFromInline let weights: [Int]?
    /// Well by the checks and not ejected: what a pick looks at.
    private let flags: AvailabilityFlags
    private let reasons: GuardLock<Reasons>
    private let cursor = Atomic<UInt64>(0)

    /// Why an endpoint is out. Apart, because what ends the one does not end the other.
    private struct Reasons: Sendable {
        var isUnwell: [Bool]
        var isEjected: [Bool]
    }

    /// - Parameter weights: each endpoint's share of the requests relative to the others; those below 1 count as 1, missing ones too.
    public init(
        _ policy: BalancingPolicy, count: Int, weights: [Int] = [], panicThreshold: Share = Share(tenThousandths: 5_000)
    ) {
        self.policy = policy
        self.count = max(0, count)
        let each = (0..<self.count).map { $0 < weights.count ? min(max(weights[$0], 1), 1_000_000) : 1 }
        self.weights = each.allSatisfy { $0 == each[0] } ? nil : each
        self.panicThreshold = panicThreshold
        flags = AvailabilityFlags(count: self.count)
        let none = Array(repeating: false, count: self.count)
        reasons = GuardLock(Reasons(isUnwell: none, isEjected: none))
    }

    /// What active checks or an operator say of an endpoint. One that is ejected stays out.
    public func setAvailable(_ isAvailable: Bool, _ index: Int) {
        reasons.withLock { reasons in
            reasons.isUnwell[index] = !isAvailable
            flags.set(index, isAvailable && !reasons.isEjected[index])
        }
    }

    /// What an ``OutlierDetector`` says of it. A good check does not end an ejection, nor its end a bad check.
    public func setEjected(_ isEjected: Bool, _ index: Int) {
        reasons.withLock { reasons in
            reasons.isEjected[index] = isEjected
            flags.set(index, !isEjected && !reasons.isUnwell[index])
        }
    }

    /// What ``setAvailable(_:_:)`` said last.
    public func isWell(_ index: Int) -> Bool { reasons.withLock { !$0.isUnwell[index] } }
    public func isEjected(_ index: Int) -> Bool { reasons.withLock { $0.isEjected[index] } }

    /// Well by the checks and not ejected.
    public func isAvailable(_ index: Int) -> Bool { flags[index] }
    public var availableCount: Int { flags.availableCount }

    /// Whether availability is ignored now: `lb.panic`.
    public var isPanicking: Bool { !panicThreshold.isReached(by: availableCount, of: count) }

    /// The endpoint for an attempt, or `nil` if there is none (`lb.no_healthy`).
    ///
    /// - Parameters:
    ///   - attempt: how many attempts the request has made; the draws depend on it.
    ///   - load: exchanges under way at an endpoint.
    @inlinable
    public func pick(request: UInt64, attempt: Int, draw: Draw, tried: TriedEndpoints, load: (Int) -> Int) -> Int? {
        let choice = candidates(request: request, attempt: attempt, draw: draw, tried: tried)
        guard let first = choice.first else { return nil }
        guard let second = choice.second else { return first }
        guard let weights else { return load(second) < load(first) ? second : first }
        // For each unit of weight; while all are idle the draw alone decides. An overflow needs more exchanges than there is memory for.
        return load(second) &* weights[first] < load(first) &* weights[second] ? second : first
    }

    /// One endpoint, or two of which the less loaded one is meant.
    @usableFromInline
    func candidates(request: UInt64, attempt: Int, draw: Draw, tried: TriedEndpoints) -> (first: Int?, second: Int?) {
        if count == 0 { return (nil, nil) }
        let all = availableCount == count || isPanicking
        if weights != nil {
            return weightedCandidates(all: all, request: request, attempt: attempt, draw: draw, tried: tried)
        }
        if all && tried.isEmpty {
            return choose(among: count, request: request, attempt: attempt, draw: draw) { $0 }
        }
        var eligible = 0
        for index in 0..<count where (all || flags[index]) && !tried.contains(index) { eligible += 1 }
        if eligible > 0 {
            return choose(among: eligible, request: request, attempt: attempt, draw: draw) { rank in
                self.endpoint(ofRank: rank) { (all || self.flags[$0]) && !tried.contains($0) }
            }
        }
        for index in 0..<count where all || flags[index] { eligible += 1 }
        if eligible == 0 { return (nil, nil) }
        return choose(among: eligible, request: request, attempt: attempt, draw: draw) { rank in
            self.endpoint(ofRank: rank) { all || self.flags[$0] }
        }
    }

    private func choose(
        among eligible: Int, request: UInt64, attempt: Int, draw: Draw, endpoint: (Int) -> Int?
    ) -> (first: Int?, second: Int?) {
        switch policy {
        case .roundRobin:
            // By rank among the eligible, so that the neighbour of a missing endpoint does not get its share as well.
            let turn = cursor.wrappingAdd(1, ordering: .relaxed).oldValue
            return (endpoint(Int(turn % UInt64(eligible))), nil)
        case .leastRequest, .peakEWMA, .hash:
            let n = UInt64(max(0, attempt)) &* 2
            let first = draw.below(eligible, request: request, .endpointChoice, n)
            if eligible == 1 { return (endpoint(first), nil) }
            let other = draw.below(eligible - 1, request: request, .endpointChoice, n + 1)
            // The first one drawn wins a tie, so ties are decided by draw.
            return (endpoint(first), endpoint(other >= first ? other + 1 : other))
        }
    }

    /// `nil` if flags changed since the eligible were counted.
    private func endpoint(ofRank rank: Int, where isEligible: (Int) -> Bool) -> Int? {
        var left = rank
        var last: Int?
        for index in 0..<count where isEligible(index) {
            if left == 0 { return index }
            left -= 1
            last = index
        }
        return last
    }

    // MARK: By weight

    private func weightedCandidates(
        all: Bool, request: UInt64, attempt: Int, draw: Draw, tried: TriedEndpoints
    ) -> (first: Int?, second: Int?) {
        if !tried.isEmpty {
            let fresh = choose(request: request, attempt: attempt, draw: draw) { (all || self.flags[$0]) && !tried.contains($0) }
            if fresh.first != nil { return fresh }
        }
        return choose(request: request, attempt: attempt, draw: draw) { all || self.flags[$0] }
    }

    private func choose(
        request: UInt64, attempt: Int, draw: Draw, where isEligible: (Int) -> Bool
    ) -> (first: Int?, second: Int?) {
        guard let weights else { return (nil, nil) }
        var total = 0
        for index in 0..<count where isEligible(index) { total += weights[index] }
        if total == 0 { return (nil, nil) }
        switch policy {
        case .roundRobin:
            // The multiples of the golden ratio: each stretch of turns has each endpoint in proportion, and no runs of one.
            let turn = cursor.wrappingAdd(1, ordering: .relaxed).oldValue
            let point = (turn &* 0x9E37_79B9_7F4A_7C15).multipliedFullWidth(by: UInt64(total)).high
            return (endpoint(at: Int(point), weights, where: isEligible), nil)
        case .leastRequest, .peakEWMA, .hash:
            let n = UInt64(max(0, attempt)) &* 2
            let first = endpoint(
                at: draw.below(total, request: request, .endpointChoice, n), weights, where: isEligible)
            guard let first, total > weights[first] else { return (first, nil) }
            let other = draw.below(total - weights[first], request: request, .endpointChoice, n + 1)
            return (first, endpoint(at: other, weights) { isEligible($0) && $0 != first })
        }
    }

    /// The endpoint in whose part of the sum of all weights the point lies.
    private func endpoint(at point: Int, _ weights: [Int], where isEligible: (Int) -> Bool) -> Int? {
        var left = point
        var last: Int?
        for index in 0..<count where isEligible(index) {
            if left < weights[index] { return index }
            left -= weights[index]
            last = index
        }
        return last
    }
}
