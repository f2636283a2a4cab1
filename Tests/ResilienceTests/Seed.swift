// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Resilience
import Testing

/// The seed of a property test: from the environment, or fixed. A failing test names it in its message.
struct Seed: CustomStringConvertible, Sendable {
    let value: UInt64

    static let current: Seed = {
        guard let text = unsafe getenv("HOLDFAST_SEED"), let value = UInt64(unsafe String(cString: text)) else {
            return Seed(value: 20_261_125)
        }
        return Seed(value: value)
    }()

    var description: String { "HOLDFAST_SEED=\(value)" }
    func random(_ stream: UInt64) -> SeededRandom { SeededRandom(draw: Draw(seed: value), stream: stream) }
}

/// A stream of draws as a generator.
struct SeededRandom: RandomNumberGenerator {
    let draw: Draw
    let stream: UInt64
    var n: UInt64 = 0

    mutating func next() -> UInt64 {
        n += 1
        return draw.bits(request: stream, .fault, n)
    }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

extension Instant {
    static func milliseconds(_ n: Int64) -> Instant { Instant(nanoseconds: n * 1_000_000) }
    static func seconds(_ n: Int64) -> Instant { milliseconds(n * 1_000) }
}

let failure = Outcome(.failure, reason: .statusFailure, processed: .yes)
let neutral = Outcome(.neutral, reason: .clientCancelled, processed: .maybe)
let backpressure = Outcome(.backpressure, reason: .statusBackpressure, processed: .yes)
let local = Outcome(.local, reason: .localResources, processed: .no)
