// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import Resilience

/// The face of one upstream's bulkhead for those who have to wait: it suspends them until a permit is theirs.
///
/// The permits, the queue and their order are the guard's, behind its one locked step; whoever gives a permit back hands it
/// to the first waiter in that step. Here is only the suspension. Several reactors share the actor, so that a call may run on
/// another reactor's thread: it touches nothing that belongs to one.
package actor Bulkhead {
    package nonisolated let guardian: Guard

    package init(_ guardian: Guard) { self.guardian = guardian }

    /// Waits for a permit until `expiry`. The waiting place is taken when this begins to run, not when it is called.
    package func permit(
        for attempt: QueuedAttempt, now: Instant, expiry: Instant, priority: Priority = .critical
    ) async -> QueueGrant {
        switch guardian.wait(attempt, now: now, expiry: expiry, priority: priority) {
        case .granted(let permit): return .granted(permit)
        case .refused(let refusal): return .refused(refusal)
        case .waiting(let ticket):
            if attempt.holds(ticket, of: guardian) { await attempt.settled() }
            return attempt.takeGrant()
        }
    }

    /// Gives a wait up: from its expiry, its deadline, or because its client is gone. A permit that was granted meanwhile goes
    /// on to the next waiter.
    package nonisolated func abandon(_ attempt: QueuedAttempt) { attempt.abandon(guardian) }
}

/// What waiting for a permit came to.
package enum QueueGrant: ~Copyable, Sendable {
    case granted(BulkheadPermit)
    case refused(Refusal)
    /// Nobody waits any more.
    case abandoned
}

/// One attempt in a bulkhead's queue. Granted, refused and abandoned may happen on three threads at once; the first counts.
package final class QueuedAttempt: PermitWaiter {
    fileprivate struct State: ~Copyable {
        var ticket: WaitTicket?
        var continuation: CheckedContinuation<Void, Never>?
        var permit: BulkheadPermit?
        var refusal: Refusal?
        var isSettled = false
        var isAbandoned = false
    }

    private let state = GuardLock(State())

    package init() {}

    package func granted(_ permit: consuming BulkheadPermit) {
        // Moved into the closure's state through an optional: a consuming parameter cannot be captured.
        var given: BulkheadPermit? = consume permit
        let continuation = state.withLock { state in
            if !state.isAbandoned { state.permit = given.take() }
            return state.settle()
        }
        // One that came too late dies here, outside the lock, and goes to the next waiter.
        given = nil
        continuation?.resume()
    }

    package func refused(_ refusal: Refusal) {
        let continuation = state.withLock { state in
            state.refusal = refusal
            return state.settle()
        }
        continuation?.resume()
    }

    /// Notes the place in the queue. False if the wait was given up before it had one.
    func holds(_ ticket: WaitTicket, of guardian: Guard) -> Bool {
        let isAbandoned = state.withLock { state in
            state.ticket = ticket
            return state.isAbandoned
        }
        if isAbandoned { _ = guardian.cancelWait(ticket) }
        return !isAbandoned
    }

    func settled() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isSettled = state.withLock { state in
                if !state.isSettled { state.continuation = continuation }
                return state.isSettled
            }
            if isSettled { continuation.resume() }
        }
    }

    func takeGrant() -> QueueGrant {
        state.withLock { state in
            if let permit = state.permit.take() { return .granted(permit) }
            if let refusal = state.refusal { return .refused(refusal) }
            return .abandoned
        }
    }

    func abandon(_ guardian: Guard) {
        let ticket = state.withLock { state in
            state.isAbandoned = true
            return state.ticket
        }
        guard let ticket, guardian.cancelWait(ticket) else { return }
        let continuation = state.withLock { $0.settle() }
        continuation?.resume()
    }
}

extension QueuedAttempt.State {
    fileprivate mutating func settle() -> CheckedContinuation<Void, Never>? {
        isSettled = true
        return continuation.take()
    }
}
