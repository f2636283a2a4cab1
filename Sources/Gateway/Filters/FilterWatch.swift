// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor

/// Has the filters of the snapshot in force look after what changes outside: once a second, on one reactor.
final class FilterWatch: TimerOwner {
    private unowned let home: GatewayReactor
    private lazy var timer = Timer(owner: self)

    init(home: GatewayReactor) {
        self.home = home
        arm()
    }

    private func arm() { home.reactor.schedule(timer, at: home.reactor.now.advanced(by: .seconds(1))) }

    func timerFired(_ timer: Timer, now: Instant) {
        for (_, filter) in home.snapshot.filters.sorted(by: { $0.key < $1.key }) { filter.everySecond(home) }
        arm()
    }
}
