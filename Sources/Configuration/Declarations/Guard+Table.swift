// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

/// The keys of semantics, section 0.0. Every default is that of the settings type, read from it.
extension GuardSettings {
    static var table: Table<Self> {
        Table(
            name: "Guard", documentation: "What protects an upstream, and the gateway from it.",
            fields: [
                Field("timeouts", \.timeouts, TimeoutSettings.table.kind(TimeoutSettings()), "Limits of time."),
                Field(
                    "breaker", \.breaker, BreakerSettings.table.kind(BreakerSettings()),
                    "Stops sending to an upstream that fails or hangs."),
                Field(
                    "retries", \.retries, RetrySettings.table.kind(RetrySettings()),
                    "Tries again what is safe to try again, within a budget."),
                Field(
                    "bulkhead", \.bulkhead, BulkheadSettings.table.kind(BulkheadSettings()), "Bounds how much is under way at once."
                ),
                Field(
                    "hedging", \.hedging, HedgeSettings.table.kind(HedgeSettings()).orOff(),
                    "Sends a request that waits long for its answer to another endpoint as well; the first answer counts."),
                Field(
                    "throttle", \.throttle, ThrottleSettings.table.kind(ThrottleSettings()).orOff(),
                    "Turns clients away while the upstream turns most of them away itself."),
            ])
    }
}

extension HedgeSettings {
    static var table: Table<Self> {
        Table(
            name: "Hedging",
            documentation:
                "One further attempt beside a slow one, of requests that may be sent twice, where there is another endpoint; it counts as one of `retries.attempts` and is paid from the retry budget. `{}` turns it on.",
            fields: [
                Field(
                    "quantile", \.quantile, .share(5_000...9_999),
                    "Share of the answers that begin sooner than the hedge is sent; the rest is about the load it adds."),
                Field("minimum_delay", \.minimumDelay, .duration(.milliseconds(1) ... .seconds(60)), "Never sooner than this."),
                Field(
                    "initial_delay", \.initialDelay, .duration(.milliseconds(1) ... .seconds(60)),
                    "Until 100 answers are known, of the last 10 to 20 s."),
            ])
    }
}

extension TimeoutSettings {
    static let limit: ClosedRange<Duration> = .milliseconds(1) ... .seconds(3600)

    static var table: Table<Self> {
        Table(
            name: "Timeouts", documentation: "Limits of time of one request and its attempts.",
            fields: [
                Field(
                    "total", \.total, Kind.duration(limit).orOff(),
                    "From the request head to the response head, over all attempts, queues and back-offs."),
                Field("per_try", \.perTry, Kind.duration(limit).orOff(), "One attempt, to its response head."),
                Field("connect", \.connect, .duration(limit), "TCP connection."),
                Field("tls", \.tls, .duration(limit), "TLS handshake with the upstream."),
                Field("first_byte", \.firstByte, Kind.duration(limit).orOff(), "From the request fully sent to the response head."),
                Field(
                    "idle", \.idle, Kind.duration(limit).orOff(),
                    "Longest silence of the upstream inside a response, while the gateway is reading."),
                Field(
                    "total_includes_body", \.totalIncludesBody, .boolean, "Whether `total` reaches to the end of the response body."
                ),
                Field(
                    "minimum_try", \.minimumTry, .duration(.zero ... .seconds(60)), "An attempt with less time left is not started."
                ),
                Field(
                    "hop_margin", \.hopMargin, .duration(.zero ... .seconds(60)),
                    "Subtracted from the time that an upstream is told it has (`X-Request-Timeout-ms`, `grpc-timeout`)."),
            ])
    }
}

extension BreakerSettings {
    static var table: Table<Self> {
        Table(
            name: "Breaker",
            documentation: "Opens when too many calls fail or are slow; then nothing is sent until a few probes succeed.",
            fields: evidence + opening)
    }

