// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience

/// A guard before a server that really queues, on virtual time: so the limit changes the latency that the limit is found by.
///
///     arrivals ─► Guard (permits, queue) ─► first in, first out ─► c workers ─► answer, or per-try timeout before it
///
/// Exact: integers, one heap of dated events, and every draw from the seed. A timed out attempt goes on in the server, as it would.
final class ModelServer {
    struct Load {
        var workers = 10
        /// Mean time of one piece of work, in microseconds; each is drawn from half of it to one and a half.
        var service: Int64 = 20_000
        /// The work takes this many times as long from one millisecond to another.
        var slowdown: (factor: Int64, during: Range<Int64>)?
        /// Arrivals for each 100 that the workers can do.
        var percentOfCapacity: Int64 = 200
        /// Other loads that take over from a millisecond on.
        var changes: [(atMilliseconds: Int64, percent: Int64)] = []
        /// The class of an arrival.
        var priority: @Sendable (inout SeededRandom) -> Priority = { _ in .critical }
        /// Of an attempt, in milliseconds.
        var perTry: Int64 = 1_000

        /// Pieces of work that can be done in a second.
        var capacity: Double { Double(workers) * 1_000_000 / Double(service) }
    }

    struct Served {
        var arrivedAt: Int64
        var endedAt: Int64
        var priority: Priority
        var latency: Int64 { endedAt - arrivedAt }
    }

    struct Refused {
        var at: Int64
        var priority: Priority
        var reason: Reason
    }

    private enum Event {
        case arrival
        case done(Int)
        case timeout(Int)
        case expiry
        case look
    }

    private final class Job {
        let arrivedAt: Int64
        let request: UInt64
        let priority: Priority
        var permit: AttemptPermit?
        var isOver = false

        init(arrivedAt: Int64, request: UInt64, priority: Priority) {
            self.arrivedAt = arrivedAt
            self.request = request
            self.priority = priority
        }
    }

    /// Times are in microseconds from here on.
    private(set) var served: [Served] = []
    private(set) var refused: [Refused] = []
    private(set) var timedOut = 0
    /// The limit at each tenth of a second.
    private(set) var limits: [Int] = []
    let guardian: Guard
    let load: Load
    private var random: SeededRandom
    private var heap: [(at: Int64, order: Int, event: Event)] = []
    private var order = 0
    private var now: Int64 = 0
    private var jobs: [Job] = []
    private var line: [Int] = []
    private var lineHead = 0
    private var busy = 0
    private var waiting: [(waiter: RecordingWaiter, job: Int)] = []

    init(_ settings: GuardSettings, _ load: Load, seed: Seed, stream: UInt64) {
        guardian = Guard(settings, draw: Draw(seed: seed.value))
        self.load = load
        random = seed.random(stream)
    }

    func run(seconds: Int64) {
        schedule(0, .arrival)
        schedule(0, .look)
        let end = seconds * 1_000_000
        while let next = pop(), next.at <= end {
            now = next.at
            switch next.event {
            case .arrival:
                arrive()
                schedule(now + gap(), .arrival)
            case .done(let job): finish(job)
            case .timeout(let job): giveUp(job)
            case .expiry: guardian.expireWaiters(now: instant)
            case .look:
                let snapshot = guardian.snapshot()
                limits.append(snapshot.adaptiveLimit ?? snapshot.permits)
                schedule(now + 100_000, .look)
            }
            takeGrants()
        }
    }

    private var instant: Instant { Instant(nanoseconds: now * 1_000) }

    private func gap() -> Int64 {
        let percent = load.changes.last { $0.atMilliseconds * 1_000 <= now }?.percent ?? load.percentOfCapacity
        let mean = load.service * 100 / (Int64(load.workers) * percent)
        return Int64(random.below(Int(2 * mean + 1)))
    }

    private func arrive() {
        let job = Job(arrivedAt: now, request: UInt64(jobs.count), priority: load.priority(&random))
        jobs.append(job)
        let index = jobs.count - 1
        take(guardian.admit(now: instant, request: job.request, isFirstAttempt: true, priority: job.priority), index)
    }

