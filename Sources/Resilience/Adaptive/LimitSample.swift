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
    /// 0: the limit does not adapt, or the sample has been made.
    private var inflightAtStart: Int32 = 0
    private var epoch: UInt32 = 0
    /// Negative: not sent yet.
    private var sentAt: Int64 = -1
    /// Negative: no response head yet.
    private var rtt: Int64 = -1

    static let off = SampleClock()

    private init() {}

    init(inflight: Int, epoch: UInt32) {
        inflightAtStart = Int32(clamping: max(1, inflight))
        self.epoch = epoch
    }

    var isOff: Bool { inflightAtStart == 0 }

    mutating func requestSent(_ now: Instant) {
        if sentAt < 0 { sentAt = now.nanoseconds }
    }

    mutating func requestWaits() { sentAt = -1 }

    mutating func headArrived(_ now: Instant) {
        if rtt < 0 && sentAt >= 0 { rtt = max(0, now.nanoseconds - sentAt) }
    }

    /// Makes the sample that `outcome` is, if it is one (semantics, section 0.1): a success is one of its time, a timeout and
    /// backpressure are drops, and nothing else says anything. A fast failure least of all: it would look like a low latency.
    mutating func sample(_ outcome: Outcome, now: Instant) -> LimitSample? {
        if isOff { return nil }
        headArrived(now)
        let made: LimitSample? =
            switch outcome.outcomeClass {
            case .success: rtt < 0 ? nil : LimitSample(rtt: rtt, inflightAtStart: Int(inflightAtStart), epoch: epoch)
            case .backpressure: LimitSample(rtt: nil, inflightAtStart: Int(inflightAtStart), epoch: epoch)
            case .failure where outcome.isTimeout: LimitSample(rtt: nil, inflightAtStart: Int(inflightAtStart), epoch: epoch)
            case .failure, .neutral, .local: nil
            }
        inflightAtStart = 0
        return made
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
