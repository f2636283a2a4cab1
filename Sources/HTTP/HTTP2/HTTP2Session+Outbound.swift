// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CNGHTTP2
import Core

/// Heads and bodies on their way out.
extension HTTP2Session {
    /// Fields that only HTTP/1 has, or that this side writes itself (RFC 9113 §8.2.2).
    private static var ownFields: UInt64 { HTTP1Encoder.ownFields }

    // MARK: Server

    /// Queues the final response. With `endStream` there is neither body nor trailers (as for HEAD, 204, 304); else the body
    /// is what comes into `stream.outbound`.
    package func respond(_ stream: HTTP2Stream, head: ResponseHead, endStream: Bool) {
        guard isServer, !stream.isClosed, !stream.isReset, !stream.hasResponded, stream.id != 0 else { return }
        stream.hasResponded = true
        beginResponse(head, isFinal: true, endStream: endStream, isHead: stream.requestMethod == .head)
        let status = unsafe fieldList.submit(head.fields) { pairs, count in
            if endStream { return unsafe nghttp2_submit_response(raw, stream.id, pairs, count, nil) }
            var provider = unsafe SessionTable.provider(stream)
            return unsafe nghttp2_submit_response(raw, stream.id, pairs, count, &provider)
        }
        if status != 0 { submissionFailed(stream) }
    }

    /// Queues a 1xx response (RFC 9110 §15.2). 101 does not exist here.
    package func inform(_ stream: HTTP2Stream, head: ResponseHead) {
        guard isServer, !stream.isClosed, !stream.isReset, !stream.hasResponded, stream.id != 0 else { return }
        guard (100...199).contains(head.status), head.status != 101 else { return }
        beginResponse(head, isFinal: false, endStream: false, isHead: false)
        let status = unsafe fieldList.submit(head.fields) { pairs, count in
            unsafe nghttp2_submit_headers(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, nil, pairs, count, nil)
        }
        if status != 0 { submissionFailed(stream) }
    }

    private func beginResponse(_ head: ResponseHead, isFinal: Bool, endStream: Bool, isHead: Bool) {
        let parts = head.parts
        let code = min(max(parts.status, 100), 599)
        fieldList.begin()
        fieldList.add(":status") { $0.append(decimal: code) }
        fieldList.add(head.fields, without: HTTP2Session.ownFields & ~FieldName.expect.bit)
        guard isFinal, code != 204 else { return }
        switch parts.framing {
        case .length(let n) where n == 0 || !endStream || isHead || code == 304:
            fieldList.add("content-length") { $0.append(decimal: n) }
        case .none:
            // What an answer to HEAD, or a 304, says of the body that it does not have.
            if endStream, let i = head.fields.first(.contentLength), isHead || code == 304 {
                fieldList.add("content-length", arena: head.fields.entries[i].value)
            }
        case .length, .stream, .untilClose:
            break
        }
    }

    // MARK: Client

