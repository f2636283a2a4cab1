// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Promise P9: whatever requests do to each other at whatever moment, the breaker lets no more probes through than it may, sends
/// nothing before its time, and never refuses for longer than an opening and the wait for its probes (semantics, section 1: B1, B2, B7).
@Suite struct BreakerComesBackTests {
    private static let parts = 8

    @Test(arguments: 0..<parts)
    func P9_B1_B2_B7_theBreakerAlwaysComesBack(part: Int) {
        let seed = Seed.current
        var openings: UInt64 = 0
        var probes = 0
        var cancelled = 0
        for run in stride(from: part, to: 10_000, by: Self.parts) {
            let crowd = Crowd(seed.random(UInt64(run)), "\(seed) run \(run)")
            crowd.run()
            openings += crowd.state.transitions.opened
            probes += crowd.probes
            cancelled += crowd.cancelled
        }
        // It would show nothing if nothing had happened.
        #expect(
            openings > 2_000 && probes > 4_000 && cancelled > 10_000,
            "\(openings) openings, \(probes) probes, \(cancelled) cancelled")
    }
}

/// Requests before one guard and an upstream that is well, fails or hangs by turns. Every request can be given up wherever it waits: in
/// the queue, with a permit that it has not used yet, before and after its bytes went out, between its head and its end; and some are
/// never heard of again.
private final class Crowd {
    private enum Health { case well, failing, hanging }
    private enum Stage { case queued, dispatched, sent, relaying }

    private final class Call {
        var stage: Stage
        var permit: AttemptPermit?
        var waiter: RecordingWaiter?
        var ticket: WaitTicket?
        let request: UInt64
        let isFirst: Bool
        // As the model sees it.
        var probeOf: UInt64?
        var countsUntil: Int64 = 0
        var isSettled = false

        init(_ stage: Stage, request: UInt64, isFirst: Bool) {
            self.stage = stage
            self.request = request
            self.isFirst = isFirst
        }
    }

    private var random: SeededRandom
    private let note: String
    private let guardian: Guard
    private let permits: Int
    private let mostProbes: Int
    private let probeWait: Int64
    private let longestOpening: Int64
    private let slowCall: Int64

    private var now: Int64 = 0
    private var request: UInt64 = 0
    private var health = Health.well
    private var calls: [Call] = []
    private var lost: [Call] = []

    // The model: probes of the present half-open generation that are out or have been reported.
    private var generation: UInt64 = 0
    private var taken = 0
    /// When the breaker was asked first in the present row of refusals, and how long it may last.
    private var refusedSince: Int64?
    private var lastOpening: Int64 = 0

    private(set) var probes = 0
    private(set) var cancelled = 0
    private(set) var state = GuardSnapshot()

    init(_ random: SeededRandom, _ note: String) {
        var random = random
        permits = 2 + random.below(8)
        mostProbes = 1 + random.below(6)
        probeWait = Int64(100 + random.below(2_000))
        slowCall = Int64(20 + random.below(200))
        let openFor = Int64(50 + random.below(1_000))
        let openMax = openFor * Int64(1 + random.below(8))
        let jitter = Int64(random.below(3_000))
        longestOpening = openMax + openMax * jitter / 10_000 + 1
        var settings = GuardSettings.small(permits: permits, places: random.below(4))
        settings.breaker = BreakerSettings.plain(
            4 + random.below(12), minimum: 1 + random.below(4), rate: 1_000 + random.below(9_001))
        settings.breaker.slowCall = random.chance(60) ? .milliseconds(slowCall) : nil
        settings.breaker.slowRate = Share(tenThousandths: 1_000 + random.below(9_001))
        settings.breaker.halfOpenCalls = mostProbes
        settings.breaker.halfOpenWait = .milliseconds(probeWait)
        settings.breaker.openFor = .milliseconds(openFor)
        settings.breaker.openMax = .milliseconds(openMax)
        settings.breaker.openJitter = Share(tenThousandths: Int(jitter))
        guardian = Guard(settings, draw: Draw(seed: random.next()))
        self.random = random
        self.note = note
    }

