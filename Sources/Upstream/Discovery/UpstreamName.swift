// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import Reactor

/// The name that an upstream's endpoints come from, as all reactors and the control thread share it: which endpoints hold now, and how
/// the name fares.
///
/// A change of endpoints makes a new cluster around the same guard, which stands here before any reactor hears of it; so a reactor that
/// takes over a new configuration meanwhile finds it too. Locked for the length of a copy, and never by a request that has an endpoint.
package final class UpstreamName: Sendable {
    package struct Status: Sendable {
        package var state = NameRefresh.State.pending
        package var failure: NameFailure?
        package var answeredAt: Instant?
        /// When the name is looked up again.
        package var next: Instant?
        package var targets: [NameTarget] = []

        init() {}
    }

    private struct Shared: Sendable {
        var latest: UpstreamCluster?
        var status = Status()
    }

    package let settings: NameSettings
    private let shared: GuardLock<Shared>

    /// `known`: what the name stands for as far as is known from before.
    package init(_ settings: NameSettings, known: [NameTarget] = []) {
        self.settings = settings
        var shared = Shared()
        shared.status.targets = known
        self.shared = GuardLock(shared)
    }

    /// `nil`: the cluster that the configuration made still holds.
    package var latest: UpstreamCluster? { shared.withLock { $0.latest } }
    package var status: Status { shared.withLock { $0.status } }

    func publish(_ cluster: UpstreamCluster) {
        // The one before dies outside the lock.
        _ = shared.withLock { shared in
            let before = shared.latest
            shared.latest = cluster
            return before
        }
    }

    func report(_ status: Status) { shared.withLock { $0.status = status } }
}

extension Endpoint {
    /// The endpoints of a name. One that was there before stays the same as far as its weight is, and its count of exchanges goes on.
    package static func named(_ targets: [NameTarget], _ settings: NameSettings, before: [Endpoint]) -> [Endpoint] {
        targets.map { target in
            let old = before.first { $0.address == target.address && $0.hostName == target.host }
            if let old, old.weight == target.weight { return old }
            return Endpoint(address: target.address, name: target.host, weight: target.weight, countingWith: old)
        }
    }
}
