// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Somebody who waits for a permit of a `Guard`'s bulkhead.
///
/// Exactly one of the two is called for each wait that was not cancelled, on whatever thread gave the permit back or found the
/// time up, and never under the guard's lock. A waiter passes the news on (mailbox, continuation) and returns soon.
public protocol PermitWaiter: AnyObject, Sendable {
    /// The permit is this waiter's. Whoever has given up meanwhile lets it go, and it goes to the next. Before anything is
    /// sent, `Guard.reserve` asks the breaker again.
    func granted(_ permit: consuming BulkheadPermit)
    func refused(_ refusal: Refusal)
}

/// What became of joining the queue.
public enum WaitOutcome: ~Copyable, Sendable {
    /// A permit came free meanwhile, so there is no wait; the waiter is not called.
    case granted(BulkheadPermit)
    /// The waiter will be called unless the ticket is cancelled first.
    case waiting(WaitTicket)
    case refused(Refusal)
}