    func run() {
        for step in 0..<(60 + random.below(240)) {
            now += Int64(random.below(random.chance(3) ? 1_500 : 40))
            look("step \(step)")
            switch random.below(100) {
            case ..<3: health = [.well, .failing, .hanging][random.below(3)]
            case ..<50: arrive("step \(step)")
            default:
                if !calls.isEmpty { move(random.below(calls.count), "step \(step)") }
            }
        }
        recover()
    }

    /// What time alone has done.
    private func look(_ step: String) {
        state = guardian.snapshot(now: .milliseconds(now))
        if state.generation != generation {
            generation = state.generation
            taken = 0
        }
        if case .open(let until) = state.breaker { lastOpening = max(0, until.nanoseconds / 1_000_000 - now) }
    }

    // MARK: One request

    private func arrive(_ step: String) {
        request += 1
        let call = Call(.dispatched, request: request, isFirst: random.chance(90))
        let before = state
        var permit: AttemptPermit?
        let told = guardian.ask(now, request: request, first: call.isFirst, keep: &permit)
        call.permit = permit.take()
        switch told {
        case .admitted: dispatched(call, before, step)
        case .mustWait:
            let waiter = RecordingWaiter()
            call.stage = .queued
            call.waiter = waiter
            call.ticket = guardian.join(waiter, now, until: now + Int64(10 + random.below(300)))
            calls.append(call)
            refusedSince = nil
        case .refused(let refusal): refused(refusal, call, before, step)
        }
    }

    private func dispatched(_ call: Call, _ before: GuardSnapshot, _ step: String) {
        if case .open(let until) = before.breaker, .milliseconds(now) < until {
            Issue.record("B1: sent before its time: \(note) \(step)")
        }
        look(step)
        refusedSince = nil
        calls.append(call)
        guard state.breaker == .halfOpen else { return }
        probes += 1
        taken += 1
        call.probeOf = generation
        call.countsUntil = now + probeWait
        if !call.isFirst { Issue.record("a retry as a probe: \(note) \(step)") }
        if taken > mostProbes { Issue.record("B2: \(taken) of \(mostProbes) probes: \(note) \(step)") }
    }

    private func refused(_ refusal: Refusal, _ call: Call, _ before: GuardSnapshot, _ step: String) {
        guard refusal.reason == .breakerOpen || refusal.reason == .breakerHalfOpen else {
            refusedSince = nil
            return
        }
        guard call.isFirst else { return }
        let since = refusedSince ?? now
        refusedSince = since
        if now - since > longestOpening + probeWait { Issue.record("P9: refused since \(since), now \(now): \(note) \(step)") }
        if before.breaker == .halfOpen && taken == 0 { Issue.record("B7: refused with no probe out: \(note) \(step)") }
    }

    /// The next thing that happens to one of the calls under way.
    private func move(_ index: Int, _ step: String) {
        let call = calls[index]
        switch call.stage {
        case .queued:
            if random.chance(25), let ticket = call.ticket {
                cancelled += 1
                if !guardian.cancelWait(ticket) { _ = call.waiter?.take() }
                calls.remove(at: index)
            } else if let permit = call.waiter?.take() {
                calls.remove(at: index)
                if random.chance(25) {
                    cancelled += 1
                    return  // given up in the moment of the grant: the token goes back by itself
                }
                let before = state
                switch guardian.reserve(permit, now: .milliseconds(now), request: call.request, isFirstAttempt: call.isFirst) {
                case .admitted(let permit):
                    call.permit = consume permit
                    call.stage = .dispatched
                    dispatched(call, before, step)
                case .refused(let refusal): refused(refusal, call, before, step)
                case .mustWait: Issue.record("asked to wait twice: \(note) \(step)")
                }
            } else if call.waiter?.refusal != nil {
                calls.remove(at: index)
            } else {
                guardian.expireWaiters(now: .milliseconds(now))
            }
        case .dispatched, .sent, .relaying:
            let dice = random.below(100)
            if dice < 12 {
                giveUp(index)
            } else if dice < 15 && lost.count < permits - 1 {
                lost.append(calls.remove(at: index))
            } else {
                goOn(call, index)
            }
        }
    }

