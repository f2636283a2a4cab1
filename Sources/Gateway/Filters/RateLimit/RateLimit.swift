// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Credentials
import HTTP
import RateLimits
import Synchronization
import Telemetry

/// One limit of a route, with all its keys: outlives the configuration that it was made of.
final class RateLimit: Sendable {
    let settings: Configuration.RateLimitFilter
    let name: String
    let rule: RateLimitRule
    let limiter: RateLimiter
    let hasher: KeyHasher
    private let fold: AddressFold
    private let header: [UInt8]
    private let claimPath: ClaimPath?
    private let isAdopted: Atomic<Bool>

    private let admitted: Counter
    private let refused: Counter
    private let shadowed: Counter
    private let unavailable: Counter

    /// Goes on with what `before` has counted, if that can be said of the new limit as well.
    init?(
        _ settings: Configuration.RateLimitFilter, after before: RateLimit?, scope: FilterScope, registry: MetricsRegistry,
        draw: Draw,
        now: Instant
    ) {
        let algorithm: RateLimitRule.Algorithm = settings.algorithm == .tokenBucket ? .tokenBucket : .slidingWindow
        guard
            let rule = RateLimitRule(
                algorithm: algorithm, amount: settings.rate.amount, period: Int64(settings.rate.seconds) * 1_000_000_000,
                burst: settings.burst ?? settings.rate.amount)
        else { return nil }
        self.settings = settings
        self.rule = rule
        name = settings.label
        fold = AddressFold(ipv6Prefix: settings.ipv6Prefix, ipv4Prefix: settings.ipv4Prefix)
        if case .claim(let path) = settings.per { claimPath = ClaimPath(path) } else { claimPath = nil }
        if case .header(let name) = settings.per { header = Array(name.utf8) } else { header = [] }
        if let before, before.countsTheSame(as: settings) {
            limiter = before.limiter
            hasher = before.hasher
            isAdopted = Atomic(before.rule == rule)
        } else {
            limiter = RateLimiter(rule, capacity: settings.keys, now: now)
            let name = "\(scope) \(settings.label)".utf8.reduce(UInt64(0xCBF2_9CE4_8422_2325)) {
                ($0 ^ UInt64($1)) &* 0x100_0000_01B3
            }
            hasher = KeyHasher(key0: draw.bits(request: name, .limitKeys, 0), key1: draw.bits(request: name, .limitKeys, 1))
            isAdopted = Atomic(true)
        }
        func counter(_ result: String) -> Counter {
            registry.counter(
                "holdfast_rate_limit_requests_total", help: "Requests that a limit was asked about, by what it said.",
                labels: [("scope", scope.description), ("limit", settings.label), ("result", result)])
        }
        admitted = counter("admitted")
        refused = counter("refused")
        shadowed = counter("shadow_refused")
        unavailable = counter("unavailable")
        let limiter = limiter
        let labels = [("scope", scope.description), ("limit", settings.label)]
        registry.gauge("holdfast_rate_limit_keys", help: "Keys that a limit remembers.", labels: labels) {
            Double(limiter.usage.keys)
        }
        registry.counter(
            "holdfast_rate_limit_evictions_total", help: "Keys that had to go because the limit's table was full.", labels: labels
        ) { limiter.usage.evictions }
    }

    private func countsTheSame(as other: Configuration.RateLimitFilter) -> Bool {
        settings.per == other.per && settings.algorithm == other.algorithm && settings.keys == other.keys
            && settings.ipv4Prefix == other.ipv4Prefix && settings.ipv6Prefix == other.ipv6Prefix
    }

    /// Whether the key may be a credential.
    var keyIsSecret: Bool { if case .header = settings.per { true } else { false } }

    /// A changed rule applies from the first request on that goes by it: a reload that fails has then changed nothing.
    func applyRule(now: Instant) {
        if isAdopted.load(ordering: .relaxed) { return }
        if isAdopted.exchange(true, ordering: .relaxed) { return }
        limiter.adopt(rule, now: now)
    }

    /// Whose request it is, in bytes that no two have in common. Nothing: nobody's.
    func writeKey(_ pass: FilterPass, into out: inout ByteBuffer) {
        switch settings.per {
        case .clientAddress:
            var address = fold.fold(pass.clientAddress)
            for _ in 0..<16 {
                out.append(UInt8(truncatingIfNeeded: address >> 120))
                address <<= 8
            }
        case .consumer: if let consumer = pass.consumer { out.append(consumer.name) }
        case .route: out.append(utf8: pass.route?.name ?? "")
        case .global: break
        case .claim: if let claimPath, let value = pass.claim(claimPath) { out.append(value) }
        case .header:
            // All fields of the name, so that a second one does not make another key of its own choosing out of the first alone.
            let name = header
            for i in 0..<pass.head.fields.count where pass.head.fields.isLive(i, named: name.span) {
                pass.head.fields.withValue(i) { out.append($0) }
                out.append(0)
            }
        }
    }

    func claim(_ pass: FilterPass) -> RateLimiter.Claim {
        var bytes = ByteBuffer()
        writeKey(pass, into: &bytes)
        let key = bytes.withReadable { hasher.hash($0) }
        return RateLimiter.Claim(limiter, key, isShadow: settings.shadow)
    }

    func count(_ verdict: RateLimitVerdict, _ shard: Int) {
        if verdict.isAdmitted {
            admitted.add(shard: shard)
        } else if settings.shadow {
            shadowed.add(shard: shard)
        } else {
            refused.add(shard: shard)
        }
    }

    func countUnavailable(_ shard: Int) { unavailable.add(shard: shard) }
}
