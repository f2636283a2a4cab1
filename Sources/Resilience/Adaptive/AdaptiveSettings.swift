// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// How a bulkhead finds its number of permits by what the upstream answers (semantics, section 6).
public struct AdaptiveSettings: Equatable, Sendable {
    public enum Rule: String, CaseIterable, Sendable {
        /// One more for each window that was fast enough, a tenth fewer for one that was not.
        case aimd
        /// Follows how the latency of now compares with that of the last minutes.
        case gradient2
    }

    /// Default AIMD: it needs no memory of better times, so it settles wherever `latency` says.
    public var rule = Rule.aimd
    /// Permits that there are in any case, 1 or more. Default 10: one slow answer must not close the door to all others.
    public var minimum = 10
    /// Permits that there are at most, `minimum` or more. Default: the bulkhead's `concurrent`, which also bounds it.
    public var maximum: Int?
    /// The mean time from the request sent to its response head above which AIMD takes permits away. Two to three times what an
    /// unloaded upstream takes makes the limit settle at two to three times its capacity. Default 1 s; `nil`: only timeouts
    /// and backpressure take permits away. Gradient2 does not ask.
    public var latency: Duration? = .seconds(1)

    public init() {}

    /// The bounds in force below a bulkhead of `concurrent` permits.
    public func bounds(concurrent: Int) -> ClosedRange<Int> {
        let most = min(max(1, maximum ?? concurrent), max(1, concurrent))
        return min(max(1, minimum), most)...most
    }
}
