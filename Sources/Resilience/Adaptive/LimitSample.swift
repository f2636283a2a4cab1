// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// What one attempt says about how much the upstream can take.
public struct LimitSample: Equatable, Sendable {
    /// From the request sent to its response head, in nanoseconds; `nil`: dropped, by a timeout or by backpressure.
    public var rtt: Int64?
    /// Attempts under way when it began, itself included.
    public var inflightAtStart: Int
    /// `AdaptiveLimit.epoch` when it began.
    public var epoch: UInt32

    public init(rtt: Int64?, inflightAtStart: Int, epoch: UInt32) {
        self.rtt = rtt
        self.inflightAtStart = inflightAtStart
        self.epoch = epoch
    }
}

/// The part of an attempt's life that a sample is made of; kept in its permit, so that it costs the guard nothing.
///
/// An attempt makes at most one sample, when its outcome is known first. Its time begins with the request sent whole: what a
/// client takes to send its body says nothing about the upstream (D4).
struct SampleClock: Sendable {
    /// How many were under way at its begin, and the limit's epoch. What goes through the guard's lock, hence so small.
    struct Start: Sendable {
        /// 0: the limit does not adapt.
        let inflight: Int32
        let epoch: UInt32

        static let off = Start(inflight: 0, epoch: 0)
    }

    private var inflightAtStart: Int32
    private let epoch: UInt32
    /// When the request was sent; once the response head has come, the complement of how long it took.
    private var clock: Int64 = notSent
    private static let notSent = Int64.min

    init(_ start: Start) {
        inflightAtStart = start.inflight
        epoch = start.epoch
    }

    /// The limit does not adapt, or the sample has been made.
    var isOff: Bool { inflightAtStart == 0 }

    mutating func requestSent(_ now: Instant) {
        if clock == Self.notSent { clock = max(0, now.nanoseconds) }
    }

    mutating func requestWaits() {
        if clock >= 0 { clock = Self.notSent }
    }

    mutating func headArrived(_ now: Instant) {
        if clock >= 0 { clock = ~max(0, now.nanoseconds - clock) }
    }

    /// Makes the sample that `outcome` is, if it is one (semantics, section 0.1): a success is one of its time, a timeout and
    /// backpressure are drops, and nothing else says anything. A fast failure least of all: it would look like a low latency.
    mutating func sample(_ outcome: Outcome, now: Instant) -> LimitSample? {
        if isOff { return nil }
        headArrived(now)
        let inflight = Int(inflightAtStart)
        inflightAtStart = 0
        switch outcome.outcomeClass {
        case .success: return clock == Self.notSent ? nil : LimitSample(rtt: ~clock, inflightAtStart: inflight, epoch: epoch)
        case .backpressure: return LimitSample(rtt: nil, inflightAtStart: inflight, epoch: epoch)
        case .failure: return outcome.isTimeout ? LimitSample(rtt: nil, inflightAtStart: inflight, epoch: epoch) : nil
        case .neutral, .local: return nil
        }
    }
}

extension Outcome {
    /// Whether a limit of time ended it.
    fileprivate var isTimeout: Bool {
        switch reason {
        case .timeoutPerTry, .timeoutFirstByte, .timeoutIdle, .connectTimeout, .tlsTimeout: true
        default: false
        }
    }
}
