// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// What Content-Length and Transfer-Encoding say together (RFC 9112 §6). Where two readings are possible the message is
/// refused: this is where smuggling lives (cases A01 to A05, B09).
enum MessageFraming {
    case none
    case length(UInt64)
    case chunked
    case failure(DecodeFailure)

    static func read(_ fields: borrowing FieldSection, version: HTTPVersion) -> MessageFraming {
        let coding = fields.first(.transferEncoding)
        let length = fields.first(.contentLength)
        if let coding {
            if length != nil { return .failure(.framing("Transfer-Encoding and Content-Length")) }
            if version == .http10 { return .failure(.framing("Transfer-Encoding in HTTP/1.0")) }
            if fields.first(.transferEncoding, from: coding + 1) != nil {
                return .failure(.framing("two Transfer-Encoding fields"))
            }
            return fields.withValue(coding) { value in
                if value.equalsIgnoringCase("chunked") { return .chunked }
                if endsInChunked(value) {
                    return .failure(DecodeFailure(reason: .requestCoding, detail: "transfer coding other than chunked"))
                }
                return .failure(.framing("Transfer-Encoding that is not chunked"))
            }
        }
        guard let length else { return .none }
        if fields.first(.contentLength, from: length + 1) != nil { return .failure(.framing("two Content-Length fields")) }
        guard let n = fields.withValue(length, { $0.decimalLength }) else { return .failure(.framing("bad Content-Length")) }
        return .length(n)
    }

    /// Whether the list is of other, properly named codings and ends in one `chunked`: its end can be known, but not what it
    /// holds (RFC 9112 §6.1: 501). Parameters are not looked into; such a list is only refused in another way.
    private static func endsInChunked(_ value: Span<UInt8>) -> Bool {
        var position = 0
        var sawChunked = false
        var elements = 0
        while let range = value.nextListElement(&position) {
            if sawChunked { return false }
            let element = value.extracting(range)
            if element.endOfToken(from: 0) != element.count { return false }
            sawChunked = element.equalsIgnoringCase("chunked")
            elements += 1
        }
        return sawChunked && elements > 1
    }
}
