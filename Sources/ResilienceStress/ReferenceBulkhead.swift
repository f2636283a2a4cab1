// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What a bulkhead must do, written as plainly as can be: an array of waiters in order of arrival, and every change dated and
/// done in the order of time (semantics, section 5). Slow, and without any thought of locks, slots or laziness.
struct ReferenceBulkhead {
    struct Waiter {
        var identifier: Int
        var queuedAt: Int64
        var expiry: Int64
    }

    enum Verdict: Equatable { case granted, timedOut, congested }

    var permits: Int
    var places: Int
    /// `nil`: always first in, first out.
    var interval: Int64?
    var target: Int64

    private(set) var inUse = 0
    private(set) var queue: [Waiter] = []
    /// Decided on, and not yet told.
    private(set) var decided: [(identifier: Int, verdict: Verdict)] = []
    private(set) var congestedSince: Int64?
    private var lastLongWait: Int64 = 0
    private var nonEmptySince: Int64 = 0

    init(permits: Int, places: Int, interval: Int64?, target: Int64) {
        self.permits = permits
        self.places = places
        self.interval = interval
        self.target = target
    }

    var isCongested: Bool { congestedSince != nil }

    /// True: granted. False: there may be a place in the queue.
    mutating func take(now: Int64) -> Bool {
        pass(to: now)
        guard queue.isEmpty && inUse < permits else { return false }
        inUse += 1
        return true
    }

    mutating func join(_ identifier: Int, now: Int64, expiry: Int64) {
        if queue.isEmpty { nonEmptySince = now }
        queue.append(Waiter(identifier: identifier, queuedAt: now, expiry: expiry))
    }

    mutating func release(now: Int64) {
        pass(to: now)
        inUse -= 1
        grant()
    }

    /// False: it is not in the queue any more.
    mutating func cancel(_ identifier: Int) -> Bool {
        guard let place = queue.firstIndex(where: { $0.identifier == identifier }) else { return false }
        queue.remove(at: place)
        return true
    }

    mutating func apply(permits: Int, places: Int, interval: Int64?, target: Int64, now: Int64) {
        (self.permits, self.places, self.interval, self.target) = (permits, places, interval, target)
        if interval == nil { congestedSince = nil }
        pass(to: now)
        grant()
    }

    mutating func tellNext() -> (identifier: Int, verdict: Verdict)? { decided.isEmpty ? nil : decided.removeFirst() }

    /// Does what is due until `now`, one thing after the other. Of what is due at one instant the congestion comes first.
    mutating func pass(to now: Int64) {
        while true {
            let expired = queue.indices.min { queue[$0].expiry < queue[$1].expiry }
            let expiry = expired.map { queue[$0].expiry } ?? .max
            if let interval {
                if let since = congestedSince {
                    let end = lastLongWait + interval
                    let limit = queue.first.map { max(since, $0.queuedAt + target) } ?? .max
                    if limit <= min(now, end, expiry) {
                        lastLongWait = max(lastLongWait, limit)
                        decided.append((queue.removeFirst().identifier, .congested))
                        continue
                    }
                    if end <= min(now, expiry) {
                        congestedSince = nil
                        nonEmptySince = max(nonEmptySince, end)
                        continue
                    }
                } else if !queue.isEmpty && nonEmptySince + interval <= min(now, expiry) {
                    congestedSince = nonEmptySince + interval
                    lastLongWait = nonEmptySince + interval
                    continue
                }
            }
            guard let expired, expiry <= now else { return }
            decided.append((queue.remove(at: expired).identifier, .timedOut))
        }
    }

    private mutating func grant() {
        while inUse < permits && !queue.isEmpty {
            inUse += 1
            decided.append((isCongested ? queue.removeLast().identifier : queue.removeFirst().identifier, .granted))
        }
    }
}
