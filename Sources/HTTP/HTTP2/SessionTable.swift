// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CNGHTTP2

/// What nghttp2 is made from: its options and its table of callbacks. Each callback finds its session by the user data and
/// hands the event on; nothing may leave one but by returning.
enum SessionTable {
    static func makeSession(_ settings: HTTP2Settings, limits: HeadLimits, isServer: Bool) -> OpaquePointer {
        var options: OpaquePointer?
        guard unsafe nghttp2_option_new(&options) == 0, let options = unsafe options else { preconditionFailure("out of memory") }
        defer { unsafe nghttp2_option_del(options) }
        // Credit is given by `consumed` alone.
        unsafe nghttp2_option_set_no_auto_window_update(options, 1)
        // Reads the real clock; out of reach, since `GlitchBudget` counts on the reactor's.
        unsafe nghttp2_option_set_stream_reset_rate_limit(options, 1 << 40, 1 << 40)
        unsafe nghttp2_option_set_max_outbound_ack(options, 1_000)
        unsafe nghttp2_option_set_max_settings(options, 32)
        // nghttp2 1.52 counts the pieces that a CONTINUATION's header comes in, of 9 octets, and not the frames: this many at
        // most are of as many frames as `HTTP2Session.continuationLimit` lets through. For blocks that are skipped it is the limit.
        unsafe nghttp2_option_set_max_continuations(options, 9 * (HTTP2Session.continuationLimit + 1))
        // Frames of unknown types are dropped (RFC 9113 §4.1), but we hear only of those that nghttp2 thinks are for us.
        for type in UInt8(NGHTTP2_ALTSVC.rawValue)...UInt8.max {
            unsafe nghttp2_option_set_user_recv_extension_type(options, type)
        }
        unsafe nghttp2_option_set_max_deflate_dynamic_table_size(options, settings.headerTableBytes)
        // What came in within the limits may go out, with what a gateway adds to it.
        unsafe nghttp2_option_set_max_send_header_block_length(options, limits.headerBytes * 2 + 65_536)

        var session: OpaquePointer?
        let status =
            unsafe isServer
            ? nghttp2_session_server_new2(&session, callbacks.table, nil, options)
            : nghttp2_session_client_new2(&session, callbacks.table, nil, options)
        guard status == 0, let session = unsafe session else { preconditionFailure("out of memory") }
        return unsafe session
    }

