// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

/// Random interleavings of callers at the seam between the permit that is taken at once and the queue.
///
///     take ─► holds ─► release                 told later, as after the guard's lock: any step may come between
///       └► must wait ─► join ─► waits ─► told ─► holds …
///                         └► holds    └► cancel (or too late: told all the same, and a grant goes on)
///
/// Each interleaving is a fresh `BulkheadState` with few permits, few places and two to seven callers; a scheduler draws whose
/// step is next. After each step the state is compared with `ReferenceBulkhead`, and the callers' own view with both. The
/// timer is on time: time never passes `nextExpiry` without `expire`.
struct SeamCheck {
    struct Report: CustomStringConvertible {
        var interleavings = 0
        var steps = 0
        var grants = 0
        var handedOver = 0
        var refusals = 0
        var cancellations = 0
        var lateCancellations = 0
        var nanoseconds: Int64 = 0

        var description: String {
            "seam: \(interleavings) interleavings, \(steps) steps in \(nanoseconds / 1_000_000) ms: \(grants) taken at once, "
                + "\(handedOver) handed over, \(refusals) refused while waiting, \(cancellations) cancelled, "
                + "\(lateCancellations) cancelled too late"
        }
    }

    static func run(interleavings: Int, seed: UInt64) throws(Violation) -> Report {
        var report = Report()
        let start = monotonicNanoseconds()
        for index in 0..<interleavings {
            do {
                var check = SeamCheck(seed, index, keepsTrace: false)
                try check.run(&report)
            } catch {
                // Once more, writing down each step.
                var check = SeamCheck(seed, index, keepsTrace: true)
                var ignored = Report()
                do { try check.run(&ignored) } catch {
                    throw Violation(
                        error.invariant,
                        "\(error.text), interleaving \(index): \((check.trace?.lines ?? []).joined(separator: "; "))")
                }
                throw error
            }
        }
        report.interleavings = interleavings
        report.nanoseconds = monotonicNanoseconds() - start
        return report
    }

    private enum Phase: Equatable { case idle, mustWait, waiting, gaveUp, holding }

    private struct Caller {
        var phase = Phase.idle
        var ticket: WaitTicket?
        var roundsLeft: Int
        var isDone: Bool { phase == .idle && roundsLeft == 0 }
    }

    private var random: Random
    private var settings = BulkheadSettings()
    private var state: BulkheadState<Int>
    private var model: ReferenceBulkhead
    private var callers: [Caller] = []
    private var now: Int64 = 0
    /// Tickets of waits that are over, whose slots others use now.
    private var spent: [WaitTicket] = []
    /// `nil`: nobody wants to read it.
    private let trace: Trace?

    private final class Trace { var lines: [String] = [] }

    private init(_ seed: UInt64, _ index: Int, keepsTrace: Bool) {
        random = Random(seed: seed, stream: UInt64(index))
        trace = keepsTrace ? Trace() : nil
        settings = Self.drawSettings(&random)
        state = BulkheadState(settings)
        model = ReferenceBulkhead(
            permits: settings.concurrent, places: settings.queuePlaces,
            interval: settings.congestionInterval?.wholeNanoseconds, target: settings.congestionTarget.wholeNanoseconds)
        for _ in 0..<2 + random.below(6) { callers.append(Caller(roundsLeft: 1 + random.below(3))) }
    }

    private static func drawSettings(_ random: inout Random) -> BulkheadSettings {
        var settings = BulkheadSettings()
        settings.concurrent = 1 + random.below(3)
        settings.queue = random.below(6)
        settings.congestionInterval = random.chance(60) ? .nanoseconds(1 + random.below(40)) : nil
        settings.congestionTarget = .nanoseconds(random.below(20))
        return settings
    }

    private mutating func run(_ report: inout Report) throws(Violation) {
        var settingsChanges = 3
        var steps = 0
        while callers.contains(where: { !$0.isDone }) || state.hasDeliveries {
            let move = random.below(callers.count + 3)
            if move < callers.count {
                try step(move, &report)
            } else if move == callers.count {
                try tell(&report)
            } else if move == callers.count + 1 {
                try passTime()
            } else if settingsChanges > 0 && random.chance(10) {
                settingsChanges -= 1
                try applySettings()
            }
            try compare()
            steps += 1
            if steps > 100_000 { throw Violation("K2", "lost wake-up: the callers come to no end") }
        }
        report.steps += steps
        if state.inUse != 0 || state.queued != 0 {
            throw Violation("K2", "all callers are gone, \(state.inUse) permits in use, \(state.queued) waiting")
        }
    }

    // MARK: Moves

