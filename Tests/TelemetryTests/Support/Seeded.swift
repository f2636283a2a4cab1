// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Repeatable random numbers: `HOLDFAST_SEED` from the environment, else a fixed seed.
struct Seeded: RandomNumberGenerator {
    static let seed = ProcessInfo.processInfo.environment["HOLDFAST_SEED"].flatMap { UInt64($0) } ?? 20_261_125
    private var n: UInt64 = 0
    private let draw = Draw(seed: Seeded.seed)

    mutating func next() -> UInt64 {
        n += 1
        return draw.bits(request: n, .fault)
    }

    /// For the message of an expectation.
    static var note: String { "HOLDFAST_SEED=\(seed)" }
}
