// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import RateLimits
import Reactor
import Telemetry

/// The limits of one place that are asked together: those of one rank and one store. A request takes one from each of them, or nothing.
///
///     before authentication:  client_ip, header, route, global       after it:  consumer, claim
///
/// Answers tell the client how it stands, refusals and the upstream's answers alike.
final class RateLimitFilter: Filter {
    let limits: [RateLimit]
    /// Where they are counted; `nil`: here.
    let redis: RedisPlan?
    private let scope: String

    init(
        _ settings: [Configuration.RateLimitFilter], _ place: FilterPlace, redis: RedisPlan?, registry: MetricsRegistry, draw: Draw,
        now: Instant
    ) throws(FilterComplaint) {
        self.redis = redis
        scope = place.scope.description
        let before = (place.previous as? RateLimitFilter)?.limits ?? []
        var limits: [RateLimit] = []
        for settings in settings {
            guard
                let limit = RateLimit(
                    settings, after: before.first { $0.name == settings.label }, scope: place.scope, registry: registry, draw: draw,
                    now: now)
            else { throw FilterComplaint("the limit \(settings.label) is too large to be counted exactly") }
            limits.append(limit)
        }
        self.limits = limits
    }

    static func rank(of settings: Configuration.RateLimitFilter) -> FilterRank {
        settings.per.needsIdentity ? .rateLimitByIdentity : .rateLimit
    }

    /// Which limits are asked together.
    static func group(of settings: Configuration.RateLimitFilter) -> String {
        "rate_limit by \(settings.per.needsIdentity ? "identity" : "request") in \(settings.store.rawValue)"
    }

    static func groups(_ filters: [Configuration.Filter]) -> [String: [Configuration.RateLimitFilter]] {
        let limits = filters.compactMap { if case .rateLimit(let settings) = $0 { settings } else { nil } }
        return Dictionary(grouping: limits) { group(of: $0) }
    }

    /// What the answer is to tell.
    private final class Told {
        let verdicts: [(limit: RateLimit, verdict: RateLimitVerdict)]
        init(_ limits: [RateLimit], _ verdicts: [RateLimitVerdict]) { self.verdicts = Array(zip(limits, verdicts)) }
    }

    func request(_ pass: FilterPass) -> FilterStep {
        if let redis { return ask(redis, pass) }
        return decideHere(pass, limits)
    }

    private func decideHere(_ pass: FilterPass, _ limits: [RateLimit]) -> FilterStep {
        let now = pass.home.reactor.now
        for limit in limits { limit.applyRule(now: now) }
        let (isAdmitted, verdicts) = RateLimiter.decide(limits.map { $0.claim(pass) }, now: now)
        return step(pass, limits, isAdmitted, verdicts)
    }

    // MARK: Redis

    /// A request that waits for Redis.
    private final class Asking {
        var decision: RedisDecision?
    }

    private func ask(_ redis: RedisPlan, _ pass: FilterPass) -> FilterStep {
        let claims = limits.map { limit in
            var value = ByteBuffer()
            limit.writeKey(pass, into: &value)
            let key = value.withReadable {
                RedisKey.key(
                    prefix: redis.settings.prefix, scope: scope, limit: limit.name, limit.rule, value: $0,
                    isSecret: limit.keyIsSecret,
                    isAlone: limits.count == 1)
            }
            return RateLimitScript.Claim(key: key, rule: limit.rule, isShadow: limit.settings.shadow)
        }
        let asking = Asking()
        pass.state = asking
        asking.decision = pass.home.redis(redis).decide(claims, request: pass.key) { [self] outcome in
            guard !pass.isOver else { return }
            switch outcome {
            case .success(let (isAdmitted, verdicts)): pass.resume(step(pass, limits, isAdmitted, verdicts))
            case .failure: pass.resume(decideWithoutRedis(pass))
            }
        }
        return .wait
    }

    /// What each limit is to do while Redis does not answer.
    private func decideWithoutRedis(_ pass: FilterPass) -> FilterStep {
        pass.state = nil
        for limit in limits { limit.countUnavailable(pass.home.shard) }
        if limits.contains(where: { $0.settings.onFailure == .closed && !$0.settings.shadow }) {
            return .refuse(
                FilterRefusal(
                    .rateLimitUnavailable, detail: "how often was asked cannot be found out for now",
                    retryAfterNanoseconds: 1_000_000_000))
        }
        let local = limits.filter { $0.settings.onFailure == .local }
        return local.isEmpty ? .next : decideHere(pass, local)
    }

    func ended(_ pass: FilterPass) { (pass.state as? Asking)?.decision?.abandon() }

    // MARK: The verdicts

    private func step(
        _ pass: FilterPass, _ limits: [RateLimit], _ isAdmitted: Bool, _ verdicts: [RateLimitVerdict]
    ) -> FilterStep {
        for (limit, verdict) in zip(limits, verdicts) { limit.count(verdict, pass.home.shard) }
        pass.state = Told(limits, verdicts)
        if isAdmitted { return .next }
        var name = ""
        var retry: Int64 = 0
        for (limit, verdict) in zip(limits, verdicts) where !verdict.isAdmitted && !limit.settings.shadow {
            if name.isEmpty || verdict.retryNanoseconds > retry { name = limit.name }
            retry = max(retry, verdict.retryNanoseconds)
        }
        return .refuse(
            FilterRefusal(
                .rateLimitExceeded, detail: "the rate limit \(name) is used up for now", retryAfterNanoseconds: max(1, retry)))
    }

    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        guard let told = pass.state as? Told else { return .next }
        var policies = ByteBuffer()
        var states = ByteBuffer()
        for (limit, verdict) in told.verdicts where limit.settings.headers && !limit.settings.shadow {
            if !policies.isEmpty {
                policies.append(", ")
                states.append(", ")
            }
            RateLimitFields.appendPolicy(name: limit.name, limit.rule, to: &policies)
            RateLimitFields.appendState(name: limit.name, verdict, to: &states)
        }
        if !policies.isEmpty {
            policies.withReadable { head.fields.append(name: RateLimitFilter.policyName.span, value: $0) }
            states.withReadable { head.fields.append(name: RateLimitFilter.stateName.span, value: $0) }
        }
        return .next
    }

    private static let policyName = Array("ratelimit-policy".utf8)
    private static let stateName = Array("ratelimit".utf8)
}
