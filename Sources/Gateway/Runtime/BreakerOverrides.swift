// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import Reactor
package import Resilience
import Telemetry
package import Upstream

/// What operators have put in force by hand on breakers, until when, and why.
///
/// Nothing stays forced for ever: whoever forces a breaker says for how long, at most a day, and it is automatic again then. Each step
/// is a line in the operational log. Lives on the first reactor; a reload keeps what is in force, since guards are kept.
package final class BreakerOverrides: TimerOwner {
    package struct Entry {
        package let cluster: UpstreamCluster
        package let override: CircuitBreaker.Override
        package let until: Instant
        package let reason: String
    }

    /// The longest that anything can be forced at a time.
    package static let longest: Duration = .seconds(86_400)

    private let reactor: Reactor
    private let log: OperationalLog
    package private(set) var entries: [Entry] = []
    private lazy var timer = Timer(owner: self)

    init(reactor: Reactor, log: OperationalLog) {
        self.reactor = reactor
        self.log = log
    }

    package func entry(for cluster: UpstreamCluster) -> Entry? { entries.first { $0.cluster.guardian === cluster.guardian } }

    /// Forces the breaker, or lifts what was forced if `override` is `automatic`.
    package func force(_ override: CircuitBreaker.Override, _ cluster: UpstreamCluster, for duration: Duration, reason: String) {
        let now = reactor.now
        entries.removeAll { $0.cluster.guardian === cluster.guardian }
        cluster.guardian.force(override, now: now)
        if override == .automatic {
            log.warning("breaker", "automatic again by hand", [("upstream", cluster.name), ("reason", reason)])
        } else {
            let until = now.advanced(by: min(duration, BreakerOverrides.longest))
            entries.append(Entry(cluster: cluster, override: override, until: until, reason: reason))
            log.warning(
                "breaker", "forced by hand",
                [
                    ("upstream", cluster.name), ("state", override.rawValue), ("for", "\(min(duration, BreakerOverrides.longest))"),
                    ("reason", reason),
                ])
        }
        arm()
    }

    /// Closes the breaker and forgets what it has seen; what was forced is lifted.
    package func reset(_ cluster: UpstreamCluster, reason: String) {
        entries.removeAll { $0.cluster.guardian === cluster.guardian }
        cluster.guardian.reset(now: reactor.now)
        log.warning("breaker", "reset by hand", [("upstream", cluster.name), ("reason", reason)])
        arm()
    }

    private func arm() {
        let next = entries.reduce(Instant.never) { min($0, $1.until) }
        if next == .never { timer.cancel() } else { reactor.schedule(timer, at: next) }
    }

    package func timerFired(_ timer: Timer, now: Instant) {
        for entry in entries where entry.until <= now {
            entry.cluster.guardian.force(.automatic, now: now)
            log.warning(
                "breaker", "automatic again, the time is up",
                [("upstream", entry.cluster.name), ("state", entry.override.rawValue), ("reason", entry.reason)])
        }
        entries.removeAll { $0.until <= now }
        arm()
    }
}
