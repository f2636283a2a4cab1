// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CNGHTTP2
import Core

/// Flow control, resets, liveness and the graceful end.
extension HTTP2Session {
    /// The receiver is done with `bytes` of a stream's body: gives the peer credit for as many on stream and connection.
    /// nghttp2 gathers credit and sends it when half of a window was used up.
    package func consumed(_ stream: HTTP2Stream, bytes: Int) {
        let count = min(max(bytes, 0), stream.unconsumedBytes)
        if count == 0 { return }
        stream.unconsumedBytes -= count
        // A refusal can only be for lack of memory or a window beyond 2^31, which the clamp rules out.
        if stream.isClosed || stream.isRemoteEnded || stream.isReset {
            _ = unsafe nghttp2_session_consume_connection(raw, count)
        } else {
            _ = unsafe nghttp2_session_consume(raw, stream.id, count)
        }
    }

    /// `stream.outbound` got bytes or its end.
    package func resume(_ stream: HTTP2Stream) {
        guard stream.isDeferred, !stream.isClosed else { return }
        stream.isDeferred = false
        _ = unsafe nghttp2_session_resume_data(raw, stream.id)
    }

    /// Ends a stream with RST_STREAM; what waits in it is not sent. `closed` follows when it is written.
    ///
    /// `noError` is for what remains of a request after its early answer (RFC 9113 §8.1): it waits until our side has ended in
    /// order, if that is on its way, and inbound bytes are dropped from now on.
    package func reset(_ stream: HTTP2Stream, code: HTTP2ErrorCode) {
        guard !stream.isClosed, !stream.isReset, stream.id != 0 else { return }
        if code == .noError && stream.hasResponded && !stream.isLocalEnded {
            stream.resetsOnceSent = true
            drop(stream)
            return
        }
        submitReset(stream, code)
        if code == .noError || code == .internalError || !isServer {
            // Our own doing, and nothing that a peer could provoke cheaply.
            prepaidResets += 1
        } else {
            charge(prepays: true)
        }
    }

    /// Takes no more of the peer's bytes, and gives those back that are held.
    func drop(_ stream: HTTP2Stream) {
        if stream.discardsInbound { return }
        stream.discardsInbound = true
        consumed(stream, bytes: stream.unconsumedBytes)
    }

    func submitReset(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        stream.isReset = true
        stream.resetCode = code
        submitReset(id: stream.id, code)
    }

    func submitReset(id: Int32, _ code: HTTP2ErrorCode) {
        if unsafe nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code.rawValue) != 0 {
            die(.internal, "RST_STREAM could not be queued")
        }
    }

    /// Books one oddity of the peer. `prepays`: it will be answered with a reset, that is then not booked again.
    func charge(prepays: Bool = false) {
        if prepays { prepaidResets += 1 }
        budget.spend(at: now)
        settleBudget()
    }

    func settleBudget() {
        if budget.isOverdrawn && !isTerminating {
            terminate(.enhanceYourCalm, isServer ? .clientFlood : .protocolError, "glitch budget used up")
        }
    }

    /// Whether a stream has bytes to send and no window for them: for the limit on how long that may last (case C05).
    package func isBlockedByPeer(_ stream: HTTP2Stream) -> Bool {
        if stream.isClosed || stream.outbound.isEmpty { return false }
        return unsafe nghttp2_session_get_stream_remote_window_size(raw, stream.id) <= 0
            || nghttp2_session_get_remote_window_size(raw) <= 0
    }

    /// Sends a PING; the owner hears of its answer. One at a time.
    package func ping() {
        guard !isPingOutstanding, !isTerminating else { return }
        isPingOutstanding = unsafe nghttp2_submit_ping(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) == 0
    }

    // MARK: Draining

    /// Server: tells the client to open no more streams (GOAWAY of 2^31 − 1); those that are under way to us are still taken
    /// (RFC 9113 §6.8). About one round trip later comes `finishDrain`.
    package func beginDrain() {
        guard isServer, !isTerminating else { return }
        _ = unsafe nghttp2_submit_shutdown_notice(raw)
    }

    /// Says which stream was the last and refuses all new ones from now on, so that the number is still true when it is
    /// sent (nghttp2 #2870). `isFinished` follows when the open streams have ended.
    package func finishDrain() {
        guard !isRefusingStreams, !isTerminating else { return }
        isRefusingStreams = true
        let status = unsafe nghttp2_submit_goaway(
            raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), lastAcceptedID, HTTP2ErrorCode.noError.rawValue, nil, 0)
        if status != 0 { die(.internal, "GOAWAY could not be queued") }
    }
}
