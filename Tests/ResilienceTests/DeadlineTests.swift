// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Resilience
import Testing

/// Semantics, section 4.
@Suite struct DeadlineTests {
    static let start = Instant.milliseconds(1_000)

    @Test(
        arguments: [
            (15_000, nil, 16_000, false), (15_000, 2_000, 3_000, true), (15_000, 15_000, 16_000, false),
            (15_000, 20_000, 16_000, false),
            (nil, 2_000, 3_000, true), (nil, nil, nil, false), (15_000, -5, 1_000, true),
        ] as [(Int64?, Int64?, Int64?, Bool)])
    func D1_theShorterOfRouteAndCaller(total: Int64?, caller: Int64?, expiry: Int64?, isCallers: Bool) {
        let deadline = Deadline(start: Self.start, total: total.map { .milliseconds($0) }, caller: caller.map { .milliseconds($0) })
        #expect(deadline.expiry == expiry.map { .milliseconds($0) } ?? .never)
        #expect(deadline.isCallers == isCallers)
    }

    @Test func aCallersOverflowingWishIsNoLimit() {
        let deadline = Deadline(start: Self.start, total: .seconds(15), caller: .seconds(Int64.max))
        #expect(deadline == Deadline(start: Self.start, total: .seconds(15)))
    }

    @Test(
        arguments: [
            (1_000, .until(.milliseconds(6_000), limitedBy: .perTry)), (11_000, .until(.milliseconds(16_000), limitedBy: .total)),
            (12_000, .until(.milliseconds(16_000), limitedBy: .total)), (15_995, .until(.milliseconds(16_000), limitedBy: .total)),
            (15_996, .insufficient), (16_000, .insufficient), (20_000, .insufficient),
        ] as [(Int64, Deadline.Attempt)])
    func D1_anAttemptGetsTheLesser(at: Int64, attempt: Deadline.Attempt) {
        let deadline = Deadline(start: Self.start, total: .seconds(15))
        #expect(deadline.attempt(at: .milliseconds(at), TimeoutSettings()) == attempt)
    }

    @Test func withoutLimits() {
        var settings = TimeoutSettings()
        settings.perTry = nil
        let deadline = Deadline(start: Self.start, total: nil)
        #expect(deadline.attempt(at: Self.start, settings) == .until(.never, limitedBy: .total))
        #expect(deadline.remaining(at: Self.start) == .max)
        #expect(
            deadline.queueExpiry(at: Self.start, maximumWait: .milliseconds(50), minimumTry: .milliseconds(5))
                == .milliseconds(1_050))
    }

    @Test func theQueueLeavesTimeForATry() {
        let deadline = Deadline(start: Self.start, total: .milliseconds(40))
        #expect(
            deadline.queueExpiry(at: Self.start, maximumWait: .milliseconds(50), minimumTry: .milliseconds(5))
                == .milliseconds(1_035))
        #expect(
            deadline.queueExpiry(at: Self.start, maximumWait: .milliseconds(20), minimumTry: .milliseconds(5))
                == .milliseconds(1_020))
        #expect(deadline.remaining(at: .milliseconds(1_041)) == 0)
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let limit: Deadline.Limit
        let stage: Deadline.Stage
        let attempt: Reason
        let processed: Outcome.Processed
        let answer: Reason
        init(_ limit: Deadline.Limit, _ stage: Deadline.Stage, _ attempt: Reason, _ processed: Outcome.Processed, _ answer: Reason)
        {
            self.limit = limit
            self.stage = stage
            self.attempt = attempt
            self.processed = processed
            self.answer = answer
        }
        var testDescription: String { "\(limit) in \(stage)" }
    }

    @Test(arguments: [
        Row(.stage, .dns, .dns, .no, .dns),
        Row(.stage, .connect, .connectTimeout, .no, .connectTimeout),
        Row(.stage, .tls, .tlsTimeout, .no, .tlsTimeout),
        Row(.perTry, .dns, .dns, .no, .timeoutPerTry),
        Row(.perTry, .connect, .connectTimeout, .no, .timeoutPerTry),
        Row(.perTry, .tls, .tlsTimeout, .no, .timeoutPerTry),
        Row(.perTry, .awaitingHead, .timeoutPerTry, .maybe, .timeoutPerTry),
        Row(.firstByte, .awaitingHead, .timeoutFirstByte, .maybe, .timeoutFirstByte),
        Row(.total, .connect, .connectTimeout, .no, .deadline),
        Row(.total, .awaitingHead, .timeoutPerTry, .maybe, .deadline),
        Row(.total, .queue, .deadline, .no, .deadline),
        Row(.total, .backOff, .deadline, .no, .deadline),
        Row(.stage, .queue, .bulkheadQueueTimeout, .no, .bulkheadQueueTimeout),
        Row(.idle, .body, .timeoutIdle, .yes, .timeoutIdle),
    ])
    func D5_eachStageHasItsReason(row: Row) {
        let own = Deadline(start: Self.start, total: .seconds(15)).expiry(of: row.limit, during: row.stage)
        #expect(own.outcome.reason == row.attempt && own.outcome.processed == row.processed && own.answer == row.answer)
        let isLocal = row.stage == .queue || row.stage == .backOff
        #expect(own.outcome.outcomeClass == (isLocal ? .local : .failure))
        let callers = Deadline(start: Self.start, total: .seconds(15), caller: .seconds(1)).expiry(of: row.limit, during: row.stage)
        #expect(callers.outcome.outcomeClass == (isLocal ? .local : row.limit == .total ? .neutral : .failure))
        #expect(callers.answer == row.answer)
    }
}
