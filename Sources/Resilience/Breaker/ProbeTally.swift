// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The permits of one half-open generation: how many were taken, what became of them, and which are still out.
struct ProbeTally: Sendable {
    /// Out or reported; what came back unused is not in it.
    private(set) var taken = 0
    private(set) var reported = 0
    private(set) var failed = 0
    private(set) var slow = 0
    private(set) var fast = 0
    /// Slots of the permits that are out.
    private(set) var out: [Int32] = []
    /// When the first of them counts as lost; `.max` if none is out.
    var nextReclaim: Int64 = .max

    mutating func reserve(_ capacity: Int) { out.reserveCapacity(capacity) }

    mutating func clear() {
        taken = 0
        reported = 0
        failed = 0
        slow = 0
        fast = 0
        out.removeAll(keepingCapacity: true)
        nextReclaim = .max
    }

    mutating func granted(_ slot: Int32, reclaimAt: Int64) {
        taken += 1
        out.append(slot)
        nextReclaim = min(nextReclaim, reclaimAt)
    }

    mutating func givenBack(_ slot: Int32) {
        taken -= 1
        remove(slot)
    }

    mutating func succeeded(_ slot: Int32, isFast: Bool) {
        reported += 1
        if isFast { fast += 1 }
        remove(slot)
    }

    mutating func failed(_ slot: Int32) {
        reported += 1
        failed += 1
        remove(slot)
    }

    /// A call whose good head had settled its permit failed after all, and there is no verdict yet.
    mutating func revisedToFailure(wasFast: Bool) {
        failed += 1
        if wasFast { fast -= 1 }
    }

    mutating func crossed() { slow += 1 }

    private mutating func remove(_ slot: Int32) {
        if let index = out.firstIndex(of: slot) { out.remove(at: index) }
    }
}
