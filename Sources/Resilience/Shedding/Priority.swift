// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// How much a request matters when not all can be served; the least important are turned away first (semantics, section 10).
public enum Priority: String, CaseIterable, Comparable, Sendable {
    /// What nobody has said anything about, too: nothing is shed by priority unless somebody asks.
    case critical, high, normal, bulk

    /// 0, critical, to 3, bulk.
    public var rank: Int {
        switch self {
        case .critical: 0
        case .high: 1
        case .normal: 2
        case .bulk: 3
        }
    }

    /// The more important is the lesser, as its rank is.
    public static func < (left: Priority, right: Priority) -> Bool { left.rank < right.rank }
}
