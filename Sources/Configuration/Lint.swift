// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

/// What is allowed and yet will not hold; each warning shows its arithmetic (semantics, section 12).
struct Lint {
    let file: String
    let root: YAML

    func warnings(for configuration: Configuration) -> [Complaint] {
        var warnings: [Complaint] = []
        for upstream in configuration.upstreams {
            let place: [PathComponent] = [.key("upstreams"), .key(upstream.name), .key("guard")]
            let guardSettings = upstream.guardSettings
            warnings += timeouts(guardSettings.timeouts, retries: guardSettings.retries, at: place + [.key("timeouts")])
            warnings += breaker(guardSettings, at: place + [.key("breaker")])
            warnings += retries(guardSettings, at: place + [.key("retries")])
            warnings += adaptive(guardSettings, at: place + [.key("bulkhead"), .key("adaptive")])
            if let tls = upstream.tls, !tls.verify {
                warnings.append(
                    warning(
                        at: [.key("upstreams"), .key(upstream.name), .key("tls"), .key("verify")],
                        "verify is off: anybody between here and the upstream can read and change everything"))
            }
            warnings += hedging(upstream, at: place + [.key("hedging")])
            if upstream.healthCheck != nil, upstream.endpoints.count == 1 {
                warnings.append(
                    warning(
                        at: [.key("upstreams"), .key(upstream.name), .key("health_check")],
                        "1 endpoint: with it out none of 1 is available, fewer than half, so requests go to it all the same; the check only reports"
                    ))
            }
        }
        for (index, route) in configuration.routes.enumerated()
        where route.timeouts != Configuration.TimeoutOverrides() || route.retries.attempts != nil {
            for name in route.upstreamNames {
                guard let upstream = configuration.upstream(named: name) else { continue }
                let settings = upstream.guardSettings
                warnings += timeouts(
                    route.timeouts.applied(to: settings.timeouts), retries: route.retries.applied(to: settings.retries),
                    at: [.key("routes"), .index(index), .key("timeouts")])
            }
        }
        let filters =
            configuration.listeners.flatMap(\.filters) + configuration.routes.flatMap(\.filters)
            + configuration.upstreams.flatMap(\.filters)
        warnings += secretsInClear(configuration)
        let used = Set(configuration.routes.flatMap(\.upstreamNames) + filters.flatMap(\.upstreamNames))
        for upstream in configuration.upstreams where !used.contains(upstream.name) {
            warnings.append(warning(at: [.key("upstreams"), .key(upstream.name)], "no route leads to it"))
        }
        return warnings
    }

    /// Passwords and keys that anybody on the way can read. Quiet where a trusted peer in front may end TLS.
    private func secretsInClear(_ configuration: Configuration) -> [Complaint] {
        guard configuration.trustedNetworks.isEmpty,
            let filter = configuration.allFilters.first(where: { ["basic", "api_key", "jwt"].contains($0.kind) })
        else { return [] }
        return configuration.listeners.enumerated().compactMap { index, listener in
            guard listener.tls == nil, case .ip(let address, _) = listener.address, !address.isLoopback else { return nil }
            return warning(
                at: [.key("listeners"), .index(index)],
                "it is in clear, and the filter \(filter.kind) asks for what nobody else may see: anybody on the way can read it")
        }
    }

    /// A hedge that can never be sent.
    private func hedging(_ upstream: Configuration.Upstream, at place: [PathComponent]) -> [Complaint] {
        guard upstream.guardSettings.hedging != nil else { return [] }
        if upstream.endpoints.count == 1 { return [warning(at: place, "1 endpoint: there is no other to send a hedge to")] }
        guard upstream.guardSettings.retries.attempts == 1 else { return [] }
        return [warning(at: place, "retries.attempts 1: a hedge is a second attempt, and is never sent")]
    }

    /// perTry ≥ overall; tries · perTry + back-offs > overall.
    private func timeouts(_ timeouts: TimeoutSettings, retries: RetrySettings, at place: [PathComponent]) -> [Complaint] {
        guard let total = timeouts.total, let perTry = timeouts.perTry else { return [] }
        if perTry >= total, retries.attempts > 1 {
            return [
                warning(
                    at: place + [.key("per_try")],
                    "per_try \(text(perTry)) ≥ total \(text(total)): a try that times out leaves no time for another")
            ]
        }
        guard retries.attempts > 1 else { return [] }
        let tries = retries.attempts
        let backoffs = backoff(retries)
        let needed = perTry * tries + backoffs
        guard needed > total else { return [] }
        return [
            warning(
                at: place + [.key("total")],
                "\(tries) attempts · per_try \(text(perTry)) + back-offs \(text(backoffs)) = \(text(needed)) > total \(text(total)): the last try is cut short"
            )
        ]
    }

