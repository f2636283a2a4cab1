// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core
import Glibc
import Synchronization

/// How an endpoint that is new or back comes to its full share (semantics, section 9).
public struct SlowStartSettings: Equatable, Sendable {
    /// From the first request to the full share. Default 30 s; zero turns slow start off.
    public var window: Duration = .seconds(30)
    /// The curve's exponent is 1 / aggression: 1 is a straight line, more is steeper at the beginning. 0.1 to 10. Default 1.
    public var aggression = 1.0
    /// The share that the curve starts with: less, and caches and pools would not get warm. Above 0 to 1. Default 10 %.
    public var floor = Share(tenThousandths: 1_000)

    public init() {}
}

/// What part of its weight an endpoint has at a time since its start: max(floor, (t / window)^(1 / aggression)). It never falls (L4).
public struct SlowStartCurve: Sendable {
    let windowNanoseconds: Int64
    private let exponent: Double
    private let floor: Double

    public init(_ settings: SlowStartSettings = SlowStartSettings()) {
        windowNanoseconds = min(max(0, settings.window.wholeNanoseconds), 1 << 60)
        exponent = 1 / (settings.aggression.isNaN ? 1 : min(max(0.1, settings.aggression), 10))
        floor = min(max(0.000_1, settings.floor.fraction), 1)
    }

    /// In floor … 1.
    public func factor(nanosecondsSinceStart elapsed: Int64) -> Double {
        if elapsed >= windowNanoseconds { return 1 }
        if elapsed <= 0 { return floor }
        return max(floor, min(1, pow(Double(elapsed) / Double(windowNanoseconds), exponent)))
    }
}

/// Gives the endpoints of one upstream that are new or back less than their share at first.
///
/// Rule: a pick of such an endpoint holds with the chance that is its factor on the curve, else the picker draws anew; so each
/// endpoint's share is what the policy would give it times its factor, for every policy and with any weights. Begin it when an
/// endpoint joins, is readmitted after an ejection, or its breaker has closed. Statistic: none. Cold start: endpoints that are
/// there from the beginning have their full share. Recovery: the window ends by itself. Source: Envoy's slow start mode.
///
/// Shared by all threads, without a lock or an allocation: one word an endpoint, and one that says when the last window ends,
/// which is all that a pick reads while nothing starts.
public final class SlowStart: Sendable {
    public let count: Int
    private let curve: SlowStartCurve
    /// 1 + the instant of the start, 0 where there was none.
    private let starts: AtomicWords
    private let lastEnd = Atomic<Int64>(.min)

    public init(_ settings: SlowStartSettings = SlowStartSettings(), count: Int) {
        self.count = max(0, count)
        curve = SlowStartCurve(settings)
        starts = AtomicWords(count: self.count)
    }

    /// An endpoint starts, or starts anew.
    public func begin(_ endpoint: Int, now: Instant) {
        guard endpoint >= 0 && endpoint < count else { return }
        let start = max(0, min(now.nanoseconds, .max - 1))
        starts[endpoint] = UInt64(start) + 1
        lastEnd.max(Instant(nanoseconds: start).advanced(byNanoseconds: curve.windowNanoseconds).nanoseconds, ordering: .relaxed)
    }

    /// An endpoint that was there in an older configuration goes on where it is on its way, by the new curve.
    func inherit(_ previous: SlowStart, _ old: Int, as endpoint: Int) {
        guard old >= 0 && old < previous.count, previous.starts[old] > 0 else { return }
        begin(endpoint, now: Instant(nanoseconds: Int64(previous.starts[old] - 1)))
    }

    /// Whether any endpoint has less than its share.
    public func isUnderWay(now: Instant) -> Bool { now.nanoseconds < lastEnd.load(ordering: .relaxed) }

    /// The part of its weight that an endpoint has now, above 0 to 1.
    public func factor(of endpoint: Int, now: Instant) -> Double {
        guard endpoint >= 0 && endpoint < count, isUnderWay(now: now) else { return 1 }
        let start = starts[endpoint]
        return start == 0 ? 1 : curve.factor(nanosecondsSinceStart: now.nanoseconds(since: Instant(nanoseconds: Int64(start - 1))))
    }

    /// Whether a pick of an endpoint holds. `n` tells the draws of a request apart.
    @usableFromInline
    func admits(_ endpoint: Int, request: UInt64, n: UInt64, draw: Draw, now: Instant) -> Bool {
        let factor = factor(of: endpoint, now: now)
        // Far from the numbers by which the picker draws endpoints.
        return factor >= 1 || draw.unit(request: request, .endpointChoice, n | 1 << 62) < factor
    }
}

extension EndpointPicker {
    /// Draws until an endpoint is taken though it starts: one of two alike, at the floor, has then 0.2 % more than its part.
    @usableFromInline static var slowStartDraws: Int { 8 }

    /// The endpoint for an attempt, with less than their share for those that start. `nil`: there is none.
    ///
    /// - Parameter load: exchanges under way at an endpoint, or what another costs (``PeakEWMA/cost(of:inFlight:now:)``).
    @inlinable
    public func pick(
        request: UInt64, attempt: Int, draw: Draw, tried: TriedEndpoints, slowStart: SlowStart, now: Instant, load: (Int) -> Int
    ) -> Int? {
        var picked = pick(request: request, attempt: attempt, draw: draw, tried: tried, load: load)
        if !slowStart.isUnderWay(now: now) { return picked }
        for again in 1..<Self.slowStartDraws {
            // A request has fewer attempts than there are numbers in between.
            let n = attempt &+ again &* 1_024
            guard let endpoint = picked,
                !slowStart.admits(endpoint, request: request, n: UInt64(max(0, n)), draw: draw, now: now)
            else { break }
            picked = pick(request: request, attempt: n, draw: draw, tried: tried, load: load)
        }
        return picked
    }
}
