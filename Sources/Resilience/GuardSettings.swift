// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Everything that one upstream's guard can be told; each default is right for a public edge (semantics, section 0.0).
public struct GuardSettings: Equatable, Sendable {
    public var timeouts = TimeoutSettings()
    public var breaker = BreakerSettings()
    public var retries = RetrySettings()
    public var bulkhead = BulkheadSettings()
    /// `nil`: no second attempt is sent beside a slow one. Default.
    public var hedging: HedgeSettings?
    /// `nil`: no client is turned away because the upstream turns so much away. Default.
    public var throttle: ThrottleSettings?

    public init() {}
}

/// The limits of time of one request and its attempts (semantics, section 4). `nil` means: no such limit.
public struct TimeoutSettings: Equatable, Sendable {
    /// From the complete request head to the response head, over all attempts, queues and back-offs. Default 15 s.
    public var total: Duration? = .seconds(15)
    /// One attempt, from its admission to its response head. Default 5 s.
    public var perTry: Duration? = .seconds(5)
    /// TCP connection. Default 1 s.
    public var connect: Duration = .seconds(1)
    /// TLS handshake with the upstream. Default 2 s.
    public var tls: Duration = .seconds(2)
    /// From the request fully sent to the response head. Default: off.
    public var firstByte: Duration?
    /// Longest silence of the upstream inside a response while the gateway is reading. Default 15 s.
    public var idle: Duration? = .seconds(15)
    /// Whether `total` reaches to the end of the response body. Default false.
    public var totalIncludesBody = false
    /// An attempt with less time left than this is not started. Default 5 ms.
    public var minimumTry: Duration = .milliseconds(5)
    /// What an upstream is told to take less than there is, for the way back. Default 0.
    public var hopMargin: Duration = .zero

    public init() {}
}

/// The circuit breaker (semantics, section 1).
public struct BreakerSettings: Equatable, Sendable {
    /// Which outcomes the breaker looks at.
    public enum Window: Equatable, Sendable {
        /// The last `calls` outcomes.
        case count(calls: Int)
        /// The outcomes of the last `time`, in ten buckets.
        case time(Duration)
        /// The last `calls` outcomes that are not older than `time`.
        case hybrid(calls: Int, time: Duration)
    }

    /// Whether a trip refuses requests or is only reported.
    public enum Mode: String, CaseIterable, Sendable { case enforce, shadow }

    /// No measuring, no refusing. Default false.
    public var disabled = false
    public var mode = Mode.enforce
    /// Default: the last 100 outcomes of at most 10 s.
    public var window = Window.hybrid(calls: 100, time: .seconds(10))
    /// Outcomes needed in the window before a rate is judged, 1 or more. Default 20.
    public var minimumCalls = 20
    /// Share of failed outcomes that opens the breaker. Default 50 %.
    public var failureRate = Share(tenThousandths: 5_000)
    /// A call without response head after this long is slow. Default 1 s; `nil` turns the rule off.
    public var slowCall: Duration? = .seconds(1)
    /// Share of slow calls that opens the breaker. Default 80 %.
    public var slowRate = Share(tenThousandths: 8_000)
    /// Failures in a row that open the breaker whatever the rates. Default: off.
    public var consecutiveFailures: Int?
    /// Trip when the evidence for a lasting rise of the share of failures has added up. Default: off, until `baseline` has been
    /// fitted to recorded traffic.
    public var cusum: CUSUMSettings?
    /// Trip when as many calls in a row as the bulkhead has permits have become slow, all permits having been in use. Default true.
    public var saturation = true
    /// Probes of one half-open phase, 1 or more. Default 5.
    public var halfOpenCalls = 5
    /// How long the first opening lasts; each further one in a row twice as long. Default 5 s.
    public var openFor: Duration = .seconds(5)
    /// The longest opening before jitter. Default 60 s.
    public var openMax: Duration = .seconds(60)
    /// An opening is lengthened by a uniform share of up to this. Default 20 %.
    public var openJitter = Share(tenThousandths: 2_000)
    /// After closing, admit a share that grows over this long. Default 5 s; zero turns the ramp off.
    public var ramp: Duration = .seconds(5)
    /// A probe out for longer counts as failed. Default: the greater of twice the per-try timeout and 5 s.
    public var halfOpenWait: Duration?

    public init() {}
}

