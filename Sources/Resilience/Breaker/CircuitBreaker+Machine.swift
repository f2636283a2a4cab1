// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// The inner events and transitions; all are dated, none looks at a clock.
extension CircuitBreaker {
    /// Crossings and lost permits that were due until `clock`, in the order of their instants.
    mutating func catchUp() {
        while true {
            let crossing = calls.nextCrossing
            let reclaim = probes.nextReclaim
            if min(crossing, reclaim) > clock { return }
            if crossing <= reclaim { cross(at: crossing) } else { reclaimProbe(at: reclaim) }
        }
    }

    private mutating func cross(at instant: Int64) {
        guard let index = calls.popCrossing(), calls.slots[index].generation == generation else { return }
        switch state {
        case .closed:
            heads.record(true, at: instant)
            if slowRun == 0 { wasFullInSlowRun = permitsInUse >= permits }
            slowRun += 1
            tripIfDue(at: instant, retryAfter: nil)
        case .halfOpen:
            guard calls.slots[index].marks.contains(.isProbe) else { return }
            probes.crossed()
            judgeProbes(at: instant, retryAfter: nil)
        case .open: break
        }
    }

    /// A permit that nobody reported in time counts as failed; one whose head came in time was good enough.
    private mutating func reclaimProbe(at instant: Int64) {
        guard let slot = probes.out.first(where: { calls.slots[Int($0)].reclaimAt <= instant }) else { return }
        let index = Int(slot)
        let marks = calls.slots[index].marks
        if marks.contains(.headCame) {
            settleProbeAsSuccess(index)
        } else {
            calls.insertMarks(.isSettled, index)
            probes.failed(slot)
        }
        judgeProbes(at: instant, retryAfter: nil)
    }

    /// The response head of a call: fast, unless the clock said otherwise before.
    mutating func noteHead(_ index: Int) {
        let slot = calls.slots[index]
        if slot.marks.contains(.headCame) { return }
        calls.stopClock(index, now: clock)
        calls.insertMarks(.headCame, index)
        guard limits.slowCall != nil, slot.generation == generation, !slot.marks.contains(.wasSlow), state == .closed else {
            return
        }
        heads.record(false, at: clock)
        slowRun = 0
        tripIfDue(at: clock, retryAfter: nil)
    }

    /// Books an outcome. Not final: the head's, which decides a probe, and a failure; a good head may still be followed by a
    /// bad end, so its success is booked at the end.
    mutating func settle(_ index: Int, _ outcome: Outcome, retryAfter: Int64?, isFinal: Bool) {
        let slot = calls.slots[index]
        guard slot.generation == generation else { return }
        let isFailure = outcome.outcomeClass == .failure
        let isSuccess = outcome.outcomeClass == .success
        switch state {
        case .closed:
            guard !slot.marks.contains(.isSettled), isFailure || (isSuccess && isFinal) else { return }
            calls.insertMarks(.isSettled, index)
            outcomes.record(isFailure, at: clock)
            consecutiveFailures = isFailure ? consecutiveFailures + 1 : 0
            cusum?.record(isFailure)
            tripIfDue(at: clock, retryAfter: isFailure ? retryAfter : nil)
        case .halfOpen:
            guard slot.marks.contains(.isProbe) else { return }
            if !slot.marks.contains(.isSettled) {
                if isSuccess {
                    settleProbeAsSuccess(index)
                } else {
                    calls.insertMarks(.isSettled, index)
                    if isFailure { probes.failed(Int32(index)) } else { probes.givenBack(Int32(index)) }
                }
            } else if isFailure && slot.marks.contains(.countedSuccess) {
                calls.removeMarks(.countedSuccess, index)
                probes.revisedToFailure(wasFast: slot.marks.contains(.countedFast))
            } else {
                return
            }
            judgeProbes(at: clock, retryAfter: isFailure ? retryAfter : nil)
        case .open: break
        }
    }

    private mutating func settleProbeAsSuccess(_ index: Int) {
        let isFast = !calls.slots[index].marks.contains(.wasSlow)
        calls.insertMarks(isFast ? [.isSettled, .countedSuccess, .countedFast] : [.isSettled, .countedSuccess], index)
        probes.succeeded(Int32(index), isFast: isFast)
    }

