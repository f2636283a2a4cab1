// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Reads a clock as nanoseconds since the guard was made, which is what `Resilience` counts in.
struct Timeline<TimeSource: Clock>: Sendable where TimeSource.Duration == Duration {
    let clock: TimeSource
    private let origin: TimeSource.Instant

    init(_ clock: TimeSource) {
        self.clock = clock
        origin = clock.now
    }

    var now: Core.Instant { Core.Instant(nanoseconds: origin.duration(to: clock.now).wholeNanoseconds) }

    /// `nil` for `.never`.
    func clockInstant(_ instant: Core.Instant) -> TimeSource.Instant? {
        instant == .never ? nil : origin.advanced(by: .nanoseconds(instant.nanoseconds))
    }

    /// Sleeps until `instant`; for ever, that is until cancelled, if it is `.never`.
    func sleep(until instant: Core.Instant) async throws {
        let far = Core.Instant(nanoseconds: .max - 1)
        guard let wake = clockInstant(min(instant, far)) else { return }
        try await clock.sleep(until: wake, tolerance: nil)
    }
}