    /// The body of a stream as nghttp2 asks for it. The stream lives as long as nghttp2's: `HTTP2Session.streams` holds it.
    static func provider(_ stream: HTTP2Stream) -> nghttp2_data_provider {
        unsafe nghttp2_data_provider(
            source: nghttp2_data_source(ptr: Unmanaged.passUnretained(stream).toOpaque()),
            read_callback: { _, _, _, length, flags, source, user in
                guard let session = unsafe SessionTable.session(user), !session.isOver, let flags = unsafe flags,
                    let stream = unsafe SessionTable.streamObject(source?.pointee.ptr)
                else { return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
                return unsafe session.nextData(stream, length: length, flags: flags)
            })
    }

    /// Owner of the table that all sessions copy; made once and never changed, hence safe to share.
    @safe private struct Callbacks: @unchecked Sendable {
        let table: OpaquePointer

        init() {
            var made: OpaquePointer?
            guard unsafe nghttp2_session_callbacks_new(&made) == 0, let table = unsafe made else {
                preconditionFailure("out of memory")
            }
            unsafe self.table = table
            unsafe SessionTable.fill(table)
        }
    }

    private static let callbacks = Callbacks()

    private static func session(_ user: UnsafeMutableRawPointer?) -> HTTP2Session? {
        guard let user = unsafe user else { return nil }
        // The user data is the session that is inside `receive` or `produce`.
        return unsafe Unmanaged<HTTP2Session>.fromOpaque(user).takeUnretainedValue()
    }

    private static func streamObject(_ pointer: UnsafeMutableRawPointer?) -> HTTP2Stream? {
        guard let pointer = unsafe pointer else { return nil }
        return unsafe Unmanaged<HTTP2Stream>.fromOpaque(pointer).takeUnretainedValue()
    }

    private static func fill(_ table: OpaquePointer) {
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(table) { _, header, user in
            guard let session = unsafe SessionTable.session(user), let header = unsafe header else { return SessionTable.failed }
            return unsafe session.frameBegins(header.pointee)
        }
        unsafe nghttp2_session_callbacks_set_on_extension_chunk_recv_callback(table) { _, _, _, _, _ in
            NGHTTP2_ERR_CANCEL.rawValue
        }
        unsafe nghttp2_session_callbacks_set_unpack_extension_callback(table) { _, _, _, _ in NGHTTP2_ERR_CANCEL.rawValue }
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(table) { _, frame, user in
            guard let session = unsafe SessionTable.session(user), let frame = unsafe frame else { return SessionTable.failed }
            return unsafe session.headBegins(frame.pointee.hd, category: frame.pointee.headers.cat)
        }
        unsafe nghttp2_session_callbacks_set_on_header_callback(table) { _, _, name, nameCount, value, valueCount, _, user in
            guard let user = unsafe user, let name = unsafe name, let value = unsafe value else { return SessionTable.failed }
            return unsafe Unmanaged<HTTP2Session>.fromOpaque(user)._withUnsafeGuaranteedRef { session in
                session.field(
                    unsafe Span(_unsafeStart: name, count: nameCount), unsafe Span(_unsafeStart: value, count: valueCount))
            }
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(table) { _, _, _, _, _, _, _, user in
            // nghttp2 would leave the field out; a message that has one is malformed (RFC 9113 §8.2.1).
            NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(table) { _, frame, user in
            guard let session = unsafe SessionTable.session(user), let frame = unsafe frame else { return SessionTable.failed }
            return unsafe session.frameReceived(frame.pointee)
        }
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) { _, _, id, bytes, count, user in
            guard let session = unsafe SessionTable.session(user), let bytes = unsafe bytes else { return SessionTable.failed }
            return session.data(id, unsafe Span(_unsafeStart: bytes, count: count))
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table) { _, frame, error, user in
            guard let session = unsafe SessionTable.session(user), let frame = unsafe frame else { return SessionTable.failed }
            return unsafe session.invalidFrame(frame.pointee.hd, error)
        }
        unsafe nghttp2_session_callbacks_set_on_frame_send_callback(table) { _, frame, user in
            guard let session = unsafe SessionTable.session(user), let frame = unsafe frame else { return SessionTable.failed }
            return unsafe session.frameSent(frame.pointee)
        }
        unsafe nghttp2_session_callbacks_set_on_frame_not_send_callback(table) { _, frame, error, user in
            guard let session = unsafe SessionTable.session(user), let frame = unsafe frame else { return SessionTable.failed }
            return unsafe session.frameNotSent(frame.pointee.hd, error)
        }
        unsafe nghttp2_session_callbacks_set_send_data_callback(table) { _, _, header, count, source, user in
            guard let session = unsafe SessionTable.session(user), !session.isOver, let header = unsafe header,
                let stream = unsafe SessionTable.streamObject(source?.pointee.ptr)
            else { return SessionTable.failed }
            let hasRoom = unsafe session.writeData(stream, header: header, count: count)
            return hasRoom ? 0 : NGHTTP2_ERR_PAUSE.rawValue
        }
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(table) { _, id, code, user in
            guard let session = unsafe SessionTable.session(user) else { return SessionTable.failed }
            return session.streamClosed(id, HTTP2ErrorCode(rawValue: code))
        }
    }

    private static var failed: Int32 { NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }
}

extension HTTP2Session {
    /// The stream of an id, as nghttp2 knows it.
    func stream(_ id: Int32) -> HTTP2Stream? {
        guard let pointer = unsafe nghttp2_session_get_stream_user_data(raw, id) else { return nil }
        // Set by `adopt`'s callers, and taken away or closed before `streams` lets the object go.
        return unsafe Unmanaged<HTTP2Stream>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Makes nghttp2 know the object of a stream; `nil`: no object any more.
    func setStream(_ id: Int32, _ stream: HTTP2Stream?) {
        let pointer = unsafe stream.map { unsafe Unmanaged.passUnretained($0).toOpaque() }
        _ = unsafe nghttp2_session_set_stream_user_data(raw, id, pointer)
    }
}
