// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc

/// Random numbers that a failing test can be run with again.
struct SeededGenerator: RandomNumberGenerator {
    private let draw: Draw
    private var n: UInt64 = 0

    init(seed: UInt64) { draw = Draw(seed: seed) }

    mutating func next() -> UInt64 {
        n += 1
        return draw.bits(request: n, .fault)
    }
}

/// `HOLDFAST_SEED` from the environment, or `fallback`.
func testSeed(_ fallback: UInt64) -> UInt64 {
    guard let text = unsafe getenv("HOLDFAST_SEED") else { return fallback }
    return UInt64(unsafe String(cString: text)) ?? fallback
}