    // MARK: Verdicts

    private mutating func tripIfDue(at instant: Int64, retryAfter: Int64?) {
        outcomes.forget(before: instant)
        heads.forget(before: instant)
        let due =
            (outcomes.total >= limits.minimumCalls && limits.failureRate.isReached(by: outcomes.marked, of: outcomes.total))
            || (heads.total >= limits.minimumCalls && limits.slowCall != nil
                && limits.slowRate.isReached(by: heads.marked, of: heads.total))
            || consecutiveFailures >= limits.consecutiveFailures
            || cusum?.isDue ?? false
            || (settings.saturation && wasFullInSlowRun && slowRun >= permits)
        if due { trip(at: instant, retryAfter: retryAfter) }
    }

    mutating func judgeProbes(at instant: Int64, retryAfter: Int64?) {
        guard state == .halfOpen else { return }
        if probes.failed >= limits.failedProbes || probes.slow >= limits.slowProbes {
            openings += 1
            open(at: instant, retryAfter: retryAfter)
        } else if probes.fast >= limits.probes - min(limits.failedProbes, limits.slowProbes) + 1 || probes.reported >= limits.probes
        {
            close(at: instant)
        } else {
            var next = Int64.max
            for slot in probes.out { next = min(next, calls.slots[Int(slot)].reclaimAt) }
            probes.nextReclaim = next
        }
    }

    // MARK: Transitions

    private mutating func trip(at instant: Int64, retryAfter: Int64?) {
        if instant >= rampEnds {
            openings = max(0, openings - Int(clamping: (instant - closedAt) / limits.openFor))
        }
        openings += 1
        open(at: instant, retryAfter: retryAfter)
    }

    private mutating func open(at instant: Int64, retryAfter: Int64?) {
        generation += 1
        transitions.opened += 1
        state = .open(until: Instant(nanoseconds: instant).advanced(byNanoseconds: openDuration(retryAfter: retryAfter)))
        probes.clear()
        consecutiveFailures = 0
        cusum?.clear()
        slowRun = 0
        refreshFlags()
    }

    /// min(max, base · 2^(n−1)) lengthened by jitter, and at least what the upstream asked for, but never more than the
    /// longest opening with all its jitter.
    private func openDuration(retryAfter: Int64?) -> Int64 {
        let doublings = min(openings - 1, 62)
        let doubled = limits.openFor.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let plain = doubled.overflow ? limits.openMax : min(limits.openMax, doubled.partialValue)
        let lengthened = plain + Int64(draw.below(Int(jitter(of: plain)) + 1, request: identity, .breakerJitter, generation))
        return min(limits.openMax + jitter(of: limits.openMax), max(lengthened, retryAfter ?? 0))
    }

    /// The most that jitter adds. No overflow: 2^60 · 10^4 is done in full width.
    private func jitter(of duration: Int64) -> Int64 {
        let product = duration.multipliedFullWidth(by: limits.openJitter)
        return Int64(10_000).dividingFullWidth(product).quotient
    }

    mutating func enterHalfOpen() {
        generation += 1
        transitions.halfOpened += 1
        state = .halfOpen
        probes.clear()
        refreshFlags()
    }

    private mutating func close(at instant: Int64) {
        generation += 1
        transitions.closed += 1
        state = .closed
        closedAt = instant
        let (sum, overflow) = instant.addingReportingOverflow(limits.ramp)
        rampEnds = overflow ? .max : sum
        clearEvidence()
        refreshFlags()
    }

    mutating func clearEvidence() {
        outcomes.clear()
        heads.clear()
        consecutiveFailures = 0
        cusum?.clear()
        slowRun = 0
        wasFullInSlowRun = false
        probes.clear()
    }

    /// Takes off what time spent closed has earned so far, so that a new base counts from here.
    mutating func forgetOpenings() {
        let earned = (clock - closedAt) / limits.openFor
        if clock < rampEnds || earned <= 0 { return }
        openings = max(0, openings - Int(clamping: earned))
        closedAt += earned * limits.openFor
    }
}
