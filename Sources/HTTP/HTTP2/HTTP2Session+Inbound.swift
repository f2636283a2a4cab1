// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CNGHTTP2
import Core

/// What nghttp2 tells while it looks at the peer's bytes. Each returns 0 to go on, or one of its error codes.
extension HTTP2Session {
    private static var stop: Int32 { NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }
    private static var skipBlock: Int32 { NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }

    /// A frame's header has come.
    func frameBegins(_ header: nghttp2_frame_hd) -> Int32 {
        if isOver { return HTTP2Session.stop }
        if isTerminating { return 0 }
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue, NGHTTP2_RST_STREAM.rawValue, NGHTTP2_SETTINGS.rawValue,
            NGHTTP2_PING.rawValue, NGHTTP2_GOAWAY.rawValue, NGHTTP2_PUSH_PROMISE.rawValue:
            return 0
        case NGHTTP2_HEADERS.rawValue:
            continuations = 0
            budget.sawTraffic(isHead: true)
            return 0
        case NGHTTP2_CONTINUATION.rawValue:
            continuations += 1
            if continuations > HTTP2Session.continuationLimit {
                terminate(.enhanceYourCalm, isServer ? .clientFlood : .protocolError, "too many CONTINUATION frames")
            }
            return 0
        case NGHTTP2_WINDOW_UPDATE.rawValue:
            budget.sawWindowUpdate(at: now)
        default:
            // PRIORITY, PRIORITY_UPDATE, and types that nobody knows (RFC 9113 §5.5).
            budget.sawPriority(at: now)
        }
        settleBudget()
        return 0
    }

    // MARK: Heads

    /// A block of fields begins. nghttp2 has made the stream if it is a new one.
    func headBegins(_ header: nghttp2_frame_hd, category: nghttp2_headers_category) -> Int32 {
        if isOver { return HTTP2Session.stop }
        if isTerminating { return HTTP2Session.skipBlock }
        guard header.type == UInt8(NGHTTP2_HEADERS.rawValue) else { return HTTP2Session.skipBlock }
        if isServer && category == NGHTTP2_HCAT_REQUEST { return requestBegins(header.stream_id) }
        guard let stream = stream(header.stream_id), !stream.isReset else { return HTTP2Session.skipBlock }
        decoding = stream
        if isServer || stream.hasFinalHead {
            collector.begin(.trailers)
        } else {
            collector.begin(.response)
        }
        return 0
    }

    /// Takes a new stream, or refuses it so that it may be tried again elsewhere (RFC 9113 §8.7).
    private func requestBegins(_ id: Int32) -> Int32 {
        if isRefusingStreams {
            // The client could not know yet: not an oddity.
            prepaidResets += 1
        } else if unreleased >= settings.maximumConcurrentStreams {
            charge(prepays: true)
        } else if let stream = owner.streamOpened(self) {
            guard stream.id == 0, !isOver else { return HTTP2Session.stop }
            lastAcceptedID = id
            adopt(stream, id: id)
            setStream(id, stream)
            decoding = stream
            collector.begin(.request)
            return 0
        } else if !isTerminating {
            charge(prepays: true)
        }
        submitReset(id: id, .refusedStream)
        return HTTP2Session.skipBlock
    }

    /// One field of the block that is being decoded.
    func field(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Int32 {
        if collector.take(name, value) { return 0 }
        guard let stream = decoding else { return HTTP2Session.skipBlock }
        collector.close()
        stream.failure = isServer ? collector.failure : collector.failure?.ofUpstream
        refuse(stream, .enhanceYourCalm)
        return HTTP2Session.skipBlock
    }

    /// Resets a stream for the peer's fault.
    private func refuse(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        guard !stream.isReset else { return }
        drop(stream)
        submitReset(stream, code)
        charge(prepays: true)
    }

    private func headEnds(_ stream: HTTP2Stream, endStream: Bool) {
        if stream.hasFinalHead {
            trailersEnd(stream)
        } else if isServer {
            requestEnds(stream, endStream: endStream)
        } else {
            responseEnds(stream, endStream: endStream)
        }
    }

    private func trailersEnd(_ stream: HTTP2Stream) {
        if let failure = collector.endTrailers(&stream.trailers) {
            stream.failure = isServer ? failure : failure.ofUpstream
            refuse(stream, .enhanceYourCalm)
            return
        }
        stream.isRemoteEnded = true
        if !stream.discardsInbound { stream.endReceived() }
    }

    private func requestEnds(_ stream: HTTP2Stream, endStream: Bool) {
        let fault = collector.endRequest(stream.requestHead, endStream: endStream)
        stream.hasFinalHead = true
        stream.requestMethod = stream.requestHead.method
        switch fault {
        case .none:
            stream.isRemoteEnded = endStream
            stream.headReceived(endStream: endStream)
        case .refused(let failure):
            stream.isRemoteEnded = endStream
            stream.failure = failure
            stream.discardsInbound = true
            stream.headRefused(failure, endStream: endStream)
        case .malformed(let failure):
            stream.failure = failure
            refuse(stream, .protocolError)
        }
    }

    private func responseEnds(_ stream: HTTP2Stream, endStream: Bool) {
        if let failure = collector.endResponse(
            stream.responseHead, requestMethod: stream.requestMethod, endStream: endStream)
        {
            stream.failure = failure
            refuse(stream, .protocolError)
        } else if stream.responseHead.status < 200 {
            stream.interimResponses += 1
            if stream.interimResponses > limits.interimResponses {
                stream.failure = DecodeFailure.malformed("too many interim responses").ofUpstream
                refuse(stream, .enhanceYourCalm)
            } else if !stream.discardsInbound {
                stream.informationalReceived()
            }
        } else {
            stream.hasFinalHead = true
            stream.isRemoteEnded = endStream
            if !stream.discardsInbound { stream.headReceived(endStream: endStream) }
        }
    }

    // MARK: Bodies and all other frames

    func data(_ id: Int32, _ bytes: Span<UInt8>) -> Int32 {
        if isOver { return HTTP2Session.stop }
        guard let stream = stream(id), !isTerminating else {
            _ = unsafe nghttp2_session_consume_connection(raw, bytes.count)
            return 0
        }
        stream.unconsumedBytes += bytes.count
        if stream.discardsInbound || stream.isReset {
            consumed(stream, bytes: bytes.count)
        } else {
            stream.dataReceived(bytes)
        }
        return isOver ? HTTP2Session.stop : 0
    }

    /// A frame is complete and valid.
    func frameReceived(_ frame: nghttp2_frame) -> Int32 {
        if isOver { return HTTP2Session.stop }
        if isTerminating { return 0 }
        let header = unsafe frame.hd
        let endsStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        let isAcknowledgement = header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            guard let stream = decoding, stream.id == header.stream_id else { break }
            decoding = nil
            if !stream.isReset { headEnds(stream, endStream: endsStream) }
        case NGHTTP2_DATA.rawValue:
            dataEnds(header.stream_id, isEmpty: unsafe frame.hd.length <= frame.data.padlen, endsStream: endsStream)
        case NGHTTP2_RST_STREAM.rawValue:
            resetReceived(header.stream_id)
        case NGHTTP2_WINDOW_UPDATE.rawValue:
            windowUpdated(header.stream_id, Int(unsafe frame.window_update.window_size_increment))
        case NGHTTP2_SETTINGS.rawValue:
            settingsReceived(isAcknowledgement: isAcknowledgement)
        case NGHTTP2_PING.rawValue:
            pingReceived(isAcknowledgement: isAcknowledgement)
        case NGHTTP2_GOAWAY.rawValue:
            goAwayReceived(unsafe frame.goaway.last_stream_id, HTTP2ErrorCode(rawValue: unsafe frame.goaway.error_code))
        default:
            break
        }
        return isOver ? HTTP2Session.stop : 0
    }

    private func dataEnds(_ id: Int32, isEmpty: Bool, endsStream: Bool) {
        if isEmpty && !endsStream { charge() }
        guard endsStream, let stream = stream(id), !stream.isReset else { return }
        stream.isRemoteEnded = true
        if !stream.discardsInbound { stream.endReceived() }
    }

    /// What the client gives up before we were done with it costs it (case C01). A client session takes resets as they come.
    private func resetReceived(_ id: Int32) {
        guard isServer else { return }
        guard let stream = stream(id) else {
            // Crossed the end of the stream; as often as PRIORITY frames would be.
            budget.sawPriority(at: now)
            settleBudget()
            return
        }
        if !stream.isLocalEnded { charge() }
    }

    /// Case C05: a window that is kept all but closed makes frames of a few octets.
    private func windowUpdated(_ id: Int32, _ increment: Int) {
        guard increment < 1_024 else { return }
        let window: Int32
        if id == 0 {
            window = unsafe nghttp2_session_get_remote_window_size(raw)
        } else {
            guard let stream = stream(id), !stream.outbound.isEmpty else { return }
            window = unsafe nghttp2_session_get_stream_remote_window_size(raw, id)
        }
        if Int(window) <= increment { charge() }
    }

    private func settingsReceived(isAcknowledgement: Bool) {
        if isAcknowledgement {
            settingsAcknowledged = true
            return
        }
        if peerSettingsReceived { charge() }
        peerSettingsReceived = true
        owner.settingsReceived(self)
    }

    private func pingReceived(isAcknowledgement: Bool) {
        if isAcknowledgement && isPingOutstanding {
            isPingOutstanding = false
            owner.pingAcknowledged(self)
        } else if isAcknowledgement {
            charge()
        } else {
            budget.sawPing(at: now)
            settleBudget()
        }
    }

    private func goAwayReceived(_ last: Int32, _ code: HTTP2ErrorCode) {
        goAwayLastStreamID = min(last, goAwayLastStreamID ?? .max)
        owner.goAwayReceived(self, lastStreamID: last, code: code)
        if isServer || isOver { return }
        // nghttp2 closes the streams above `last` next, but it keeps requests that it has not written yet (case C10).
        for stream in streams where !stream.isHeadSent {
            stream.isReset = true
            setStream(stream.id, nil)
            _ = unsafe nghttp2_submit_rst_stream(
                raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, HTTP2ErrorCode.cancel.rawValue)
            finish(stream, code: .refusedStream, processed: .neverSent)
        }
    }

    /// A frame that is against a rule; nghttp2 answers it with a reset or the connection's end.
    func invalidFrame(_ header: nghttp2_frame_hd, _ error: Int32) -> Int32 {
        if isOver { return HTTP2Session.stop }
        if isTerminating { return 0 }
        if let stream = stream(header.stream_id) {
            if stream.failure == nil {
                let failure = DecodeFailure.malformed("message against the rules of HTTP/2")
                stream.failure = isServer ? failure : failure.ofUpstream
            }
            stream.isReset = true
            drop(stream)
        }
        charge(prepays: true)
        return 0
    }

    // MARK: While frames are written

    func frameSent(_ frame: nghttp2_frame) -> Int32 {
        if isOver { return HTTP2Session.stop }
        let header = unsafe frame.hd
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue:
            let isHead = UInt32(header.type) == NGHTTP2_HEADERS.rawValue
            budget.sawTraffic(isHead: false)
            guard let stream = stream(header.stream_id) else { break }
            if isHead { stream.isHeadSent = true }
            if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 { localSideEnds(stream) }
        case NGHTTP2_RST_STREAM.rawValue:
            if prepaidResets > 0 { prepaidResets -= 1 } else { charge() }
        case NGHTTP2_GOAWAY.rawValue:
            let code = HTTP2ErrorCode(rawValue: unsafe frame.goaway.error_code)
            if failure == nil && !isTerminating && code != .noError {
                isTerminating = true
                let detail = unsafe UnsafeRawBufferPointer(
                    start: frame.goaway.opaque_data, count: frame.goaway.opaque_data_len)
                failure = (peersFault, "\(code): \(unsafe String(decoding: detail, as: UTF8.self))")
            }
        default:
            break
        }
        return isOver ? HTTP2Session.stop : 0
    }

    private func localSideEnds(_ stream: HTTP2Stream) {
        stream.isLocalEnded = true
        if stream.resetsOnceSent && !stream.isRemoteEnded {
            prepaidResets += 1
            submitReset(stream, .noError)
        }
    }

    /// A head that nghttp2 would not write: over its own limit, or for a stream that is gone.
    func frameNotSent(_ header: nghttp2_frame_hd, _ error: Int32) -> Int32 {
        if isOver { return HTTP2Session.stop }
        guard header.type == UInt8(NGHTTP2_HEADERS.rawValue), let stream = stream(header.stream_id), !stream.isReset else {
            return 0
        }
        if isServer || stream.isHeadSent {
            prepaidResets += 1
            submitReset(stream, .internalError)
        }
        return isOver ? HTTP2Session.stop : 0
    }

    func streamClosed(_ id: Int32, _ code: HTTP2ErrorCode) -> Int32 {
        if isOver { return HTTP2Session.stop }
        guard let stream = stream(id) else { return 0 }
        if decoding === stream {
            decoding = nil
            collector.close()
        }
        if code == .noError && !stream.isReset && stream.isLocalEnded && stream.isRemoteEnded { budget.sawCompletedExchange() }
        setStream(id, nil)
        // Where both sides have ended, nghttp2 closes the stream in order although a reset for its content is queued.
        finish(stream, code: stream.resetCode ?? code, processed: processed(stream, code: code))
        return isOver ? HTTP2Session.stop : 0
    }
}
