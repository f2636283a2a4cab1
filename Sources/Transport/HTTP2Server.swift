// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
package import Reactor

/// The server's side of one HTTP/2 connection: many exchanges at once, all their frames in one write a loop turn.
package final class HTTP2Server: ConnectionHandler, TimerOwner, HTTP2SessionHandler {
    let info: ServerConnectionInfo
    private(set) var session: HTTP2Session
    private let sessionOwner = HTTP2HandledOwner()
    /// Strong both ways until the connection closes and lets its handler go.
    private let connection: Connection
    private enum TimerPurpose { case idle, age, drain }
    private var purpose = TimerPurpose.idle
    private var isFinishing = false
    private var idleBegan = Instant.origin
    private let timer = Timer()

    /// Between the two GOAWAYs of a graceful end: streams under way to us in that time are still taken (RFC 9113 §6.8).
    static let drainPause: Duration = .milliseconds(100)

    package init(info: ServerConnectionInfo) {
        self.info = info
        connection = info.connection
        let now = info.connection.context.reactor.now
        session = HTTP2Session(server: info.settings.http2, limits: info.settings.heads, owner: sessionOwner, now: now)
        super.init()
        timer.owner = self
        sessionOwner.handler = self
        connection.requestTurnEnd()
        armIdle()
    }

    private var now: Instant { connection.context.reactor.now }

    package override func received(_ input: inout ByteBuffer) {
        let verdict = input.withReadable { session.receive($0, now: now) }
        input.removeAll()
        noteFailure(verdict)
        connection.requestTurnEnd()
    }

    private func noteFailure(_ verdict: HTTP2Session.Verdict) {
        guard case .connectionError(let reason, let detail) = verdict, !isFinishing else { return }
        isFinishing = true
        info.service.connectionMisbehaved(connection, reason, detail: detail)
    }

    package override var writesAtTurnEnd: Bool { session.wantsWrite }

    package override func willFlush(into output: inout ByteBuffer) {
        session.produce(into: &output, limit: Connection.highWater)
        if session.isFinished { finish() }
    }

    private func finish() {
        if let failure = session.failure { noteFailure(.connectionError(failure.reason, detail: failure.detail)) }
        isFinishing = true
        connection.closeAfterFlush(lingering: true)
    }

    package override func flushed() { if session.wantsWrite { connection.requestTurnEnd() } }
    package override func drained() { connection.requestTurnEnd() }

    package override func receivedEnd(truncated: Bool) { connection.close() }
    package override func peerHungUp() { connection.close() }

    package override func failed(_ failure: ConnectionFailure) { info.service.connectionFailed(connection, failure) }

    package override func closed() {
        timer.cancel()
        session.connectionClosed()
        info.owner?.closedByProtocol()
    }

    /// GOAWAY in two steps; the connection closes when its streams have ended.
    package func drain() {
        guard !info.isDraining || purpose != .drain else { return }
        info.isDraining = true
        session.beginDrain()
        purpose = .drain
        connection.context.reactor.schedule(timer, at: now.advanced(by: HTTP2Server.drainPause))
        connection.requestTurnEnd()
    }

    // MARK: Streams

    package func streamOpened(_ session: HTTP2Session) -> HTTP2HandledStream? {
        timer.cancel()
        let stream = HTTP2HandledStream()
        stream.handler = HTTP2ServerStream(server: self, stream: stream)
        return stream
    }

    package func settingsReceived(_ session: HTTP2Session) {}
    package func goAwayReceived(_ session: HTTP2Session, lastStreamID: Int32, code: HTTP2ErrorCode) {}

    /// An exchange began: the limits of a connection's life are looked at here, once each.
    func exchangeBegan() {
        info.exchanges += 1
        if info.exchanges >= info.settings.requestsPerConnection || now >= info.expiresAt {
            if !info.isDraining { drain() }
        }
    }

    func exchangeEnded() {
        if session.activeStreamCount == 0 && purpose != .drain { armIdle() }
        connection.requestTurnEnd()
    }

    func wantsFlush() { connection.requestTurnEnd() }

    /// Since when it has had no exchange; `nil`: one is under way.
    var idleSince: Instant? { session.activeStreamCount == 0 && purpose == .idle ? idleBegan : nil }

    private func armIdle() {
        idleBegan = now
        purpose = .idle
        connection.context.reactor.schedule(timer, at: now.advanced(by: info.settings.idleTimeout))
    }

    package func timerFired(_ timer: Timer, now: Instant) {
        switch purpose {
        case .idle:
            if session.activeStreamCount == 0 { session.goAway(.noError) }
        case .age: break
        case .drain: session.finishDrain()
        }
        connection.requestTurnEnd()
    }
}