    private static var evidence: [Field<Self>] {
        [
            Field("disabled", \.disabled, .boolean, "No measuring, no refusing."),
            Field("mode", \.mode, .choice, "Whether a trip refuses requests, or is only reported."),
            Field("window", \.window, .window, "The outcomes it looks at. A bare duration is the time of a hybrid."),
            Field("minimum_calls", \.minimumCalls, .integer(1...100_000), "Outcomes needed before a rate is judged."),
            Field("failure_rate", \.failureRate, .share(1...10_000), "Share of failures that opens it."),
            Field(
                "slow_call", \.slowCall, Kind.duration(TimeoutSettings.limit).orOff(),
                "A call without response head after this long is slow."),
            Field("slow_rate", \.slowRate, .share(1...10_000), "Share of slow calls that opens it."),
            Field(
                "consecutive_failures", \.consecutiveFailures, Kind.integer(1...100_000).orOff(),
                "Failures in a row that open it, whatever the rates."),
            Field(
                "cusum", \.cusum, CUSUMSettings.table.kind(CUSUMSettings()).orOff(),
                "Opens it on a small but lasting rise of failures; fit `baseline` to recorded traffic first."),
            Field("saturation", \.saturation, .boolean, "Whether a hang that fills the bulkhead with slow calls opens it."),
        ]
    }

    private static var opening: [Field<Self>] {
        [
            Field("half_open_calls", \.halfOpenCalls, .integer(1...1_000), "Probes of one half-open phase."),
            Field(
                "open_for", \.openFor, .duration(.milliseconds(1) ... .seconds(3600)),
                "The first opening; each further one in a row lasts twice as long."),
            Field("open_max", \.openMax, .duration(.milliseconds(1) ... .seconds(86_400)), "The longest opening, before jitter."),
            Field("open_jitter", \.openJitter, .share(0...10_000), "An opening is lengthened by a random share of up to this."),
            Field(
                "ramp", \.ramp, .duration(.zero ... .seconds(3600)),
                "After closing, a growing share is admitted for this long; `0s` admits all at once."),
            Field(
                "half_open_wait", \.halfOpenWait,
                Kind.duration(TimeoutSettings.limit).optional(none: "the greater of twice per_try and 5s"),
                "A probe that is out for longer counts as failed."),
        ]
    }
}

extension CUSUMSettings {
    static var table: Table<Self> {
        Table(
            name: "CUSUM",
            documentation:
                "Adds up how much likelier the outcomes are at the bad share of failures than at the ordinary one, and opens the breaker when that is enough.",
            fields: [
                Field("baseline", \.baseline, .share(1...9_000), "The share of failures of ordinary hours."),
                Field("bad", \.bad, .share(2...9_900), "The share of failures to be found, above `baseline`."),
                Field(
                    "threshold", \.thresholdThousandths, .decimal(1...100),
                    "Evidence that opens it, as a natural logarithm: a false alarm after some e^threshold outcomes of ordinary hours."
                ),
            ],
            check: { settings, node, reader in
                if settings.bad <= settings.baseline {
                    reader.complain(
                        at: node.position(of: [.key("bad")]),
                        "bad \(Units.share(settings.bad.tenThousandths)) ≤ baseline \(Units.share(settings.baseline.tenThousandths))"
                    )
                }
            })
    }
}

extension BreakerSettings.Window {
    enum Sort: String, CaseIterable { case hybrid, count, time }

    /// The keys of the file; what is not written comes from the default window.
    fileprivate struct Draft {
        var sort = Sort.hybrid
        var calls: Int?
        var time: Duration?
    }

    /// Calls and time of the default window.
    fileprivate static var defaults: (calls: Int, time: Duration) {
        switch BreakerSettings().window {
        case .hybrid(let calls, let time): (calls, time)
        case .count(let calls): (calls, .seconds(10))
        case .time(let time): (100, time)
        }
    }

    fileprivate init(_ draft: Draft) {
        let calls = draft.calls ?? Self.defaults.calls
        let time = draft.time ?? Self.defaults.time
        switch draft.sort {
        case .hybrid: self = .hybrid(calls: calls, time: time)
        case .count: self = .count(calls: calls)
        case .time: self = .time(time)
        }
    }

