// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import Resilience
import Telemetry
import Upstream

/// Says in the operational log when a breaker opened or closed: what somebody on call looks for first.
///
/// It compares the guards' counts four times a second, on one reactor, so that no request pays for it; openings that came and went
/// in between are counted in one line.
final class BreakerWatch: TimerOwner {
    private unowned let home: GatewayReactor
    private let log: OperationalLog
    private var seen: [String: BreakerTransitions] = [:]
    private lazy var timer = Timer(owner: self)

    static let interval: Duration = .milliseconds(250)

    init(home: GatewayReactor, log: OperationalLog) {
        self.home = home
        self.log = log
        arm()
    }

    private func arm() { home.reactor.schedule(timer, at: home.reactor.now.advanced(by: BreakerWatch.interval)) }

    func timerFired(_ timer: Timer, now: Instant) {
        for cluster in home.snapshot.upstreams { look(at: cluster, now: now) }
        arm()
    }

    private func look(at cluster: UpstreamCluster, now: Instant) {
        let snapshot = cluster.guardian.snapshot(now: now)
        let before = seen[cluster.name] ?? BreakerTransitions()
        let after = snapshot.transitions
        guard after != before else { return }
        seen[cluster.name] = after
        let upstream = ("upstream", cluster.name)
        if after.halfOpened > before.halfOpened { log.info("breaker", "half-open", [upstream]) }
        if after.closed > before.closed { log.info("breaker", "closed", [upstream]) }
        if after.opened > before.opened {
            log.warning(
                "breaker", "opened",
                [
                    upstream, ("times", "\(after.opened - before.opened)"), ("failed", "\(snapshot.evidence.failed)"),
                    ("completed", "\(snapshot.evidence.completed)"), ("slow", "\(snapshot.evidence.slow)"),
                ])
        }
    }
}
