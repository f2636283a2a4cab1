// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import RateLimits

let second: Int64 = 1_000_000_000

func at(_ nanoseconds: Int64) -> Instant { Instant(nanoseconds: nanoseconds) }

/// A fixed key: tests repeat.
private let hasher = KeyHasher(key0: 1, key1: 2)

func key(_ n: Int) -> LimitKey {
    let bytes = (0..<8).map { UInt8(truncatingIfNeeded: n >> ($0 * 8)) }
    return hasher.hash(bytes.span)
}

extension RateLimiter {
    func take(_ n: Int, now: Instant) -> RateLimitVerdict {
        RateLimiter.decide([Claim(self, key(n))], now: now).verdicts[0]
    }
}

func text(_ buffer: borrowing ByteBuffer) -> String {
    buffer.withReadable { span in String(decoding: span.indices.map { span[$0] }, as: UTF8.self) }
}

/// SplitMix64.
struct Random {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(truncatingIfNeeded: next() >> 1) % bound }
}

/// Runs `body` on `count` threads and waits for all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for i in 0..<count {
        group.enter()
        Thread {
            body(i)
            group.leave()
        }.start()
    }
    group.wait()
}
