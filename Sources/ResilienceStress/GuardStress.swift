// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Resilience
import Synchronization

/// One guard under real threads, in three parts that follow each other many times:
///
/// 1. *Free running*: attempts, waits, cancellations, retries, changes of settings and good and bad times of the upstream.
/// 2. *Standstill*: all threads stop, some with permits and with waiters in the queue; the guard's books are compared with
///    the world's. Then all is let go, and nothing may be left.
/// 3. *Half-opening*: the breaker is opened, and at the instant of its half-opening all threads ask at once.
struct GuardStress {
    static let permits = 6
    static let places = 8
    static let probes = 3
    static let retryRatio = Share(tenThousandths: 5_000)
    static let retryFloorPerSecond = 10
    /// The cap on retries at once: the greater of 3 and the ratio of the permits.
    static let retryCap = 3

    struct Report: CustomStringConvertible {
        var threads = 0
        var operations = 0
        var nanoseconds: Int64 = 0
        var snapshot: GuardSnapshot?
        var standstills = 0
        var generationsProbed = 0
        var waitersAtStandstill = 0

        /// Operations a second in words.
        var perSecond: String {
            PlainRate.inWords(nanoseconds == 0 ? 0 : Int(Double(operations) * 1e9 / Double(nanoseconds)))
        }

        var description: String {
            guard let snapshot else { return "guard: not run" }
            let counters = snapshot.counters
            let parts = [
                "guard: \(operations) operations of \(threads) threads in \(nanoseconds / 1_000_000) ms, \(perSecond) a second",
                "\(counters.admitted) admitted",
                "\(counters.refusedOpen + counters.refusedHalfOpen + counters.refusedRamp) refused by the breaker",
                "\(counters.refusedFull) full",
                "\(counters.queued) queued",
                "\(counters.grantedFromQueue) granted from the queue",
                "\(counters.cancelledInQueue) cancelled",
                "\(counters.refusedQueueTimeout + counters.refusedCongestion) timed out",
                "\(snapshot.retriesGranted) retries",
                "\(snapshot.retriesRefunded) refunded",
                "\(snapshot.transitions.halfOpened) half-open phases",
                "\(generationsProbed) of them watched while running free",
                "\(standstills) standstills",
                "\(waitersAtStandstill) waiters in them",
            ]
            return parts.joined(separator: ", ")
        }
    }

    static func settings() -> GuardSettings {
        var settings = GuardSettings()
        settings.bulkhead.concurrent = permits
        settings.bulkhead.queue = places
        settings.bulkhead.congestionInterval = .microseconds(300)
        settings.bulkhead.congestionTarget = .microseconds(30)
        settings.breaker.window = .hybrid(calls: 64, time: .milliseconds(1))
        settings.breaker.minimumCalls = 32
        settings.breaker.halfOpenCalls = probes
        settings.breaker.openFor = .microseconds(50)
        settings.breaker.openMax = .microseconds(200)
        settings.breaker.ramp = .microseconds(20)
        settings.breaker.halfOpenWait = .seconds(3_600)
        settings.breaker.slowCall = .microseconds(100)
        settings.retries.budget.ratio = retryRatio
        settings.retries.budget.minimumPerSecondThousandths = retryFloorPerSecond * 1_000
        settings.retries.budget.window = .milliseconds(10)
        return settings
    }

    static func run(_ options: Options) throws(Violation) -> Report {
        var report = Report()
        report.threads = options.threads
        guard options.operations > 0 else { return report }
        let world = World(threads: options.threads, seed: options.seed)
        let rounds = max(1, min(256, options.operations / (options.threads * 100)))
        let share = max(1, (options.operations + options.threads * rounds - 1) / (options.threads * rounds))
        let start = monotonicNanoseconds()
        Threads.run(options.threads) { index in
            var worker = Worker(world, index, seed: options.seed)
            for _ in 0..<rounds {
                worker.run(operations: share)
                worker.standStill()
                worker.halfOpen()
            }
        }
        report.nanoseconds = monotonicNanoseconds() - start
        report.operations = world.operations.load(ordering: .relaxed)
        report.standstills = rounds
        try world.settle(&report)
        return report
    }
}

/// What all threads share, the guard and the world's own counts. Relaxed counters are read when all threads stand still.
final class World: Sendable {
    let guardian: Guard
    let barrier: Barrier
    let threads: Int