    private func goOn(_ call: Call, _ index: Int) {
        let instant = Instant.milliseconds(now)
        switch call.stage {
        case .queued: break
        case .dispatched:
            call.permit?.requestSent(now: instant)
            call.stage = .sent
        case .sent:
            if random.chance(10) {
                call.permit?.requestWaits(now: instant)
                call.stage = .dispatched
                return
            }
            switch health {
            case .hanging:
                if random.chance(20) { end(index, failure) }
            case .failing:
                if random.chance(30) {
                    settled(call, isNeutral: false)
                    call.permit?.headArrived(failure, now: instant)
                    call.permit?.settle(failure, now: instant)
                    call.stage = .relaying
                } else {
                    end(index, random.chance(10) ? backpressure : failure)
                }
            case .well:
                if random.chance(50) {
                    // The head of a gRPC answer decides nothing.
                    let decides = random.chance(80)
                    if decides { settled(call, isNeutral: false) }
                    call.permit?.headArrived(decides ? .success : nil, now: instant)
                    call.stage = .relaying
                } else {
                    end(index, .success)
                }
            }
        case .relaying: end(index, health == .well || random.chance(50) ? .success : failure)
        }
    }

    private func end(_ index: Int, _ outcome: Outcome) {
        let call = calls.remove(at: index)
        settled(call, isNeutral: outcome.outcomeClass != .success && outcome.outcomeClass != .failure)
        if let permit = call.permit.take() { permit.report(outcome, now: .milliseconds(now)) }
    }

    private func giveUp(_ index: Int) {
        let call = calls.remove(at: index)
        cancelled += 1
        settled(call, isNeutral: true)
        if random.chance(50) {
            call.permit = nil
        } else if let permit = call.permit.take() {
            permit.report(random.chance(80) ? neutral : local, now: .milliseconds(now))
        }
    }

    /// A probe that said nothing in its time makes room for another one; one that was given up later had counted as failed.
    private func settled(_ call: Call, isNeutral: Bool) {
        guard !call.isSettled else { return }
        call.isSettled = true
        if isNeutral && call.probeOf == generation && state.breaker == .halfOpen && now < call.countsUntil { taken -= 1 }
    }

    // MARK: The end

    /// From here on the upstream is well and nobody gives up. What was lost stays lost.
    private func recover() {
        health = .well
        while let call = calls.last {
            look("recovering")
            if call.stage == .queued {
                if let ticket = call.ticket, !guardian.cancelWait(ticket) { _ = call.waiter?.take() }
                calls.removeLast()
            } else {
                end(calls.count - 1, .success)
            }
        }
        let limit = now + slowCall + probeWait + longestOpening
        let pause = max(1, probeWait / 8)
        // Enough to close it, and then to fill a minimum in which old failures may still open it once.
        let enough = mostProbes + 5
        var goodInARow = 0
        while goodInARow < enough && now <= limit + Int64(enough + 5) * pause {
            look("recovering")
            if case .open(let until) = state.breaker, .milliseconds(now) < until {
                now = until.nanoseconds / 1_000_000 + 1
            } else {
                now += pause
            }
            request += 1
            goodInARow = guardian.run(now, .success, request: request) == .admitted ? goodInARow + 1 : 0
            // The calls that hang are slow by now, and have opened the breaker if they ever do.
            if lost.contains(where: { $0.stage == .sent }) && now <= limit - probeWait - longestOpening { goodInARow = 0 }
        }
        look("recovered")
        if goodInARow < enough || state.breaker != .closed {
            Issue.record("P9: well since long, and still \(state.breaker): \(note)")
        }
        lost.removeAll()
        look("over")
        if state.permitsInUse != 0 || state.queued != 0 { Issue.record("held: \(note) \(state)") }
    }
}
