// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What an access line can say, in the order of the line. There is no field for Authorization, Cookie or any key.
///
/// The words are an API like those of `Reason`: added, never renamed. Times are in whole microseconds.
package enum AccessField: Int, CaseIterable, Sendable {
    case time
    case requestID
    case client
    case clientPort
    case listener
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`
    case `protocol`
    case method
    case host
    /// Written by `AccessLine.target`, which knows what to do with the query.
    case path
    case status
    case reason
    case route
    /// Who it is, where a filter has made sure of it.
    case consumer
    case upstream
    case endpoint
    case attempts
    case retryReason
    case bytesIn
    case bytesOut
    case total
    case queue
    case connect
    case tls
    case firstByte
    case upstreamTime
    case tlsVersion
    case tlsCipher
    case tlsSNI
    case tlsResumed
    case userAgent
    /// The decision record in one line, of requests that are explained.
    case explain

    /// How a value is written.
    enum Shape {
        /// Bytes of a peer or of the configuration: quoted.
        case quoted
        /// A word from a closed set: quoted in JSON, bare in text.
        case word
        /// A number, `true` or `false`.
        case bare
    }

    var shape: Shape {
        switch self {
        case .time, .client, .protocol, .method, .reason, .retryReason, .tlsVersion: .word
        case .clientPort, .status, .attempts, .bytesIn, .bytesOut, .total, .queue, .connect, .tls, .firstByte, .upstreamTime,
            .tlsResumed:
            .bare
        case .requestID, .listener, .host, .path, .route, .consumer, .upstream, .endpoint, .tlsCipher, .tlsSNI, .userAgent,
            .explain:
            .quoted
        }
    }

    package var word: StaticString {
        switch self {
        case .time: "time"
        case .requestID: "request_id"
        case .client: "client"
        case .clientPort: "client_port"
        case .listener: "listener"
        case .protocol: "protocol"
        case .method: "method"
        case .host: "host"
        case .path: "path"
        case .status: "status"
        case .reason: "reason"
        case .route: "route"
        case .consumer: "consumer"
        case .upstream: "upstream"
        case .endpoint: "endpoint"
        case .attempts: "attempts"
        case .retryReason: "retry_reason"
        case .bytesIn: "bytes_in"
        case .bytesOut: "bytes_out"
        case .total: "total_us"
        case .queue: "queue_us"
        case .connect: "connect_us"
        case .tls: "tls_us"
        case .firstByte: "first_byte_us"
        case .upstreamTime: "upstream_us"
        case .tlsVersion: "tls_version"
        case .tlsCipher: "tls_cipher"
        case .tlsSNI: "tls_sni"
        case .tlsResumed: "tls_resumed"
        case .userAgent: "user_agent"
        case .explain: "explain"
        }
    }

    var bit: UInt32 { 1 << UInt32(rawValue) }

    /// The fields that stand in the common part of a text line, so not in its tail.
    static let commonPart = [AccessField.client, .method, .path, .protocol, .status, .bytesOut, .userAgent]
        .reduce(0 as UInt32) { $0 | $1.bit }
}