    private mutating func step(_ index: Int, _ report: inout Report) throws(Violation) {
        if !spent.isEmpty && random.chance(10) {
            let ticket = spent[random.below(spent.count)]
            note("cancel once more \(ticket)")
            if state.cancel(ticket) != nil { throw Violation("K2", "a spent ticket took somebody else's place away") }
        }
        switch callers[index].phase {
        case .idle:
            guard callers[index].roundsLeft > 0 else { return }
            callers[index].roundsLeft -= 1
            let isGranted = model.take(now: now)
            let take = state.take(now: instant)
            note("\(index) take \(take)")
            if (take == .granted) != isGranted { throw Violation("K6", "take gave \(take), the model says granted: \(isGranted)") }
            if isGranted {
                report.grants += 1
                callers[index].phase = .holding
            } else {
                if (take == .full) != (model.queue.count >= model.places) {
                    throw Violation("K1", "take gave \(take) with \(model.queue.count) of \(model.places) places taken")
                }
                callers[index].phase = take == .mustWait ? .mustWait : .idle
            }
        case .mustWait:
            let expiry = random.chance(30) ? Int64.max : now + 1 + Int64(random.below(60))
            let isGranted = model.take(now: now)
            let isFull = model.queue.count >= model.places
            if !isGranted && !isFull { model.join(index, now: now, expiry: expiry) }
            let join = state.join(index, now: instant, expiry: Instant(nanoseconds: expiry))
            note("\(index) join until \(expiry == .max ? "never" : "\(expiry)") \(join)")
            switch join {
            case .granted where isGranted:
                report.grants += 1
                callers[index].phase = .holding
            case .full where isFull && !isGranted: callers[index].phase = .idle
            case .waiting(let ticket) where !isGranted && !isFull:
                callers[index].phase = .waiting
                callers[index].ticket = ticket
            default: throw Violation("K6", "join gave \(join), the model says granted: \(isGranted), full: \(isFull)")
            }
        case .waiting:
            guard random.chance(25), let ticket = callers[index].ticket else { return }
            let isCancelled = state.cancel(ticket) != nil
            note("\(index) cancel \(isCancelled)")
            if isCancelled != model.cancel(index) { throw Violation("K2", "cancel gave \(isCancelled), the model the contrary") }
            callers[index].phase = isCancelled ? .idle : .gaveUp
            if isCancelled { report.cancellations += 1 } else { report.lateCancellations += 1 }
            if isCancelled { spent.append(ticket) }
        case .holding:
            note("\(index) release")
            state.release(now: instant)
            model.release(now: now)
            callers[index].phase = .idle
        case .gaveUp: break
        }
    }

    private mutating func tell(_ report: inout Report) throws(Violation) {
        guard let delivery = state.nextDelivery() else {
            if model.tellNext() != nil { throw Violation("K2", "lost wake-up: a waiter was decided on and nobody tells it") }
            return
        }
        let index = delivery.waiter
        note("tell \(index) \(delivery.refusal?.rawValue ?? "granted")")
        guard let expected = model.tellNext(), expected.identifier == index,
            expected.verdict == Self.verdict(delivery.refusal)
        else { throw Violation("K5", "waiter \(index) was told \(delivery.refusal?.rawValue ?? "granted"), the model differs") }
        let phase = callers[index].phase
        guard phase == .waiting || phase == .gaveUp else { throw Violation("K2", "double grant: \(index) was told twice") }
        if let ticket = callers[index].ticket.take() { spent.append(ticket) }
        callers[index].phase = .idle
        if delivery.refusal != nil {
            report.refusals += 1
        } else if phase == .gaveUp {
            // Whoever has given up lets the permit go on.
            state.release(now: instant)
            model.release(now: now)
        } else {
            report.handedOver += 1
            callers[index].phase = .holding
        }
    }

    private static func verdict(_ refusal: Reason?) -> ReferenceBulkhead.Verdict? {
        switch refusal {
        case nil: .granted
        case .bulkheadQueueTimeout: .timedOut
        case .bulkheadCoDel: .congested
        default: nil
        }
    }

    private mutating func passTime() throws(Violation) {
        // Now and then a long silence, in which every interval and every limit passes.
        let end = now + Int64(random.chance(5) ? 500 : 1 + random.below(25))
        var spins = 0
        while state.nextExpiry.nanoseconds <= end {
            now = max(now, state.nextExpiry.nanoseconds)
            note("timer at \(now)")
            state.expire(now: instant)
            model.pass(to: now)
            try compare()
            spins += 1
            if spins > 200 { throw Violation("K3", "the timer goes off for nothing, again and again") }
        }
        now = end
        note("at \(now)")
    }

    private mutating func applySettings() throws(Violation) {
        settings = Self.drawSettings(&random)
        note("apply \(settings.concurrent)+\(settings.queuePlaces)")
        // What was due before the change is done before it.
        state.expire(now: instant)
        model.pass(to: now)
        state.apply(settings, now: instant)
        model.apply(
            permits: settings.concurrent, places: settings.queuePlaces,
            interval: settings.congestionInterval?.wholeNanoseconds, target: settings.congestionTarget.wholeNanoseconds, now: now)
    }

    // MARK: After each move

    private func compare() throws(Violation) {
        if state.inUse != model.inUse || state.queued != model.queue.count {
            throw Violation(
                "K2",
                "\(state.inUse) in use and \(state.queued) waiting, the model has \(model.inUse) and \(model.queue.count)")
        }
        if state.inUse < state.permits && state.queued > 0 {
            throw Violation("K6", "\(state.permits - state.inUse) free permits beside \(state.queued) waiters")
        }
        var held = 0, waiting = 0
        for caller in callers {
            if caller.phase == .holding { held += 1 }
            if caller.phase == .waiting || caller.phase == .gaveUp { waiting += 1 }
        }
        let grantsUntold = model.decided.count { $0.verdict == .granted }
        if held + grantsUntold != state.inUse {
            throw Violation("K1", "\(held) hold a permit, \(grantsUntold) are about to be told so, \(state.inUse) are in use")
        }
        if waiting != state.queued + model.decided.count {
            throw Violation("K2", "\(waiting) wait, \(state.queued) are queued, \(model.decided.count) are about to be told")
        }
        if state.hasDeliveries == model.decided.isEmpty { throw Violation("K2", "the outbox differs from the model's") }
    }

    private var instant: Instant { Instant(nanoseconds: now) }

    private func note(_ text: @autoclosure () -> String) { if let trace { trace.lines.append(text()) } }
}
