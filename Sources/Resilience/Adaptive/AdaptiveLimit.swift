// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// Finds how many attempts an upstream can have under way at once, from how long they take and how many are dropped
/// (semantics, section 6).
///
///     sample ─► of this epoch? ─► window of ≥ 10 samples and ≥ 100 ms ─► rule ─► bounds ─► limit
///                  │ no: it began under another limit                                 └► moved: a new epoch
///                  └► nothing
///
/// Rule: ``AdaptiveSettings/Rule``, behind one interface. The limit does not grow while less than half of it is used, moves
/// at most once a window, and stays within its bounds. Statistic: a window's mean latency, its drops, and the most that was under
/// way. Cold start: at its maximum, so that it behaves like a fixed limit until the upstream itself shows that it is too much;
/// it never takes permits away in order to measure (A5: the pinned probes of envoy#46532 shed healthy traffic). Recovery: as
/// the rule has it. An attempt that began in an earlier epoch is no sample (envoy's PR 11579): else one queue would
/// be punished once for each that stood in it.
///
/// Pure: every event brings its instant. Integers only, so that a replay is exact. A sample is a few additions and does not
/// allocate. Instants that run backwards count as the latest one seen.
public struct AdaptiveLimit: Sendable {
    private enum Engine: Sendable {
        case aimd(AIMDRule)
        case gradient2(Gradient2Rule)
    }

    /// Attempts that may be under way at once.
    public var limit: Int { thousandths / 1_000 }
    public private(set) var bounds: ClosedRange<Int>
    /// From 1; goes up with each change of the limit; a sample tells the one in which its attempt began.
    public private(set) var epoch: UInt32 = 1

    private var settings: AdaptiveSettings
    private var engine: Engine
    private var thousandths: Int
    private var window = SampleWindow()
    private var clock: Int64 = 0

    /// - Parameter concurrent: the bulkhead's fixed limit, which bounds this one.
    public init(_ settings: AdaptiveSettings = AdaptiveSettings(), concurrent: Int) {
        self.settings = settings
        bounds = settings.bounds(concurrent: concurrent)
        thousandths = bounds.upperBound * 1_000
        engine = Self.engine(settings)
    }

    /// Takes in one attempt. True: the limit has moved.
    public mutating func onSample(_ sample: LimitSample, at now: Instant) -> Bool {
        clock = max(clock, now.nanoseconds)
        if sample.epoch != epoch { return false }
        let rtt = sample.rtt.map { min(max(0, $0), SampleWindow.longestRTT) }
        guard window.record(rtt, inflight: sample.inflightAtStart, at: clock) else { return false }
        let complete = window
        window = SampleWindow()
        let before = limit
        let wanted: Int
        // Taken out and put back: the rule is changed in place.
        switch engine {
        case .aimd(let rule): wanted = rule.limit(after: complete, from: thousandths)
        case .gradient2(var rule):
            wanted = rule.limit(after: complete, from: thousandths)
            engine = .gradient2(rule)
        }
        thousandths = min(max(wanted, bounds.lowerBound * 1_000), bounds.upperBound * 1_000)
        return noteMove(from: before)
    }

    /// Changes the settings in place: the limit is kept as far as the new bounds allow, and a rule of the same kind keeps what
    /// it has learnt.
    public mutating func apply(_ settings: AdaptiveSettings, concurrent: Int) {
        let before = limit
        bounds = settings.bounds(concurrent: concurrent)
        thousandths = min(max(thousandths, bounds.lowerBound * 1_000), bounds.upperBound * 1_000)
        if settings.rule != self.settings.rule || settings.rule == .aimd { engine = Self.engine(settings) }
        self.settings = settings
        _ = noteMove(from: before)
    }

    private mutating func noteMove(from before: Int) -> Bool {
        if limit == before { return false }
        epoch = epoch == .max ? 1 : epoch + 1
        window = SampleWindow()
        return true
    }

    private static func engine(_ settings: AdaptiveSettings) -> Engine {
        switch settings.rule {
        case .aimd: .aimd(AIMDRule(threshold: settings.latency.map { max(0, $0.wholeNanoseconds) } ?? .max))
        case .gradient2: .gradient2(Gradient2Rule())
        }
    }
}