    fileprivate static func text(_ window: Self) -> String {
        switch window {
        case .hybrid(let calls, let time): "{ kind: hybrid, calls: \(calls), time: \(Units.duration(time)) }"
        case .count(let calls): "{ kind: count, calls: \(calls) }"
        case .time(let time): "{ kind: time, time: \(Units.duration(time)) }"
        }
    }
}

extension Kind where Value == BreakerSettings.Window {
    fileprivate static var window: Kind {
        typealias Window = BreakerSettings.Window
        let span: ClosedRange<Duration> = .milliseconds(100) ... .seconds(3600)
        let bare = Kind<Duration>.duration(span).map({ Window(Window.Draft(time: $0)) }, back: { _ in nil })
        let table = Table<Window.Draft>(
            name: "Window",
            documentation:
                "Which outcomes the breaker looks at: the last `calls` (count), those of the last `time` (time), or the last `calls` that are not older than `time` (hybrid).",
            fields: [
                Field("kind", \.sort, .choice, "How outcomes leave the window."),
                Field(
                    "calls", \.calls, Kind<Int>.integer(1...100_000).optional(none: String(Window.defaults.calls)),
                    "For `count` and `hybrid`."),
                Field(
                    "time", \.time, Kind<Duration>.duration(span).optional(none: Units.duration(Window.defaults.time)),
                    "For `time` and `hybrid`."),
            ],
            check: { draft, node, reader in
                if draft.sort == .time, draft.calls != nil {
                    reader.complain(at: node.position(of: [.key("calls")]), "a window of kind time has no calls")
                }
                if draft.sort == .count, draft.time != nil {
                    reader.complain(at: node.position(of: [.key("time")]), "a window of kind count has no time")
                }
            }
        ).kind(Window.Draft()).map({ Window($0) }, back: { _ in nil })
        var either = bare.or(mapping: table)
        either.text = Window.text
        return either
    }
}

extension RetrySettings {
    static var table: Table<Self> {
        Table(
            name: "Retries", documentation: "Which failures are tried again, how often and how soon.",
            fields: [
                Field("attempts", \.attempts, .integer(1...5), "Attempts in all: the first counts, so 1 means no retry."),
                Field(
                    "retry_on", \.retryOn, Kind<Condition>.condition.list().optional(none: "what is safe"),
                    "Reason words or their beginnings (`connect` is every `connect.*`) and statuses; never more than the method allows."
                ),
                Field(
                    "budget", \.budget, RetryBudgetSettings.table.kind(RetryBudgetSettings()),
                    "How many extra attempts the upstream can be sent."),
                Field(
                    "backoff_base", \.backoffBase, .duration(.zero ... .seconds(60)),
                    "Before extra n: random, up to base · 2^(n−1)."),
                Field("backoff_cap", \.backoffCap, .duration(.zero ... .seconds(60)), "Longest back-off."),
                Field(
                    "max_retry_after", \.maximumRetryAfter, .duration(.zero ... .seconds(3600)),
                    "An upstream's Retry-After beyond this is passed on and not waited for."),
                Field(
                    "replay_body", \.replayBodyBytes, .size(0...16_777_216),
                    "Bytes of a request body that are kept for another attempt."),
            ])
    }
}

extension RetryBudgetSettings {
    static var table: Table<Self> {
        Table(
            name: "Retry budget",
            documentation: "How many extra attempts an upstream can be sent, so that retries never become a storm.",
            fields: [
                Field("ratio", \.ratio, .share(0...10_000), "Extras for each first attempt of the window."),
                Field("minimum", \.minimumPerSecondThousandths, .rate(0...1_000_000), "Extras that are always allowed."),
                Field("window", \.window, .duration(.seconds(1) ... .seconds(600)), "How long first attempts count."),
            ])
    }
}

