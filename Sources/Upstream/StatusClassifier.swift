// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Resilience

/// Turns a complete response head, and trailers, into an outcome (semantics, section 0.1).
enum StatusClassifier {
    static func classify(_ response: ResponseHead) -> Outcome {
        if isGRPC(response.fields), let status = grpcStatus(response.fields) { return grpc(status) }
        switch response.status {
        case 500, 502, 503, 504: return Outcome(.failure, reason: .statusFailure, processed: .yes)
        case 429: return Outcome(.backpressure, reason: .statusBackpressure, processed: .yes)
        default: return .success
        }
    }

    /// What the trailers say of an answer that began well: gRPC tells its status there.
    static func refine(_ outcome: Outcome, trailers: borrowing FieldSection) -> Outcome {
        guard outcome.outcomeClass == .success, let status = grpcStatus(trailers) else { return outcome }
        return grpc(status)
    }

    static func isGRPC(_ fields: borrowing FieldSection) -> Bool {
        guard let i = fields.first(.contentType) else { return false }
        return fields.withValue(i) { value in
            value.count >= 16 && value.extracting(first: 16).equalsIgnoringCase("application/grpc")
        }
    }

    private static func grpcStatus(_ fields: borrowing FieldSection) -> Int? {
        guard let i = fields.first(.grpcStatus) else { return nil }
        return fields.withValue(i) { value in
            guard value.count == 1 || value.count == 2 else { return nil }
            var status = 0
            for j in value.indices {
                guard value[j] >= 48 && value[j] <= 57 else { return nil }
                status = status * 10 + Int(value[j] - 48)
            }
            return status
        }
    }

    /// The gRPC status codes that are the upstream's fault: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS;
    /// RESOURCE_EXHAUSTED asks for less; the rest is the caller's.
    private static func grpc(_ status: Int) -> Outcome {
        switch status {
        case 2, 4, 13, 14, 15: Outcome(.failure, reason: .grpcFailure, processed: .yes)
        case 8: Outcome(.backpressure, reason: .statusBackpressure, processed: .yes)
        default: .success
        }
    }

    /// What an answer says about coming back: `Retry-After` (RFC 9110 §10.2.3), a trusted hop's word that it has tried itself,
    /// gRPC's pushback (gRFC A6: negative or unparsable means never). `unix` is now, in seconds, for a date without `Date` beside it.
    static func pushback(_ fields: borrowing FieldSection, unix: Int64) -> RetryPushback {
        if let i = fields.first(.grpcRetryPushback) {
            guard let milliseconds = fields.withValue(i, { decimal($0) }) else { return .never }
            return .after(
                nanoseconds: milliseconds.multipliedReportingOverflow(by: 1_000_000).overflow ? .max : milliseconds * 1_000_000)
        }
        var marker = fields.first(.xHoldfastReason)
        while let i = marker {
            if fields.withValue(i, { isFinal($0) }) { return .never }
            marker = fields.first(.xHoldfastReason, from: i + 1)
        }
        guard let i = fields.first(.retryAfter) else { return .none }
        let sentAt = fields.first(.date).flatMap { date in
            fields.withValue(date) { HTTPDate.parse($0, now: unix) }
        }
        let seconds = fields.withValue(i) { RetryAfter.seconds($0, responseDate: sentAt, now: unix) }
        return seconds.map { .after(nanoseconds: $0 * 1_000_000_000) } ?? .none
    }

    /// What a hop behind this one says of an answer that another try would not change: it has tried, or it refused to.
    private static func isFinal(_ reason: Span<UInt8>) -> Bool {
        reason.equals("retry.exhausted") || begins(reason, "breaker.") || begins(reason, "shed.") || begins(reason, "bulkhead.")
    }

    private static func begins(_ text: Span<UInt8>, _ word: StaticString) -> Bool {
        text.count > word.utf8CodeUnitCount && text.extracting(first: word.utf8CodeUnitCount).equals(word)
    }

    /// Up to 15 digits, which cannot overflow.
    private static func decimal(_ value: Span<UInt8>) -> Int64? {
        guard value.count > 0, value.count <= 15 else { return nil }
        var number: Int64 = 0
        for i in value.indices {
            guard value[i] >= 48, value[i] <= 57 else { return nil }
            number = number * 10 + Int64(value[i] - 48)
        }
        return number
    }
}
