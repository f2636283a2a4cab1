// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// The time one request has, over all its attempts, queues and back-offs (semantics, section 4).
public struct Deadline: Equatable, Sendable {
    /// What a request waits for when its time runs out.
    public enum Stage: UInt8, CaseIterable, Sendable {
        case queue, dns, connect, tls
        /// The request has begun to leave, the response head has not come.
        case awaitingHead
        case backOff
        /// The response body.
        case body
    }

    /// Which limit ran out.
    public enum Limit: UInt8, CaseIterable, Sendable { case total, perTry, firstByte, stage, idle }

    /// How much time an attempt gets.
    public enum Attempt: Equatable, Sendable {
        /// It must have its response head at this instant.
        case until(Instant, limitedBy: Limit)
        /// Less than the smallest useful time is left: it is not started.
        case insufficient
    }

    /// What running out of time means for the attempt and for the client.
    public struct Expiry: Equatable, Sendable {
        /// For the breaker and the retry policy: names the stage.
        public var outcome: Outcome
        /// For the client: names the limit.
        public var answer: Reason
    }

    /// No later than this; `.never` if there is no limit.
    public let expiry: Instant
    /// Whether the caller's own limit is the one that binds, being shorter than the route's.
    public let isCallers: Bool

    /// - Parameters:
    ///   - start: the request head is complete.
    ///   - total: the route's limit.
    ///   - caller: what a trusted caller asked for (`grpc-timeout`, `X-Request-Timeout-ms`).
    public init(start: Instant, total: Duration?, caller: Duration? = nil) {
        let own = total.map { start.advanced(by: max(.zero, $0)) } ?? .never
        let callers = caller.map { start.advanced(by: max(.zero, $0)) } ?? .never
        expiry = min(own, callers)
        isCallers = callers < own
    }

    /// Nanoseconds left; 0 when there are none.
    public func remaining(at now: Instant) -> Int64 {
        expiry == .never ? .max : max(0, expiry.nanoseconds(since: now))
    }

    /// The time of an attempt that is admitted at `now`: min(perTry, what is left), or none if that is under `minimumTry`.
    public func attempt(at now: Instant, _ settings: TimeoutSettings) -> Attempt {
        let perTry = settings.perTry.map { now.advanced(by: $0) } ?? .never
        let until = min(perTry, expiry)
        if until != .never && until.nanoseconds(since: now) < settings.minimumTry.wholeNanoseconds { return .insufficient }
        return .until(until, limitedBy: expiry <= perTry ? .total : .perTry)
    }

    /// Until when a waiter may stand in the bulkhead's queue: min(maxWait, what is left less the smallest useful try).
    public func queueExpiry(at now: Instant, maximumWait: Duration, minimumTry: Duration) -> Instant {
        let ownLimit = now.advanced(by: maximumWait)
        return expiry == .never ? ownLimit : min(ownLimit, expiry.advanced(byNanoseconds: -minimumTry.wholeNanoseconds))
    }

    /// What it means that `limit` ran out during `stage`.
    ///
    /// Before the first octet of the request the attempt's word names the stage and any method may be tried again; after it
    /// nobody knows whether the upstream worked. When the caller wanted less time than the route gives, the upstream is not
    /// to blame, and the outcome is neutral.
    public func expiry(of limit: Limit, during stage: Stage) -> Expiry {
        let outcomeClass: Outcome.Class = limit == .total && isCallers ? .neutral : .failure
        let outcome: Outcome
        switch stage {
        case .queue, .backOff:
            // No attempt is under way.
            outcome = Outcome(.local, reason: limit == .total ? .deadline : .bulkheadQueueTimeout, processed: .no)
        case .dns: outcome = Outcome(outcomeClass, reason: .dns, processed: .no)
        case .connect: outcome = Outcome(outcomeClass, reason: .connectTimeout, processed: .no)
        case .tls: outcome = Outcome(outcomeClass, reason: .tlsTimeout, processed: .no)
        case .awaitingHead:
            outcome = Outcome(outcomeClass, reason: limit == .firstByte ? .timeoutFirstByte : .timeoutPerTry, processed: .maybe)
        case .body: outcome = Outcome(outcomeClass, reason: .timeoutIdle, processed: .yes)
        }
        let answer: Reason =
            switch limit {
            case .total: .deadline
            case .perTry: .timeoutPerTry
            case .firstByte: .timeoutFirstByte
            case .idle: .timeoutIdle
            case .stage: outcome.reason ?? .deadline
            }
        return Expiry(outcome: outcome, answer: answer)
    }
}
