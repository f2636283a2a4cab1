// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Synchronization

/// What all requests together may keep of their bodies, so that they can be sent once more (semantics, section 3, T7).
///
/// Each request has a cap of its own as well (`replay_body`). Whoever gets no room streams on and cannot be tried again; nobody is
/// refused for it. Shared by all reactors.
package final class ReplayMemory: Sendable {
    private let limit: Atomic<Int>
    private let used = Atomic<Int>(0)
    private let overOwn = Atomic<UInt64>(0)
    private let overShared = Atomic<UInt64>(0)

    package init(limit: Int = 64 << 20) { self.limit = Atomic(max(0, limit)) }

    package func setLimit(_ bytes: Int) { limit.store(max(0, bytes), ordering: .relaxed) }

    /// Bytes kept now.
    package var bytes: Int { used.load(ordering: .relaxed) }
    /// Requests that became longer than their own cap, and those for which there was no room here.
    package var abandonedOverOwn: UInt64 { overOwn.load(ordering: .relaxed) }
    package var abandonedOverShared: UInt64 { overShared.load(ordering: .relaxed) }

    func noteOverOwn() { overOwn.add(1, ordering: .relaxed) }

    /// False, and nothing is taken: there is no room.
    func reserve(_ n: Int) -> Bool {
        // Taken first and given back if it was too much, so that no two threads both take the last of it.
        let (_, after) = used.add(n, ordering: .relaxed)
        if after <= limit.load(ordering: .relaxed) { return true }
        used.subtract(n, ordering: .relaxed)
        overShared.add(1, ordering: .relaxed)
        return false
    }

    func release(_ n: Int) {
        if n > 0 { used.subtract(n, ordering: .relaxed) }
    }
}
