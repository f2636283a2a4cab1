// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// When one endpoint among several is set aside for what its answers show, and for how long (semantics, section 8).
public struct OutlierSettings: Equatable, Sendable {
    /// Whether a finding ejects; false: it is only reported. Default true.
    public var enforce = true
    /// How often the shares and percentiles are judged. Default 10 s.
    public var interval: Duration = .seconds(10)

    /// Failures in a row, of whatever kind, that eject at once, 1 or more. Default 5; `nil` turns the rule off.
    public var consecutiveFailures: Int? = 5
    /// Connections in a row that could not be made or broke (connect, TLS, reset) that eject at once; any answer of the
    /// endpoint ends the row. Default 5; `nil` turns the rule off.
    public var consecutiveLocalOrigin: Int? = 5
    /// Share of failures in an interval that ejects, while the others together fare better. Default 85 %; `nil` turns
    /// the rule off.
    public var failureShare: Share? = Share(tenThousandths: 8_500)
    /// How far below the median of all an endpoint's success rate must lie at least. Default 5 %; `nil` turns the rule off.
    public var successRateDistance: Share? = Share(tenThousandths: 500)
    /// How far above the median of the others an endpoint's 90th percentile must lie, in the others' median: 3 is three times.
    /// Over 1. Default 3; `nil` turns the rule off.
    public var latencyFactor: Double? = 3
    /// And at least so far above it in time. Default 50 ms.
    public var latencyDistance: Duration = .milliseconds(50)
    /// Intervals in a row of which the latency rule must hold, 1 or more. Default 2: a pause for garbage is not an illness.
    public var latencyIntervals = 2

    /// Outcomes of an endpoint in an interval without which no share or percentile is judged, 1 or more. Default 50.
    public var minimumVolume = 50
    /// Endpoints of such a volume without which there is nothing to compare with, 2 or more. Default 3.
    public var minimumHosts = 3

    /// The first ejection's length; the n-th in a row lasts n times as long. Default 30 s.
    public var baseTime: Duration = .seconds(30)
    /// The longest ejection before jitter. Default 300 s.
    public var maximumTime: Duration = .seconds(300)
    /// An ejection is lengthened by a uniform share of up to this. Default 20 %.
    public var jitter = Share(tenThousandths: 2_000)
    /// Share of the endpoints that may be out at once; one may always, the last never. Default 33 %.
    public var maximumEjected = Share(tenThousandths: 3_300)
    /// A probe that has not been reported for this long gives way to another. Default 5 s.
    public var probeWait: Duration = .seconds(5)

    public init() {}
}
