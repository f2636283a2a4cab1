// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CNGHTTP2
package import Core

/// One HTTP/2 connection, server or client, around one `nghttp2_session`: bytes and calls in, bytes and calls out
/// (RFC 9113). It knows no socket and no clock; `now` comes with the bytes.
///
/// Confined to its reactor. nghttp2 does framing, HPACK, flow control and the rules of messages; this adds what it leaves to
/// us (reliability, section 1): limits on heads while they are decoded, stricter pseudo-fields, the glitch budget, streams
/// that count until they have really gone.
///
/// `receive` and `produce` must not be called from inside each other, that is from a callback; all else may be.
@safe package final class HTTP2Session {
    package enum Verdict {
        case ok
        /// The connection is over. A GOAWAY is queued where the peer can understand one: produce, send, close.
        case connectionError(Reason, detail: String)
    }

    package let isServer: Bool
    package let settings: HTTP2Settings
    package let limits: HeadLimits
    /// Keeps this session; not the other way round.
    unowned let owner: HTTP2SessionOwner

    /// Freed in `deinit` only.
    let raw: OpaquePointer
    /// All open streams; `HTTP2Stream.slot` is the position. What nghttp2 points at is held by this.
    private(set) var streams: [HTTP2Stream] = []
    /// Server: streams that are not released, open or not.
    private(set) var unreleased = 0
    var budget: GlitchBudget
    /// The latest instant that came in.
    var now: Instant

    var collector: FieldCollector
    /// The stream whose head or trailers are being decoded.
    var decoding: HTTP2Stream?
    var fieldList = NameValueList()
    /// CONTINUATION frames in a row (case C03), and how many there may be: a head of 144 KiB in frames of usual size.
    static let continuationLimit = 8
    var continuations = 0
    /// Resets that will be written and are paid for already.
    var prepaidResets = 0

    /// Where `produce` writes to while it runs, for the callback that appends DATA.
    var output: UnsafeMutablePointer<ByteBuffer>?
    var outputLimit = 0
    var drained: [HTTP2Stream] = []
    private var isInside = false
    private var isDead = false
    /// The session is of no use any more; nghttp2's callbacks must not touch a stream.
    var isOver: Bool { isDead }

    /// Why the connection ended, once it did by a fault of the peer: set by `receive`, or by `produce` when it writes the GOAWAY
    /// that nghttp2 queued.
    package internal(set) var failure: (reason: Reason, detail: String)?
    var isTerminating = false
    /// Server: the highest stream that was given to the owner.
    var lastAcceptedID: Int32 = 0
    package internal(set) var isRefusingStreams = false
    /// The last stream that the peer's GOAWAY lets through, once there was one.
    package internal(set) var goAwayLastStreamID: Int32?
    package internal(set) var peerSettingsReceived = false
    package internal(set) var settingsAcknowledged = false
    package internal(set) var isPingOutstanding = false

    package convenience init(
        server settings: HTTP2Settings, limits: HeadLimits, owner: HTTP2SessionOwner, now: Instant = .origin
    ) {
        self.init(settings: settings, limits: limits, owner: owner, isServer: true, now: now)
    }

    package convenience init(
        client settings: HTTP2Settings, limits: HeadLimits, owner: HTTP2SessionOwner, now: Instant = .origin
    ) {
        self.init(settings: settings, limits: limits, owner: owner, isServer: false, now: now)
    }

    private init(settings: HTTP2Settings, limits: HeadLimits, owner: HTTP2SessionOwner, isServer: Bool, now: Instant) {
        self.isServer = isServer
        self.settings = settings.bounded
        self.limits = limits.bounded
        self.owner = owner
        self.now = now
        budget = GlitchBudget(burst: settings.glitchBurst, perSecond: settings.glitchesPerSecond, now: now)
        collector = FieldCollector(limits: limits.bounded)
        unsafe raw = SessionTable.makeSession(self.settings, limits: self.limits, isServer: isServer)
        unsafe nghttp2_session_set_user_data(raw, Unmanaged.passUnretained(self).toOpaque())
        announce()
    }

    deinit { unsafe nghttp2_session_del(raw) }

    /// Queues our SETTINGS and the connection's window.
    private func announce() {
        var entries: [nghttp2_settings_entry] = []
        func add(_ id: nghttp2_settings_id, _ value: Int) {
            entries.append(nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(clamping: value)))
        }
        if isServer {
            add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.maximumConcurrentStreams)
        } else {
            add(NGHTTP2_SETTINGS_ENABLE_PUSH, 0)
        }
        add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.streamWindowBytes)
        if settings.maximumFrameBytes != 16_384 { add(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings.maximumFrameBytes) }
        if settings.headerTableBytes != 4_096 { add(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, settings.headerTableBytes) }
        add(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerBytes)
        let status = unsafe nghttp2_submit_settings(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count)
        var window = settings.connectionWindowBytes
        if !isServer {
            let (all, overflow) = settings.streamWindowBytes.multipliedReportingOverflow(by: settings.maximumConcurrentStreams)
            window = min(max(window, overflow ? .max : all), Int(Int32.max))
        }
        let windowStatus = unsafe nghttp2_session_set_local_window_size(
            raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(clamping: window))
        if status != 0 || windowStatus != 0 { die(.internal, "HTTP/2 settings were refused") }
    }

    // MARK: Bytes

    /// Takes bytes of the peer. Nothing that they say throws or traps.
    ///
    /// Faults of framing are found here but, since nghttp2 only queues a GOAWAY for them, told when it is written: see `failure`
    /// and `isFinished` after `produce`.
    package func receive(_ bytes: Span<UInt8>, now: Instant) -> Verdict {
        precondition(!isInside, "HTTP2Session.receive called from a callback")
        if now > self.now { self.now = now }
        if failure == nil && !isDead && !bytes.isEmpty {
            isInside = true
            let status = unsafe bytes.withUnsafeBufferPointer { unsafe nghttp2_session_mem_recv(raw, $0.baseAddress, $0.count) }
            isInside = false
            // A callback that found the session closed has stopped nghttp2: no fault of anyone.
            if status < 0 && !isDead { receiveFailed(Int32(clamping: status)) }
        }
        if let failure { return .connectionError(failure.reason, detail: failure.detail) }
        return .ok
    }

    /// Errors for which nghttp2 queues nothing itself.
    private func receiveFailed(_ status: Int32) {
        switch status {
        case NGHTTP2_ERR_FLOODED.rawValue, NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue:
            terminate(.enhanceYourCalm, isServer ? .clientFlood : .protocolError, "flood of control or CONTINUATION frames")
        case NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue, NGHTTP2_ERR_SETTINGS_EXPECTED.rawValue:
            terminate(.protocolError, peersFault, "not an HTTP/2 connection preface")
        default:
            die(.internal, "nghttp2 error \(status) while receiving")
        }
    }

    /// Appends what waits to be sent, of all streams in turn, until about `limit` bytes are in `output`: at most one frame
    /// more. Returns whether more is waiting that could be sent now.
    @discardableResult
    package func produce(into output: inout ByteBuffer, limit: Int) -> Bool {
        if isInside { return true }
        if isDead { return false }
        isInside = true
        outputLimit = limit
        repeat {
            // The pointer is to the caller's `inout` and gone before it returns; `output` is used through it alone meanwhile.
            unsafe withUnsafeMutablePointer(to: &output) { pointer in
                unsafe self.output = pointer
                unsafe serialise(into: pointer)
                unsafe self.output = nil
            }
        } while tellDrained() && output.count < limit && wantsWrite
        isInside = false
        return wantsWrite
    }

    private func serialise(into output: UnsafeMutablePointer<ByteBuffer>) {
        while unsafe output.pointee.count < outputLimit {
            var bytes: UnsafePointer<UInt8>?
            let count = unsafe nghttp2_session_mem_send(raw, &bytes)
            if count < 0 {
                if !isDead { die(.internal, "nghttp2 error \(count) while sending") }
                return
            }
            guard count > 0, let bytes = unsafe bytes else { return }
            unsafe output.pointee.append(UnsafeRawBufferPointer(start: bytes, count: count))
        }
    }

    /// Lets producers go on, outside of nghttp2's callbacks. Returns whether there were any.
    private func tellDrained() -> Bool {
        if drained.isEmpty { return false }
        var i = 0
        while i < drained.count {
            let stream = drained[i]
            stream.isNotedAsDrained = false
            if !stream.isClosed { stream.outboundDrained() }
            i += 1
        }
        drained.removeAll(keepingCapacity: true)
        return true
    }

    /// Whether `produce` would write something.
    package var wantsWrite: Bool { unsafe !isDead && nghttp2_session_want_write(raw) != 0 }

    /// Nothing more is to be read or written: flush and close the connection.
    package var isFinished: Bool {
        unsafe isDead || nghttp2_session_want_read(raw) == 0 && nghttp2_session_want_write(raw) == 0
    }

    // MARK: The end

    var peersFault: Reason { isServer ? .requestMalformed : .protocolError }

    /// Ends the connection with a GOAWAY; nothing more of the peer is looked at.
    func terminate(_ code: HTTP2ErrorCode, _ reason: Reason, _ detail: String) {
        if isTerminating { return }
        isTerminating = true
        if failure == nil { failure = (reason, detail) }
        if unsafe nghttp2_session_terminate_session(raw, code.rawValue) != 0 { isDead = true }
    }

    /// Nothing can be sent any more either.
    func die(_ reason: Reason, _ detail: String) {
        if failure == nil { failure = (reason, detail) }
        isTerminating = true
        isDead = true
    }

    /// Ends the connection at once with a GOAWAY of `code`, with all its streams: for an idle connection, for a shutdown that
    /// does not wait, after a timeout. Produce, flush and close.
    package func goAway(_ code: HTTP2ErrorCode) {
        isRefusingStreams = true
        isTerminating = true
        if unsafe nghttp2_session_terminate_session(raw, code.rawValue) != 0 { isDead = true }
    }

    /// The connection is lost or closed: ends every stream. May be called from a callback; `receive` or `produce` then return
    /// without saying any more.
    package func connectionClosed() {
        isDead = true
        isTerminating = true
        isRefusingStreams = true
        while let stream = streams.last {
            finish(stream, code: .cancel, processed: processed(stream, code: .cancel))
        }
    }

    // MARK: Streams

    /// Streams that are open in the protocol's sense.
    package var openStreams: Int { streams.count }
    /// Server: streams that count against the limit, released ones not. Client: open streams.
    package var activeStreamCount: Int { isServer ? unreleased : streams.count }

    func adopt(_ stream: HTTP2Stream, id: Int32) {
        stream.id = id
        stream.slot = streams.count
        streams.append(stream)
        unreleased += 1
    }

    /// Takes a stream out and tells it. Its last call, whatever that does.
    func finish(_ stream: HTTP2Stream, code: HTTP2ErrorCode, processed: HTTP2Processed) {
        guard !stream.isClosed, stream.slot >= 0, stream.slot < streams.count else { return }
        stream.isClosed = true
        let last = streams.count - 1
        if stream.slot != last {
            streams.swapAt(stream.slot, last)
            streams[stream.slot].slot = stream.slot
        }
        streams.removeLast()
        stream.slot = -1
        stream.closed(code: code, processed: processed)
    }

    func processed(_ stream: HTTP2Stream, code: HTTP2ErrorCode) -> HTTP2Processed {
        if isServer { return .maybe }
        if !stream.isHeadSent { return .neverSent }
        if let last = goAwayLastStreamID, stream.id > last { return .aboveGoAway }
        return code == .refusedStream ? .refused : .maybe
    }

    /// Nothing is done for the exchange any more. Idempotent; a stream that is still open is reset.
    package func release(_ stream: HTTP2Stream) {
        guard !stream.isReleased, stream.id != 0 else { return }
        stream.isReleased = true
        unreleased -= 1
        if !stream.isClosed { reset(stream, code: .cancel) }
        stream.discardsInbound = true
        consumed(stream, bytes: stream.unconsumedBytes)
    }
}
