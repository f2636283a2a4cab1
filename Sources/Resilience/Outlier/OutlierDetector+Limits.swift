// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

extension OutlierDetector {
    /// The settings in the form in which they are asked for: nanoseconds, clamped to what makes sense.
    struct Limits: Sendable {
        let enforce: Bool
        let interval: Int64
        let consecutive: Int
        let localOrigin: Int
        let failureShare: Share?
        let successRateDistance: Double?
        let latencyFactor: Double?
        let latencyDistance: Double
        let latencyIntervals: Int
        let volume: Int
        let hosts: Int
        let baseTime: Int64
        let maximumTime: Int64
        let jitter: Int64
        let maximumEjected: Int
        let probeWait: Int64

        init(_ settings: OutlierSettings) {
            enforce = settings.enforce
            interval = max(1, Self.nanoseconds(settings.interval))
            consecutive = settings.consecutiveFailures.map { max(1, $0) } ?? .max
            localOrigin = settings.consecutiveLocalOrigin.map { max(1, $0) } ?? .max
            failureShare = settings.failureShare.map { Share(tenThousandths: min(max(1, $0.tenThousandths), 10_000)) }
            successRateDistance = settings.successRateDistance.map { min(max(0, $0.fraction), 1) }
            latencyFactor = settings.latencyFactor.map { max(1, $0) }
            latencyDistance = Double(Self.nanoseconds(settings.latencyDistance))
            latencyIntervals = max(1, settings.latencyIntervals)
            volume = max(1, settings.minimumVolume)
            hosts = max(2, settings.minimumHosts)
            baseTime = max(1, Self.nanoseconds(settings.baseTime))
            maximumTime = max(1, Self.nanoseconds(settings.maximumTime))
            jitter = Int64(min(max(0, settings.jitter.tenThousandths), 10_000))
            maximumEjected = min(max(0, settings.maximumEjected.tenThousandths), 10_000)
            probeWait = max(1, Self.nanoseconds(settings.probeWait))
        }

        /// How many of `count` endpoints may be out: max(1, ⌊share · count⌋), but never all.
        func cap(_ count: Int) -> Int { max(0, min(count - 1, max(1, maximumEjected * count / 10_000))) }

        /// min(maximum, base · n) before jitter.
        func ejectionTime(_ n: Int) -> Int64 {
            let (product, overflow) = baseTime.multipliedReportingOverflow(by: Int64(n))
            return overflow ? maximumTime : min(maximumTime, product)
        }

        /// The most that jitter adds. No overflow: 2^60 · 10^4 is done in full width.
        func longestJitter(of duration: Int64) -> Int64 {
            Int64(10_000).dividingFullWidth(duration.multipliedFullWidth(by: jitter)).quotient
        }

        /// In 0 … 2^60 ns (36 years), so that a doubled or added limit does not overflow.
        private static func nanoseconds(_ duration: Duration) -> Int64 { min(max(0, duration.wholeNanoseconds), 1 << 60) }
    }
}
