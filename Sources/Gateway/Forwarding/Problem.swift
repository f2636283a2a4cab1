// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP

/// An answer that the gateway makes itself, with the reason in it: `application/problem+json` (RFC 9457), or for a gRPC request
/// the trailers-only form that its client understands (case C14).
///
///     {"type":"urn:holdfast:breaker.open","title":"…","status":503,"reason":"breaker.open","request_id":"…"}
///
/// `reason` is the word that the log and the metrics have; `detail`, if there is one, is the gateway's own text. Nothing of
/// the request is repeated but its id, which is well-formed by then and escaped all the same. No answer of this kind may be
/// stored by a cache.
package struct Problem: Sendable {
    package var reason: Reason
    /// A sentence on this occurrence. Default: none.
    package var detail = ""
    /// Whole seconds until it is worth trying again, from 0. Default: no `Retry-After`.
    package var retryAfterSeconds: Int?

    package init(_ reason: Reason, detail: String = "", retryAfterSeconds: Int? = nil) {
        self.reason = reason
        self.detail = detail
        self.retryAfterSeconds = retryAfterSeconds.map { max(0, $0) }
    }

    /// Fills `answer` and `body`, both cleared first. `request` and `id` are those of the request, as far as there is one; a
    /// gRPC request gets no body, and HEAD the head alone.
    package func write(
        into answer: ResponseHead, body: inout ByteBuffer, for request: RequestHead?, id: Slice = .empty
    ) {
        answer.reset()
        body.removeAll()
        if let request, Problem.isGRPC(request) {
            writeTrailersOnly(into: answer, request, id)
            return
        }
        answer.status = reason.httpStatus
        answer.fields.append(.contentType, "application/problem+json")
        writeCommonFields(into: answer, request, id)
        if let retryAfterSeconds { answer.fields.append(.retryAfter) { $0.append(decimal: retryAfterSeconds) } }
        writeBody(into: &body, request, id)
        answer.framing = .length(UInt64(body.count))
        if request?.method == .head { body.removeAll() }
    }

    private func writeCommonFields(into answer: ResponseHead, _ request: RequestHead?, _ id: Slice) {
        answer.fields.append(.cacheControl, "no-store")
        answer.fields.append(.xHoldfastReason) { $0.append(utf8: reason.rawValue) }
        if let request, !id.isEmpty { request.withBytes(id) { answer.fields.append(.xRequestID, $0) } }
    }

    private func writeBody(into body: inout ByteBuffer, _ request: RequestHead?, _ id: Slice) {
        body.append("{\"type\":\"urn:holdfast:")
        body.append(utf8: reason.rawValue)
        body.append("\",\"title\":\"")
        body.append(reason.title)
        body.append("\",\"status\":")
        body.append(decimal: reason.httpStatus)
        body.append(",\"reason\":\"")
        body.append(utf8: reason.rawValue)
        body.append(UInt8(ascii: "\""))
        if !detail.isEmpty {
            body.append(",\"detail\":\"")
            for byte in detail.utf8 { body.append(jsonEscaping: byte) }
            body.append(UInt8(ascii: "\""))
        }
        if let request, !id.isEmpty {
            body.append(",\"request_id\":\"")
            request.withBytes(id) { bytes in
                // Other text than ASCII cannot be here, and bytes that are not UTF-8 must not be in JSON.
                for i in bytes.indices { body.append(jsonEscaping: bytes[i] < 0x80 ? bytes[i] : UInt8(ascii: "?")) }
            }
            body.append(UInt8(ascii: "\""))
        }
        if let retryAfterSeconds {
            body.append(",\"retry_after\":")
            body.append(decimal: retryAfterSeconds)
        }
        body.append("}\n")
    }

    // MARK: gRPC

    /// `application/grpc`, also with `+proto`, `-web` or parameters.
    package static func isGRPC(_ request: RequestHead) -> Bool {
        guard let position = request.fields.first(.contentType) else { return false }
        return request.fields.withValue(position) { value in
            let prefix = 16
            guard value.count >= prefix, value.extracting(0..<prefix).equalsIgnoringCase("application/grpc") else { return false }
            if value.count == prefix { return true }
            let next = value[prefix]
            return next == UInt8(ascii: "+") || next == UInt8(ascii: ";") || next == UInt8(ascii: "-") || next.isFieldSpace
        }
    }

    /// Status 200, no body, and what would be in the trailers in the head ("gRPC over HTTP/2", Responses). The title goes in
    /// `grpc-message`, the time to wait in `grpc-retry-pushback-ms` (gRFC A6).
    private func writeTrailersOnly(into answer: ResponseHead, _ request: RequestHead, _ id: Slice) {
        answer.status = 200
        answer.fields.append(.contentType, "application/grpc")
        answer.fields.append(.grpcStatus) { $0.append(decimal: reason.grpcStatus) }
        let name = answer.fields.store("grpc-message")
        let start = answer.fields.arena.count
        answer.fields.arena.append(reason.title)
        if !detail.isEmpty {
            answer.fields.arena.append(": ")
            for byte in detail.utf8 { answer.fields.arena.append(grpcEscaping: byte) }
        }
        let message = Slice(offset: start, length: answer.fields.arena.count - start)
        answer.fields.append(name: name, value: message, known: .other)
        if let retryAfterSeconds {
            let (milliseconds, overflow) = retryAfterSeconds.multipliedReportingOverflow(by: 1_000)
            answer.fields.append(.grpcRetryPushback) { $0.append(decimal: overflow ? Int.max : milliseconds) }
        }
        writeCommonFields(into: answer, request, id)
        answer.framing = .none
    }
}

extension ByteBuffer {
    /// Appends one byte of UTF-8 text inside a JSON string (RFC 8259 §7); what could end a line or start a tag somewhere
    /// else is escaped too.
    fileprivate mutating func append(jsonEscaping byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): append("\\\"")
        case UInt8(ascii: "\\"): append("\\\\")
        case 0..<0x20, 0x7F, UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"):
            append("\\u00")
            append(digit(byte >> 4))
            append(digit(byte & 15))
        default: append(byte)
        }
    }

    /// Appends one byte of a `grpc-message`: printable ASCII but `%` as it is, all else as an escape.
    fileprivate mutating func append(grpcEscaping byte: UInt8) {
        if byte >= 0x20 && byte <= 0x7E && byte != RequestPath.percent {
            append(byte)
        } else {
            append(RequestPath.percent)
            append((byte >> 4).upperHexDigit)
            append((byte & 15).upperHexDigit)
        }
    }

    private func digit(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 48 + nibble : 87 + nibble }
}
