// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
public import Resilience
import Synchronization

/// Guards an async operation against an upstream that fails, hangs or is overrun: circuit breaker, bulkhead, retries with a
/// budget, and deadlines, over any clock.
///
///     let inventory = AsyncGuard(clock: ContinuousClock())
///     let stock = try await inventory.run(idempotent: true) { attempt in
///         try await client.stock(of: item, attempt: attempt.number)
///     }
///
/// Make one for each upstream and share it; all its tasks see one breaker, one bulkhead and one budget, exactly. Of the
/// settings' timeouts it uses `total`, `perTry` and `minimumTry`; what concerns sockets is the operation's own affair.
/// Time comes from the clock alone, and from one seed two runs draw alike.
public final class AsyncGuard<TimeSource: Clock>: Sendable where TimeSource.Duration == Duration {
    /// One run of the operation.
    public struct Attempt: Sendable {
        /// From 1.
        public let number: Int
        /// When it will be cancelled: the earlier of per-try and total limit; `nil` without either.
        public let deadline: TimeSource.Instant?
    }

    let guardian: Guard
    let timeline: Timeline<TimeSource>
    let timer: QueueTimer<TimeSource>
    private let draw: Draw
    private let settingsInForce: GuardLock<GuardSettings>
    /// Keys the draws of each call.
    private let requests = Atomic<UInt64>(0)

    /// - Parameters:
    ///   - seed: of back-off, jitter and ramp; drawn from the system if `nil`.
    ///   - identity: tells guards with one seed apart; a hash of the upstream's name, say.
    public init(_ settings: GuardSettings = GuardSettings(), clock: TimeSource, seed: UInt64? = nil, identity: UInt64 = 0) {
        draw = Draw(seed: seed ?? UInt64.random(in: .min ... .max))
        guardian = Guard(settings, draw: draw, identity: identity)
        timeline = Timeline(clock)
        timer = QueueTimer(guardian, timeline)
        settingsInForce = GuardLock(settings)
    }

    deinit { timer.stop() }

    /// Runs `operation` under the guard, once or, where that is safe, more often.
    ///
    /// Each attempt runs in a child task that begins at once, and is cancelled when its time is up. The breaker learns of that at once; the
    /// permit is held until the operation has returned, so an operation should heed its cancellation.
    ///
    /// - Parameters:
    ///   - idempotent: whether running it twice does no harm. If not, it is only repeated after a failure that proves that
    ///     nothing was sent (`Verdict.failureBeforeSending`).
    ///   - timeout: the caller's own limit, beside the settings' `total`: the earlier counts. The caller's is no evidence
    ///     against the upstream.
    ///   - priority: who goes first, and who is shed last, where there is no room at once.
    ///   - client: who is throttled as a whole while `GuardSettings.throttle` is set, a hash of its address, say; `nil`: each call by itself.
    ///   - operation: what is guarded; it is told which attempt it is, and until when.
    ///   - classify: what a result means. By default a thrown error is a failure and a value is a success. After the calling
    ///     task was cancelled an error is neutral, and the classifier is not asked.
    /// - Returns: the operation's value; where the last attempts failed and the classifier took a value for a failure, the
    ///   last such value.
    /// - Throws: ``GuardRejection`` if no attempt was let through or time ran out, `CancellationError` if the calling task was
    ///   cancelled while it waited, else the last attempt's error.
    public func run<Value: Sendable>(
        idempotent: Bool = false, timeout: Duration? = nil, priority: Priority = .critical, client: UInt64? = nil,
        _ operation: @escaping @Sendable (Attempt) async throws -> Value,
        classify: (Result<Value, any Error>) -> Verdict = { Verdict($0) }
    ) async throws -> Value {
        let settings = settingsInForce.withLock { $0 }
        let request = requests.wrappingAdd(1, ordering: .relaxed).newValue
        let deadline = Deadline(start: timeline.now, total: settings.timeouts.total, caller: timeout)
        var attempts = 0
        var answer: Value?
        var last: (any Error)?
        var token: RetryToken?
        while true {
            let entry = await enter(
                request, isFirstAttempt: attempts == 0, priority: priority, client: client, deadline, settings)
            let ended: Ended<Value>
            switch consume entry {
            case .cancelled: throw CancellationError()
            case .refused(let refusal):
                if let answer { return answer }
                throw last ?? GuardRejection(refusal, attempts: attempts)
            case .admitted(let permit, let limit):
                attempts += 1
                if attempts == 1 { guardian.depositFirst(now: timeline.now) } else { token?.sent() }
                ended = await attempt(attempts, permit, limit, deadline, operation, classify)
            }
            token.take()?.finished(now: timeline.now)
            switch ended.result {
            case .success(let value):
                if ended.verdict.outcome.outcomeClass == .success && ended.verdict.status == nil { return value }
                (answer, last) = (value, nil)
            case .failure(let error):
                if ended.wasCancelled { throw error }
                last = error
            }
            guard let delay = delay(after: ended.verdict, attempts, idempotent, deadline, settings, request),
                let withdrawn = guardian.withdrawRetry(now: timeline.now)
            else {
                if let answer { return answer }
                throw last ?? GuardRejection(.internal, attempts: attempts)
            }
            token = consume withdrawn
            if delay > 0 { try await timeline.sleep(until: timeline.now.advanced(byNanoseconds: delay)) }
        }
    }

    /// Nanoseconds until the next attempt; `nil`: there is none.
    private func delay(
        after verdict: Verdict, _ attempts: Int, _ isIdempotent: Bool, _ deadline: Deadline, _ settings: GuardSettings,
        _ request: UInt64
    ) -> Int64? {
        let now = timeline.now
        let question = RetryQuestion(
            outcome: verdict.outcomeForRetry, status: verdict.status, method: isIdempotent ? .idempotent : .other,
            attemptsUsed: attempts, isCommitted: false, isBodyReplayable: true, pushback: verdict.pushback,
            isBreakerClosed: guardian.isClosed(now: now), hasEndpoint: true,
            remainingNanoseconds: deadline.remaining(at: now),
            minimumTryNanoseconds: settings.timeouts.minimumTry.wholeNanoseconds)
        switch RetryPolicy.decide(question, settings: settings.retries, draw: draw, request: request) {
        case .retry(let delayNanoseconds): return delayNanoseconds
        case .no: return nil
        }
    }

    // MARK: Operators

    /// State and counters at this moment.
    public func snapshot() -> GuardSnapshot { guardian.snapshot(now: timeline.now) }

    /// Changes the settings in place: state, permits in use, waiters and tokens are kept. A call under way keeps its limits.
    public func apply(_ settings: GuardSettings) {
        settingsInForce.withLock { $0 = settings }
        guardian.apply(settings, now: timeline.now)
        timer.arm()
    }

    /// Forces the breaker open or closed, switches it off, or makes it automatic again.
    public func force(_ override: CircuitBreaker.Override) { guardian.force(override, now: timeline.now) }

    /// Closes the breaker by hand; it forgets what it has seen.
    public func reset() { guardian.reset(now: timeline.now) }
}
