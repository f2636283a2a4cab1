// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Sees a small but lasting rise of the share of failures sooner than a window does (semantics, section 12).
///
/// Rule: g ← max(0, g + llr) for each outcome, and due at g ≥ h, where llr is the logarithm of how much likelier the outcome is
/// at the bad share p1 than at the ordinary one p0: ln(p1/p0) for a failure, ln((1 − p1)/(1 − p0)) for a success. Statistic: g,
/// the evidence since it was last zero; no window and no minimum number of calls. Cold start: g is 0. Recovery: with the
/// breaker's, which begins anew at 0; until then each success takes a little off. A false trip comes after some e^h outcomes of the
/// ordinary share, but much sooner where that is higher than p0 says, and where failures come in bursts.
/// Source: Page, "Continuous inspection schemes" (Biometrika 41, 1954).
///
/// Integers, so that every machine trips at the same outcome: 2^−20 of a unit of the natural logarithm.
struct CUSUM: Sendable {
    static let unit = 1_048_576.0

    private(set) var value: Int64 = 0
    private var failureStep: Int64
    private var successStep: Int64
    private var threshold: Int64

    init(_ settings: CUSUMSettings) {
        // Never 0 or 1: an outcome that cannot be has no logarithm.
        let p0 = Double(min(max(1, settings.baseline.tenThousandths), 9_998)) / 10_000
        let p1 = Double(min(max(1, settings.bad.tenThousandths), 9_999)) / 10_000
        // A bad share that is no worse than the ordinary one would be found in every success; then the rule rests.
        failureStep = max(0, Int64((log(p1 / p0) * Self.unit).rounded()))
        successStep = min(0, Int64((log((1 - p1) / (1 - p0)) * Self.unit).rounded()))
        threshold = Int64(max(1, settings.thresholdThousandths)) * Int64(Self.unit) / 1_000
    }

    var isDue: Bool { value >= threshold }
    /// In thousandths of a unit of the natural logarithm, as the threshold.
    var thousandths: Int { Int(value * 1_000 / Int64(Self.unit)) }

    mutating func record(_ isFailure: Bool) { value = max(0, value + (isFailure ? failureStep : successStep)) }

    mutating func clear() { value = 0 }

    /// Other settings for the same evidence.
    func adjusted(to settings: CUSUMSettings) -> CUSUM {
        var fresh = CUSUM(settings)
        fresh.value = value
        return fresh
    }
}