extension BulkheadSettings {
    static var table: Table<Self> {
        Table(
            name: "Bulkhead",
            documentation:
                "How many exchanges with an upstream may be under way at once, over all reactors, and how many may wait.",
            fields: [
                Field("concurrent", \.concurrent, .integer(1...1_000_000), "Exchanges at once."),
                Field("queue", \.queue, Kind.integer(0...1_000_000).optional(none: "half of concurrent"), "Places to wait."),
                Field("queue_timeout", \.queueTimeout, .duration(.zero ... .seconds(60)), "Longest wait."),
                Field(
                    "shares", \.shares, PriorityShares.table.kind(PriorityShares()),
                    "Permits that each class of `priority` can count on."),
                Field(
                    "adaptive", \.adaptive, AdaptiveSettings.table.kind(AdaptiveSettings()).orOff(),
                    "Lets the permits follow what the upstream can take, `concurrent` at most; `{}` is this with its defaults."),
            ],
            check: { settings, node, reader in
                if settings.shares.sum > settings.concurrent {
                    reader.complain(
                        at: node.position(of: [.key("shares")]),
                        "shares of \(settings.shares.sum) in all > concurrent \(settings.concurrent)")
                }
            })
    }
}

extension PriorityShares {
    static var table: Table<Self> {
        let kind = Kind.integer(0...1_000_000)
        return Table(
            name: "Shares",
            documentation:
                "Permits that a class can count on. While it does not ask for them others have them; once it does, it gets the next that come back, and a place to wait.",
            fields: [
                Field("critical", \.critical, kind, "Of `priority: critical`."),
                Field("high", \.high, kind, "Of `priority: high`."),
                Field("normal", \.normal, kind, "Of `priority: normal`."),
                Field("bulk", \.bulk, kind, "Of `priority: bulk`."),
            ])
    }
}

extension AdaptiveSettings {
    static var table: Table<Self> {
        Table(
            name: "Adaptive concurrency",
            documentation: "How the number of permits is found, from how long answers take and how many attempts are dropped.",
            fields: [
                Field(
                    "rule", \.rule, .choice,
                    "One more permit a window and a tenth fewer, or by how the latency compares with that of the last minutes."),
                Field("minimum", \.minimum, .integer(1...1_000_000), "Permits that there are in any case."),
                Field("maximum", \.maximum, Kind.integer(1...1_000_000).optional(none: "concurrent"), "Permits at most."),
                Field(
                    "latency", \.latency, Kind.duration(TimeoutSettings.limit).orOff(),
                    "For `aimd`: the mean time to the response head above which permits are taken away. With `off` only timeouts and backpressure do."
                ),
            ],
            check: { settings, node, reader in
                if let maximum = settings.maximum, settings.minimum > maximum {
                    reader.complain(
                        at: node.position(of: [.key("minimum")]), "minimum \(settings.minimum) > maximum \(maximum)")
                }
            })
    }
}

extension Kind where Value == RetrySettings.Condition {
    static var condition: Kind {
        let words = Reason.allCases.map(\.rawValue)
        let prefixes = Set(words.flatMap { word in word.indices.filter { word[$0] == "." }.map { String(word[..<$0]) } } + words)
        return .scalar(
            .either([
                .scalar(.string, pattern: "^[a-z0-9_.]+$", meaning: "reason word"),
                .scalar(.integer, minimum: 400, maximum: 599, meaning: "status"),
            ]),
            expected: "a reason such as connect or reset.before_headers, or a status from 400 to 599",
            text: { condition in
                switch condition {
                case .reason(let word): word
                case .status(let status): String(status)
                }
            }
        ) { text throws(ScalarProblem) in
            if let status = Int(text) {
                guard (400...599).contains(status) else { throw ScalarProblem("is no failure") }
                return .status(status)
            }
            guard prefixes.contains(text) else {
                throw ScalarProblem(
                    "is no reason" + (nearestName(to: text, among: prefixes.sorted()).map { "; did you mean \($0)?" } ?? ""))
            }
            return .reason(text)
        }
    }
}