    let operations = Atomic<Int>(0)
    /// The latest instant that some thread had reached at a standstill, where all begin again.
    let clock = Atomic<Int64>(1)
    let inside = Atomic<Int>(0)
    let mostInside = Atomic<Int>(0)
    let admitted = Atomic<Int>(0)
    let waited = Atomic<Int>(0)
    let granted = Atomic<Int>(0)
    let refusedWaiting = Atomic<Int>(0)
    let cancelled = Atomic<Int>(0)
    let toldTwice = Atomic<Int>(0)
    let toldAfterCancel = Atomic<Int>(0)

    // Retry tokens.
    let firsts = Atomic<Int>(0)
    let tokens = Atomic<Int>(0)
    let mostTokens = Atomic<Int>(0)
    let withdrawn = Atomic<Int>(0)
    let finished = Atomic<Int>(0)
    let refunded = Atomic<Int>(0)

    // At a standstill.
    let held = Atomic<Int>(0)
    let waiting = Atomic<Int>(0)
    let waitersSeen = Atomic<Int>(0)

    // At a half-opening.
    let probesHeld = Atomic<Int>(0)

    /// Probes of the generation that each place was last used for, generation in the upper 48 bits, count in the lower 16.
    private let generations: [Generation]
    let generationsWatched = Atomic<Int>(0)
    private let violation = GuardLock<Violation?>(nil)

    private final class Generation: Sendable { let word = Atomic<UInt64>(0) }

    init(threads: Int, seed: UInt64) {
        guardian = Guard(GuardStress.settings(), draw: Draw(seed: seed))
        barrier = Barrier(threads)
        self.threads = threads
        generations = (0..<64).map { _ in Generation() }
    }

    func complain(_ invariant: String, _ text: String) {
        violation.withLock { if $0 == nil { $0 = Violation(invariant, text) } }
    }

    /// A probe was admitted in this half-open generation, or, `by` −1, is about to be given back unused.
    func countProbe(_ generation: UInt64, by change: Int) {
        let place = generations[Int(generation % 64)]
        var seen = place.word.load(ordering: .relaxed)
        while true {
            let isCurrent = seen >> 16 == generation
            // A straggler of a generation whose place is in use again counts for nothing.
            if seen >> 16 > generation || (!isCurrent && change < 0) { return }
            let count = (isCurrent ? Int(seen & 0xFFFF) : 0) + change
            let next = generation << 16 | UInt64(max(0, count))
            let (exchanged, original) = place.word.compareExchange(expected: seen, desired: next, ordering: .relaxed)
            seen = original
            guard exchanged else { continue }
            if !isCurrent { generationsWatched.wrappingAdd(1, ordering: .relaxed) }
            if count > GuardStress.probes {
                complain("B2", "\(count) probes in generation \(generation), \(GuardStress.probes) may be")
            }
            return
        }
    }

    /// Compares the books while nobody moves. Threads hold `held` permits and have `waiting` waiters that nobody told anything.
    func compareAtStandstill() {
        let snapshot = guardian.snapshot()
        let held = held.load(ordering: .relaxed), waiting = waiting.load(ordering: .relaxed)
        if snapshot.permitsInUse != held { complain("K2", "\(held) permits are held, the guard counts \(snapshot.permitsInUse)") }
        if snapshot.queued != waiting { complain("K2", "\(waiting) wait, the guard counts \(snapshot.queued)") }
        if snapshot.permitsInUse < snapshot.permits && snapshot.queued > 0 {
            complain("K6", "\(snapshot.permits - snapshot.permitsInUse) free permits beside \(snapshot.queued) waiters")
        }
        if snapshot.permitsInUse > snapshot.permits || snapshot.queued > snapshot.places {
            complain("K1", "\(snapshot.permitsInUse) in use of \(snapshot.permits), \(snapshot.queued) wait")
        }
        let tokens = tokens.load(ordering: .relaxed)
        if snapshot.retriesOutstanding != tokens {
            complain("R4", "\(tokens) retry tokens are out, the guard counts \(snapshot.retriesOutstanding)")
        }
        waitersSeen.wrappingAdd(waiting, ordering: .relaxed)
    }

    func compareWhenEmpty() {
        let snapshot = guardian.snapshot()
        if snapshot.permitsInUse != 0 || snapshot.queued != 0 {
            complain("K2", "nobody is there, \(snapshot.permitsInUse) permits in use, \(snapshot.queued) waiting")
        }
        held.store(0, ordering: .relaxed)
        waiting.store(0, ordering: .relaxed)
    }

