// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
public import Resilience

/// What an attempt's result means: for the breaker, and for whether another attempt follows.
///
///     let answer = try await upstream.run(idempotent: true) { _ in
///         try await client.get("/")
///     } classify: { result in
///         switch result {
///         case .success(let response) where response.status >= 500: .failure(status: response.status)
///         default: Verdict(result)
///         }
///     }
public struct Verdict: Equatable, Sendable {
    /// Its class is the breaker's evidence; its reason and `processed` decide over a retry (semantics, section 3).
    public var outcome: Outcome
    /// An HTTP status, where there is one: 502, 503, 504 and 429 are tried again for idempotent operations.
    public var status: Int?
    /// Whether the upstream asked for time, or for no retry at all.
    public var pushback: RetryPushback

    public init(_ outcome: Outcome, status: Int? = nil, pushback: RetryPushback = .none) {
        self.outcome = outcome
        self.status = status
        self.pushback = pushback
    }

    /// The rule without a classifier: a value is a success, a thrown error a failure that an idempotent operation may repeat.
    /// What another guard inside the operation refused to send is no evidence here.
    public init<Value>(_ result: Result<Value, any Error>) {
        switch result {
        case .success: self = .success
        case .failure(let rejection as GuardRejection) where rejection.attempts == 0:
            self.init(Outcome(.local, reason: rejection.reason, processed: .no))
        case .failure: self = .failure
        }
    }

    public static let success = Verdict(.success)
    /// A failure of which nobody knows whether the upstream did the work: tried again if the operation is idempotent.
    public static let failure = Verdict(Outcome(.failure, reason: nil, processed: .maybe))
    /// A failure before anything was sent: any operation may be tried again.
    public static let failureBeforeSending = Verdict(Outcome(.failure, reason: .connectFailed, processed: .no))
    /// A failure that no further attempt will mend.
    public static let permanentFailure = Verdict(Outcome(.failure, reason: nil, processed: .yes), pushback: .never)
    /// Says nothing about the upstream, and is not tried again.
    public static let neutral = Verdict(Outcome(.neutral, reason: nil, processed: .maybe))

    /// An answer with a status that counts as a failure. `retryAfter`: what the upstream asked for.
    public static func failure(status: Int, retryAfter: Duration? = nil) -> Verdict {
        Verdict(Outcome(.failure, reason: .statusFailure, processed: .yes), status: status, pushback: pushback(retryAfter))
    }

    /// The upstream asked for less load: no evidence for the breaker, tried again if the wait fits.
    public static func backpressure(retryAfter: Duration? = nil) -> Verdict {
        Verdict(Outcome(.backpressure, reason: .statusBackpressure, processed: .yes), status: 429, pushback: pushback(retryAfter))
    }

    private static func pushback(_ retryAfter: Duration?) -> RetryPushback {
        retryAfter.map { .after(nanoseconds: $0.wholeNanoseconds) } ?? .none
    }

    var retryAfterNanoseconds: Int64? {
        if case .after(let nanoseconds) = pushback { nanoseconds } else { nil }
    }

    /// The outcome as the retry policy reads it. It knows failures by their reason word; a failure without one is of the kind
    /// "lost after it was sent", which only what is idempotent may repeat.
    var outcomeForRetry: Outcome {
        guard outcome.outcomeClass == .failure, outcome.reason == nil else { return outcome }
        return Outcome(.failure, reason: .resetBeforeHeaders, processed: outcome.processed)
    }
}
