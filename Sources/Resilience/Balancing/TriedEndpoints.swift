// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The endpoints that a request's attempts have gone to, so that the next attempt goes elsewhere while it can.
///
/// Holds the last eight without any memory of its own; a request has at most five attempts and one free of charge.
public struct TriedEndpoints: Sendable {
    private var indices = SIMD8<Int32>(repeating: -1)
    private var next = 0

    public init() {}

    public var isEmpty: Bool { next == 0 }

    /// Endpoints that were tried, each once.
    public var count: Int { next }

    public mutating func insert(_ index: Int) {
        if contains(index) { return }
        indices[next % 8] = Int32(truncatingIfNeeded: index)
        next += 1
    }

    public func contains(_ index: Int) -> Bool { next > 0 && any(indices .== Int32(truncatingIfNeeded: index)) }

    public mutating func removeAll() { self = TriedEndpoints() }
}
