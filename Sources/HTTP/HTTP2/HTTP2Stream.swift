// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// What the peer can have done with a request whose stream is closed (RFC 9113 §8.7; semantics, section 0.1).
package enum HTTP2Processed: Sendable {
    /// It may have been processed, in part or wholly.
    case maybe
    /// Reset with REFUSED_STREAM: surely not processed.
    case refused
    /// Above a GOAWAY's last stream: surely not processed.
    case aboveGoAway
    /// Its head was never written: surely not processed.
    case neverSent
}

/// One stream of a session: one exchange. The connection subclasses it; the session calls the overridable methods.
///
/// The session holds it until `closed` has returned. All methods are called inside `HTTP2Session.receive` or `produce`; in
/// them everything may be called on the session but these two.
///
///     server: headReceived | headRefused → dataReceived* → endReceived → closed
///     client: open → informationalReceived* → headReceived → dataReceived* → endReceived → closed
///
/// `closed` comes exactly once, last, and may come at any point. Where a head ends the stream (`endStream`), `endReceived`
/// is **not** called as well. Afterwards, whenever nothing is done for the exchange any more, `session.release(stream)` is to
/// be called: until then a server counts it against its limit, and its unconsumed bytes against the connection's window.
package class HTTP2Stream {
    /// 0 before it is opened.
    package internal(set) final var id: Int32 = 0
    /// Server: the request. Filled from `headReceived` on.
    package final lazy var requestHead = RequestHead()
    /// Client: the response, or a 1xx during `informationalReceived`.
    package final lazy var responseHead = ResponseHead()
    /// The peer's trailers, filled before `endReceived`.
    package final var trailers = FieldSection()

    /// Body bytes that wait to be framed. Append, set `outboundEnded` after the last of them, then call `session.resume`.
    package final var outbound = ByteBuffer()
    package final var outboundEnded = false
    /// Sent behind the body, if any field is in it when `outboundEnded` is seen.
    package final var outboundTrailers = FieldSection()

    /// Why the peer's head or body broke a rule or a limit, for the log; set before `headRefused` and `closed`.
    package internal(set) final var failure: DecodeFailure?
    /// The peer has ended its side in order (END_STREAM).
    package internal(set) final var isRemoteEnded = false
    /// END_STREAM has been written to the output.
    package internal(set) final var isLocalEnded = false
    /// The first HEADERS frame of ours has been written to the output.
    package internal(set) final var isHeadSent = false
    package internal(set) final var isClosed = false
    /// Bytes given to `dataReceived` and not yet `consumed`.
    package internal(set) final var unconsumedBytes = 0

    // The session's own notes.
    final var slot = -1
    final var requestMethod = Method.get
    final var hasResponded = false
    final var hasFinalHead = false
    final var interimResponses = 0
    final var discardsInbound = false
    final var isReleased = false
    /// A reset is queued, or nghttp2 has queued one.
    final var isReset = false
    /// The code of the reset that we queued.
    final var resetCode: HTTP2ErrorCode?
    final var isDeferred = false
    final var resetsOnceSent = false
    final var isNotedAsDrained = false

    package init() {}

    /// Server: the request's head is in `requestHead`. Client: the final response's is in `responseHead`.
    package func headReceived(endStream: Bool) {}
    /// Server: the head cannot be taken, but can be answered: `respond` with `failure.reason.httpStatus` and, unless
    /// `endStream`, `reset(.noError)` behind it. What follows of the request is dropped.
    package func headRefused(_ failure: DecodeFailure, endStream: Bool) {}
    /// Client: a 1xx is in `responseHead`.
    package func informationalReceived() {}
    /// Body bytes. The peer gets no credit for them before `session.consumed`.
    package func dataReceived(_ bytes: Span<UInt8>) {}
    /// The peer's side is complete.
    package func endReceived() {}
    /// `outbound` fell below its low-water mark: the producer may go on.
    package func outboundDrained() {}
    /// The stream is over. In order if `code` is `noError` and both sides had ended (`isRemoteEnded`, `isLocalEnded`).
    package func closed(code: HTTP2ErrorCode, processed: HTTP2Processed) {}
}
