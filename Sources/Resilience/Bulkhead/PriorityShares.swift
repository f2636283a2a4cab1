// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// How many of a bulkhead's permits each class of priority can count on, 0 or more (semantics, section 5).
///
/// A share is a promise and no fence: while a class does not ask for its permits, others have them, and once it asks it gets the next
/// that are given back. Together they are best no more than the permits; if they are, the more important class is served first.
public struct PriorityShares: Equatable, Sendable {
    /// Default 0, as of all.
    public var critical = 0
    public var high = 0
    public var normal = 0
    public var bulk = 0

    public init(critical: Int = 0, high: Int = 0, normal: Int = 0, bulk: Int = 0) {
        self.critical = critical
        self.high = high
        self.normal = normal
        self.bulk = bulk
    }

    public var sum: Int { critical + high + normal + bulk }

    var byRank: ByRank {
        [
            Int32(clamping: max(0, critical)), Int32(clamping: max(0, high)), Int32(clamping: max(0, normal)),
            Int32(clamping: max(0, bulk)),
        ]
    }
}
