// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import Glibc

extension SimulatedWorld {
    /// Turns at one instant after which the world is taken to spin.
    private static let turnsPerInstant = 1_000_000

    /// Lets everything happen up to and including `deadline`; the clock shows `deadline` then.
    package func run(until deadline: Instant) {
        bind()
        while step(until: deadline) {}
        now = max(now, deadline)
        for reactor in reactors { reactor.now = now }
    }

    package func run(for duration: Duration) { run(until: now.advanced(by: duration)) }

    /// Runs while `condition` holds. False: nothing is left to happen, or `limit` of virtual time has passed, and it still holds.
    @discardableResult
    package func run(while condition: () -> Bool, limit: Duration = .seconds(3600)) -> Bool {
        bind()
        let deadline = now.advanced(by: limit)
        while condition() {
            guard step(until: deadline) else { return false }
        }
        return true
    }

    /// Runs until nothing is left to happen: no event, no armed timer, no job. False: `limit` of virtual time has passed.
    @discardableResult
    package func runUntilIdle(limit: Duration = .seconds(3600)) -> Bool {
        bind()
        let deadline = now.advanced(by: limit)
        while step(until: deadline) {}
        return nextTime() == nil
    }

    private func bind() {
        for reactor in reactors { reactor.bindToCallingThread() }
    }

    /// All that is due at one instant: events first, as one batch, then a turn of each reactor that has something to do, in order.
    /// False: nothing happens up to `deadline`.
    private func step(until deadline: Instant) -> Bool {
        guard let time = nextTime(), time <= deadline else { return false }
        now = max(now, time)
        var turns = 0
        while true {
            while let event = events.take(until: now) { perform(event.action) }
            var ran = false
            for (i, reactor) in reactors.enumerated() where canRun(i) {
                guard reactor.hasWork || reactor.wheel.wakeAt <= now.nanoseconds else { continue }
                reactor.now = now
                CurrentReactor.value = reactor
                reactor.turn()
                CurrentReactor.value = nil
                if reactor.isStopRequested { reactor.shutDown() }
                ran = true
            }
            turns += 1
            precondition(turns < SimulatedWorld.turnsPerInstant, "the simulated world spins at \(now.nanoseconds) ns")
            if !ran && (events.next.map { $0 > now } ?? true) { return true }
        }
    }

    private func canRun(_ reactor: Int) -> Bool {
        let host = hostOfReactor[reactor]
        return host.isAlive && !host.isPaused && !reactors[reactor].hasEnded
    }

    /// When something happens next. `nil`: never again.
    private func nextTime() -> Instant? {
        var first = events.next
        for (i, reactor) in reactors.enumerated() where canRun(i) {
            if reactor.hasWork { return now }
            if reactor.wheel.wakeAt != .max {
                let wake = Instant(nanoseconds: reactor.wheel.wakeAt)
                if first.map({ wake < $0 }) ?? true {
                    // Before the clock moves for a timer it is made sure that one is armed, not merely left in the wheel.
                    guard reactor.wheel.findArmed() else { continue }
                    let exact = Instant(nanoseconds: reactor.wheel.wakeAt)
                    first = first.map { min($0, exact) } ?? exact
                }
            }
        }
        return first
    }

    private func perform(_ action: EventQueue.Action) {
        switch action {
        case .knock(let socket, let attempt): socket.knock(attempt: attempt)
        case .answered(let socket, let errno): socket.answered(errno)
        case .arrival(let socket): socket.arrived()
        case .room(let socket): socket.roomArrived()
        case .notice(let socket): socket.notify()
        case .reset(let socket):
            if socket.state == .established || socket.state == .connecting { note("reset", socket) }
            socket.fail(ECONNRESET)
        case .silence(let socket): socket.silenceNoticed()
        case .script(let body): body()
        }
    }
}
