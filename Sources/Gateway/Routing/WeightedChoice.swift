// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Divides a route's requests among several upstreams in proportion to their weights.
package struct WeightedChoice: Equatable, Sendable {
    /// Each weight's upper end in the sum of all, ascending.
    private let ends: [Int]

    /// Weights beyond this are refused, so that no sum overflows.
    package static let maximumWeight = 1_000_000

    /// Weights from 0 (never chosen) to `maximumWeight`; one of them must be positive.
    package init(_ weights: [Int]) throws(PatternError) {
        var sum = 0
        var ends: [Int] = []
        for weight in weights {
            guard (0...WeightedChoice.maximumWeight).contains(weight) else {
                throw PatternError(message: "\(weight) is not a weight; 0 to \(WeightedChoice.maximumWeight)")
            }
            sum += weight
            ends.append(sum)
        }
        if sum == 0 { throw PatternError(message: "no weight is above 0") }
        self.ends = ends
    }

    package var count: Int { ends.count }

    /// The position of the weight that this request falls to: always the same for the same request and seed.
    package func choose(_ draw: Draw, request: UInt64) -> Int {
        let point = draw.below(ends[ends.count - 1], request: request, .weightedRoute)
        var position = 0
        while ends[position] <= point { position += 1 }
        return position
    }
}
