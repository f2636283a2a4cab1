// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
import Reactor
import TLS

/// The client's side of one HTTP/2 connection to an upstream: many exchanges, each told apart by what the upstream can have
/// done with it when the connection or the stream ends (RFC 9113 §8.7).
package final class HTTP2Client: ConnectionHandler, HTTP2SessionHandler {
    private let client: ClientConnection
    /// Strong both ways until the connection closes and lets its handler go.
    private let connection: Connection
    let session: HTTP2Session
    private let sessionOwner = HTTP2HandledOwner()
    private var isFinishing = false

    init(client: ClientConnection, connection: Connection) {
        self.client = client
        self.connection = connection
        session = HTTP2Session(
            client: client.settings.http2, limits: client.settings.heads, owner: sessionOwner, now: connection.context.reactor.now)
        super.init()
        sessionOwner.handler = self
        connection.requestTurnEnd()
    }

    private var now: Instant { connection.context.reactor.now }

    var streamCount: Int { session.openStreams }
    var freeStreams: Int { connection.isOpen && !isFinishing && session.canOpenStream ? 1 : 0 }

    func begin(_ handler: any ResponseHandler) -> HTTP2ClientStream? {
        guard freeStreams > 0 else { return nil }
        return HTTP2ClientStream(client: self, handler: handler)
    }

    func retire() { client.drain() }

    func wantsFlush() { connection.requestTurnEnd() }

    package override func received(_ input: inout ByteBuffer) {
        _ = input.withReadable { session.receive($0, now: now) }
        input.removeAll()
        connection.requestTurnEnd()
    }

    package override var writesAtTurnEnd: Bool { session.wantsWrite }

    package override func willFlush(into output: inout ByteBuffer) {
        session.produce(into: &output, limit: Connection.highWater)
        if session.isFinished && !isFinishing {
            isFinishing = true
            connection.closeAfterFlush()
        }
    }

    package override func flushed() {
        if session.wantsWrite { connection.requestTurnEnd() }
        if awaitingFlush.isEmpty { return }
        let streams = awaitingFlush
        awaitingFlush.removeAll(keepingCapacity: true)
        for stream in streams where !stream.tellFlushed() { awaitingFlush.append(stream) }
    }

    /// Streams whose whole request was handed over and is not known to be in the kernel.
    private var awaitingFlush: [HTTP2ClientStream] = []

    func awaitsFlush(_ stream: HTTP2ClientStream) { awaitingFlush.append(stream) }

    package override func drained() { connection.requestTurnEnd() }
    package override func receivedEnd(truncated: Bool) { connection.close() }
    package override func peerHungUp() { connection.close() }

    package override func closed() {
        isFinishing = true
        session.connectionClosed()
        client.connectionClosed()
    }

    // MARK: HTTP2SessionHandler

    package func streamOpened(_ session: HTTP2Session) -> HTTP2HandledStream? { nil }
    package func settingsReceived(_ session: HTTP2Session) { client.owner.connectionAvailable(client) }

    package func goAwayReceived(_ session: HTTP2Session, lastStreamID: Int32, code: HTTP2ErrorCode) {
        client.isDraining = true
        if code == .enhanceYourCalm { asksForCalm = true }
    }

    /// The upstream's GOAWAY said ENHANCE_YOUR_CALM: what it did not process counts as back-pressure.
    private(set) var asksForCalm = false

    func streamEnded() {
        if client.isDraining || client.exchanges >= client.settings.maximumExchanges {
            if session.openStreams == 0 { connection.closeAfterFlush() }
        } else {
            client.idleSince = now
            client.owner.connectionAvailable(client)
        }
        connection.requestTurnEnd()
    }

}

