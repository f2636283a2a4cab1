// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// How an attempt failed, as far as trying again goes: the rows of the table in semantics, section 3.
enum RetryCondition: Equatable {
    /// DNS, connect, TLS, stale pooled connection: no octet of the request left.
    case neverSent
    /// REFUSED_STREAM, beyond GOAWAY's last stream, stream not opened when the connection died (RFC 9113 §8.7).
    case unprocessed
    /// 421 and 425: the request is fine, the connection was not (RFC 9110 §15.5.20, RFC 8470 §5.2).
    case misdirected
    /// Lost or late after it was sent and before the response head.
    case uncertain
    /// 502, 503, 504.
    case gatewayStatus
    /// 429.
    case tooManyRequests
    /// 500, 408, 409, gRPC codes and whatever else a user lists.
    case onlyIfListed
    /// After the head, inside the gateway, or given up by the client.
    case never

    init(_ outcome: Outcome, status: Int?) {
        if let status {
            switch status {
            case 421, 425: self = .misdirected
            case 502, 503, 504: self = .gatewayStatus
            case 429: self = .tooManyRequests
            default: self = .onlyIfListed
            }
            return
        }
        switch outcome.reason {
        case .dns, .connectRefused, .connectTimeout, .connectFailed, .tlsHandshake, .tlsVerify, .tlsTimeout, .connectionStale:
            self = .neverSent
        case .http2RefusedStream, .http2GoAwayUnprocessed:
            self = .unprocessed
        case .resetBeforeHeaders, .timeoutPerTry, .timeoutFirstByte:
            self = outcome.processed == .no ? .unprocessed : .uncertain
        case .http2EnhanceYourCalm:
            self = outcome.processed == .no ? .unprocessed : .never
        case .grpcFailure, .statusFailure, .statusBackpressure:
            self = .onlyIfListed
        case .protocolError:
            // Half an answer that makes no sense is no sign that the work was not done; who lists it may repeat what is idempotent.
            self = outcome.processed == .no ? .unprocessed : .onlyIfListed
        default:
            self = .never
        }
    }

    /// - Parameter isListed: `nil` without a list of one's own.
    func allows(_ method: MethodClass, isListed: Bool?) -> Bool {
        switch self {
        case .neverSent, .unprocessed, .misdirected: isListed ?? true
        case .uncertain, .gatewayStatus, .tooManyRequests: method != .other && isListed ?? true
        case .onlyIfListed: isListed ?? false
        case .never: false
        }
    }
}
