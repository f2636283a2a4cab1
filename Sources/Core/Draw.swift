// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A random draw that depends on what it is for and not on when it happens: hash(seed, request, purpose, n).
///
/// Two runs with one seed give each request the same draws, however the requests interleave (semantics, section 0.0), so
/// a failing run can be replayed. Not for secrets.
public struct Draw: Sendable {
    /// What a draw decides. The raw value is part of the hash: never renumber.
    public enum Purpose: UInt64, Sendable {
        case endpointChoice = 1
        case backoff = 2
        case breakerJitter = 3
        case breakerRamp = 4
        case retryAfterJitter = 5
        case weightedRoute = 6
        case connectionAge = 7
        case ejectionJitter = 8
        case hedge = 9
        case shed = 10
        case requestIdentifier = 11
        case logSample = 12
        case network = 13
        case fault = 14
        case explainSample = 15
        case healthCheck = 16
        case nameRefresh = 20
        case canary = 28
        case mirror = 29
        case limitKeys = 33
    }

    public let seed: UInt64

    @inlinable public init(seed: UInt64) { self.seed = seed }

    /// 64 uniform bits.
    @inlinable public func bits(request: UInt64, _ purpose: Purpose, _ n: UInt64 = 0) -> UInt64 {
        var hash = Draw.mix(seed &+ 0x9E37_79B9_7F4A_7C15)
        hash = Draw.mix(hash ^ request)
        hash = Draw.mix(hash ^ (purpose.rawValue &* 0xD1B5_4A32_D192_ED03))
        return Draw.mix(hash ^ n)
    }

    /// Uniform in [0, 1), 53 bits.
    @inlinable public func unit(request: UInt64, _ purpose: Purpose, _ n: UInt64 = 0) -> Double {
        Double(bits(request: request, purpose, n) >> 11) * 0x1p-53
    }

    /// Uniform in 0..<bound by a multiplication (Lemire); the bias is below bound / 2^64. `bound` must be positive.
    @inlinable public func below(_ bound: Int, request: UInt64, _ purpose: Purpose, _ n: UInt64 = 0) -> Int {
        Int(truncatingIfNeeded: bits(request: request, purpose, n).multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    @inlinable static func mix(_ input: UInt64) -> UInt64 {
        var z = input
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
