// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import TLS

/// Asks the ticket keys once a minute, on one reactor, to rotate when they are due. All reactors share the keys.
final class TicketRotation: TimerOwner {
    private let keys: TicketKeys
    private let reactor: Reactor
    private lazy var timer = Timer(owner: self)

    init(keys: TicketKeys, reactor: Reactor) {
        self.keys = keys
        self.reactor = reactor
        keys.begin(now: reactor.now)
        arm()
    }

    private func arm() { reactor.schedule(timer, at: reactor.now.advanced(by: .seconds(60))) }

    func timerFired(_ timer: Timer, now: Instant) {
        _ = keys.rotate(now: now)
        arm()
    }
}
