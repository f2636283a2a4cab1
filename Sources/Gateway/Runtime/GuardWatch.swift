// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import Resilience
import Telemetry
import Upstream

/// Says in the operational log when a breaker opened or closed, an endpoint was set aside or came back, and when so few were left that
/// all are used: what somebody on call looks for first.
///
/// It looks four times a second, on one reactor, so that no request pays for it; openings that came and went in between are counted
/// in one line. At the same time it has each upstream's outlier detector judge the interval that has ended.
final class GuardWatch: TimerOwner {
    private unowned let home: GatewayReactor
    private let log: OperationalLog
    private var seen: [String: BreakerTransitions] = [:]
    private var panicking: Set<String> = []
    private lazy var timer = Timer(owner: self)

    static let interval: Duration = .milliseconds(250)

    init(home: GatewayReactor, log: OperationalLog) {
        self.home = home
        self.log = log
        arm()
    }

    private func arm() { home.reactor.schedule(timer, at: home.reactor.now.advanced(by: GuardWatch.interval)) }

    func timerFired(_ timer: Timer, now: Instant) {
        for cluster in home.snapshot.upstreams.map(\.current) {
            lookAtBreaker(cluster, now: now)
            if let outliers = cluster.balancer.outliers { lookAtOutliers(cluster, outliers, now: now) }
            lookForPanic(cluster)
        }
        arm()
    }

    private func lookAtBreaker(_ cluster: UpstreamCluster, now: Instant) {
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

    private func lookAtOutliers(_ cluster: UpstreamCluster, _ outliers: OutlierWatch, now: Instant) {
        outliers.evaluate(now: now)
        let (events, dropped) = outliers.takeEvents()
        for event in events {
            var values = [("upstream", cluster.name), ("endpoint", event.endpoint)]
            switch event.kind {
            case .ejected(let until, let detector):
                values.append(("detector", detector.rawValue))
                values.append(("for_ms", "\(max(0, until.nanoseconds(since: now) / 1_000_000))"))
                log.warning("outlier", "endpoint ejected", values)
            case .detected(let detector):
                values.append(("detector", detector.rawValue))
                log.warning("outlier", "endpoint found bad and left in", values)
            case .readmitted: log.info("outlier", "endpoint readmitted", values)
            }
        }
        if dropped > 0 { log.warning("outlier", "more happened", [("upstream", cluster.name), ("events", "\(dropped)")]) }
    }

    private func lookForPanic(_ cluster: UpstreamCluster) {
        let isPanicking = cluster.picker.isPanicking
        guard isPanicking != panicking.contains(cluster.name) else { return }
        let values = [
            ("upstream", cluster.name), ("available", "\(cluster.picker.availableCount)"),
            ("endpoints", "\(cluster.endpoints.count)"),
        ]
        if isPanicking {
            panicking.insert(cluster.name)
            log.warning("lb", "too few endpoints are available: requests go to all", values)
        } else {
            panicking.remove(cluster.name)
            log.info("lb", "enough endpoints are available again", values)
        }
    }
}
