// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Reactor
import Testing

@Suite struct TimingWheelTests {
    final class Nobody: TimerOwner {
        func timerFired(_ timer: Timer, now: Instant) {}
    }

    /// A model with a flat list beside the wheel; they must fire the same timers in the same order at the same time.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func agreesWithASortedList(seed: UInt64) {
        let owner = Nobody()
        let wheel = TimingWheel()
        var timers = (0..<64).map { _ in Timer(owner: owner) }
        var model: [(deadline: Int64, sequence: Int)] = Array(repeating: (.max, 0), count: timers.count)
        var now: Int64 = 5_000_000_000
        var sequence = 0
        var fired = 0
        let draw = Draw(seed: seed)
        let spans: [Int] = [1, 2_000, 1_500_000, 60_000_000, 5_000_000_000, 400_000_000_000, 40_000_000_000_000]
        for step in 0..<25_000 {
            let n = UInt64(step)
            let i = draw.below(timers.count, request: n, .network, 0)
            switch draw.below(20, request: n, .network, 1) {
            case 0..<10:  // arm, later or earlier as it comes
                let span = spans[draw.below(spans.count, request: n, .network, 2)]
                let deadline = now + Int64(draw.below(span, request: n, .network, 3)) - (step % 50 == 0 ? 1_000_000 : 0)
                sequence += 1
                model[i] = (deadline, sequence)
                unsafe wheel.schedule(timers[i].node, at: deadline)
            case 10..<13:
                model[i].deadline = .max
                timers[i].cancel()
            case 13:  // a timer dies armed or not, and another takes its place
                timers[i] = Timer(owner: owner)
                model[i].deadline = .max
            default:
                let span = spans[draw.below(5, request: n, .network, 4)]
                now += Int64(draw.below(span, request: n, .network, 5))
                let due = model.indices.filter { model[$0].deadline <= now }
                    .sorted { (model[$0].deadline, model[$0].sequence) < (model[$1].deadline, model[$1].sequence) }
                var popped: [Int] = []
                wheel.collectDue(at: now)
                while let (timer, deadline) = wheel.popDue() {
                    guard let index = timers.firstIndex(where: { $0 === timer }) else { continue }
                    #expect(deadline == model[index].deadline, "HOLDFAST_SEED=\(seed)")
                    popped.append(index)
                }
                if popped != due {
                    Issue.record("fired \(popped), due \(due) at \(now), step \(step), HOLDFAST_SEED=\(seed)")
                    return
                }
                for index in due { model[index].deadline = .max }
                fired += due.count
                let first = model.map(\.deadline).min() ?? .max
                if wheel.wakeAt > first || wheel.wakeAt <= now && first > now {
                    Issue.record("wakes at \(wheel.wakeAt), first \(first), now \(now), HOLDFAST_SEED=\(seed)")
                    return
                }
            }
            for probe in [i] where timers[probe].isArmed != (model[probe].deadline != .max) {
                Issue.record("timer \(probe) armed \(timers[probe].isArmed), HOLDFAST_SEED=\(seed)")
                return
            }
        }
        #expect(fired > 1000)
        #expect(wheel.findArmed() == model.contains { $0.deadline != .max })
    }

    @Test func extremesDoNotTrap() {
        let owner = Nobody()
        let wheel = TimingWheel()
        let timers = (0..<4).map { _ in Timer(owner: owner) }
        unsafe wheel.schedule(timers[0].node, at: .min)
        unsafe wheel.schedule(timers[1].node, at: .max - 1)
        unsafe wheel.schedule(timers[2].node, at: .max)
        unsafe wheel.schedule(timers[3].node, at: 0)
        #expect(!timers[2].isArmed)
        wheel.collectDue(at: 0)
        #expect(wheel.popDue()?.timer === timers[0])
        #expect(wheel.popDue()?.timer === timers[3])
        #expect(wheel.popDue() == nil)
        wheel.collectDue(at: .max - 2)
        #expect(wheel.popDue() == nil)
        wheel.collectDue(at: .max - 1)
        #expect(wheel.popDue()?.timer === timers[1])
        #expect(!wheel.findArmed() && wheel.wakeAt == .max)
    }

    @Test func timersMayOutliveTheWheel() {
        let owner = Nobody()
        let timer = Timer(owner: owner)
        do {
            let wheel = TimingWheel()
            unsafe wheel.schedule(timer.node, at: 1_000_000_000)
        }
        let other = TimingWheel()
        unsafe other.schedule(timer.node, at: 10)
        other.collectDue(at: 10)
        #expect(other.popDue()?.timer === timer)
    }

    /// What a callback does to timers that are due in the same turn.
    final class Meddler: TimerOwner {
        let reactor: Reactor
        var timers: [Timer] = []
        var fired: [String] = []
        init(_ reactor: Reactor) { self.reactor = reactor }

        func timerFired(_ timer: Timer, now: Instant) {
            guard let i = timers.firstIndex(where: { $0 === timer }) else { return }
            fired.append("\(i)@\(now.nanoseconds)")
            guard i == 0, fired.count == 1 else { return }
            timers[1].cancel()
            reactor.schedule(timers[2], at: Instant(nanoseconds: 3_000_000))
            reactor.schedule(timers[3], at: now)
            reactor.schedule(timers[0], at: now)
            timers[4] = Timer(owner: self)
        }
    }

    @Test func callbacksMayCancelMoveAndDropWhatIsDue() {
        let world = SimulatedWorld(seed: 1)
        let reactor = world.makeReactor()
        let meddler = Meddler(reactor)
        meddler.timers = (0..<6).map { _ in Timer(owner: meddler) }
        for timer in meddler.timers { reactor.schedule(timer, at: Instant(nanoseconds: 2_000_000)) }
        world.runUntilIdle()
        #expect(meddler.fired == ["0@2000000", "5@2000000", "3@2000000", "0@2000000", "2@3000000"])
        #expect(world.now == Instant(nanoseconds: 3_000_000))
    }

    @Test func cancelledTimersDoNotKeepTheWorldFromIdling() {
        let world = SimulatedWorld(seed: 1)
        let reactor = world.makeReactor()
        let meddler = Meddler(reactor)
        meddler.timers = [Timer(owner: meddler)]
        reactor.schedule(meddler.timers[0], at: Instant(nanoseconds: 50_000_000_000))
        meddler.timers[0].cancel()
        #expect(world.runUntilIdle())
        #expect(world.now == .origin)
    }
}