    /// The longest back-offs that all extras together can wait.
    private func backoff(_ retries: RetrySettings) -> Duration {
        (1..<max(1, retries.attempts)).reduce(.zero) { sum, extra in
            sum + min(retries.backoffCap, retries.backoffBase * (1 << (extra - 1)))
        }
    }

    private func breaker(_ settings: GuardSettings, at place: [PathComponent]) -> [Complaint] {
        let breaker = settings.breaker
        guard !breaker.disabled else { return [] }
        var warnings: [Complaint] = []
        var calls: Int?
        switch breaker.window {
        case .count(let count), .hybrid(let count, _): calls = count
        case .time: break
        }
        if let calls, breaker.minimumCalls > calls {
            warnings.append(
                warning(
                    at: place + [.key("minimum_calls")],
                    "minimum_calls \(breaker.minimumCalls) > window calls \(calls): the window never holds enough outcomes, so no rate is ever judged"
                ))
        }
        if let slowCall = breaker.slowCall, let perTry = settings.timeouts.perTry, slowCall >= perTry {
            warnings.append(
                warning(
                    at: place + [.key("slow_call")],
                    "slow_call \(text(slowCall)) ≥ per_try \(text(perTry)): every call times out before it is slow, so the slow rule is dead"
                ))
        }
        if let calls, breaker.slowCall != nil, !breaker.saturation {
            let needed = breaker.slowRate.leastPart(of: calls)
            if settings.bulkhead.concurrent < needed {
                warnings.append(
                    warning(
                        at: place + [.key("saturation")],
                        "bulkhead concurrent \(settings.bulkhead.concurrent) < \(needed) = \(Units.share(breaker.slowRate.tenThousandths)) of \(calls) calls, and saturation is off: the breaker cannot see a hang"
                    ))
            }
        }
        if let wait = breaker.halfOpenWait, let perTry = settings.timeouts.perTry, wait < perTry {
            warnings.append(
                warning(
                    at: place + [.key("half_open_wait")],
                    "half_open_wait \(text(wait)) < per_try \(text(perTry)): a slow probe fails before its time is up"))
        }
        if breaker.openMax < breaker.openFor {
            warnings.append(
                warning(
                    at: place + [.key("open_max")],
                    "open_max \(text(breaker.openMax)) < open_for \(text(breaker.openFor)): no opening lasts for open_for"))
        }
        return warnings
    }

    private func retries(_ settings: GuardSettings, at place: [PathComponent]) -> [Complaint] {
        let retries = settings.retries
        guard retries.attempts > 1 else { return [] }
        var warnings: [Complaint] = []
        if retries.budget.ratio > Share(tenThousandths: 5_000) {
            let share = Units.share(retries.budget.ratio.tenThousandths)
            warnings.append(
                warning(
                    at: place + [.key("budget"), .key("ratio")],
                    "budget ratio \(share) > 50%: an upstream that fails gets \(share) more load just then"))
        }
        // The default is only a cap: it is a mistake where somebody wrote it.
        if let total = settings.timeouts.total, retries.maximumRetryAfter > total, root.has(place + [.key("max_retry_after")]) {
            warnings.append(
                warning(
                    at: place + [.key("max_retry_after")],
                    "max_retry_after \(text(retries.maximumRetryAfter)) > total \(text(total)): such a wait never fits the deadline"
                ))
        }
        return warnings
    }

    private func adaptive(_ settings: GuardSettings, at place: [PathComponent]) -> [Complaint] {
        guard let adaptive = settings.bulkhead.adaptive else { return [] }
        var warnings: [Complaint] = []
        let concurrent = settings.bulkhead.concurrent
        if adaptive.minimum >= concurrent {
            warnings.append(
                warning(
                    at: place + [.key("minimum")],
                    "adaptive minimum \(adaptive.minimum) ≥ concurrent \(concurrent): the permits never change"))
        }
        if adaptive.rule == .aimd, let latency = adaptive.latency, let perTry = settings.timeouts.perTry, latency >= perTry {
            warnings.append(
                warning(
                    at: place + [.key("latency")],
                    "adaptive latency \(text(latency)) ≥ per_try \(text(perTry)): no answer takes longer, so only timeouts take permits away"
                ))
        }
        return warnings
    }

    private func warning(at path: [PathComponent], _ message: String) -> Complaint {
        Complaint(file: file, position: root.position(of: path), message: path.dotted + ": " + message)
    }

    private func text(_ duration: Duration) -> String { Units.duration(duration) }
}
