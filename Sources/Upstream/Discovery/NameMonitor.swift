// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import Reactor
import Resilience

/// Is told how names fare: for the log, the metrics and the other reactors. Called on the reactor that looks names up.
package protocol NameObserver: AnyObject {
    /// A look is over; `endpointsChanged` follows if it brought others.
    func nameLookedUp(_ cluster: UpstreamCluster, _ settlement: NameRefresh.Settlement, _ status: UpstreamName.Status)
    /// `next` is the same upstream with other endpoints: every reactor is to go by it from now on.
    func endpointsChanged(from before: UpstreamCluster, to next: UpstreamCluster)
}

/// Looks up the names of all upstreams that have one. On one reactor: all others are told of what changes.
package final class NameMonitor {
    private let reactor: Reactor
    private let resolver: any Resolver
    /// Held by its own owner.
    package weak var observer: (any NameObserver)?
    private var watches: [NameWatch] = []
    private var isStopped = false

    package init(reactor: Reactor, resolver: any Resolver) {
        self.reactor = reactor
        self.resolver = resolver
    }

    /// Follows the names of these from now on. One that is looked up as before keeps its answer, its rhythm and a look under way.
    package func follow(_ clusters: [UpstreamCluster]) {
        if isStopped { return }
        let before = watches
        var next: [NameWatch] = []
        for cluster in clusters {
            guard let name = cluster.upstreamName else { continue }
            if let watch = before.first(where: { $0.cluster.name == cluster.name && $0.settings == name.settings }) {
                next.append(watch)
                watch.adopt(cluster, name)
            } else {
                let watch = NameWatch(cluster, name, reactor: reactor, resolver: resolver, monitor: self)
                next.append(watch)
                watch.begin()
            }
        }
        for watch in before where !next.contains(where: { $0 === watch }) { watch.stop() }
        watches = next
    }

    /// Ends all looks for good. The last endpoints stay.
    package func stop() {
        isStopped = true
        for watch in watches { watch.stop() }
        watches = []
        resolver.close()
    }
}

/// One name: its timer, its questions, its clusters.
private final class NameWatch: TimerOwner {
    /// As the configuration in force made it.
    private(set) var cluster: UpstreamCluster
    private var name: UpstreamName
    private let reactor: Reactor
    private let resolver: any Resolver
    private weak var monitor: NameMonitor?
    private var refresh: NameRefresh
    private let key: UInt64
    private let timer = Timer()

    init(_ cluster: UpstreamCluster, _ name: UpstreamName, reactor: Reactor, resolver: any Resolver, monitor: NameMonitor) {
        self.cluster = cluster
        self.name = name
        self.reactor = reactor
        self.resolver = resolver
        self.monitor = monitor
        // FNV-1a: the same in every process, so that a seed means the same draws everywhere.
        key = cluster.name.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        refresh = NameRefresh(name.settings, key: key, targets: name.status.targets)
        timer.owner = self
    }

    var settings: NameSettings { refresh.settings }

    func begin() { perform(refresh.due()) }

    func stop() {
        refresh.stop()
        timer.cancel()
    }

    /// The same upstream in a newer configuration, made while this one may have learnt more.
    func adopt(_ cluster: UpstreamCluster, _ name: UpstreamName) {
        self.cluster = cluster
        self.name = name
        let known = name.status.targets
        report()
        if refresh.targets != known { spread() }
    }

    func timerFired(_ timer: Timer, now: Instant) { perform(refresh.due()) }

    private func perform(_ action: NameRefresh.Action) {
        switch action {
        case .none: break
        case .ask(let questions):
            for question in questions {
                resolver.ask(question, settings.resolver) { [weak self] answer in
                    guard let self else { return }
                    perform(refresh.answered(question, answer, now: reactor.now, draw: reactor.draw))
                }
            }
        case .settle(let settlement):
            reactor.schedule(timer, at: settlement.next)
            report()
            monitor?.observer?.nameLookedUp(cluster.current, settlement, name.status)
            if settlement.targets != nil { spread() }
        }
    }

    private func report() {
        var status = UpstreamName.Status()
        status.state = refresh.state
        status.failure = refresh.failure
        status.answeredAt = refresh.answeredAt
        status.next = timer.isArmed ? timer.deadline : nil
        status.targets = refresh.targets
        name.report(status)
    }

    private func spread() {
        let before = cluster.current
        let next = before.with(
            Endpoint.named(refresh.targets, settings, before: before.endpoints), draw: reactor.draw, identity: key, now: reactor.now
        )
        name.publish(next)
        // From now on the outlier detector's findings are about these.
        next.balancer.activate(now: reactor.now)
        monitor?.observer?.endpointsChanged(from: before, to: next)
    }
}