/// One exchange on an HTTP/2 connection to an upstream.
package final class HTTP2ClientStream: HTTP2StreamHandler {
    private let client: HTTP2Client
    private let stream = HTTP2HandledStream()
    private var handler: (any ResponseHandler)?
    private var requestEnded = false
    private var sawHead = false

    init(client: HTTP2Client, handler: any ResponseHandler) {
        self.client = client
        self.handler = handler
        stream.handler = self
    }

    // MARK: The request

    func send(_ head: RequestHead, endStream: Bool) {
        requestEnded = endStream
        guard client.session.open(stream, head: head, endStream: endStream) else {
            stream.handler = nil
            let last = handler
            handler = nil
            last?.exchangeFailed(ExchangeFailure(.http2RefusedStream, .surelyUnprocessed, "the connection takes no further stream"))
            return
        }
        if endStream { client.awaitsFlush(self) }
        client.wantsFlush()
    }

    /// True when there is nothing left to tell.
    func tellFlushed() -> Bool {
        guard let handler, stream.outbound.isEmpty else { return self.handler == nil }
        handler.requestFlushed()
        return true
    }

    func write(_ bytes: Span<UInt8>) {
        guard !requestEnded, !bytes.isEmpty else { return }
        stream.outbound.append(bytes)
        client.session.resume(stream)
        client.wantsFlush()
    }

    func finish(trailers: borrowing FieldSection) {
        guard !requestEnded else { return }
        requestEnded = true
        if !trailers.isEmpty { stream.outboundTrailers.append(contentsOf: trailers) }
        stream.outboundEnded = true
        client.session.resume(stream)
        client.awaitsFlush(self)
        client.wantsFlush()
    }

    var isCongested: Bool { stream.outbound.count >= Connection.highWater }

    func consumed(_ n: Int) {
        client.session.consumed(stream, bytes: n)
        client.wantsFlush()
    }

    func retireConnection() { client.retire() }

    /// The rest of the response goes to another. The request goes no further.
    func handOver(to handler: any ResponseHandler) {
        if self.handler != nil { self.handler = handler }
    }

    func cancel() {
        handler = nil
        client.session.reset(stream, code: .cancel)
        client.wantsFlush()
    }

    // MARK: The response

    package func headReceived(_ stream: HTTP2HandledStream, endStream: Bool) {
        sawHead = true
        handler?.responseHead(stream.responseHead, endStream: endStream)
        if endStream { ended() }
    }

    package func headRefused(_ stream: HTTP2HandledStream, _ failure: DecodeFailure, endStream: Bool) {}

    package func informationalReceived(_ stream: HTTP2HandledStream) {
        if stream.responseHead.status != 100 { handler?.informational(stream.responseHead) }
    }

    package func dataReceived(_ stream: HTTP2HandledStream, _ bytes: Span<UInt8>) {
        if let handler { handler.responseBody(bytes) } else { client.session.consumed(stream, bytes: bytes.count) }
    }

    package func endReceived(_ stream: HTTP2HandledStream) { ended() }

    private func ended() {
        let last = handler
        handler = nil
        last?.responseEnded(trailers: stream.trailers)
        // An answer before the end of our request: the rest is not wanted.
        if !requestEnded { client.session.reset(stream, code: .cancel) }
    }

    package func outboundDrained(_ stream: HTTP2HandledStream) { handler?.requestDrained() }

    package func closed(_ stream: HTTP2HandledStream, code: HTTP2ErrorCode, processed: HTTP2Processed) {
        let last = handler
        handler = nil
        client.session.release(stream)
        if let last { last.exchangeFailed(failure(stream, code: code, processed: processed)) }
        client.streamEnded()
    }

    private func failure(_ stream: HTTP2HandledStream, code: HTTP2ErrorCode, processed: HTTP2Processed) -> ExchangeFailure {
        switch processed {
        case .refused: return ExchangeFailure(.http2RefusedStream, .surelyUnprocessed, "REFUSED_STREAM")
        case .aboveGoAway:
            return client.asksForCalm
                ? ExchangeFailure(.http2EnhanceYourCalm, .surelyUnprocessed, "above the last stream of a GOAWAY")
                : ExchangeFailure(.http2GoAwayUnprocessed, .surelyUnprocessed, "above the last stream of a GOAWAY")
        case .neverSent: return ExchangeFailure(.connectionStale, .nothingSent, "the connection ended before the stream began")
        case .maybe: break
        }
        if let failure = stream.failure { return ExchangeFailure(.protocolError, .maybeProcessed, "\(failure.detail)") }
        if sawHead { return ExchangeFailure(.resetAfterHeaders, .maybeProcessed, "the stream was reset: \(code)") }
        return ExchangeFailure(.resetBeforeHeaders, .maybeProcessed, "the stream was reset: \(code)")
    }
}
