// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What a crowd of endpoints says of one of them. Median and MAD, because a mean and a deviation are bent by the very
/// outliers they are to find: with m of n equally bad the z-score is √((n−m)/m), and 1.9 is out of reach from 21.7 % on.
enum OutlierStatistics {
    /// Makes a median absolute deviation comparable to a standard deviation of normal noise.
    static let deviationsPerMAD = 1.4826
    /// The chance at which a poor share is no longer put down to luck: 10^−6, as a natural logarithm.
    static let luck = 13.816

    /// Of sorted values; the mean of the middle two of an even number. There must be one.
    static func median(_ sorted: [Double]) -> Double {
        let half = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
    }

    /// The median of sorted values without the one at `position`. There must be two.
    static func median(_ sorted: [Double], without position: Int) -> Double {
        func other(_ rank: Int) -> Double { sorted[rank < position ? rank : rank + 1] }
        let count = sorted.count - 1
        return count % 2 == 1 ? other(count / 2) : (other(count / 2 - 1) + other(count / 2)) / 2
    }

    static func medianAbsoluteDeviation(_ values: [Double], from median: Double) -> Double {
        Self.median(values.map { abs($0 - median) }.sorted())
    }

    /// Whether `successes` of `total` are too few for an endpoint that succeeds with the chance `expected`: Chernoff's bound
    /// e^(−total · KL(rate ‖ expected)) on the tail of the binomial. Among three endpoints the MAD is the smaller of two
    /// gaps and often close to nothing, so that noise alone would eject (E2).
    static func isBeyondLuck(successes: Int, of total: Int, expected: Double) -> Bool {
        let count = Double(total)
        let rate = Double(successes) / count
        // Never 0 or 1: that all have succeeded so far does not mean that none can fail.
        let chance = (expected * count + 1) / (count + 2)
        if rate >= chance { return false }
        let divergence = term(rate, chance) + term(1 - rate, 1 - chance)
        return count * divergence >= luck
    }

    private static func term(_ p: Double, _ q: Double) -> Double { p <= 0 ? 0 : p * log(p / q) }
}
