// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP
package import Resilience

/// What the sender of a request said about how it waits and tries (semantics, sections 3 and 4).
///
/// A trusted caller's limit binds: it is the deadline if it is before the route's. Anybody's `grpc-timeout` is passed on, less the time that
/// has gone by, since the upstream would count from its own receipt. A trusted caller that is trying again itself gets no retries
/// here, so that tries do not multiply from hop to hop (T8).
package struct CallerTerms: Equatable, Sendable {
    /// How long a trusted caller waits, in nanoseconds; `.max`: it did not say.
    package var timeout: Int64 = .max
    /// The `grpc-timeout` of whoever sent one, in nanoseconds; `.max`: none.
    package var callTimeout: Int64 = .max
    /// Which of its attempts a trusted caller says this is, from 1.
    package var attempt = 1
    /// How much a trusted caller says that this matters; `nil`: it did not say.
    package var priority: Priority?
    /// A limit was there and could not be read; it is ignored (semantics, section 4).
    package var isMalformed = false

    package init() {}

    package var isRepeat: Bool { attempt > 1 }

    /// Reads the terms out of a request's head, and takes the fields away that are written anew for each attempt.
    package init(takingFrom head: RequestHead, isTrusted: Bool) {
        guard
            head.fields.contains(.grpcTimeout) || head.fields.contains(.xRequestTimeout) || head.fields.contains(.xHoldfastAttempt)
                || head.fields.contains(.grpcPreviousAttempts) || head.fields.contains(.xHoldfastPriority)
        else { return }
        if let i = head.fields.first(.grpcTimeout) {
            if let nanoseconds = head.fields.withValue(i, { RequestTimeout.parseGRPC($0) }) {
                callTimeout = nanoseconds
                if isTrusted { timeout = nanoseconds }
            } else {
                isMalformed = true
            }
        }
        if isTrusted, let i = head.fields.first(.xRequestTimeout) {
            if let nanoseconds = head.fields.withValue(i, { RequestTimeout.parseMilliseconds($0) }) {
                timeout = min(timeout, nanoseconds)
            } else {
                isMalformed = true
            }
        }
        if isTrusted {
            // Passed on as it is: the next hop sheds by it too.
            if let i = head.fields.first(.xHoldfastPriority) {
                priority = CallerTerms.priority(head, i)
            }
            attempt = max(number(.xHoldfastAttempt, head) ?? 1, (number(.grpcPreviousAttempts, head) ?? 0) + 1)
        }
        for name in [FieldName.grpcTimeout, .xRequestTimeout, .xHoldfastAttempt, .grpcPreviousAttempts] {
            head.fields.removeAll(name)
        }
        // A stranger's word would be believed by the next hop, which trusts us.
        if !isTrusted { head.fields.removeAll(.xHoldfastPriority) }
    }

    /// How much a caller, who must be trusted, says that its request matters.
    package static func priority(in head: RequestHead) -> Priority? {
        head.fields.first(.xHoldfastPriority).flatMap { priority(head, $0) }
    }

    private static func priority(_ head: RequestHead, _ i: Int) -> Priority? {
        head.fields.withValue(i) { word in Priority.allCases.first { word.equals($0.word) } }
    }

    private func number(_ name: FieldName, _ head: RequestHead) -> Int? {
        guard let i = head.fields.first(name) else { return nil }
        return head.fields.withValue(i) { RequestTimeout.parseMilliseconds($0) }.map { Int(min($0 / 1_000_000, 1_000)) }
    }

    /// Writes what the upstream is told about one attempt.
    ///
    /// - Parameters:
    ///   - attempt: from 1, as this gateway counts.
    ///   - elapsed: nanoseconds since the request began.
    ///   - wait: nanoseconds until this attempt is given up without a response head; `.max`: never.
    ///   - wholeLeft: nanoseconds left for the whole answer, body and all; `.max`: no such limit.
    func write(to head: RequestHead, attempt: Int, elapsed: Int64, wait: Int64, wholeLeft: Int64, margin: Int64) {
        let told = self.attempt - 1 + attempt
        if head.fields.contains(.xHoldfastAttempt) {
            for name in [FieldName.grpcTimeout, .xRequestTimeout, .xHoldfastAttempt, .grpcPreviousAttempts] {
                head.fields.removeAll(name)
            }
        }
        head.fields.append(.xHoldfastAttempt, decimal: UInt64(told))
        if StatusClassifier.isGRPC(head.fields) {
            if told > 1 { head.fields.append(.grpcPreviousAttempts, decimal: UInt64(told - 1)) }
            let left = min(callTimeout == .max ? .max : callTimeout - elapsed, wholeLeft)
            if left != .max { head.fields.append(.grpcTimeout) { RequestTimeout.writeGRPC(left - margin, into: &$0) } }
        } else if wait != .max {
            head.fields.append(.xRequestTimeout, decimal: RequestTimeout.milliseconds(wait - margin))
        }
    }
}

extension Priority {
    fileprivate var word: StaticString {
        switch self {
        case .critical: "critical"
        case .high: "high"
        case .normal: "normal"
        case .bulk: "bulk"
        }
    }
}