/// What the breaker's CUSUM rule takes for ordinary, for bad, and for enough (semantics, section 12).
public struct CUSUMSettings: Equatable, Sendable {
    /// The share of failures of ordinary hours, 0.01 % or more; best the upper 99 % of what each hour had. Default 2 %.
    public var baseline = Share(tenThousandths: 200)
    /// The share of failures that is to be found, above `baseline`. Default 20 %.
    public var bad = Share(tenThousandths: 2_000)
    /// Evidence that trips, in thousandths of a natural logarithm, 1 or more; a false trip comes after some e^h outcomes of
    /// ordinary hours. Default 13.8, a million.
    public var thresholdThousandths = 13_800

    public init() {}
}

/// A share in [0, 1] held in ten-thousandths, so that a threshold is compared in integers (semantics, section 1).
public struct Share: Equatable, Comparable, Hashable, Sendable {
    public var tenThousandths: Int

    @inlinable public init(tenThousandths: Int) { self.tenThousandths = tenThousandths }

    @inlinable public static func < (left: Share, right: Share) -> Bool { left.tenThousandths < right.tenThousandths }

    /// Whether `part` of `whole` is at least this share.
    @inlinable public func isReached(by part: Int, of whole: Int) -> Bool {
        part.multipliedFullWidth(by: 10_000) >= tenThousandths.multipliedFullWidth(by: whole)
    }

    /// The smallest part of `whole` that reaches this share.
    @inlinable public func leastPart(of whole: Int) -> Int { (tenThousandths * whole + 9_999) / 10_000 }

    public var fraction: Double { Double(tenThousandths) / 10_000 }
}

/// Which failures are tried again, how often and how soon (semantics, sections 2 and 3).
public struct RetrySettings: Equatable, Sendable {
    /// One entry of `retry_on`.
    public enum Condition: Hashable, Sendable {
        /// A reason word or its prefix: `connect` means every `connect.*`.
        case reason(String)
        /// An HTTP status of the upstream.
        case status(Int)
    }

    /// Attempts in all, the first included, 1 to 5. Default 2.
    public var attempts = 2
    /// `nil`: the table of semantics, section 3. Else only what is listed (never more than the method allows).
    public var retryOn: [Condition]?
    public var budget = RetryBudgetSettings()
    /// Back-off before extra n: uniform in 0 … min(cap, base · 2^(n−1)). Default base 25 ms.
    public var backoffBase: Duration = .milliseconds(25)
    /// Default 250 ms.
    public var backoffCap: Duration = .milliseconds(250)
    /// An upstream's Retry-After beyond this is passed on and not waited for. Default 5 s.
    public var maximumRetryAfter: Duration = .seconds(5)
    /// Body bytes kept for a replay, a request. Default 64 KiB.
    public var replayBodyBytes = 65_536

    public init() {}
}

/// How many extra attempts an upstream can be sent (semantics, section 2).
public struct RetryBudgetSettings: Equatable, Sendable {
    /// Extras for each first attempt of the window. Default 20 %.
    public var ratio = Share(tenThousandths: 2_000)
    /// Extras a second that are always allowed, in thousandths. Default 1 a second.
    public var minimumPerSecondThousandths = 1_000
    /// Default 10 s.
    public var window: Duration = .seconds(10)

    public init() {}
}

/// How many exchanges with an upstream may be under way at once, and how many may wait (semantics, section 5).
public struct BulkheadSettings: Equatable, Sendable {
    /// Permits, 1 or more. Default 256.
    public var concurrent = 256
    /// Waiting places. Default: half of `concurrent`.
    public var queue: Int?
    /// Longest wait. Default 50 ms.
    public var queueTimeout: Duration = .milliseconds(50)
    /// A queue that has not been empty for this long is congested: newest first, and nobody waits longer than
    /// `congestionTarget`. Default 100 ms; `nil` turns this off and the order is always first in, first out.
    public var congestionInterval: Duration? = .milliseconds(100)
    /// Longest wait while the queue is congested. Default 5 ms.
    public var congestionTarget: Duration = .milliseconds(5)
    /// Permits that each class of priority can count on. Default: none; the most important go first.
    public var shares = PriorityShares()
    /// Lets the permits follow what the upstream can take, `concurrent` at most. Default: off.
    public var adaptive: AdaptiveSettings?

    /// The waiting places in force.
    public var queuePlaces: Int { queue ?? concurrent / 2 }

    public init() {}
}

/// How an endpoint is chosen (semantics, section 9).
public enum BalancingPolicy: String, CaseIterable, Sendable {
    case roundRobin = "round_robin"
    /// Two endpoints drawn at random, the one with fewer exchanges under way.
    case leastRequest = "least_request"
    /// Two endpoints drawn at random, the one with the lower product of latency and exchanges under way (``PeakEWMA``).
    case peakEWMA = "peak_ewma"
    /// Requests of one key to one endpoint (``MaglevTable``); a request without a key goes as with `leastRequest`.
    case hash
}
