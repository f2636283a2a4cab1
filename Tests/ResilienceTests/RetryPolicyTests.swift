// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 3.
@Suite struct RetryPolicyTests {
    static let draw = Draw(seed: 1)

    static func question(
        _ reason: Reason? = .connectRefused, _ processed: Outcome.Processed = .no, status: Int? = nil, method: MethodClass = .safe,
        _ change: (inout RetryQuestion) -> Void = { _ in }
    ) -> RetryQuestion {
        var question = RetryQuestion(
            outcome: Outcome(.failure, reason: reason, processed: processed), status: status, method: method, attemptsUsed: 1,
            isCommitted: false, isBodyReplayable: true, pushback: .none, isBreakerClosed: true, hasEndpoint: true,
            remainingNanoseconds: 10_000_000_000, minimumTryNanoseconds: 5_000_000)
        change(&question)
        return question
    }

    static func decide(_ question: RetryQuestion, _ settings: RetrySettings = RetrySettings(), request: UInt64 = 1) -> RetryDecision
    {
        RetryPolicy.decide(question, settings: settings, draw: draw, request: request)
    }

    static func isRetried(_ question: RetryQuestion, _ settings: RetrySettings = RetrySettings()) -> Bool {
        if case .retry = decide(question, settings) { true } else { false }
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let reason: Reason?
        let processed: Outcome.Processed
        let status: Int?
        /// Safe, idempotent, other; without a list, and with everything listed.
        let plain: String
        let listed: String
        init(
            _ name: String, _ reason: Reason?, _ processed: Outcome.Processed, status: Int? = nil, _ plain: String, _ listed: String
        ) {
            self.name = name
            self.reason = reason
            self.processed = processed
            self.status = status
            self.plain = plain
            self.listed = listed
        }
        var testDescription: String { name }
    }

    @Test(arguments: [
        Row("name not found", .dns, .no, "yyy", "yyy"),
        Row("refused", .connectRefused, .no, "yyy", "yyy"),
        Row("connect timeout", .connectTimeout, .no, "yyy", "yyy"),
        Row("connect failed", .connectFailed, .no, "yyy", "yyy"),
        Row("TLS handshake", .tlsHandshake, .no, "yyy", "yyy"),
        Row("TLS certificate", .tlsVerify, .no, "yyy", "yyy"),
        Row("TLS timeout", .tlsTimeout, .no, "yyy", "yyy"),
        Row("stale connection", .connectionStale, .no, "yyy", "yyy"),
        Row("REFUSED_STREAM", .http2RefusedStream, .no, "yyy", "yyy"),
        Row("beyond GOAWAY", .http2GoAwayUnprocessed, .no, "yyy", "yyy"),
        Row("GOAWAY enhance your calm, unprocessed", .http2EnhanceYourCalm, .no, "yyy", "yyy"),
        Row("stream not opened when the connection died", .resetBeforeHeaders, .no, "yyy", "yyy"),
        Row("421", .statusFailure, .yes, status: 421, "yyy", "yyy"),
        Row("425", .statusFailure, .yes, status: 425, "yyy", "yyy"),
        Row("reset after it was sent", .resetBeforeHeaders, .maybe, "yyn", "yyn"),
        Row("per-try timeout", .timeoutPerTry, .maybe, "yyn", "yyn"),
        Row("first-byte timeout", .timeoutFirstByte, .maybe, "yyn", "yyn"),
        Row("502", .statusFailure, .yes, status: 502, "yyn", "yyn"),
        Row("503", .statusFailure, .yes, status: 503, "yyn", "yyn"),
        Row("504", .statusFailure, .yes, status: 504, "yyn", "yyn"),
        Row("429", .statusBackpressure, .yes, status: 429, "yyn", "yyn"),
        Row("500", .statusFailure, .yes, status: 500, "nnn", "yyy"),
        Row("408", .statusFailure, .yes, status: 408, "nnn", "yyy"),
        Row("409", .statusFailure, .yes, status: 409, "nnn", "yyy"),
        Row("gRPC UNAVAILABLE", .grpcFailure, .yes, status: 200, "nnn", "yyy"),
        Row("an answer that makes no sense", .protocolError, .maybe, "nnn", "yyy"),
        Row("reset after the head", .resetAfterHeaders, .yes, "nnn", "nnn"),
        Row("body truncated", .bodyTruncated, .yes, "nnn", "nnn"),
        Row("idle inside the body", .timeoutIdle, .yes, "nnn", "nnn"),
        Row("no descriptors here", .localResources, .no, "nnn", "nnn"),
        Row("client gone", .clientCancelled, .maybe, "nnn", "nnn"),
    ])
    func T1_conditionAndMethod(row: Row) {
        var everything = RetrySettings()
        everything.retryOn = Reason.allCases.map { .reason($0.rawValue) } + (100...599).map { .status($0) }
        var nothing = RetrySettings()
        nothing.retryOn = []
        func letters(_ settings: RetrySettings) -> String {
            String(
                MethodClass.allCases.map { method in
                    Self.isRetried(Self.question(row.reason, row.processed, status: row.status, method: method), settings)
                        ? "y" : "n"
                })
        }
        #expect(letters(RetrySettings()) == row.plain)
        #expect(letters(everything) == row.listed)
        #expect(letters(nothing) == "nnn", "a list is the whole list")
    }

