// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Tells from a connection's first bytes whether someone speaks clear HTTP to a TLS port.
///
/// A TLS connection begins with the content type 22 (RFC 8446 §5.1), HTTP with a method: a few capital letters and a
/// space. Looked at before OpenSSL sees the bytes, since it knows four methods only and answers the others with an alert.
enum ClearHTTP {
    enum Verdict { case http, notHTTP, undecided }

    /// The longest registered method is UPDATEREDIRECTREF; what is longer is not a request anyone will wait an answer for.
    static let longestMethod = 17

    static func judge(_ bytes: Span<UInt8>) -> Verdict {
        var i = 0
        while i < bytes.count {
            switch bytes[i] {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"):
                if i == longestMethod { return .notHTTP }
            case UInt8(ascii: " ") where i >= 3:
                return .http
            default:
                return .notHTTP
            }
            i += 1
        }
        return .undecided
    }
}
