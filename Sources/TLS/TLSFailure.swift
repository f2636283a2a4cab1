// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Why a TLS connection cannot go on. The alert that tells the peer, if there is one, is already in the cipher output.
package struct TLSFailure: Error, Sendable, Equatable {
    /// `.tlsVerify` (the upstream's certificate), `.tlsHandshake` (anything else towards an upstream) or
    /// `.clientTLSFailed` (a client of ours).
    package var reason: Reason
    /// What went wrong, for the log; no peer sees it.
    package var detail: String
    /// The peer spoke clear HTTP to a TLS port: no alert was made, so that a readable answer can go out in clear.
    package var isClearHTTP: Bool

    package init(reason: Reason, detail: String, isClearHTTP: Bool = false) {
        self.reason = reason
        self.detail = detail
        self.isClearHTTP = isClearHTTP
    }
}

/// What the end of the peer's TCP stream means.
package enum TruncationVerdict: Sendable {
    /// A close_notify came first: nothing is missing (RFC 8446 §6.1).
    case clean
    /// None came: whatever was under way may be cut short, by a fault or by an attacker (RFC 9112 §9.8).
    case truncated
}

/// The application protocol that ALPN settled on (RFC 7301).
package enum ApplicationProtocol: Sendable {
    /// The peer did not speak ALPN: HTTP/1.1 by convention.
    case none
    case http1
    case http2
}
