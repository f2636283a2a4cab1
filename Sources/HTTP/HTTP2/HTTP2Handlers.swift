// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What a connection does about one stream; see `HTTP2Stream` for the order of the calls.
///
/// Transport cannot subclass `HTTP2Stream` from its own module without making the whole codec public, so the one subclass
/// below passes each call on to a class-bound protocol: one more jump, nothing boxed.
package protocol HTTP2StreamHandler: AnyObject {
    func headReceived(_ stream: HTTP2HandledStream, endStream: Bool)
    func headRefused(_ stream: HTTP2HandledStream, _ failure: DecodeFailure, endStream: Bool)
    func informationalReceived(_ stream: HTTP2HandledStream)
    func dataReceived(_ stream: HTTP2HandledStream, _ bytes: Span<UInt8>)
    func endReceived(_ stream: HTTP2HandledStream)
    func outboundDrained(_ stream: HTTP2HandledStream)
    func closed(_ stream: HTTP2HandledStream, code: HTTP2ErrorCode, processed: HTTP2Processed)
}

/// A stream whose calls go to its handler, which it keeps until it is closed.
package final class HTTP2HandledStream: HTTP2Stream {
    package var handler: (any HTTP2StreamHandler)?

    package override func headReceived(endStream: Bool) { handler?.headReceived(self, endStream: endStream) }
    package override func headRefused(_ failure: DecodeFailure, endStream: Bool) {
        handler?.headRefused(self, failure, endStream: endStream)
    }
    package override func informationalReceived() { handler?.informationalReceived(self) }
    package override func dataReceived(_ bytes: Span<UInt8>) { handler?.dataReceived(self, bytes) }
    package override func endReceived() { handler?.endReceived(self) }
    package override func outboundDrained() { handler?.outboundDrained(self) }
    package override func closed(code: HTTP2ErrorCode, processed: HTTP2Processed) {
        let last = handler
        handler = nil
        last?.closed(self, code: code, processed: processed)
    }
}

/// What a connection does about its session; see `HTTP2SessionOwner`.
package protocol HTTP2SessionHandler: AnyObject {
    func streamOpened(_ session: HTTP2Session) -> HTTP2HandledStream?
    func settingsReceived(_ session: HTTP2Session)
    func goAwayReceived(_ session: HTTP2Session, lastStreamID: Int32, code: HTTP2ErrorCode)
}

/// A session's owner whose calls go to the connection.
package final class HTTP2HandledOwner: HTTP2SessionOwner {
    package weak var handler: (any HTTP2SessionHandler)?

    package override func streamOpened(_ session: HTTP2Session) -> HTTP2Stream? { handler?.streamOpened(session) }
    package override func settingsReceived(_ session: HTTP2Session) { handler?.settingsReceived(session) }
    package override func goAwayReceived(_ session: HTTP2Session, lastStreamID: Int32, code: HTTP2ErrorCode) {
        handler?.goAwayReceived(session, lastStreamID: lastStreamID, code: code)
    }
}