    /// Fails calls until the breaker is open, and puts the clock to the instant of its half-opening.
    func openBreaker(at now: Int64) {
        var instant = now
        guardian.reset(now: Instant(nanoseconds: instant))
        for request in 0..<1_000 as Range<UInt64> {
            instant += 10
            let at = Instant(nanoseconds: instant)
            switch guardian.admit(now: at, request: request, isFirstAttempt: true) {
            case .refused: break
            case .mustWait: break
            case .admitted(let permit):
                admitted.wrappingAdd(1, ordering: .relaxed)
                permit.report(Outcome(.failure, reason: .statusFailure, processed: .yes), now: at)
            }
            if case .open(let until) = guardian.snapshot().breaker {
                clock.store(until.nanoseconds, ordering: .relaxed)
                probesHeld.store(0, ordering: .relaxed)
                return
            }
        }
        complain("B4", "a thousand failures do not open the breaker")
    }

    func compareProbes() {
        let held = probesHeld.load(ordering: .relaxed)
        let snapshot = guardian.snapshot()
        if held > GuardStress.probes || snapshot.permitsInUse != held {
            complain("B2", "\(held) probes are held of \(GuardStress.probes), the guard counts \(snapshot.permitsInUse) permits")
        }
        // Each thread asks six times and holds what it gets, so nobody can have missed the last one.
        if snapshot.breaker != .halfOpen { complain("B2", "half-open and nobody has reported, but it is \(snapshot.breaker)") }
    }

    /// The whole account.
    func settle(_ report: inout GuardStress.Report) throws(Violation) {
        if let violation = violation.withLock({ $0 }) { throw violation }
        let snapshot = guardian.snapshot()
        let counters = snapshot.counters
        report.snapshot = snapshot
        report.generationsProbed = generationsWatched.load(ordering: .relaxed)
        report.waitersAtStandstill = waitersSeen.load(ordering: .relaxed)
        try expect("K1", snapshot.highWater <= GuardStress.permits, "high water \(snapshot.highWater)")
        try equal("K1", "permits at once", mostInside.load(ordering: .relaxed), atMost: GuardStress.permits)
        try equal("K2", "attempts admitted", admitted.load(ordering: .relaxed), Int(counters.admitted))
        try equal("K2", "arrivals in the queue", waited.load(ordering: .relaxed), Int(counters.queued))
        try equal("K2", "grants out of the queue", granted.load(ordering: .relaxed), Int(counters.grantedFromQueue))
        try equal("K2", "cancellations", cancelled.load(ordering: .relaxed), Int(counters.cancelledInQueue))
        try equal(
            "K2", "refusals in the queue", refusedWaiting.load(ordering: .relaxed),
            Int(counters.refusedQueueTimeout + counters.refusedCongestion))
        try equal(
            "K2", "grants, refusals and cancellations together against arrivals",
            granted.load(ordering: .relaxed) + refusedWaiting.load(ordering: .relaxed) + cancelled.load(ordering: .relaxed),
            waited.load(ordering: .relaxed))
        try equal("K2", "waiters told twice", toldTwice.load(ordering: .relaxed), 0)
        try equal("K2", "waiters told after their cancellation", toldAfterCancel.load(ordering: .relaxed), 0)
        try equal("R3", "retry tokens at once", mostTokens.load(ordering: .relaxed), atMost: GuardStress.retryCap)
        let withdrawn = withdrawn.load(ordering: .relaxed), refunded = refunded.load(ordering: .relaxed)
        try equal("R4", "retry tokens granted", withdrawn, Int(snapshot.retriesGranted))
        try equal("R4", "retry tokens refunded", refunded, Int(snapshot.retriesRefunded))
        try equal(
            "R4", "retry tokens granted less refunded less finished", withdrawn - refunded - finished.load(ordering: .relaxed), 0)
        try equal("R4", "retry tokens out", snapshot.retriesOutstanding, 0)
        let seconds = Int(clock.load(ordering: .relaxed) / 1_000_000_000) + 1
        let allowed =
            Int(GuardStress.retryRatio.fraction * Double(firsts.load(ordering: .relaxed)))
            + GuardStress.retryFloorPerSecond * (seconds + 1)
        try equal("R3", "retries sent in all", withdrawn - refunded, atMost: allowed)
    }

    private func expect(_ invariant: String, _ holds: Bool, _ text: @autoclosure () -> String) throws(Violation) {
        if !holds { throw Violation(invariant, text()) }
    }

    private func equal(_ invariant: String, _ what: String, _ counted: Int, _ guards: Int) throws(Violation) {
        try expect(invariant, counted == guards, "\(what): \(counted) by the world's count, \(guards) by the guard's")
    }

    private func equal(_ invariant: String, _ what: String, _ counted: Int, atMost bound: Int) throws(Violation) {
        try expect(invariant, counted <= bound, "\(what): \(counted), at most \(bound) may be")
    }
}
