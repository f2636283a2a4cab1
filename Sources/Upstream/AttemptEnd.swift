// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import HTTP
import Resilience
import TLS
import Transport

/// How one attempt ended, in the guard's words: what the wire said, mapped to outcome class, reason and reach (semantics,
/// section 0.1).
struct AttemptEnd {
    var outcome: Outcome
    /// The upstream's status, if it was a complete head that decided.
    var status: Int?
    var detail: String
    /// What the client is told if this was the last attempt.
    var answerReason: Reason
    /// The upstream surely did no work, and saying so cost it nothing: not charged to the retry budget.
    var isFreeOfCharge = false
    var onReusedConnection = false

    init(outcome: Outcome, status: Int?, detail: String, answerReason: Reason? = nil) {
        self.outcome = outcome
        self.status = status
        self.detail = detail
        self.answerReason = answerReason ?? outcome.reason ?? .internal
    }

    init(_ failure: ExchangeFailure) {
        let processed: Outcome.Processed =
            switch failure.reach {
            case .nothingSent, .surelyUnprocessed: .no
            case .maybeProcessed: .maybe
            }
        let outcomeClass: Outcome.Class
        switch failure.reason {
        case .http2RefusedStream, .http2EnhanceYourCalm:
            outcomeClass = .backpressure
        case .http2GoAwayUnprocessed, .connectionStale:
            outcomeClass = .neutral
        default:
            outcomeClass = .failure
        }
        self.init(
            outcome: Outcome(outcomeClass, reason: failure.reason, processed: processed), status: nil, detail: failure.detail)
        isFreeOfCharge =
            failure.reason == .connectionStale || failure.reason == .http2GoAwayUnprocessed || failure.reason == .http2RefusedStream
        onReusedConnection = failure.onReusedConnection
    }

    init(_ failure: LeaseFailure) {
        switch failure {
        case .local(let errno):
            self.init(
                outcome: Outcome(.local, reason: .localResources, processed: .no), status: nil,
                detail: "this machine has no room for a connection (errno \(errno))")
        case .connection(let failure):
            let reason: Reason
            let detail: String
            switch failure {
            case .connect(let errno):
                reason = errno == ECONNREFUSED ? .connectRefused : .connectFailed
                detail = "connect failed (errno \(errno))"
            case .connectTimeout:
                reason = .connectTimeout
                detail = "no connection within the connect timeout"
            case .tls(let tls):
                reason = tls.reason == .tlsVerify ? .tlsVerify : .tlsHandshake
                detail = tls.detail
            case .tlsTimeout:
                reason = .tlsTimeout
                detail = "no TLS handshake within its timeout"
            case .reset(let errno):
                reason = .connectFailed
                detail = "the connection was lost while it was made (errno \(errno))"
            case .writeBlocked:
                reason = .connectFailed
                detail = "the connection took no bytes"
            }
            self.init(outcome: Outcome(.failure, reason: reason, processed: .no), status: nil, detail: detail)
        }
    }
}
