// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Core

/// When clients of an upstream are turned away because it turns so much away itself (semantics, section 10).
public struct ThrottleSettings: Equatable, Sendable {
    /// Requests that are let through for each that is accepted, in thousandths, 1,000 to 100,000. Default 2: half of what is sent may
    /// come to nothing before anything is turned away.
    public var multiplierThousandths = 2_000
    /// Most that is turned away, in (0, 1]. Default 80 %: the rest goes on, and shows when the upstream is well again.
    public var maximum = Share(tenThousandths: 8_000)
    /// Requests that must be known of before anything is turned away, 1 to 1,000,000. Default 20.
    public var minimumRequests = 20
    /// How long a request counts, 1 s to 10 min. Default 30 s.
    public var window: Duration = .seconds(30)

    public init() {}
}

/// Turns a share of an upstream's requests away while the upstream accepts too few of them.
///
/// Rule: p = max(0, (requests − K · accepts) / (requests + 1)), at most `maximum`, nothing below `minimumRequests`. A request counts when its
/// outcome is known, or when it is turned away here; it is accepted if its outcome is a success. Neutral and local outcomes count for
/// neither: they say nothing of the upstream. Draws are hash(client, second): within a second a client is served or turned away as a
/// whole, whatever the classes of its requests (S1). Statistic: counts over the last 30 s in ten slots. Cold start: p = 0. Recovery: turned away
/// requests age out, and those that are let through are accepted again; with K 2 and everything accepted p is 0 once accepts are half.
/// Source: Google's SRE book, "Handling overload", client-side throttling. Envoy's admission control has the same line with K = 1 / threshold; of its
/// further knobs the cap and the least rate are taken over, and the exponent (`aggression`) is not: it is a second K.
///
/// Pure: every call brings its instant. Instants that run backwards count as the latest one seen.
public struct ClientThrottle: Sendable {
    private struct Slot {
        var requests = 0
        var accepts = 0
    }

    private static let slotCount: Int64 = 10

    private var settings: ThrottleSettings
    private var slots = [Slot](repeating: Slot(), count: Int(ClientThrottle.slotCount))
    private var requests = 0
    private var accepts = 0
    /// Number of the slot in use, counted from the origin.
    private var slot: Int64 = 0

    public init(_ settings: ThrottleSettings) { self.settings = settings }

    private var slotNanoseconds: Int64 { max(1, Int64(clamping: settings.window.wholeNanoseconds) / Self.slotCount) }

    /// Other settings from now on. What was counted is kept unless the window is another.
    public mutating func apply(_ settings: ThrottleSettings) {
        if settings.window == self.settings.window { self.settings = settings } else { self = ClientThrottle(settings) }
    }

    /// Share of the requests that are turned away at present, 0 to 1.
    public mutating func probability(now: Instant) -> Double {
        rotate(to: now)
        guard requests >= settings.minimumRequests else { return 0 }
        let excess = Double(requests) - Double(settings.multiplierThousandths) / 1_000 * Double(accepts)
        return min(max(0, excess / (Double(requests) + 1)), settings.maximum.fraction)
    }

    /// Whether a request of `client` is turned away; then it counts as one that was not accepted.
    public mutating func sheds(client: UInt64, draw: Draw, now: Instant) -> Bool {
        let p = probability(now: now)
        guard p > 0 else { return false }
        let second = UInt64(clamping: max(0, now.nanoseconds) / 1_000_000_000)
        guard draw.unit(request: client, .shed, second) < p else { return false }
        count(accepted: false)
        return true
    }

    /// A request that was let through has ended.
    public mutating func record(_ outcome: Outcome, now: Instant) {
        rotate(to: now)
        switch outcome.outcomeClass {
        case .success: count(accepted: true)
        case .failure, .backpressure: count(accepted: false)
        case .neutral, .local: break
        }
    }

    private mutating func count(accepted: Bool) {
        let i = Int(slot % Self.slotCount)
        slots[i].requests += 1
        requests += 1
        if accepted {
            slots[i].accepts += 1
            accepts += 1
        }
    }

    private mutating func rotate(to now: Instant) {
        let current = max(0, now.nanoseconds) / slotNanoseconds
        guard current > slot else { return }
        // More than a whole window later nothing is left.
        for passed in 1...min(current - slot, Self.slotCount) {
            let i = Int((slot + passed) % Self.slotCount)
            requests -= slots[i].requests
            accepts -= slots[i].accepts
            slots[i] = Slot()
        }
        slot = current
    }
}
