// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 9.
@Suite struct EndpointPickerTests {
    static let draw = Draw(seed: Seed.current.value)

    private func shares(
        _ picker: EndpointPicker, picks: Int = 10_000, tried: TriedEndpoints = TriedEndpoints(), attempt: Int = 0,
        load: (Int) -> Int = { _ in 0 }
    ) -> [Int] {
        var counts = Array(repeating: 0, count: picker.count)
        for request in 0..<UInt64(picks) {
            if let index = picker.pick(request: request, attempt: attempt, draw: Self.draw, tried: tried, load: load) {
                counts[index] += 1
            }
        }
        return counts
    }

    @Test(arguments: BalancingPolicy.allCases, [1, 2, 3, 7, 100])
    func L1_equalHostsGetEqualShares(policy: BalancingPolicy, n: Int) {
        let counts = shares(EndpointPicker(policy, count: n))
        let mean = 10_000.0 / Double(n)
        let bound = 5 * (10_000.0 / Double(n) * (1 - 1 / Double(n))).squareRoot()
        #expect(counts.allSatisfy { abs(Double($0) - mean) <= max(bound, 0.001) }, "\(Seed.current) \(counts)")
        #expect(counts.reduce(0, +) == 10_000)
    }

    @Test(arguments: BalancingPolicy.allCases)
    func L1_holdsAmongWhatIsLeft(policy: BalancingPolicy) {
        let picker = EndpointPicker(policy, count: 5)
        picker.setAvailable(false, 1)
        var tried = TriedEndpoints()
        tried.insert(3)
        let counts = shares(picker, tried: tried, attempt: 1)
        #expect(counts[1] == 0 && counts[3] == 0)
        #expect(
            [0, 2, 4].allSatisfy { abs(counts[$0] - 3_333) < 5 * 48 },
            "the neighbour of one that is missing gets no more: \(counts)")
    }

    @Test func theLessLoadedOfTwoIsChosen() {
        let picker = EndpointPicker(.leastRequest, count: 2)
        #expect(shares(picker, picks: 100) { $0 == 0 ? 5 : 4 } == [0, 100])
        // Of ten, the busiest is never taken, the idlest twice as often as on average.
        let counts = shares(EndpointPicker(.leastRequest, count: 10)) { $0 }
        #expect(counts[9] == 0 && abs(counts[0] - 2_000) < 250)
    }

    @Test(arguments: BalancingPolicy.allCases)
    func triedOnesAreTakenAgainOnlyWhenNothingElseIsLeft(policy: BalancingPolicy) {
        let picker = EndpointPicker(policy, count: 3, panicThreshold: Share(tenThousandths: 0))
        var tried = TriedEndpoints()
        tried.insert(0)
        tried.insert(1)
        #expect(shares(picker, picks: 100, tried: tried) == [0, 0, 100])
        picker.setAvailable(false, 2)
        let counts = shares(picker, picks: 1_000, tried: tried)
        #expect(counts[2] == 0 && counts[0] > 300 && counts[1] > 300)
        picker.setAvailable(false, 0)
        picker.setAvailable(false, 1)
        #expect(picker.pick(request: 1, attempt: 0, draw: Self.draw, tried: tried, load: { _ in 0 }) == nil, "lb.no_healthy")
    }

    @Test(arguments: BalancingPolicy.allCases)
    func weightsAreShares(policy: BalancingPolicy) {
        let picker = EndpointPicker(policy, count: 4, weights: [1, 2, 5, 2])
        let idle = shares(picker)
        #expect(zip(idle, [1_000, 2_000, 5_000, 2_000]).allSatisfy { abs($0 - $1) < 250 }, "\(Seed.current) \(idle)")
        picker.setAvailable(false, 2)
        var tried = TriedEndpoints()
        tried.insert(1)
        let left = shares(picker, tried: tried, attempt: 1)
        #expect(left[1] == 0 && left[2] == 0 && abs(left[0] - 3_333) < 250, "\(Seed.current) \(left)")
    }

    @Test func busyOnesAreComparedByWeight() {
        let picker = EndpointPicker(.leastRequest, count: 2, weights: [3, 1])
        #expect(shares(picker, picks: 100) { $0 == 0 ? 5 : 2 } == [100, 0], "5 on 3 are fewer than 2 on 1")
        #expect(shares(picker, picks: 100) { $0 == 0 ? 7 : 2 } == [0, 100], "7 on 3 are more than 2 on 1")
    }

    @Test func turnsByWeightDoNotComeInRuns() {
        let picker = EndpointPicker(.roundRobin, count: 2, weights: [3, 1])
        let turns = (0..<40).map { _ in
            picker.pick(request: 0, attempt: 0, draw: Self.draw, tried: TriedEndpoints(), load: { _ in 0 }) == 0 ? "a" : "b"
        }.joined()
        #expect(!turns.contains("bb") && !turns.contains("aaaaa"), "\(turns)")
    }

    @Test func anEmptySetHasNothing() {
        #expect(
            EndpointPicker(.roundRobin, count: 0).pick(
                request: 1, attempt: 0, draw: Self.draw, tried: TriedEndpoints(), load: { _ in 0 }) == nil)
    }

    @Test(arguments: BalancingPolicy.allCases)
    func L5_panicAtTheThresholdExactly(policy: BalancingPolicy) {
        let picker = EndpointPicker(policy, count: 4)
        picker.setAvailable(false, 0)
        picker.setAvailable(false, 1)
        picker.setAvailable(false, 1)
        #expect(picker.availableCount == 2 && !picker.isPanicking, "half is not below half")
        #expect(shares(picker, picks: 100)[0] == 0)
        picker.setAvailable(false, 2)
        #expect(picker.isPanicking)
        #expect(shares(picker, picks: 400).allSatisfy { $0 > 50 })
        picker.setAvailable(true, 2)
        #expect(!picker.isPanicking && shares(picker, picks: 100)[0] == 0)
    }

    @Test func theSameRequestGetsTheSameDraw() {
        let picker = EndpointPicker(.leastRequest, count: 50)
        func pick(_ request: UInt64, _ attempt: Int) -> Int? {
            picker.pick(request: request, attempt: attempt, draw: Self.draw, tried: TriedEndpoints(), load: { _ in 0 })
        }
        #expect((0..<100).allSatisfy { pick($0, 0) == pick($0, 0) })
        #expect(!(0..<100).allSatisfy { pick($0, 0) == pick($0, 1) })
    }

    @Test func triedRemembersTheLastEight() {
        var tried = TriedEndpoints()
        #expect(tried.isEmpty && !tried.contains(0))
        for index in [5, 5, 70_000, 0] { tried.insert(index) }
        #expect([0, 5, 70_000].allSatisfy(tried.contains) && !tried.contains(1) && !tried.isEmpty)
        for index in 100..<120 { tried.insert(index) }
        #expect(tried.contains(119) && tried.contains(112) && !tried.contains(111))
        tried.removeAll()
        #expect(tried.isEmpty && !tried.contains(119))
    }

    @Test func flagsBeyondOneWord() {
        let flags = AvailabilityFlags(count: 130)
        for index in [0, 63, 64, 129] { flags.set(index, false) }
        #expect(flags.availableCount == 126)
        #expect((0..<130).allSatisfy { flags[$0] == ![0, 63, 64, 129].contains($0) })
    }
}