    /// Whether a stream may be opened now: the peer's limit, ours, and no GOAWAY either way.
    package var canOpenStream: Bool {
        if isServer || isRefusingStreams || isTerminating || goAwayLastStreamID != nil { return false }
        let peersLimit = unsafe nghttp2_session_get_remote_settings(raw, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        guard streams.count < min(Int(peersLimit), settings.maximumConcurrentStreams) else { return false }
        return unsafe nghttp2_session_check_request_allowed(raw) != 0
    }

    /// Streams that could be opened beside the open ones.
    package var freeStreams: Int {
        guard canOpenStream else { return 0 }
        let peersLimit = unsafe nghttp2_session_get_remote_settings(raw, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        return min(Int(peersLimit), settings.maximumConcurrentStreams) - streams.count
    }

    /// Opens a stream with the head's own path and authority. False, and nothing done, if none may be opened now.
    package func open(_ stream: HTTP2Stream, head: RequestHead, endStream: Bool, isHTTPS: Bool? = nil) -> Bool {
        let parts = head.parts
        return head.withBytes(parts.path) { path in
            head.withBytes(parts.authority) { authority in
                open(stream, head: head, endStream: endStream, path: path, authority: authority, isHTTPS: isHTTPS)
            }
        }
    }

    /// Opens a stream and queues its request. The head's query follows `path`. `isHTTPS` is for `:scheme`; by default it is
    /// what the head says, and http where that says nothing.
    package func open(
        _ stream: HTTP2Stream, head: RequestHead, endStream: Bool, path: Span<UInt8>, authority: Span<UInt8>,
        isHTTPS: Bool? = nil
    ) -> Bool {
        guard canOpenStream, stream.id == 0 else { return false }
        let parts = head.parts
        fieldList.begin()
        if parts.method == .other {
            fieldList.add(":method", arena: parts.methodText)
        } else {
            fieldList.add(":method") { $0.append(parts.method.text) }
        }
        fieldList.add(":scheme") { $0.append(isHTTPS ?? parts.schemeIsHTTPS ?? false ? "https" : "http") }
        fieldList.add(":authority") { $0.append(authority) }
        fieldList.add(":path") { text in
            text.append(path)
            if parts.hasQuery {
                text.append("?")
                head.withBytes(parts.query) { text.append($0) }
            }
        }
        fieldList.add(head.fields, without: HTTP2Session.ownFields)
        if case .length(let n) = parts.framing, n == 0 || !endStream {
            fieldList.add("content-length") { $0.append(decimal: n) }
        }
        if parts.acceptsTrailers { fieldList.add("te") { $0.append("trailers") } }
        let id = unsafe fieldList.submit(head.fields) { pairs, count in
            // The stream is found from nghttp2's by this pointer; `streams` holds it until it is closed.
            let pointer = unsafe Unmanaged.passUnretained(stream).toOpaque()
            if endStream { return unsafe nghttp2_submit_request(raw, nil, pairs, count, nil, pointer) }
            var provider = unsafe SessionTable.provider(stream)
            return unsafe nghttp2_submit_request(raw, nil, pairs, count, &provider, pointer)
        }
        guard id > 0 else { return false }
        stream.requestMethod = parts.method
        stream.hasResponded = true
        adopt(stream, id: id)
        return true
    }

    // MARK: Bodies

    private func submissionFailed(_ stream: HTTP2Stream) {
        submitReset(stream, .internalError)
        prepaidResets += 1
    }

    /// nghttp2 asks how much of the stream's body goes into the next DATA frame of at most `length` octets.
    func nextData(_ stream: HTTP2Stream, length: Int, flags: UnsafeMutablePointer<UInt32>) -> Int {
        let waiting = stream.outbound.count
        let count = min(waiting, length)
        if count == 0 && !stream.outboundEnded {
            stream.isDeferred = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
        if stream.outboundEnded && count == waiting {
            unsafe flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
            if !stream.outboundTrailers.isEmpty && submitTrailers(stream) {
                unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            }
        }
        return count
    }

    /// False if there is none to send.
    private func submitTrailers(_ stream: HTTP2Stream) -> Bool {
        fieldList.begin()
        fieldList.add(stream.outboundTrailers, without: HTTP2Session.ownFields)
        var found = false
        let status = unsafe fieldList.submit(stream.outboundTrailers) { pairs, count in
            if count == 0 { return 0 }
            found = true
            return unsafe nghttp2_submit_trailer(raw, stream.id, pairs, count)
        }
        if status != 0 { submissionFailed(stream) }
        return found
    }

    /// Writes one DATA frame: its header from nghttp2, its octets straight from the stream. Returns false when the output is
    /// as long as it should get.
    func writeData(_ stream: HTTP2Stream, header: UnsafePointer<UInt8>, count: Int) -> Bool {
        guard let output = unsafe output else { return false }
        let before = stream.outbound.count
        unsafe output.pointee.append(UnsafeRawBufferPointer(start: header, count: 9))
        unsafe stream.outbound.withUnsafeReadable { bytes in
            unsafe output.pointee.append(UnsafeRawBufferPointer(rebasing: bytes[0..<min(count, bytes.count)]))
        }
        stream.outbound.consume(count)
        let after = stream.outbound.count
        let low = settings.outboundLowWaterBytes
        if after < low && before >= low && !stream.isNotedAsDrained && !stream.outboundEnded {
            stream.isNotedAsDrained = true
            drained.append(stream)
        }
        return unsafe output.pointee.count < outputLimit
    }
}
