// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// What a request body must keep to.
struct BodyLimits: Sendable, Equatable {
    /// Longest silence while the gateway waits for the next bytes; also the waiting from which on the rate counts.
    var idleNanoseconds: Int64
    /// Bytes a second that it must reach on average, over the time in which the gateway waited for it. 0 asks for nothing.
    var bytesPerSecond: Double
}

/// How fast a client sends its request body, by the time in which it is the client that everybody waits for: from the moment
/// when all bytes so far were given credit for, to the next ones. While the upstream holds us back no time passes here, so
/// that nobody is cut off for an upstream's slowness.
struct BodyPace {
    private var isUnderWay = false
    /// Bytes that came and were not given credit for yet.
    private var owed = 0
    private var waitingSince: Instant?
    private var waitedNanoseconds: Int64 = 0

    var isWaiting: Bool { waitingSince != nil }

    mutating func bodyBegins() { isUnderWay = true }

    /// The client may send. True if the waiting begins with this.
    mutating func waits(from now: Instant) -> Bool {
        guard isUnderWay, owed == 0, waitingSince == nil else { return false }
        waitingSince = now
        return true
    }

    mutating func received(_ n: Int, now: Instant) {
        owed += n
        guard let since = waitingSince.take() else { return }
        let (sum, overflow) = waitedNanoseconds.addingReportingOverflow(now.nanoseconds(since: since))
        waitedNanoseconds = overflow ? .max : sum
    }

    mutating func credited(_ n: Int) { owed -= min(n, owed) }

    mutating func bodyEnded() {
        isUnderWay = false
        waitingSince = nil
    }

    /// Whether `total` bytes are too few for the time that was waited for them.
    func isTooSlow(total: UInt64, _ limits: BodyLimits) -> Bool {
        waitedNanoseconds > limits.idleNanoseconds
            && Double(total) < limits.bytesPerSecond * (Double(waitedNanoseconds) * 1e-9)
    }
}
