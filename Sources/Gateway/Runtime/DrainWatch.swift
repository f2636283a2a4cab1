// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor

/// Looks every 10 ms whether one reactor's part of the gateway has drained, until it has or its time is up.
final class DrainWatch: TimerOwner {
    private unowned let home: GatewayReactor
    private let deadline: Instant
    private var done: (@Sendable (_ cut: Int) -> Void)?
    private lazy var timer = Timer(owner: self)

    static let interval: Int64 = 10_000_000

    init(home: GatewayReactor, deadline: Instant, done: @escaping @Sendable (_ cut: Int) -> Void) {
        self.home = home
        self.deadline = deadline
        self.done = done
    }

    func check(now: Instant) {
        guard let done else { return }
        if home.isDrained || now >= deadline {
            self.done = nil
            let cut = home.connectionCount
            home.abort()
            done(cut)
            return
        }
        home.reactor.schedule(timer, at: min(deadline, now.advanced(byNanoseconds: DrainWatch.interval)))
    }

    func timerFired(_ timer: Timer, now: Instant) { check(now: now) }
}
