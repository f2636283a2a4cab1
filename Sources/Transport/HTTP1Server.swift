// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import HTTP
package import Reactor

/// The server's side of one HTTP/1 connection: one exchange after the other, in order.
///
/// Reading stops while an exchange waits for its answer, so that pipelined requests cost no memory beyond one read (case
/// A20). The two directions of an exchange end independently: an answer may end before its request, and then the
/// connection closes, having read on for a while so that the client sees the answer (cases A23, B08).
package final class HTTP1Server: ConnectionHandler, TimerOwner {
    private enum Phase {
        /// Between exchanges; nothing of the next head has come.
        case idle
        case head
        case exchange
        case closing
    }

    let info: ServerConnectionInfo
    var trailers = FieldSection()
    /// Strong both ways until the connection closes and lets its handler go.
    private let connection: Connection
    private let exchange: ServerExchange
    private var decoder: RequestDecoder
    private var phase = Phase.idle
    private var requestEnded = false
    private var responseEnded = false
    private var keepsConnection = true
    private var responseFraming = BodyFraming.none
    private var responseLeft: UInt64 = 0
    private var sentContinue = false
    /// Body bytes given to the handler and not yet consumed: reading stops while there are any.
    private var unconsumed = 0
    private var isProcessing = false
    private var idleBegan = Instant.origin
    private let timer = Timer()

    package init(info: ServerConnectionInfo) {
        self.info = info
        connection = info.connection
        decoder = RequestDecoder(limits: info.settings.heads)
        exchange = ServerExchange(head: info.connection.context.spareHeads.none, info: info, wire: .gone)
        super.init()
        timer.owner = self
        exchange.wire = .http1(self)
        armIdle()
    }

    private var now: Instant { connection.context.reactor.now }

    // MARK: Reading

    package override func received(_ input: inout ByteBuffer) {
        isProcessing = true
        defer { isProcessing = false }
        while true {
            if phase == .closing {
                input.removeAll()
                return
            }
            if phase == .exchange && requestEnded {
                connection.pauseReading()
                return
            }
            if phase == .idle {
                if input.isEmpty { return }
                headBegins()
            }
            guard step(&input) else { break }
            // What the handler did not take holds the client back; an end that needs no further byte is still looked for.
            if unconsumed > 0 && !requestEnded && !input.isEmpty { break }
        }
        if unconsumed > 0 && !requestEnded && phase == .exchange { connection.pauseReading() }
    }

    /// Uses up one event. False when more bytes are needed or the connection is closing.
    private func step(_ input: inout ByteBuffer) -> Bool {
        var goesOn = true
        let used = input.withReadable { span -> Int in
            let (consumed, event) = decoder.next(span, into: exchange.head, trailers: &trailers)
            switch event {
            case .needMore:
                goesOn = false
            case .head:
                headEnded()
            case .body(let range):
                exchange.bodyBytesReceived &+= UInt64(range.count)
                unconsumed += range.count
                if let handler = exchange.handler {
                    handler.requestBody(span.extracting(range))
                } else {
                    unconsumed = 0  // answered already: what still comes is dropped
                }
            case .end:
                requestCompleted()
            case .http2Preface:
                goesOn = false
                switchToHTTP2()
            case .failure(let failure):
                goesOn = false
                failed(failure)
            }
            return consumed
        }
        input.consume(used)
        return goesOn && !connection.isClosed
    }

    private func headBegins() {
        phase = .head
        exchange.head = connection.context.spareHeads.take()
        exchange.startedAt = now
        connection.context.reactor.schedule(timer, at: now.advanced(by: info.settings.headerTimeout))
    }

    private func headEnded() {
        timer.cancel()
        phase = .exchange
        requestEnded = false
        responseEnded = false
        sentContinue = false
        unconsumed = 0
        info.exchanges += 1
        keepsConnection =
            exchange.head.keepsConnection && !info.isDraining && info.exchanges < info.settings.requestsPerConnection
            && !isTooOld
        exchange.headCompleteAt = now
        info.service.handle(exchange)
    }

    private var isTooOld: Bool { now >= info.expiresAt }

    private func requestCompleted() {
        requestEnded = true
        exchange.requestIsComplete = true
        if responseEnded {
            exchangeEnded()
        } else {
            connection.pauseReading()
            exchange.handler?.requestEnded()
        }
    }

    private func failed(_ failure: DecodeFailure) {
        timer.cancel()
        keepsConnection = false
        if phase == .exchange {
            if responseEnded {
                closeConnection(lingering: true)
                return
            }
            // The head was good and is being answered; its body is not. What the upstream got so far is void.
            let handler = exchange.handler
            exchange.handler = nil
            requestEnded = true
            if exchange.hasResponded {
                handler?.requestAborted(failure.reason, detail: failure.detail)
                exchange.isFinished = true
                closeConnection(lingering: false)
            } else {
                handler?.requestWithdrawn()
                info.service.refuse(exchange, reason: failure.reason, detail: failure.detail)
            }
            return
        }
        phase = .exchange
        requestEnded = true
        exchange.headCompleteAt = now
        info.exchanges += 1
        info.service.refuse(exchange, reason: failure.reason, detail: failure.detail)
    }

    package override func receivedEnd(truncated: Bool) { peerHungUp() }

    /// The client closed its side. A client that half-closes and still wants its answer cannot be told from one that went; like
    /// nginx we take it for gone, because then permits and upstream work are given back at once.
    package override func peerHungUp() {
        switch phase {
        case .idle, .head, .closing:
            connection.close()
        case .exchange:
            abandon(.clientCancelled, "the client closed the connection")
            connection.close()
        }
    }

    private func abandon(_ reason: Reason, _ detail: StaticString) {
        let handler = exchange.handler
        exchange.handler = nil
        exchange.isFinished = true
        phase = .closing
        handler?.requestAborted(reason, detail: detail)
    }

    func consumed(_ n: Int) {
        unconsumed -= min(n, unconsumed)
        if unconsumed == 0 && !requestEnded && phase == .exchange && !isProcessing { connection.resumeReading() }
    }

    // MARK: Answering

    private var version: HTTPVersion { exchange.head.version }

    func inform(_ response: ResponseHead) {
        guard phase == .exchange, version != .http10 else { return }
        if response.status == 100 { sentContinue = true }
        connection.write { HTTP1Encoder.encodeInformational(response, into: &$0) }
    }

    func sendContinue() {
        guard phase == .exchange, version != .http10, !sentContinue else { return }
        sentContinue = true
        connection.write { $0.append("HTTP/1.1 100 Continue\r\n\r\n") }
    }

    func respond(_ response: ResponseHead, endStream: Bool) {
        guard phase == .exchange else { return }
        let bodyless = exchange.head.method == .head || response.status == 204 || response.status == 304
        responseFraming = endStream && response.framing == .stream ? .none : response.framing
        if bodyless {
            responseLeft = 0
        } else {
            switch responseFraming {
            case .length(let n): responseLeft = n
            case .none: responseLeft = 0
            case .stream, .untilClose:
                responseFraming = version == .http10 ? .untilClose : .stream
                if version == .http10 { keepsConnection = false }
            }
        }
        // An error while the body still comes: the rest of it will not be read, so say so now.
        if info.isDraining || (!requestEnded && exchange.head.framing != .none && response.status >= 400) {
            keepsConnection = false
        }
        connection.write { output in
            HTTP1Encoder.encodeResponse(
                response, framing: responseFraming, requestMethod: exchange.head.method, version: version,
                keepsConnection: keepsConnection, into: &output)
        }
        if bodyless { responseFraming = .none }
    }

    func write(_ bytes: Span<UInt8>) {
        guard phase == .exchange, !bytes.isEmpty else { return }
        switch responseFraming {
        case .none:
            return
        case .length:
            let n = Int(min(UInt64(bytes.count), responseLeft))
            responseLeft -= UInt64(n)
            connection.write(bytes.extracting(first: n))
        case .stream:
            connection.write { output in HTTP1Encoder.encodeChunk(bytes, into: &output) }
        case .untilClose:
            connection.write(bytes)
        }
        if connection.isCongested { connection.noteCongestion() }
    }

    func finish(trailers: borrowing FieldSection) {
        guard phase == .exchange else { return }
        switch responseFraming {
        case .none: break
        case .length:
            if responseLeft > 0 {  // shorter than promised: must not look whole
                abort()
                return
            }
        case .stream:
            let keepsTrailers = exchange.head.acceptsTrailers && !trailers.isEmpty
            connection.write { output in
                if keepsTrailers {
                    HTTP1Encoder.encodeLastChunk(trailers: trailers, into: &output)
                } else {
                    output.append("0\r\n\r\n")
                }
            }
        case .untilClose: keepsConnection = false
        }
        responseEnded = true
        exchange.handler = nil
        if requestEnded {
            exchangeEnded()
        } else if isProcessing && exchange.head.framing == .none {
            // Answered from within its own head: the decoder's `.end` is next.
        } else {
            closeConnection(lingering: true)
        }
    }

    func abort() {
        guard phase == .exchange else { return }
        phase = .closing
        exchange.handler = nil
        // A chunked or counted body that stops short is known to be incomplete; one that ends by close needs a reset.
        connection.abortAfterFlushing(byReset: responseFraming == .untilClose)
    }

    var isCongested: Bool { connection.isCongested }
    var queuedBytes: Int { connection.queuedBytes }

    package override func drained() { exchange.handler?.responseDrained() }

    private func exchangeEnded() {
        guard keepsConnection else {
            closeConnection(lingering: true)
            return
        }
        phase = .idle
        exchange.reset()
        returnHead()
        trailers.removeAll()
        decoder.startNext()
        if info.isDraining {
            connection.closeAfterFlush()
            phase = .closing
            return
        }
        armIdle()
        connection.resumeReading()
    }

    private func returnHead() {
        connection.context.spareHeads.give(exchange.head)
        exchange.head = connection.context.spareHeads.none
    }

    private func closeConnection(lingering: Bool) {
        phase = .closing
        exchange.handler = nil
        connection.closeAfterFlush(lingering: lingering)
    }

    // MARK: The connection's life

    private func switchToHTTP2() {
        guard info.settings.allowsHTTP2, info.exchanges == 0, !info.isTLS else {
            failed(DecodeFailure(reason: .requestMalformed, detail: "an HTTP/2 preface on an HTTP/1 connection"))
            return
        }
        timer.cancel()
        phase = .closing
        info.owner?.speakHTTP2(info, connection)
    }

    /// No further request after the one under way; closes at once when there is none.
    package func drain() {
        info.isDraining = true
        if phase == .idle {
            phase = .closing
            connection.closeAfterFlush()
        }
    }

    /// Since when it has had no exchange; `nil`: one is under way.
    var idleSince: Instant? { phase == .idle ? idleBegan : nil }

    private func armIdle() {
        idleBegan = now
        connection.context.reactor.schedule(timer, at: now.advanced(by: info.settings.idleTimeout))
    }

    package func timerFired(_ timer: Timer, now: Instant) {
        switch phase {
        case .idle:
            phase = .closing
            connection.closeAfterFlush()
        case .head:
            phase = .exchange
            requestEnded = true
            keepsConnection = false
            exchange.headCompleteAt = now
            info.exchanges += 1
            info.service.refuse(exchange, reason: .clientHeaderTimeout, detail: "the request's head took too long")
        case .exchange, .closing: break
        }
    }

    package override func failed(_ failure: ConnectionFailure) {
        if phase == .exchange {
            switch failure {
            case .writeBlocked: abandon(.clientSlow, "the client stopped reading")
            default: abandon(.clientCancelled, "the connection was lost")
            }
        }
        info.service.connectionFailed(connection, failure)
    }

    package override func closed() {
        timer.cancel()
        if phase == .exchange { abandon(info.isCut ? .shutdown : .clientCancelled, "the connection closed") }
        exchange.wire = .gone
        returnHead()
        info.owner?.closedByProtocol()
    }
}
