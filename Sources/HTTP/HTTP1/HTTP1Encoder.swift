// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Writes HTTP/1.1 messages from what was understood of others (RFC 9112).
///
/// Never a byte of a received start line, chunk line or framing field: those are written anew (reliability, section 2.6).
/// Names are in lower case, lines are `name: value`.
package enum HTTP1Encoder {
    /// Fields that say how a message is framed or what one connection does; written by the encoder only.
    static var ownFields: UInt64 {
        FieldName.hopByHop & ~FieldName.proxyAuthorization.bit | FieldName.host.bit | FieldName.contentLength.bit
            | FieldName.expect.bit
    }

    // MARK: Requests

    /// Writes a request's head with the head's own path and authority. `endStream`: there is no body, whatever the framing.
    package static func encodeRequest(_ head: RequestHead, endStream: Bool = false, into output: inout ByteBuffer) {
        let parts = head.parts
        let framing = endStream && parts.framing != .length(0) ? BodyFraming.none : parts.framing
        head.withBytes(parts.path) { path in
            head.withBytes(parts.authority) { authority in
                encodeRequest(head, path: path, authority: authority, framing: framing, into: &output)
            }
        }
    }

    /// Writes a request's head. The head's query follows `path`.
    ///
    /// A body of unknown length is announced as chunked. `expectsContinue` asks the upstream for a 100 before the body comes.
    package static func encodeRequest(
        _ head: RequestHead, path: Span<UInt8>, authority: Span<UInt8>, framing: BodyFraming, keepsConnection: Bool = true,
        expectsContinue: Bool = false, into output: inout ByteBuffer
    ) {
        let parts = head.parts
        writeRequest(parts, head.fields, path: path, authority: authority, into: &output)
        switch framing {
        case .none:
            // A method that usually has content says that it has none (RFC 9110 §8.6).
            switch parts.method {
            case .post, .put, .patch: output.append("content-length: 0\r\n")
            default: break
            }
        case .length(let n):
            writeLength(n, into: &output)
        case .stream, .untilClose:
            output.append("transfer-encoding: chunked\r\n")
        }
        if expectsContinue { output.append("expect: 100-continue\r\n") }
        switch (keepsConnection, parts.acceptsTrailers) {
        case (true, false): output.append("\r\n")
        case (true, true): output.append("te: trailers\r\nconnection: te\r\n\r\n")
        case (false, false): output.append("connection: close\r\n\r\n")
        case (false, true): output.append("te: trailers\r\nconnection: te, close\r\n\r\n")
        }
    }

    private static func writeRequest(
        _ parts: RequestHead.Parts, _ fields: borrowing FieldSection, path: Span<UInt8>, authority: Span<UInt8>,
        into output: inout ByteBuffer
    ) {
        output.reserve(fields.arena.count + path.count + authority.count + 128)
        if parts.method == .other {
            fields.withBytes(parts.methodText) { output.append($0) }
        } else {
            output.append(parts.method.text)
        }
        output.append(UInt8(ascii: " "))
        output.append(path)
        if parts.hasQuery {
            output.append(UInt8(ascii: "?"))
            fields.withBytes(parts.query) { output.append($0) }
        }
        output.append(" HTTP/1.1\r\nhost: ")
        output.append(authority)
        output.append("\r\n")
        fields.writeLines(without: ownFields, into: &output)
    }

    // MARK: Responses

    /// Writes a final response's head for a client that speaks `version`.
    ///
    /// `framing` is how the body is going to be written: `.length` as it is, `.stream` by `encodeChunk`, `.untilClose` as it
    /// is with the connection closed behind it; HTTP/1.0 knows no chunks, so `.stream` becomes `.untilClose` there. For
    /// answers that never have a body (to HEAD, 204, 304) it says what a GET would have got. Says `connection: close` wherever
    /// the framing needs it.
    package static func encodeResponse(
        _ head: ResponseHead, framing: BodyFraming, requestMethod: Method, version: HTTPVersion, keepsConnection: Bool,
        into output: inout ByteBuffer
    ) {
        let parts = head.parts
        writeResponse(
            parts, head.fields, framing: framing, requestMethod: requestMethod, version: version,
            keepsConnection: keepsConnection, into: &output)
    }

    private static func writeResponse(
        _ parts: ResponseHead.Parts, _ fields: borrowing FieldSection, framing: BodyFraming, requestMethod: Method,
        version: HTTPVersion, keepsConnection: Bool, into output: inout ByteBuffer
    ) {
        output.reserve(fields.arena.count + 160)
        writeStatusLine(parts.status, into: &output)
        fields.writeLines(without: ownFields & ~FieldName.expect.bit, into: &output)
        let isBodyless = requestMethod == .head || parts.status == 304
        var keeps = keepsConnection
        switch framing {
        case _ where parts.status == 204: break
        case .length(let n):
            writeLength(n, into: &output)
        case .stream where isBodyless, .untilClose where isBodyless:
            break
        case .stream where version != .http10:
            output.append("transfer-encoding: chunked\r\n")
        case .stream, .untilClose:
            keeps = false
        case .none:
            if !isBodyless {
                output.append("content-length: 0\r\n")
            } else if let i = fields.first(.contentLength), let n = fields.withValue(i, { $0.decimalLength }) {
                writeLength(n, into: &output)
            }
        }
        if !keeps {
            output.append("connection: close\r\n")
        } else if version == .http10 {
            output.append("connection: keep-alive\r\n")
        }
        output.append("\r\n")
    }

    /// Writes a 1xx response. Never to an HTTP/1.0 client (RFC 9110 §15.2).
    package static func encodeInformational(_ head: ResponseHead, into output: inout ByteBuffer) {
        writeStatusLine(head.status, into: &output)
        head.fields.writeLines(without: ownFields, into: &output)
        output.append("\r\n")
    }

    // MARK: Bodies

    /// Writes one chunk with its data. Empty data writes nothing: it would end the body.
    package static func encodeChunk(_ data: Span<UInt8>, into output: inout ByteBuffer) {
        if data.isEmpty { return }
        output.reserve(data.count + 20)
        encodeChunkHeader(size: data.count, into: &output)
        output.append(data)
        output.append("\r\n")
    }

    /// Writes a chunk's size line, for data that does not pass through `output`; CR LF follows the data. `size` is above 0.
    package static func encodeChunkHeader(size: Int, into output: inout ByteBuffer) {
        output.append(hexadecimal: UInt64(size.magnitude))
        output.append("\r\n")
    }

    /// Ends a chunked body.
    package static func encodeLastChunk(into output: inout ByteBuffer) { output.append("0\r\n\r\n") }

    /// Ends a chunked body with trailers.
    package static func encodeLastChunk(trailers: borrowing FieldSection, into output: inout ByteBuffer) {
        output.append("0\r\n")
        trailers.writeLines(without: ownFields, into: &output)
        output.append("\r\n")
    }

    // MARK: Parts

    private static func writeLength(_ n: UInt64, into output: inout ByteBuffer) {
        output.append("content-length: ")
        output.append(decimal: n)
        output.append("\r\n")
    }

    private static func writeStatusLine(_ status: Int, into output: inout ByteBuffer) {
        if status == 200 {
            output.append("HTTP/1.1 200 OK\r\n")
            return
        }
        output.append("HTTP/1.1 ")
        output.append(decimal: min(max(status, 100), 599))
        output.append(UInt8(ascii: " "))
        output.append(reasonPhrase(status))
        output.append("\r\n")
    }
}