    @Test(arguments: [
        ("connect", Reason.connectRefused, true), ("connect", .connectTimeout, true), ("connect.refused", .connectRefused, true),
        ("connect.refused", .connectTimeout, false), ("conn", .connectRefused, false), ("conn", .connectionStale, true),
        ("tls", .tlsVerify, true), ("dns", .dns, true), ("reset", .connectRefused, false), ("", .dns, false),
    ])
    func reasonsAreListedByWordOrPrefix(word: String, reason: Reason, isRetried: Bool) {
        var settings = RetrySettings()
        settings.retryOn = [.reason(word)]
        #expect(Self.isRetried(Self.question(reason, .no), settings) == isRetried)
    }

    @Test func theFirstNoIsTheReason() {
        // Everything is wrong; then one thing after the other is put right.
        var settings = RetrySettings()
        settings.attempts = 2
        var question = Self.question(.timeoutIdle, .yes) {
            $0.isCommitted = true
            $0.attemptsUsed = 2
            $0.pushback = .never
            $0.isBodyReplayable = false
            $0.isBreakerClosed = false
            $0.hasEndpoint = false
            $0.remainingNanoseconds = 0
        }
        var words: [Reason] = []
        func ask() { if case .no(let reason) = Self.decide(question, settings) { words.append(reason) } }
        ask()
        question.isCommitted = false
        ask()
        question.attemptsUsed = 1
        ask()
        question.pushback = .none
        ask()
        question.outcome.reason = .connectRefused
        ask()
        question.isBodyReplayable = true
        ask()
        question.isBreakerClosed = true
        ask()
        question.hasEndpoint = true
        ask()
        question.remainingNanoseconds = 1_000_000_000
        ask()
        #expect(
            words == [
                .retryCommitted, .retryMax, .retryPushback, .retryNotRetryable, .retryBody, .retryBreaker, .retryBreaker,
                .retryDeadline,
            ])
    }

    @Test func fiveAttemptsAreTheMost() {
        var settings = RetrySettings()
        settings.attempts = 100
        #expect(Self.isRetried(Self.question { $0.attemptsUsed = 4 }, settings))
        #expect(Self.decide(Self.question { $0.attemptsUsed = 5 }, settings) == .no(.retryMax))
        settings.attempts = 1
        #expect(Self.decide(Self.question(), settings) == .no(.retryMax))
    }

    @Test func backoffIsFullJitterUnderADoublingCeiling() {
        var settings = RetrySettings()
        settings.attempts = 5
        let ceilings: [Int64] = [25, 50, 100, 200].map { $0 * 1_000_000 }
        for (used, ceiling) in zip(1..., ceilings) {
            var sum = 0.0
            var least = Int64.max, most: Int64 = 0
            for request in 0..<2_000 as Range<UInt64> {
                let question = Self.question(.timeoutPerTry, .maybe) { $0.attemptsUsed = used }
                guard case .retry(let delay) = Self.decide(question, settings, request: request) else { return }
                least = min(least, delay)
                most = max(most, delay)
                sum += Double(delay)
            }
            #expect(least >= 0 && least < ceiling / 100)
            #expect(most <= ceiling && most > ceiling / 100 * 99)
            #expect(abs(sum / 2_000 / Double(ceiling) - 0.5) < 0.04)
        }
        settings.backoffCap = .milliseconds(30)
        for request in 0..<100 as Range<UInt64> {
            guard
                case .retry(let delay) = Self.decide(
                    Self.question(.timeoutPerTry, .maybe) { $0.attemptsUsed = 4 }, settings, request: request)
            else { return }
            #expect(delay <= 30_000_000)
        }
    }

    @Test func neverSentGoesElsewhereAtOnceTheFirstTime() {
        #expect(Self.decide(Self.question { $0.hasUntriedEndpoint = true }) == .retry(delayNanoseconds: 0))
        var settings = RetrySettings()
        settings.attempts = 5
        #expect(
            Self.decide(
                Self.question {
                    $0.hasUntriedEndpoint = true; $0.attemptsUsed = 2
                }, settings) != .retry(delayNanoseconds: 0))
        #expect(Self.decide(Self.question(.timeoutPerTry, .maybe) { $0.hasUntriedEndpoint = true }) != .retry(delayNanoseconds: 0))
    }

    @Test func calmIsAtLeastOneBaseBackoff() {
        for request in 0..<100 as Range<UInt64> {
            #expect(
                Self.decide(Self.question(.http2EnhanceYourCalm, .no), request: request) == .retry(delayNanoseconds: 25_000_000))
        }
    }

    @Test func T4_neverEarlierThanAsked() {
        var longest: Int64 = 0
        for request in 0..<500 as Range<UInt64> {
            let question = Self.question(.statusFailure, .yes, status: 503) { $0.pushback = .after(nanoseconds: 1_000_000_000) }
            guard case .retry(let delay) = Self.decide(question, request: request) else { return }
            #expect(delay >= 1_000_000_000 && delay <= 1_100_000_000)
            longest = max(longest, delay)
        }
        #expect(longest > 1_090_000_000)
    }

    @Test(
        arguments: [
            (5_000_000_000, 60_000_000_000, nil), (5_000_000_001, 60_000_000_000, .retryPushback),
            (.max, 60_000_000_000, .retryPushback),
            (1_000_000_000, 1_000_000_000, .retryDeadline), (1_000_000_000, 1_200_000_000, nil), (-5, 1_000_000_000, nil),
        ] as [(Int64, Int64, Reason?)])
    func T4_theWaitMustFit(asked: Int64, remaining: Int64, no: Reason?) {
        let decision = Self.decide(
            Self.question(.statusBackpressure, .yes, status: 429) {
                $0.pushback = .after(nanoseconds: asked)
                $0.remainingNanoseconds = remaining
            })
        if let no { #expect(decision == .no(no)) } else if case .no(let reason) = decision { Issue.record("\(reason)") }
    }

    @Test func T4_theSmallestTryMustFitTheDeadline() {
        let question = Self.question { $0.hasUntriedEndpoint = true }
        #expect(
            Self.isRetried(
                Self.question {
                    $0.hasUntriedEndpoint = true; $0.remainingNanoseconds = 5_000_000
                }))
        #expect(
            Self.decide(
                Self.question {
                    $0.hasUntriedEndpoint = true; $0.remainingNanoseconds = 4_999_999
                }) == .no(.retryDeadline))
        #expect(Self.isRetried(question))
    }

    @Test func extremeSettingsDoNoHarm() {
        var settings = RetrySettings()
        settings.attempts = 5
        settings.backoffBase = .seconds(Int64.max)
        settings.backoffCap = .seconds(Int64.max)
        settings.maximumRetryAfter = .seconds(Int64.max)
        for asked in [0, 1, Int64.max] {
            for used in [0, 1, 4] {
                _ = Self.decide(
                    Self.question(.timeoutPerTry, .maybe) {
                        $0.attemptsUsed = used
                        $0.pushback = .after(nanoseconds: asked)
                        $0.remainingNanoseconds = .max
                        $0.minimumTryNanoseconds = .max
                    }, settings)
            }
        }
    }
}
