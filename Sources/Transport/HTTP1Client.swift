// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import HTTP
import Reactor
import TLS

/// The client's side of one HTTP/1 connection to an upstream.
///
/// It is used again only if nothing unusual happened (reliability, section 2.1): the response was framed definitely and read
/// whole, the request was written whole and taken by the kernel, no byte is left over, neither side said close, and the
/// exchange was not given up. Everything else closes it: bytes of one answer must never reach another exchange.
package final class HTTP1Client: ConnectionHandler {
    private enum Phase { case idle, exchange, closing }

    private let client: ClientConnection
    /// Strong both ways until the connection closes and lets its handler go.
    private let connection: Connection
    private var decoder: ResponseDecoder
    private let head = ResponseHead()
    private var trailers = FieldSection()
    private var handler: (any ResponseHandler)?
    private var phase = Phase.idle
    private var requestFraming = BodyFraming.none
    private var requestEnded = false
    private var sawHead = false
    /// The connection's counts when the exchange began.
    private var sentAt: UInt64 = 0
    private var receivedAt: UInt64 = 0
    private var unconsumed = 0

    init(client: ClientConnection, connection: Connection) {
        self.client = client
        self.connection = connection
        decoder = ResponseDecoder(limits: client.settings.heads)
        super.init()
    }

    var isIdle: Bool { phase == .idle }

    /// Takes the connection for an exchange. False if the peer has said or ended something while it was idle (case B02): then
    /// it is closed and another must be found.
    func begin(_ handler: any ResponseHandler) -> Bool {
        guard phase == .idle, connection.isOpen else { return false }
        if connection.isReadable || connection.sawHangUp {
            close()
            return false
        }
        phase = .exchange
        self.handler = handler
        requestEnded = false
        sawHead = false
        unconsumed = 0
        head.reset()
        trailers.removeAll()
        sentAt = connection.bytesSent
        receivedAt = connection.bytesReceived
        return true
    }

    // MARK: The request

    func send(_ request: RequestHead, endStream: Bool) {
        guard phase == .exchange else { return }
        decoder.begin(requestMethod: request.method)
        requestFraming = endStream ? .none : request.framing
        connection.write { output in HTTP1Encoder.encodeRequest(request, endStream: endStream, into: &output) }
        if endStream { requestEnded = true }
    }

    func write(_ bytes: Span<UInt8>) {
        guard phase == .exchange, !requestEnded, !bytes.isEmpty else { return }
        switch requestFraming {
        case .none: return
        case .length, .untilClose: connection.write(bytes)
        case .stream: connection.write { output in HTTP1Encoder.encodeChunk(bytes, into: &output) }
        }
        if connection.isCongested { connection.noteCongestion() }
    }

    func finish(trailers: borrowing FieldSection) {
        guard phase == .exchange, !requestEnded else { return }
        requestEnded = true
        guard requestFraming == .stream else { return }
        if trailers.isEmpty {
            connection.write { $0.append("0\r\n\r\n") }
        } else {
            connection.write { output in HTTP1Encoder.encodeLastChunk(trailers: trailers, into: &output) }
        }
    }

    var isCongested: Bool { connection.isCongested }

    package override func drained() { handler?.requestDrained() }
    package override func flushed() { if phase == .exchange { handler?.requestFlushed() } }

    // MARK: The response

    package override func received(_ input: inout ByteBuffer) {
        while true {
            switch phase {
            case .idle:
                // Nobody asked for this (case B02).
                if !input.isEmpty { close() }
                input.removeAll()
                return
            case .closing:
                input.removeAll()
                return
            case .exchange:
                if !sawHead && connection.bytesSent == sentAt && !input.isEmpty {
                    // Said before it was asked: whatever this answers, it is not our request (case B02).
                    input.removeAll()
                    fail(ExchangeFailure(.connectionStale, .nothingSent, "the upstream spoke before it was asked"))
                    return
                }
            }
            guard step(&input) else { break }
            if unconsumed > 0 && !input.isEmpty { break }
        }
        if unconsumed > 0 && phase == .exchange { connection.pauseReading() }
    }

    private func step(_ input: inout ByteBuffer) -> Bool {
        var goesOn = true
        var ended = false
        let used = input.withReadable { span -> Int in
            let (consumed, event) = decoder.next(span, into: head, trailers: &trailers)
            switch event {
            case .needMore: goesOn = false
            case .informational: if head.status != 100 { handler?.informational(head) }
            case .head:
                sawHead = true
                handler?.responseHead(head, endStream: head.framing == .none)
            case .body(let range):
                unconsumed += range.count
                handler?.responseBody(span.extracting(range))
            case .end: ended = true
            case .failure(let failure):
                goesOn = false
                fail(ExchangeFailure(.protocolError, .maybeProcessed, String(describing: failure.detail)))
            }
            return consumed
        }
        input.consume(used)
        if ended { responseEnded(leftover: !input.isEmpty) }
        return goesOn && !ended && !connection.isClosed
    }

    private func responseEnded(leftover: Bool) {
        let last = handler
        handler = nil
        let canStay =
            decoder.isReusable && head.keepsConnection && requestEnded && connection.isFlushed && !leftover
            && !client.isDraining && client.exchanges < client.settings.maximumExchanges && !connection.sawHangUp
        phase = canStay ? .idle : .closing
        unconsumed = 0
        // The pool hears of it last: the next exchange reuses `head` and `trailers`.
        last?.responseEnded(trailers: trailers)
        if canStay {
            client.idleSince = connection.context.reactor.now
            client.owner.connectionAvailable(client)
        } else if connection.isFlushed {
            connection.closeAfterFlush()
        } else {
            connection.close()
        }
    }

    func consumed(_ n: Int) {
        unconsumed -= min(n, unconsumed)
        if unconsumed == 0 && phase == .exchange { connection.resumeReading() }
    }

    package override func receivedEnd(truncated: Bool) { peerHungUp(truncated: truncated) }
    package override func peerHungUp() {
        // Not reading because the client is slow: what is in the kernel is read first when reading goes on.
        if phase != .exchange { peerHungUp(truncated: false) }
    }

    private func peerHungUp(truncated: Bool) {
        guard phase == .exchange else {
            close()
            return
        }
        switch decoder.endOfStream(truncated: truncated) {
        case .end: responseEnded(leftover: true)
        default:
            if sawHead {
                fail(ExchangeFailure(.bodyTruncated, .maybeProcessed, "the upstream closed inside its response"))
            } else {
                fail(lost("the upstream closed the connection before its response"))
            }
        }
    }

    /// A connection that was lost before any byte of the response.
    private func lost(_ detail: String) -> ExchangeFailure {
        if sawHead { return ExchangeFailure(.resetAfterHeaders, .maybeProcessed, detail) }
        if connection.bytesSent == sentAt { return ExchangeFailure(.connectionStale, .nothingSent, detail) }
        return ExchangeFailure(
            .resetBeforeHeaders, .maybeProcessed, detail,
            onReusedConnection: client.exchanges > 1 && connection.bytesReceived == receivedAt)
    }

    private func fail(_ failure: ExchangeFailure) {
        let last = handler
        handler = nil
        phase = .closing
        last?.exchangeFailed(failure)
        connection.close()
    }

    package override func failed(_ failure: ConnectionFailure) {
        guard phase == .exchange else { return }
        let last = handler
        handler = nil
        phase = .closing
        switch failure {
        case .tls(let tls):
            last?.exchangeFailed(ExchangeFailure(sawHead ? .resetAfterHeaders : .resetBeforeHeaders, .maybeProcessed, tls.detail))
        case .writeBlocked:
            last?.exchangeFailed(ExchangeFailure(.timeoutIdle, .maybeProcessed, "the upstream took no bytes"))
        case .reset, .connect, .connectTimeout, .tlsTimeout: last?.exchangeFailed(lost("the connection was reset"))
        }
    }

    package override func closed() {
        let last = handler
        handler = nil
        phase = .closing
        last?.exchangeFailed(lost("the connection closed"))
        client.connectionClosed()
    }

    func cancel() {
        handler = nil
        close()
    }

    func retire() { client.drain() }

    /// The rest of the response goes to another. The request goes no further.
    func handOver(to handler: any ResponseHandler) {
        if self.handler != nil { self.handler = handler }
    }

    private func close() {
        phase = .closing
        connection.close()
    }
}
