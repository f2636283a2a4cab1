// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor

/// Counts client connections over all reactors, exactly: a limit that each reactor kept for itself would be another limit.
///
/// A listener is its address: its name may change while its connections live. One short lock an accept; an accept costs some 10 µs, so that nobody notices.
final class ConnectionCount: Sendable {
    private struct Counts {
        var all = 0
        var byListener: [SocketAddress: Int] = [:]
    }

    private let counts = GuardLock(Counts())

    /// Counts one more if both limits allow it.
    func admit(listener: SocketAddress, listenerLimit: Int, limit: Int) -> Bool {
        counts.withLock { counts in
            let here = counts.byListener[listener] ?? 0
            guard counts.all < limit, here < listenerLimit else { return false }
            counts.all += 1
            counts.byListener[listener] = here + 1
            return true
        }
    }

    func release(listener: SocketAddress) {
        counts.withLock { counts in
            counts.all -= 1
            counts.byListener[listener, default: 1] -= 1
        }
    }

    var all: Int { counts.withLock { $0.all } }
}
