// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A field name that the gateway itself acts on, recognised once when a head is decoded; every other name is `.other` and is
/// only carried along. Comparing enums, not bytes, is what keeps the proxied path short.
package enum FieldName: UInt8, CaseIterable, Sendable {
    case other
    case host, connection, date, server, via, expect, te, trailer, upgrade, cookie, accept, age, forwarded, location
    case contentLength, contentType, contentEncoding, transferEncoding, keepAlive, proxyConnection, userAgent
    case setCookie, retryAfter, authorization, proxyAuthorization, idempotencyKey, cacheControl, etag
    case xForwardedFor, xForwardedProto, xForwardedHost, xRealIP, xRequestID, xRequestTimeout, xHoldfastAttempt, xHoldfastReason
    case grpcStatus, grpcTimeout, grpcRetryPushback, grpcPreviousAttempts, http2Settings
    case secWebSocketKey, traceparent, xHoldfastExplain, xHoldfastPriority

    /// The name in lower case, as HTTP/2 requires it and as Holdfast writes it to HTTP/1 as well.
    package var text: StaticString {
        switch self {
        case .other: ""
        case .host: "host"
        case .connection: "connection"
        case .date: "date"
        case .server: "server"
        case .via: "via"
        case .expect: "expect"
        case .te: "te"
        case .trailer: "trailer"
        case .upgrade: "upgrade"
        case .cookie: "cookie"
        case .accept: "accept"
        case .age: "age"
        case .forwarded: "forwarded"
        case .location: "location"
        case .contentLength: "content-length"
        case .contentType: "content-type"
        case .contentEncoding: "content-encoding"
        case .transferEncoding: "transfer-encoding"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .userAgent: "user-agent"
        case .setCookie: "set-cookie"
        case .retryAfter: "retry-after"
        case .authorization: "authorization"
        case .proxyAuthorization: "proxy-authorization"
        case .idempotencyKey: "idempotency-key"
        case .cacheControl: "cache-control"
        case .etag: "etag"
        case .xForwardedFor: "x-forwarded-for"
        case .xForwardedProto: "x-forwarded-proto"
        case .xForwardedHost: "x-forwarded-host"
        case .xRealIP: "x-real-ip"
        case .xRequestID: "x-request-id"
        case .xRequestTimeout: "x-request-timeout-ms"
        case .xHoldfastAttempt: "x-holdfast-attempt"
        case .xHoldfastReason: "x-holdfast-reason"
        case .grpcStatus: "grpc-status"
        case .grpcTimeout: "grpc-timeout"
        case .grpcRetryPushback: "grpc-retry-pushback-ms"
        case .grpcPreviousAttempts: "grpc-previous-rpc-attempts"
        case .http2Settings: "http2-settings"
        case .secWebSocketKey: "sec-websocket-key"
        case .traceparent: "traceparent"
        case .xHoldfastExplain: "x-holdfast-explain"
        case .xHoldfastPriority: "x-holdfast-priority"
        }
    }

    /// Recognises a name that is in lower case already.
    package static func recognise(lowercased name: Span<UInt8>) -> FieldName { Recogniser().recognise(lowercased: name) }

    /// Recognises many names: holds the table, so that it is looked up once for a whole head. A hash of length and three
    /// letters finds the only candidate, one comparison confirms it.
    struct Recogniser {
        private let table = Recogniser.shared

        @inline(__always)
        func recognise(lowercased name: Span<UInt8>) -> FieldName {
            let n = name.count
            if n < 2 || n > Recogniser.longest { return .other }
            let candidate = table[Recogniser.hash(n, name[0], name[n / 2], name[n - 1])]
            return candidate != .other && name.equals(candidate.text) ? candidate : .other
        }

        /// The longest name's length; the table's initialiser checks it.
        private static var longest: Int { 26 }
        private static let tableSize = 1024

        @inline(__always)
        private static func hash(_ n: Int, _ first: UInt8, _ middle: UInt8, _ last: UInt8) -> Int {
            (n &* 138 &+ Int(first) &* 583 &+ Int(middle) &* 868 &+ Int(last) &* 822) & (tableSize - 1)
        }

        /// Built once; the initialiser proves that no two names share a slot.
        private static let shared: [FieldName] = {
            var slots = [FieldName](repeating: .other, count: tableSize)
            for name in FieldName.allCases where name != .other {
                let bytes = name.text.withUTF8Buffer { unsafe Array($0) }
                precondition(bytes.count <= longest, "\(name) is longer than any name before it")
                let slot = hash(bytes.count, bytes[0], bytes[bytes.count / 2], bytes[bytes.count - 1])
                precondition(slots[slot] == .other, "\(name) and \(slots[slot]) share a slot: change the hash")
                slots[slot] = name
            }
            return slots
        }()
    }
}

extension Span<UInt8> {
    /// Whether these bytes are exactly `text`.
    package func equals(_ text: StaticString) -> Bool {
        let n = count
        if n != text.utf8CodeUnitCount { return false }
        return unsafe withUnsafeBufferPointer { bytes in
            // Both are `n` long.
            guard let start = bytes.baseAddress else { return true }
            return unsafe memcmp(start, text.utf8Start, n) == 0
        }
    }

    /// Whether these bytes are `text` (given in lower case) with ASCII letters in any case.
    package func equalsIgnoringCase(_ text: StaticString) -> Bool {
        let n = count
        if n != text.utf8CodeUnitCount { return false }
        let other = unsafe UnsafeBufferPointer(start: text.utf8Start, count: n)
        for i in 0..<n where unsafe self[unchecked: i].asciiLowercased != other[i] { return false }
        return true
    }

    package func equals(_ other: Span<UInt8>) -> Bool {
        let n = count
        if n != other.count { return false }
        for i in 0..<n where self[i] != other[i] { return false }
        return true
    }
}

extension UInt8 {
    @inlinable package var asciiLowercased: UInt8 { self >= 65 && self <= 90 ? self | 0x20 : self }
}
