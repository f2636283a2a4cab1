// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Why bytes are not a message that we understand in exactly one way. The connection closes after it, always: nothing that
/// follows on it can be trusted to begin a message (RFC 9112 §11.2).
package struct DecodeFailure: Equatable, Sendable {
    package var reason: Reason
    /// For the log; no client sees it.
    package var detail: StaticString

    package init(reason: Reason, detail: StaticString) {
        self.reason = reason
        self.detail = detail
    }

    package static func == (left: DecodeFailure, right: DecodeFailure) -> Bool {
        left.reason == right.reason
            && left.detail.withUTF8Buffer { a in
                right.detail.withUTF8Buffer { b in unsafe a.elementsEqual(b) }
            }
    }

    static func malformed(_ detail: StaticString) -> DecodeFailure { DecodeFailure(reason: .requestMalformed, detail: detail) }
    static func framing(_ detail: StaticString) -> DecodeFailure { DecodeFailure(reason: .requestFraming, detail: detail) }
    static func target(_ detail: StaticString) -> DecodeFailure { DecodeFailure(reason: .requestTarget, detail: detail) }
    static func host(_ detail: StaticString) -> DecodeFailure { DecodeFailure(reason: .requestHost, detail: detail) }
    static func tooLarge(_ detail: StaticString) -> DecodeFailure {
        DecodeFailure(reason: .requestHeaderTooLarge, detail: detail)
    }

    /// The same fault when an upstream made it.
    var ofUpstream: DecodeFailure { DecodeFailure(reason: .protocolError, detail: detail) }
}