    private func take(_ admission: consuming Admission, _ index: Int) {
        switch consume admission {
        case .admitted(let permit): begin(permit, index)
        case .refused(let refusal): refuse(index, refusal.reason)
        case .mustWait:
            let waiter = RecordingWaiter()
            let expiry = instant.advanced(byNanoseconds: 50_000_000)
            switch guardian.wait(waiter, now: instant, expiry: expiry, priority: jobs[index].priority) {
            case .granted(let permit): reserve(permit, index)
            case .refused(let refusal): refuse(index, refusal.reason)
            case .waiting:
                waiting.append((waiter, index))
                schedule(now + 50_000, .expiry)
            }
        }
    }

    private func takeGrants() {
        var at = 0
        while at < waiting.count {
            let (waiter, index) = waiting[at]
            if let permit = waiter.take() {
                waiting.remove(at: at)
                reserve(permit, index)
            } else if let refusal = waiter.refusal {
                waiting.remove(at: at)
                refuse(index, refusal.reason)
            } else {
                at += 1
            }
        }
    }

    private func reserve(_ permit: consuming BulkheadPermit, _ index: Int) {
        take(guardian.reserve(permit, now: instant, request: jobs[index].request, isFirstAttempt: true), index)
    }

    private func refuse(_ index: Int, _ reason: Reason) {
        refused.append(Refused(at: now, priority: jobs[index].priority, reason: reason))
    }

    private func begin(_ permit: consuming AttemptPermit, _ index: Int) {
        var permit = permit
        permit.requestSent(now: instant)
        jobs[index].permit = consume permit
        schedule(now + load.perTry * 1_000, .timeout(index))
        line.append(index)
        work()
    }

    private func work() {
        while busy < load.workers && lineHead < line.count {
            busy += 1
            let index = line[lineHead]
            lineHead += 1
            var time = load.service / 2 + Int64(random.below(Int(load.service)))
            if let slowdown = load.slowdown, slowdown.during.contains(now / 1_000) { time *= slowdown.factor }
            schedule(now + time, .done(index))
        }
    }

    private func finish(_ index: Int) {
        busy -= 1
        let job = jobs[index]
        if !job.isOver {
            job.isOver = true
            if let permit = job.permit.take() { permit.report(.success, now: instant) }
            served.append(Served(arrivedAt: job.arrivedAt, endedAt: now, priority: job.priority))
        }
        work()
    }

    private func giveUp(_ index: Int) {
        let job = jobs[index]
        if job.isOver { return }
        job.isOver = true
        timedOut += 1
        let outcome = Outcome(.failure, reason: .timeoutPerTry, processed: .maybe)
        if let permit = job.permit.take() { permit.report(outcome, now: instant) }
    }

    // MARK: Figures

    /// Answers in time a second, from one second to another.
    func goodput(_ seconds: Range<Int64>) -> Double {
        let range = seconds.lowerBound * 1_000_000..<seconds.upperBound * 1_000_000
        return Double(served.count { range.contains($0.endedAt) }) / Double(seconds.count)
    }

    func limits(_ seconds: Range<Int>) -> ArraySlice<Int> { limits[seconds.lowerBound * 10..<seconds.upperBound * 10] }

    /// Of those that came in these seconds, in microseconds.
    func latency(percentile: Int, _ seconds: Range<Int64>, of priority: Priority? = nil) -> Int64 {
        let range = seconds.lowerBound * 1_000_000..<seconds.upperBound * 1_000_000
        let sorted = served.filter { range.contains($0.arrivedAt) && (priority == nil || $0.priority == priority) }.map(\.latency)
            .sorted()
        return sorted.isEmpty ? 0 : sorted[(sorted.count - 1) * percentile / 100]
    }

    // MARK: The heap

    private func schedule(_ at: Int64, _ event: Event) {
        order += 1
        heap.append((at, order, event))
        var child = heap.count - 1
        while child > 0, isBefore(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private func pop() -> (at: Int64, order: Int, event: Event)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if heap.isEmpty { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && isBefore(child, least) { least = child }
            if least == parent { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        (heap[left].at, heap[left].order) < (heap[right].at, heap[right].order)
    }
}