/// One exchange on an HTTP/2 server connection.
package final class HTTP2ServerStream: HTTP2StreamHandler {
    private let server: HTTP2Server
    private let stream: HTTP2HandledStream
    private let exchange: ServerExchange
    private var hasEnded = false

    init(server: HTTP2Server, stream: HTTP2HandledStream) {
        self.server = server
        self.stream = stream
        stream.requestHead = server.info.connection.context.spareHeads.take()
        exchange = ServerExchange(head: stream.requestHead, info: server.info, wire: .gone)
        exchange.wire = .http2(self)
        exchange.startedAt = server.info.connection.context.reactor.now
    }

    /// The request's trailers.
    var trailers: FieldSection { _read { yield stream.trailers } }

    // MARK: From the session

    package func headReceived(_ stream: HTTP2HandledStream, endStream: Bool) {
        begin(endStream: endStream)
        server.info.service.handle(exchange)
        if endStream { exchange.handler?.requestEnded() }
    }

    package func headRefused(_ stream: HTTP2HandledStream, _ failure: DecodeFailure, endStream: Bool) {
        begin(endStream: endStream)
        server.info.service.refuse(exchange, reason: failure.reason, detail: failure.detail)
    }

    private func begin(endStream: Bool) {
        exchange.headCompleteAt = server.info.connection.context.reactor.now
        exchange.requestIsComplete = endStream
        server.exchangeBegan()
    }

    package func informationalReceived(_ stream: HTTP2HandledStream) {}

    package func dataReceived(_ stream: HTTP2HandledStream, _ bytes: Span<UInt8>) {
        exchange.bodyBytesReceived &+= UInt64(bytes.count)
        if let handler = exchange.handler {
            handler.requestBody(bytes)
        } else {
            server.session.consumed(stream, bytes: bytes.count)
        }
    }

    package func endReceived(_ stream: HTTP2HandledStream) {
        exchange.requestIsComplete = true
        exchange.handler?.requestEnded()
    }

    package func outboundDrained(_ stream: HTTP2HandledStream) { exchange.handler?.responseDrained() }

    package func closed(_ stream: HTTP2HandledStream, code: HTTP2ErrorCode, processed: HTTP2Processed) {
        let handler = exchange.handler
        exchange.handler = nil
        exchange.wire = .gone
        if !exchange.isFinished {
            exchange.isFinished = true
            if let failure = stream.failure {
                handler?.requestAborted(failure.reason, detail: failure.detail)
            } else {
                handler?.requestAborted(server.info.isCut ? .shutdown : .clientCancelled, detail: "the client reset the stream")
            }
        }
        giveBack()
        // The work is given up by now, so that the place is free (case C01).
        server.session.release(stream)
        server.exchangeEnded()
    }

    /// The head and the buffer go to the next stream of this reactor.
    private func giveBack() {
        let context = server.info.connection.context
        let head = exchange.head
        exchange.head = context.spareHeads.none
        stream.requestHead = context.spareHeads.none
        context.spareHeads.give(head)
        stream.outbound.removeAll()
        if stream.outbound.capacity > 0 { context.spares.take(from: &stream.outbound) }
    }

    // MARK: From the handler

    func inform(_ response: ResponseHead) {
        server.session.inform(stream, head: response)
        server.wantsFlush()
    }

    func sendContinue() {
        let interim = ResponseHead()
        interim.status = 100
        inform(interim)
    }

    func respond(_ response: ResponseHead, endStream: Bool) {
        hasEnded = endStream
        server.session.respond(stream, head: response, endStream: endStream)
        server.wantsFlush()
    }

    func write(_ bytes: Span<UInt8>) {
        guard !hasEnded, !bytes.isEmpty else { return }
        if stream.outbound.capacity == 0 { server.info.connection.context.spares.lend(to: &stream.outbound) }
        stream.outbound.append(bytes)
        server.session.resume(stream)
        server.wantsFlush()
    }

    func finish(trailers: borrowing FieldSection) {
        if !hasEnded {
            hasEnded = true
            if !trailers.isEmpty { stream.outboundTrailers.append(contentsOf: trailers) }
            stream.outboundEnded = true
            server.session.resume(stream)
        }
        exchange.handler = nil
        // An answer before the end of its request: the rest is not wanted (RFC 9113 §8.1).
        if !exchange.requestIsComplete { server.session.reset(stream, code: .noError) }
        server.wantsFlush()
    }

    func abort(_ reason: Reason) {
        server.session.reset(stream, code: reason == .clientSlow ? .cancel : .internalError)
        server.wantsFlush()
    }

    var isCongested: Bool { stream.outbound.count >= Connection.highWater }
    var queuedBytes: Int { stream.outbound.count }

    func consumed(_ n: Int) {
        server.session.consumed(stream, bytes: n)
        server.wantsFlush()
    }
}
