// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The right to have one exchange with the upstream under way, from a grant out of the queue to `Guard.reserve`. Letting it
/// go gives it back, and it goes to the next waiter.
public struct BulkheadPermit: ~Copyable, Sendable {
    let owner: Guard
    let priority: Priority
    private var isHeld = true

    init(_ owner: Guard, _ priority: Priority) {
        self.owner = owner
        self.priority = priority
    }

    /// Makes the permit another token's. `discard` is refused where a class reference is stored, hence the flag.
    consuming func handOver() { isHeld = false }

    deinit { if isHeld { owner.returnBulkheadPermit(priority) } }
}
