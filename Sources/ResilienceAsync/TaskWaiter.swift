// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

/// One task in the bulkhead's queue. Granted, refused and cancelled may happen on three threads at once; the first counts, and
/// whoever settles it takes the continuation with it, so that it is resumed once.
final class TaskWaiter: PermitWaiter {
    private struct State: ~Copyable {
        var continuation: CheckedContinuation<Void, Never>?
        var permit: BulkheadPermit?
        var refusal: Refusal?
        var isSettled = false
        var isAbandoned = false

        mutating func settle() -> CheckedContinuation<Void, Never>? {
            isSettled = true
            return continuation.take()
        }
    }

    /// What waiting came to.
    enum Grant: ~Copyable {
        case granted(BulkheadPermit)
        case refused(Refusal)
        case abandoned
    }

    private let state = GuardLock(State())

    func granted(_ permit: consuming BulkheadPermit) {
        // Through an optional, because a consuming parameter cannot be captured.
        var given: BulkheadPermit? = consume permit
        let continuation = state.withLock { state in
            if !state.isAbandoned { state.permit = given.take() }
            return state.settle()
        }
        // One that came too late dies here, outside the lock, and goes to the next waiter.
        given = nil
        continuation?.resume()
    }

    func refused(_ refusal: Refusal) {
        let continuation = state.withLock { state in
            state.refusal = refusal
            return state.settle()
        }
        continuation?.resume()
    }

    /// Suspends until granted, refused or, the task being cancelled, out of the queue.
    func grant(_ ticket: WaitTicket, of guardian: Guard) async -> Grant {
        await withTaskCancellationHandler {
            await settled()
        } onCancel: {
            // Not in the queue any more: it is granted or refused at this moment, and told without us.
            if guardian.cancelWait(ticket) { abandon() }
        }
        return state.withLock { state in
            if let permit = state.permit.take() { return .granted(permit) }
            if let refusal = state.refusal { return .refused(refusal) }
            return .abandoned
        }
    }

    private func settled() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isSettled = state.withLock { state in
                if !state.isSettled { state.continuation = continuation }
                return state.isSettled
            }
            if isSettled { continuation.resume() }
        }
    }

    private func abandon() {
        let continuation = state.withLock { state in
            state.isAbandoned = true
            return state.settle()
        }
        continuation?.resume()
    }
}
