// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
package import Reactor

/// What answers requests: the gateway's proxy, the admin listener, the demo's services.
///
/// Class-bound, so that a call is one jump through a table and nothing is boxed.
package protocol RequestHandler: AnyObject {
    /// Body bytes, in order. The handler says how many it is done with by `exchange.consumed`, now or later; what is not
    /// said holds the client back.
    func requestBody(_ bytes: Span<UInt8>)

    /// The request is complete; trailers, if any, are in the exchange.
    func requestEnded()

    /// The request's body broke a rule before any answer: what was begun is to be given up, uncounted, and `RequestService.refuse`
    /// answers instead.
    func requestWithdrawn()

    /// The exchange is over before its end: the client went, or broke a rule or a limit. Nothing can be answered any more.
    func requestAborted(_ reason: Reason, detail: StaticString)

    /// The client took enough of the response: the producer may go on.
    func responseDrained()
}

/// Makes a handler for each request; one a reactor and listener.
package protocol RequestService: AnyObject {
    /// A complete head is in `exchange.head`. Sets `exchange.handler`, and may answer at once.
    func handle(_ exchange: ServerExchange)

    /// The client broke a rule before or inside its head, so there is no request to route: answer with `reason`, then the
    /// connection closes. `exchange.head` holds what was understood.
    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString)

    /// Whether another connection may be accepted from `peer`; where not it is reset.
    func admitsConnection(_ peer: SocketAddress) -> Bool

    /// A connection was accepted or closed, or its handshake failed: for metrics and limits.
    func connectionOpened(_ connection: Connection)
    /// Its handshake is done, where there is one.
    func connectionEstablished(_ connection: Connection)
    func connectionClosed(_ connection: Connection)
    func connectionFailed(_ connection: Connection, _ failure: ConnectionFailure)
    /// The client broke a rule of the connection as a whole, which ends with it.
    func connectionMisbehaved(_ connection: Connection, _ reason: Reason, detail: String)
}

extension RequestService {
    package func admitsConnection(_ peer: SocketAddress) -> Bool { true }
    package func connectionOpened(_ connection: Connection) {}
    package func connectionEstablished(_ connection: Connection) {}
    package func connectionClosed(_ connection: Connection) {}
    package func connectionFailed(_ connection: Connection, _ failure: ConnectionFailure) {}
    package func connectionMisbehaved(_ connection: Connection, _ reason: Reason, detail: String) {}
}

/// The client's side of one exchange, whatever the protocol: where a handler reads the request from and answers.
///
/// The order of calls: any number of `inform`, one `respond`, `write`s, then one `finish`; or `abort` at any time. All on the
/// connection's reactor. HTTP/1 reuses one object for all exchanges of a connection, so a handler drops it when it is done.
package final class ServerExchange {
    enum Wire {
        case http1(HTTP1Server)
        case http2(HTTP2ServerStream)
        case gone
    }

    var wire: Wire
    /// Of the exchange under way; an idle HTTP/1 connection has an empty one that it shares.
    package internal(set) var head: RequestHead
    package let info: ServerConnectionInfo
    package var handler: (any RequestHandler)?
    /// When the first byte of the head came, and when the head was complete.
    package var startedAt = Instant.origin
    package var headCompleteAt = Instant.origin

    /// Whether the whole request has come.
    package internal(set) var requestIsComplete = false
    /// Whether a final response head was handed over.
    package internal(set) var hasResponded = false
    package internal(set) var isFinished = false
    package internal(set) var bodyBytesReceived: UInt64 = 0
    package internal(set) var bodyBytesSent: UInt64 = 0

    init(head: RequestHead, info: ServerConnectionInfo, wire: Wire) {
        self.head = head
        self.info = info
        self.wire = wire
    }

    func reset() {
        handler = nil
        requestIsComplete = false
        hasResponded = false
        isFinished = false
        bodyBytesReceived = 0
        bodyBytesSent = 0
    }

    /// A 1xx response (RFC 9110 §15.2). Dropped for HTTP/1.0 clients.
    package func inform(_ response: ResponseHead) {
        guard !hasResponded else { return }
        switch wire {
        case .http1(let server): server.inform(response)
        case .http2(let stream): stream.inform(response)
        case .gone: break
        }
    }

    /// The final head. `endStream`: no body and no trailers follow (as for HEAD, 204 and 304, whatever the fields say).
    package func respond(_ response: ResponseHead, endStream: Bool) {
        guard !hasResponded else { return }
        hasResponded = true
        switch wire {
        case .http1(let server): server.respond(response, endStream: endStream)
        case .http2(let stream): stream.respond(response, endStream: endStream)
        case .gone: break
        }
    }

    package func write(_ bytes: Span<UInt8>) {
        guard hasResponded, !isFinished else { return }
        bodyBytesSent &+= UInt64(bytes.count)
        switch wire {
        case .http1(let server): server.write(bytes)
        case .http2(let stream): stream.write(bytes)
        case .gone: break
        }
    }

    /// Ends the response; `trailers` may be empty. Nothing may be called after it.
    package func finish(trailers: borrowing FieldSection) {
        guard !isFinished else { return }
        isFinished = true
        switch wire {
        case .http1(let server): server.finish(trailers: trailers)
        case .http2(let stream): stream.finish(trailers: trailers)
        case .gone: break
        }
    }

    package func finish() { finish(trailers: FieldSection()) }

    /// Ends the exchange so that no client can take what was sent for a whole response.
    package func abort(_ reason: Reason) {
        guard !isFinished else { return }
        isFinished = true
        handler = nil
        switch wire {
        case .http1(let server): server.abort()
        case .http2(let stream): stream.abort(reason)
        case .gone: break
        }
    }

    /// Whether a producer should wait for `responseDrained`.
    package var isCongested: Bool {
        switch wire {
        case .http1(let server): server.isCongested
        case .http2(let stream): stream.isCongested
        case .gone: false
        }
    }

    /// Bytes of the response's body that are no longer queued here; framing makes it inexact, but it moves when the client takes some.
    package var bodyBytesTaken: UInt64 {
        switch wire {
        case .http1(let server): bodyBytesSent &- UInt64(server.queuedBytes)
        case .http2(let stream): bodyBytesSent &- UInt64(stream.queuedBytes)
        case .gone: bodyBytesSent
        }
    }

    /// The handler is done with `n` bytes of the request's body: the client may send as many more.
    package func consumed(_ n: Int) {
        guard n > 0 else { return }
        switch wire {
        case .http1(let server): server.consumed(n)
        case .http2(let stream): stream.consumed(n)
        case .gone: break
        }
    }

    /// Tells a client that waits with its body to go on (RFC 9110 §10.1.1). Does nothing if the body is coming already.
    package func sendContinue() {
        guard head.expectsContinue, bodyBytesReceived == 0, !hasResponded, !requestIsComplete else { return }
        switch wire {
        case .http1(let server): server.sendContinue()
        case .http2(let stream): stream.sendContinue()
        case .gone: break
        }
    }

    /// Runs `body` with the request's trailers.
    package func withTrailers<Result>(_ body: (borrowing FieldSection) -> Result) -> Result {
        switch wire {
        case .http1(let server): body(server.trailers)
        case .http2(let stream): body(stream.trailers)
        case .gone: body(FieldSection())
        }
    }
}
