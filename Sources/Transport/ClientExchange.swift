// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP

/// Why an exchange with an upstream failed, and what the upstream can have seen of it.
package struct ExchangeFailure: Sendable {
    /// How much of the request can have reached the application (semantics, section 0.1).
    package enum Reach: Sendable {
        /// No byte was handed to the kernel.
        case nothingSent
        /// The peer said, or the protocol shows, that it did not process the request (RFC 9113 §8.7).
        case surelyUnprocessed
        case maybeProcessed
    }

    package var reason: Reason
    package var reach: Reach
    /// For the log.
    package var detail: String
    /// The connection had carried other exchanges and was lost before any byte of this response: it may have been closed for
    /// idleness just as the request was written (RFC 9112 §9.3.1).
    package var onReusedConnection: Bool

    package init(_ reason: Reason, _ reach: Reach, _ detail: String = "", onReusedConnection: Bool = false) {
        self.reason = reason
        self.reach = reach
        self.detail = detail
        self.onReusedConnection = onReusedConnection
    }
}

/// Takes the response of one exchange with an upstream. All calls come on the connection's reactor; after `responseEnded` or
/// `exchangeFailed` nothing more is called.
package protocol ResponseHandler: AnyObject {
    /// A 1xx other than 101 and 100 (those are the codec's).
    func informational(_ head: ResponseHead)
    /// The final head; valid until the exchange ends.
    func responseHead(_ head: ResponseHead, endStream: Bool)
    /// Body bytes. What is not `consumed` holds the upstream back.
    func responseBody(_ bytes: Span<UInt8>)
    func responseEnded(trailers: borrowing FieldSection)
    func exchangeFailed(_ failure: ExchangeFailure)
    /// The upstream took enough of the request: the producer may go on.
    func requestDrained()
    /// Every byte of the request that was handed over is in the kernel.
    func requestFlushed()
}

/// One exchange on one upstream connection, whatever the protocol.
package enum ClientExchange {
    case http1(HTTP1Client)
    case http2(HTTP2ClientStream)

    /// Sends the head. `path` is what goes into the request line or `:path` with the head's query.
    package func send(_ head: RequestHead, endStream: Bool) {
        switch self {
        case .http1(let client): client.send(head, endStream: endStream)
        case .http2(let stream): stream.send(head, endStream: endStream)
        }
    }

    package func write(_ bytes: Span<UInt8>) {
        switch self {
        case .http1(let client): client.write(bytes)
        case .http2(let stream): stream.write(bytes)
        }
    }

    package func finish(trailers: borrowing FieldSection) {
        switch self {
        case .http1(let client): client.finish(trailers: trailers)
        case .http2(let stream): stream.finish(trailers: trailers)
        }
    }

    package var isCongested: Bool {
        switch self {
        case .http1(let client): client.isCongested
        case .http2(let stream): stream.isCongested
        }
    }

    package func consumed(_ n: Int) {
        switch self {
        case .http1(let client): client.consumed(n)
        case .http2(let stream): stream.consumed(n)
        }
    }

    /// Gives the exchange up: RST_STREAM CANCEL, or the connection is closed. The handler hears nothing more.
    package func cancel() {
        switch self {
        case .http1(let client): client.cancel()
        case .http2(let stream): stream.cancel()
        }
    }

    /// The connection carries no further exchange after those under way.
    package func retireConnection() {
        switch self {
        case .http1(let client): client.retire()
        case .http2(let stream): stream.retireConnection()
        }
    }

    /// The rest of the response goes to another.
    package func handOver(to handler: any ResponseHandler) {
        switch self {
        case .http1(let client): client.handOver(to: handler)
        case .http2(let stream): stream.handOver(to: handler)
        }
    }
}
