// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
package import Core

/// One TLS connection without a socket: cipher bytes in, plain bytes out, and the other way.
///
/// It owns one `SSL`, lives on one reactor, and works on the buffers it is lent for the length of a call; between calls it
/// holds at most one partial record. Nothing a peer sends can trap it: whatever is wrong becomes one `TLSFailure`, which
/// every later call repeats, with the alert for the peer in the cipher output.
@safe package final class TLSEngine {
    package enum Status: Sendable {
        /// Nothing more to do until cipher bytes come.
        case needMoreInput
        /// The same, and this call appended bytes to the cipher output that should leave now.
        case outputPending
        /// close_notify received: the peer's data ended here, completely.
        case closed
        case failed(TLSFailure)
        /// Stopped because `maximumPlain` was reached and there is more: call again when there is room.
        case plainLimit
    }

    /// Bytes of records without application data (key updates, tickets, warning alerts, empty records) that a peer may
    /// send in a row after the handshake. Each costs us work and some an answer; no honest peer comes near 64 KiB.
    static let controlByteLimit = 65_536
    /// A server's first bytes leave in records that fit one segment of a fresh connection, so that the client can read
    /// the first before the second arrives; then full records.
    static let firstRecordBytes = 1_300
    static let smallRecordPhaseBytes = 16_384
    static let fullRecordBytes = 16_384

    /// Nil only when `SSL_new` failed; then `failure` is set from the start and no call reaches OpenSSL.
    let ssl: OpaquePointer?
    /// Owned by `ssl`.
    private let bio: OpaquePointer?
    /// Exactly one of the two; kept alive because OpenSSL's callbacks read it.
    let serverContext: ServerTLSContext?
    let clientContext: ClientTLSContext?
    /// Under which a client's session is kept.
    let sessionKey: ClientSessionCache.Key?

    package private(set) var isHandshakeComplete = false
    /// What ALPN settled on; `.none` before the handshake is complete.
    package private(set) var negotiatedProtocol = ApplicationProtocol.none
    /// The name in the client's SNI in lower case (server), or the name we asked for (client). Made once. Only printable
    /// ASCII, so that it can go into a log; nil when the client sent none.
    package internal(set) var serverName: String?
    /// Whether `serverName` chose the certificate, rather than the default being used.
    package internal(set) var isServerNameKnown = false

    /// The certificate that a client showed and that was verified, described once: it is asked for with each request.
    package private(set) lazy var clientCertificate: CertificateDescription? =
        isHandshakeComplete && serverContext != nil && verifyErrorText == nil ? peerCertificate : nil

    /// The certificate that verification turned down, kept only until the failure is worded.
    var rejectedCertificate: RejectedCertificate?
    /// The session that a client offered, to tell whether it was replaced; only compared, never followed.
    private var offeredSession: OpaquePointer?

    private var failure: TLSFailure?
    private var hasSeenFirstBytes = false
    private var closeNotifyReceived = false
    private var closeNotifySent = false
    private var controlBytes = 0
    private var smallRecordBytesLeft: Int32

    /// The accepting side.
    package init(server context: ServerTLSContext) {
        ErrorQueue.clear()
        unsafe ssl = SSL_new(context.defaultContext.raw)
        unsafe bio = ByteBufferBIO.make()
        serverContext = context
        clientContext = nil
        sessionKey = nil
        smallRecordBytesLeft = Int32(TLSEngine.smallRecordPhaseBytes)
        guard attachBIO() else { return }
        unsafe SSL_set_accept_state(ssl)
        applyWallTime(context.wallTime)
    }

    /// The connecting side. `serverName` is a DNS name, sent as SNI and looked for in the certificate, or an IP address,
    /// not sent (RFC 6066 §3) and looked for among the certificate's addresses. Sessions are kept and offered again for the
    /// same name and `sessionKey`, which should name the endpoint.
    package init(client context: ClientTLSContext, serverName: String, sessionKey: String = "") {
        ErrorQueue.clear()
        unsafe ssl = SSL_new(context.handle.raw)
        unsafe bio = ByteBufferBIO.make()
        serverContext = nil
        clientContext = context
        let key = ClientSessionCache.Key(serverName: serverName, endpoint: sessionKey)
        self.sessionKey = key
        self.serverName = serverName
        smallRecordBytesLeft = 0
        hasSeenFirstBytes = true
        guard attachBIO() else { return }
        unsafe SSL_set_connect_state(ssl)
        guard unsafe context.expect(serverName, on: ssl) else {
            failure = TLSFailure(reason: .tlsHandshake, detail: "the server name \"\(serverName)\" is not a possible name")
            return
        }
        applyWallTime(context.wallTime)
        if let session = context.sessions?.take(key), unsafe SSL_set_session(ssl, session.raw) == 1 {
            unsafe offeredSession = session.raw
        }
    }

    deinit {
        // Otherwise OpenSSL takes the connection for a broken one and marks its session as not resumable.
        if failure == nil && isHandshakeComplete { unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
        unsafe SSL_free(ssl)  // and the BIO with it
    }

    private func attachBIO() -> Bool {
        guard unsafe ssl != nil, unsafe bio != nil else {
            if unsafe ssl == nil { unsafe BIO_free_all(bio) }
            failure = TLSFailure(reason: .localResources, detail: "OpenSSL could not make a connection: \(ErrorQueue.take())")
            return false
        }
        unsafe SSL_set_bio(ssl, bio, bio)
        return true
    }

    private func applyWallTime(_ seconds: Int64?) {
        if let seconds { unsafe X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), Int(seconds)) }
    }

    var isServer: Bool { serverContext != nil }

    // MARK: Receiving

    /// Drives the handshake and decrypts.
    ///
    /// Consumes from `cipherIn`, appends at most `maximumPlain` plain bytes to `plainOut` (what is left stays in `cipherIn`
    /// and, less than a record, in the engine), and appends what must be sent (handshake, alerts, tickets) to `cipherOut`.
    /// A client's first call has an empty `cipherIn`.
    package func receive(
        from cipherIn: inout ByteBuffer, into plainOut: inout ByteBuffer, maximumPlain: Int, output cipherOut: inout ByteBuffer
    ) -> Status {
        if let failure { return .failed(failure) }
        if !hasSeenFirstBytes {
            switch ClearHTTP.judge(cipherIn.readable) {
            case .undecided: return .needMoreInput
            case .notHTTP: hasSeenFirstBytes = true
            case .http:
                return fail(
                    TLSFailure(
                        reason: .clientTLSFailed, detail: "the client spoke clear HTTP to a TLS port", isClearHTTP: true))
            }
        }
        if closeNotifyReceived { return .closed }
        let cipherBefore = cipherIn.count
        let plainBefore = plainOut.count
        let outputBefore = cipherOut.count
        let wasComplete = isHandshakeComplete
        let status = unsafe withUnsafeMutablePointer(to: &cipherIn) { input in
            unsafe withUnsafeMutablePointer(to: &cipherOut) { output in
                unsafe withWire(input: input, output: output) {
                    unsafe drive(input, into: &plainOut, maximumPlain: maximumPlain)
                }
            }
        }
        if plainOut.count > plainBefore {
            controlBytes = 0
        } else if wasComplete {
            controlBytes += cipherBefore - cipherIn.count
            if controlBytes > TLSEngine.controlByteLimit, case .needMoreInput = status {
                return fail(failure(of: "\(controlBytes) bytes of records without data in a row"))
            }
        }
        if case .needMoreInput = status, cipherOut.count > outputBefore { return .outputPending }
        return status
    }

    private func drive(
        _ cipherIn: UnsafeMutablePointer<ByteBuffer>, into plainOut: inout ByteBuffer, maximumPlain: Int
    ) -> Status {
        if !isHandshakeComplete {
            ErrorQueue.clear()
            let result = unsafe SSL_do_handshake(ssl)
            if result != 1 { return status(after: result) }
            handshakeFinished()
        }
        var room = maximumPlain
        while room > 0 {
            // Without input an `SSL_read` would only allocate a record buffer and free it again.
            if unsafe cipherIn.pointee.isEmpty && SSL_pending(ssl) == 0 { return .needMoreInput }
            ErrorQueue.clear()
            var result: Int32 = 0
            unsafe plainOut.withUnsafeWritable(minimum: min(room, TLSEngine.fullRecordBytes)) { memory in
                result = unsafe SSL_read(ssl, memory.baseAddress, Int32(clamping: min(memory.count, room)))
                return Int(result)
            }
            if result <= 0 { return status(after: result) }
            room -= Int(result)
        }
        return unsafe cipherIn.pointee.isEmpty && SSL_pending(ssl) == 0 ? .needMoreInput : .plainLimit
    }

    private func handshakeFinished() {
        isHandshakeComplete = true
        var name: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        unsafe SSL_get0_alpn_selected(ssl, &name, &length)
        // The bytes belong to `ssl` and are only compared here.
        let selected = unsafe UnsafeBufferPointer(start: name, count: Int(length))
        negotiatedProtocol =
            unsafe selected.elementsEqual("h2".utf8) ? .http2 : selected.elementsEqual("http/1.1".utf8) ? .http1 : .none
        if let cache = clientContext?.sessions, let key = sessionKey { keepRenewedSession(in: cache, key) }
    }

    /// TLS 1.2: a resumption may come with a new ticket, of which OpenSSL tells no callback.
    private func keepRenewedSession(in cache: ClientSessionCache, _ key: ClientSessionCache.Key) {
        defer { unsafe offeredSession = nil }
        guard isResumed, unsafe SSL_version(ssl) < TLS1_3_VERSION, unsafe SSL_get_session(ssl) != offeredSession,
            let renewed = unsafe SSL_get1_session(ssl)
        else { return }
        cache.store(unsafe Session(owning: renewed), for: key)
    }

    private func status(after result: Int32) -> Status {
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ:
            return .needMoreInput
        case SSL_ERROR_ZERO_RETURN:
            closeNotifyReceived = true
            return .closed
        default:
            return fail(failureFromQueue())
        }
    }

    private func fail(_ failure: TLSFailure) -> Status {
        self.failure = failure
        return .failed(failure)
    }

    /// The peer's TCP stream ended. Ask after everything received was decrypted.
    package func endOfStream() -> TruncationVerdict { closeNotifyReceived ? .clean : .truncated }

    // MARK: Sending

    /// Encrypts all of `plain`, consuming it, into records appended to `cipherOut`.
    package func send(plain: inout ByteBuffer, into cipherOut: inout ByteBuffer) -> TLSFailure? {
        let failure = unsafe plain.withUnsafeReadable { unsafe send($0, into: &cipherOut) }
        plain.removeAll()
        return failure
    }

    /// Encrypts `bytes` into records appended to `cipherOut`. Only once the handshake is complete.
    package func send(_ bytes: UnsafeRawBufferPointer, into cipherOut: inout ByteBuffer) -> TLSFailure? {
        if let failure { return failure }
        guard let start = bytes.baseAddress, bytes.count > 0 else { return nil }
        guard isHandshakeComplete else { return failure(of: "bytes to send before the handshake was complete") }
        // One growth for all records: a record adds 5 bytes of header and at most 17 of tag and type (29 with TLS 1.2).
        cipherOut.reserve(bytes.count + (bytes.count / TLSEngine.firstRecordBytes + 1) * 32)
        let written = unsafe withUnsafeMutablePointer(to: &cipherOut) { output in
            unsafe withWire(input: nil, output: output) { unsafe write(start, count: bytes.count) }
        }
        if written { return nil }
        let failure = failureFromQueue()
        self.failure = failure
        return failure
    }

    private func write(_ start: UnsafeRawPointer, count: Int) -> Bool {
        var offset = 0
        while offset < count {
            let length =
                smallRecordBytesLeft > 0 ? min(TLSEngine.firstRecordBytes, count - offset) : min(count - offset, 1 << 30)
            ErrorQueue.clear()
            // Takes all: the BIO never refuses, and partial writes are off. Splits into full records by itself.
            guard unsafe SSL_write(ssl, start + offset, Int32(truncatingIfNeeded: length)) == Int32(length) else { return false }
            if smallRecordBytesLeft > 0 { smallRecordBytesLeft -= Int32(truncatingIfNeeded: length) }
            offset += length
        }
        return true
    }

    /// Says that no more will come: appends a close_notify, once. Nothing before the handshake is complete or after a
    /// failure, whose alert has said it.
    package func close(into cipherOut: inout ByteBuffer) {
        guard isHandshakeComplete, failure == nil, !closeNotifySent else { return }
        closeNotifySent = true
        unsafe withUnsafeMutablePointer(to: &cipherOut) { output in
            unsafe withWire(input: nil, output: output) {
                ErrorQueue.clear()
                _ = unsafe SSL_shutdown(ssl)
                ErrorQueue.clear()
            }
        }
    }

    // MARK: The wire

    /// Lets the BIO see the two buffers while `body` runs, and not a moment longer.
    @inline(__always)
    private func withWire<Result>(
        input: UnsafeMutablePointer<ByteBuffer>?, output: UnsafeMutablePointer<ByteBuffer>?, _ body: () -> Result
    ) -> Result {
        var wire = unsafe Wire(input: input, output: output, engine: Unmanaged.passUnretained(self))
        return unsafe withUnsafeMutablePointer(to: &wire) {
            wire in
            unsafe BIO_set_data(bio, wire)
            defer { unsafe BIO_set_data(bio, nil) }
            return body()
        }
    }
}
