// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import Reactor
package import TLS

/// A byte stream over one socket, plain or TLS, with coalesced writes and back-pressure.
///
///     socket ─► (TLS engine) ─► handler.received      handler ─► output ─► (TLS engine) ─► socket, once a loop turn
///
/// It decides nothing about HTTP. Reading stops while `isReadingPaused`; a producer asks `isCongested` before it makes
/// more output and is told by `drained` when it may go on. A connection lives on one reactor and is closed exactly once.
package final class Connection: Channel {
    package enum State { case connecting, handshaking, open, flushing, lingering, closed }

    package struct Settings: Sendable {
        /// A connection of our own must be up within this.
        package var connectTimeout: Duration = .seconds(1)
        /// Longest TLS handshake.
        package var handshakeTimeout: Duration = .seconds(5)
        /// Longest time with bytes waiting and none taken by the peer.
        package var writeTimeout: Duration = .seconds(30)

        package init() {}
    }

    /// Queued bytes above which a producer should stop, and below which it is told to go on.
    static let highWater = 256 * 1024
    static let lowWater = 64 * 1024
    /// After our last byte, how long and how much of the peer's we still read so that it sees the answer before a reset
    /// (RFC 9112 §9.6).
    static let lingerTime: Duration = .seconds(2)
    static let lingerBytes = 4 << 20
    static let readsPerTurn = 8

    package let context: TransportContext
    package let peer: SocketAddress
    package private(set) var state: State
    package private(set) var handler: ConnectionHandler?
    package private(set) var tls: TLSEngine?
    /// Plain bytes that will leave at the end of this turn. Append through `write` or in `willFlush`.
    package var output = ByteBuffer()
    package private(set) var isReadingPaused = false
    package private(set) var bytesReceived: UInt64 = 0
    package private(set) var bytesSent: UInt64 = 0
    /// When the socket was accepted or the connect began.
    package let openedAt: Instant
    /// When TCP was up, and when TLS was.
    package private(set) var connectedAt: Instant?
    package private(set) var establishedAt: Instant?

    private let settings: Settings
    /// Bytes for the socket that it has not taken yet: cipher bytes with TLS, else unused.
    private var pendingCipher = ByteBuffer()
    /// Plain bytes that the handler left.
    private var input = ByteBuffer()
    private var cipherInput = ByteBuffer()
    private var wasCongested = false
    private var isFailing = false
    private var tlsHoldsPlain = false
    private var sawEnd = false
    private var endDelivered = false
    private var lingerAfterFlush = false
    private var abortAfterFlush = false
    private var resetAfterFlush = false
    private var lingered = 0
    private let timer = Timer()

    /// Adopts an accepted socket.
    package init(
        accepted descriptor: Descriptor, peer: SocketAddress, context: TransportContext, tls: TLSEngine?,
        settings: Settings, handler: ConnectionHandler
    ) {
        self.context = context
        self.peer = peer
        self.tls = tls
        self.settings = settings
        self.handler = handler
        state = tls == nil ? .open : .handshaking
        openedAt = context.reactor.now
        connectedAt = context.reactor.now
        super.init(descriptor: descriptor, reactor: context.reactor)
        timer.owner = self
        context.openConnections += 1
        if tls == nil {
            establishedAt = openedAt
            handler.established(self)
        } else {
            arm(settings.handshakeTimeout)
        }
    }

    /// A connection of our own whose `connect` is under way.
    package init(
        connecting descriptor: Descriptor, peer: SocketAddress, context: TransportContext, tls: TLSEngine?,
        settings: Settings, handler: ConnectionHandler
    ) {
        self.context = context
        self.peer = peer
        self.tls = tls
        self.settings = settings
        self.handler = handler
        state = .connecting
        openedAt = context.reactor.now
        super.init(descriptor: descriptor, reactor: context.reactor)
        timer.owner = self
        context.openConnections += 1
        arm(settings.connectTimeout)
    }

    package var isOpen: Bool { state == .open }

    /// Replaces the protocol, once TLS has said which it is.
    package func setHandler(_ handler: ConnectionHandler) {
        self.handler = handler
        requestReady()
    }

    // MARK: Writing

    /// Bytes accepted and not yet taken by the kernel.
    package var queuedBytes: Int { output.count + pendingCipher.count }
    package var isCongested: Bool { queuedBytes >= Connection.highWater }
    /// Whether every byte written so far has been taken by the kernel.
    package var isFlushed: Bool { queuedBytes == 0 }

    package func write(_ bytes: Span<UInt8>) {
        guard state == .open else { return }
        if output.capacity == 0 { context.spares.lend(to: &output) }
        output.append(bytes)
        requestTurnEnd()
    }

    /// Runs `write` on the output and sees that it leaves this turn.
    @inline(__always)
    package func write(_ write: (inout ByteBuffer) -> Void) {
        guard state == .open else { return }
        if output.capacity == 0 { context.spares.lend(to: &output) }
        write(&output)
        requestTurnEnd()
    }

    package override func turnEnded() {
        switch state {
        case .open, .flushing:
            if state == .open {
                if output.capacity == 0, handler?.writesAtTurnEnd == true { context.spares.lend(to: &output) }
                handler?.willFlush(into: &output)
            }
            flush()
        case .handshaking:
            flush()
        case .connecting, .lingering, .closed:
            break
        }
    }

    private func flush() {
        if let tls {
            flushCipher(through: tls)
        } else {
            while !output.isEmpty && isWritable {
                if let errno = sendSome(from: &output) {
                    fail(.reset(errno))
                    return
                }
            }
        }
        guard state != .closed else { return }
        afterFlush()
    }

    private func flushCipher(through tls: TLSEngine) {
        // What the socket did not take goes first; plain bytes stay plain until it has.
        while !pendingCipher.isEmpty && isWritable {
            if let errno = sendSome(from: &pendingCipher) {
                fail(.reset(errno))
                return
            }
        }
        guard !output.isEmpty, pendingCipher.isEmpty, tls.isHandshakeComplete else { return }
        if let failure = tls.send(plain: &output, into: &context.cipher) {
            fail(.tls(failure))
            return
        }
        sendCipher()
    }

    /// Sends the context's cipher buffer and keeps what is left.
    private func sendCipher() {
        while !context.cipher.isEmpty && isWritable && pendingCipher.isEmpty {
            if let errno = sendSome(from: &context.cipher) {
                context.cipher.removeAll()
                fail(.reset(errno))
                return
            }
        }
        if !context.cipher.isEmpty {
            context.cipher.withReadable { pendingCipher.append($0) }
            context.cipher.removeAll()
        }
    }

    /// One send. The `errno` if the connection failed by it; it is the caller's to act on, once nobody holds the buffer any more.
    private func sendSome(from buffer: inout ByteBuffer) -> Int32? {
        let held = buffer.count
        switch unsafe buffer.withUnsafeReadable({ unsafe send($0) }) {
        case .bytes(let n):
            buffer.consume(n)
            bytesSent &+= UInt64(n)
            if n < held { isWritable = false }
            return nil
        case .wouldBlock:
            isWritable = false
            return nil
        case .endOfStream:
            return 0
        case .failed(let errno):
            return errno
        }
    }

    private func afterFlush() {
        let queued = queuedBytes
        if queued == 0 {
            if timerKind == .write { disarm() }
            if state == .flushing {
                finishFlushing()
                return
            }
            if output.capacity > 0 { context.spares.take(from: &output) }
            if pendingCipher.capacity > 0 { pendingCipher.releaseStorage() }
            handler?.flushed()
        } else if state == .open || state == .flushing {
            // Progress or the first blocked moment: the clock of a blocked write starts anew.
            if timerKind == .none || timerKind == .write { arm(settings.writeTimeout, .write) }
        }
        if wasCongested {
            if queued <= Connection.lowWater && state == .open {
                wasCongested = false
                handler?.drained()
            }
        } else if queued >= Connection.highWater {
            wasCongested = true
        }
    }

    /// Tells the connection that its producer stopped because of `isCongested`, so that `drained` is owed.
    package func noteCongestion() { wasCongested = true }

    // MARK: Reading

    package func pauseReading() { isReadingPaused = true }

    package func resumeReading() {
        guard isReadingPaused else { return }
        isReadingPaused = false
        if !input.isEmpty || isReadable || tlsHoldsPlain || (sawEnd && !endDelivered) { requestReady() }
    }

    package override func ready() {
        switch state {
        case .connecting:
            if isWritable || sawHangUp { finishConnecting() }
        case .handshaking, .open:
            if isWritable && (!pendingCipher.isEmpty || !output.isEmpty) { requestTurnEnd() }
            if isReadingPaused {
                if sawHangUp && state == .open { handler?.peerHungUp() }
                return
            }
            if !input.isEmpty { offerInput() }
            readLoop()
        case .flushing:
            if isWritable { requestTurnEnd() }
        case .lingering:
            linger()
        case .closed:
            break
        }
    }

    private func readLoop() {
        var reads = 0
        while isReadable || tlsHoldsPlain, !isReadingPaused, !sawEnd, state == .open || state == .handshaking {
            if reads == Connection.readsPerTurn {
                requestReady()
                return
            }
            reads += 1
            if tls == nil { readPlain() } else { readCipher() }
        }
        // What the handler left by now will never be complete.
        if sawEnd && !endDelivered && !isReadingPaused && state == .open { deliverEnd() }
    }

    private func readPlain() {
        if input.isEmpty {
            guard take(receiveSome(into: &context.received)) else { return }
            handler?.received(&context.received)
            if !context.received.isEmpty {
                if state == .open { context.received.withReadable { input.append($0) } }
                context.received.removeAll()
            }
        } else if take(receiveSome(into: &input)) {
            offerInput()
        }
    }

    /// Hands the kept bytes to the handler again.
    private func offerInput() {
        handler?.received(&input)
        if input.isEmpty { input.releaseStorage() }
    }

    private func readCipher() {
        guard let tls else { return }
        var got = true
        if isReadable {
            if cipherInput.isEmpty {
                got = take(receiveSome(into: &context.received))
                if got { decrypt(tls, from: &context.received) }
                if !context.received.isEmpty {
                    if state != .closed { context.received.withReadable { cipherInput.append($0) } }
                    context.received.removeAll()
                }
                return
            }
            got = take(receiveSome(into: &cipherInput))
        }
        if got || tlsHoldsPlain {
            decrypt(tls, from: &cipherInput)
            if cipherInput.isEmpty { cipherInput.releaseStorage() }
        }
    }

    private func decrypt(_ tls: TLSEngine, from cipher: inout ByteBuffer) {
        let wasComplete = tls.isHandshakeComplete
        let status: TLSEngine.Status
        if input.isEmpty {
            status = tls.receive(
                from: &cipher, into: &context.plain, maximumPlain: TransportContext.readSize, output: &context.cipher)
        } else {
            status = tls.receive(from: &cipher, into: &input, maximumPlain: TransportContext.readSize, output: &context.cipher)
        }
        if !context.cipher.isEmpty { sendCipher() }
        guard state == .open || state == .handshaking else {
            context.plain.removeAll()
            return
        }
        if !wasComplete && tls.isHandshakeComplete { handshakeFinished() }
        if input.isEmpty {
            if !context.plain.isEmpty, state == .open { handler?.received(&context.plain) }
            if !context.plain.isEmpty {
                if state == .open { context.plain.withReadable { input.append($0) } }
                context.plain.removeAll()
            }
        } else if state == .open {
            offerInput()
        }
        guard state == .open || state == .handshaking else { return }
        tlsHoldsPlain = false
        switch status {
        case .needMoreInput, .outputPending: break
        case .plainLimit: tlsHoldsPlain = true
        case .closed:
            sawEnd = true
            isReadable = false
        case .failed(let failure): fail(.tls(failure))
        }
    }

    /// Acts on what a receive came to. True when there are new bytes.
    private func take(_ result: IOResult) -> Bool {
        switch result {
        case .bytes: return true
        case .wouldBlock: return false
        case .endOfStream:
            sawEnd = true
            if state == .handshaking { fail(.reset(0)) }
            return false
        case .failed(let errno):
            fail(.reset(errno))
            return false
        }
    }

    /// One receive, appended to `buffer`; acted on by `take`, once nobody holds the buffer any more.
    private func receiveSome(into buffer: inout ByteBuffer) -> IOResult {
        var result = IOResult.wouldBlock
        var room = 0
        // A kept partial message grows by what it needs, not by a whole read.
        let minimum = buffer.isEmpty ? TransportContext.readSize : 16_384
        unsafe buffer.withUnsafeWritable(minimum: minimum) { memory in
            room = memory.count
            result = unsafe receive(into: memory)
            if case .bytes(let n) = result { return n }
            return 0
        }
        switch result {
        case .bytes(let n):
            bytesReceived &+= UInt64(n)
            // On a stream socket a short read has emptied it, and what comes later is a new edge (epoll(7)).
            if n < room && !sawHangUp { isReadable = false }
        case .wouldBlock, .endOfStream, .failed: isReadable = false
        }
        return result
    }

    private func deliverEnd() {
        endDelivered = true
        handler?.receivedEnd(truncated: tls.map { $0.endOfStream() == .truncated } ?? false)
    }

    // MARK: Opening

    private func finishConnecting() {
        let errno = connectResult()
        guard errno == 0 else {
            fail(.connect(errno))
            return
        }
        connectedAt = context.reactor.now
        guard let tls else {
            state = .open
            establishedAt = connectedAt
            disarm()
            handler?.established(self)
            if state == .open && isReadable && !isReadingPaused { requestReady() }
            return
        }
        state = .handshaking
        arm(settings.handshakeTimeout)
        decrypt(tls, from: &cipherInput)  // a client speaks first
    }

    private func handshakeFinished() {
        state = .open
        establishedAt = context.reactor.now
        disarm()
        handler?.established(self)
        if !output.isEmpty { requestTurnEnd() }
    }

    // MARK: Closing

    /// Sends what is queued, says goodbye (close_notify, FIN) and closes. `lingering`: first reads and drops what the peer is
    /// still sending, within limits, so that it gets to see the answer.
    package func closeAfterFlush(lingering: Bool = false) {
        guard state == .open || state == .handshaking else { return }
        state = .flushing
        lingerAfterFlush = lingering
        isReadingPaused = false
        requestTurnEnd()
    }

    /// Sends what is queued and then ends without a close_notify, in clear `byReset` with a RST: so that nobody takes a body
    /// that is ended by the close for a whole one.
    package func abortAfterFlushing(byReset: Bool) {
        guard state == .open else {
            abort()
            return
        }
        state = .flushing
        abortAfterFlush = true
        resetAfterFlush = byReset
        requestTurnEnd()
    }

    private func finishFlushing() {
        if abortAfterFlush {
            finishClose(byReset: resetAfterFlush && tls == nil)
            return
        }
        if let tls {
            tls.close(into: &context.cipher)
            sendCipher()
            guard state == .flushing else { return }
        }
        guard lingerAfterFlush, !sawEnd else {
            finishClose(byReset: false)
            return
        }
        shutdownWrite()
        state = .lingering
        arm(Connection.lingerTime, .linger)
        requestReady()
    }

    private func linger() {
        while isReadable {
            guard take(receiveSome(into: &context.received)) else { break }
            lingered += context.received.count
            context.received.removeAll()
            if lingered > Connection.lingerBytes { break }
        }
        if sawEnd || lingered > Connection.lingerBytes { finishClose(byReset: false) }
    }

    /// Closes at once; what is queued is lost.
    package override func close() { finishClose(byReset: false) }

    /// Closes at once with a RST.
    package func abort() { finishClose(byReset: true) }

    private func fail(_ failure: ConnectionFailure) {
        guard state != .closed, !isFailing else { return }
        isFailing = true
        if state != .lingering && state != .flushing { handler?.failed(failure) }
        if case .tls(let tls) = failure, tls.isClearHTTP, state == .handshaking {
            answerClearHTTP()
            return
        }
        if case .tls = failure, !context.cipher.isEmpty {
            // The alert, once and if the socket takes it: a failure here must not lead back here.
            _ = unsafe context.cipher.withUnsafeReadable { unsafe send($0) }
        }
        context.cipher.removeAll()
        finishClose(byReset: false)
    }

    /// Someone speaks clear HTTP to a TLS port: an alert would tell a person nothing, so the answer is readable.
    private func answerClearHTTP() {
        tls = nil
        isFailing = false
        context.cipher.removeAll()
        cipherInput.removeAll()
        output.append(
            """
            HTTP/1.1 400 Bad Request\r\n\
            content-type: application/problem+json\r\n\
            content-length: 143\r\n\
            connection: close\r\n\r\n\
            {"type":"about:blank","title":"Clear HTTP on a TLS port","status":400,\
            "reason":"request.malformed","detail":"This port speaks TLS: use https."}
            """)
        state = .flushing
        lingerAfterFlush = true
        requestTurnEnd()
    }

    private func finishClose(byReset: Bool) {
        guard state != .closed else { return }
        state = .closed
        timer.cancel()
        timerKind = .none
        context.openConnections -= 1
        if byReset { reset() } else { super.close() }
        let last = handler
        handler = nil
        last?.closed()
        tls = nil
    }

    // MARK: Time

    private enum TimerKind { case none, opening, write, linger }
    private var timerKind = TimerKind.none

    private func arm(_ duration: Duration, _ kind: TimerKind = .opening) {
        timerKind = kind
        reactor.schedule(timer, at: reactor.now.advanced(by: duration))
    }

    private func disarm() {
        timerKind = .none
        timer.cancel()
    }

    package override func timerFired(_ timer: Timer, now: Instant) {
        switch timerKind {
        case .none: break
        case .opening: fail(state == .connecting ? .connectTimeout : .tlsTimeout)
        case .write: fail(.writeBlocked)
        case .linger: finishClose(byReset: false)
        }
    }
}