extension FieldSection {
    /// Writes the live fields as HTTP/1 lines, but those whose name's bit is in `mask`.
    ///
    /// Fields that already stand in the arena as lines, one behind the other, are copied in one run.
    func writeLines(without mask: UInt64, into output: inout ByteBuffer) {
        let bytes = arena.readable
        var start = 0
        var end = 0
        for i in entries.indices {
            let entry = entries[i]
            if entry.isRemoved || (mask >> UInt64(entry.known.rawValue)) & 1 == 1 { continue }
            if entry.isLine {
                let from = Int(entry.name.offset)
                if from != end {
                    output.append(bytes.extracting(start..<end))
                    start = from
                }
                end = entry.value.range.upperBound + 2
            } else {
                output.append(bytes.extracting(start..<end))
                start = end
                output.append(bytes.extracting(entry.name.range))
                output.append(": ")
                output.appendFieldValue(bytes.extracting(entry.value.range))
                output.append("\r\n")
            }
        }
        output.append(bytes.extracting(start..<end))
    }
}

extension ByteBuffer {
    /// Appends a value with a space for each character that a value cannot have (RFC 9110 §5.5): whoever made it, it cannot
    /// end its line (case E25).
    mutating func appendFieldValue(_ value: Span<UInt8>) {
        var i = 0
        while true {
            let stop = value.endOfFieldValue(from: i)
            append(value.extracting(i..<stop))
            if stop == value.count { return }
            append(UInt8(ascii: " "))
            i = stop + 1
        }
    }
}
