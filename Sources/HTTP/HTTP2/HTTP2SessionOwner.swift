// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What hears about a session as a whole; the connection overrides what it needs. Calls come inside `receive` and `produce`.
package class HTTP2SessionOwner {
    package init() {}

    /// Server: a client begins a stream. Returns the object for it, or `nil` to refuse it (REFUSED_STREAM: safe to retry).
    /// Its head is still to come, and may turn out to be malformed: then only `closed` is called.
    package func streamOpened(_ session: HTTP2Session) -> HTTP2Stream? { nil }

    /// The peer's SETTINGS came: the first, or changed ones.
    package func settingsReceived(_ session: HTTP2Session) {}

    /// GOAWAY (RFC 9113 §6.8): no stream may be opened any more. Streams above `lastStreamID` are closed as unprocessed right
    /// after this. Of a two-step GOAWAY the first says 2^31 − 1 and closes nothing.
    package func goAwayReceived(_ session: HTTP2Session, lastStreamID: Int32, code: HTTP2ErrorCode) {}

    /// The answer to `ping()`.
    package func pingAcknowledged(_ session: HTTP2Session) {}
}
