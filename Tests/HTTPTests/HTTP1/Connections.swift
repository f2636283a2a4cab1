// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

@testable import HTTP

/// A client's connection as the decoder sees it: what it made of bytes that came in given pieces, as text.
///
/// Body bytes of consecutive events are joined, since their cuts follow the pieces'; all else must be equal however the
/// bytes arrive (promise P2).
struct RequestConnection: ~Copyable {
    private var decoder: RequestDecoder
    private var pending: [UInt8] = []
    private let head = RequestHead()
    private var trailers = FieldSection()
    private(set) var log = ""
    private var body: [UInt8] = []
    private(set) var hasFailed = false

    init(limits: HeadLimits = HeadLimits()) { decoder = RequestDecoder(limits: limits) }

    mutating func receive(_ bytes: some Sequence<UInt8>) {
        pending.append(contentsOf: bytes)
        while !hasFailed {
            let input = pending
            let (consumed, event) = decoder.next(input.span, into: head, trailers: &trailers)
            var goesOn = true
            switch event {
            case .needMore: goesOn = consumed > 0 && consumed < pending.count
            case .head: log += describe(head) + "\n"
            case .body(let range):
                precondition(range.upperBound <= consumed && !range.isEmpty)
                body.append(contentsOf: input[range])
            case .end:
                if !body.isEmpty { log += "body \(body.count) \(printable(body))\n" }
                body = []
                log += "end" + describe(trailers) + "\n"
                decoder.startNext()
            case .http2Preface:
                log += "h2 preface\n"
                hasFailed = true
            case .failure(let failure):
                if !body.isEmpty { log += "body \(body.count) \(printable(body))\n" }
                log += "failure \(failure.reason.rawValue): \(failure.detail)\n"
                hasFailed = true
            }
            pending.removeFirst(consumed)
            if !goesOn { break }
        }
    }

    /// Body bytes that no end followed.
    var openBody: Int { body.count }
    var isBetweenMessages: Bool { decoder.isBetweenMessages }
}

/// As `RequestConnection`, for an upstream's; each response answers the next of `methods`, then GETs.
struct ResponseConnection: ~Copyable {
    private var decoder: ResponseDecoder
    private var methods: [HTTP.Method]
    private var pending: [UInt8] = []
    private let head = ResponseHead()
    private var trailers = FieldSection()
    private(set) var log = ""
    private var body: [UInt8] = []
    private(set) var hasFailed = false

    init(limits: HeadLimits = HeadLimits(), methods: [HTTP.Method] = [], allowsUpgrade: Bool = false) {
        decoder = ResponseDecoder(limits: limits)
        self.methods = methods
        decoder.begin(requestMethod: methods.first ?? .get, allowsUpgrade: allowsUpgrade)
    }

    mutating func receive(_ bytes: some Sequence<UInt8>) {
        pending.append(contentsOf: bytes)
        while !hasFailed {
            let input = pending
            let (consumed, event) = decoder.next(input.span, into: head, trailers: &trailers)
            var goesOn = true
            switch event {
            case .needMore: goesOn = consumed > 0 && consumed < pending.count
            case .informational: log += "interim " + describe(head) + "\n"
            case .head: log += describe(head) + "\n"
            case .body(let range):
                precondition(range.upperBound <= consumed && !range.isEmpty)
                body.append(contentsOf: input[range])
            case .end: ended()
            case .failure(let failure): failed(failure)
            }
            pending.removeFirst(consumed)
            if !goesOn { break }
        }
    }

    mutating func close(truncated: Bool = false) {
        if hasFailed { return }
        switch decoder.endOfStream(truncated: truncated) {
        case .end: ended()
        case .failure(let failure): failed(failure)
        default: log += "unexpected event at the end of the stream\n"
        }
    }

    private mutating func ended() {
        if !body.isEmpty { log += "body \(body.count) \(printable(body))\n" }
        body = []
        log += "end" + describe(trailers) + (decoder.isReusable ? " reusable" : "") + "\n"
        if !methods.isEmpty { methods.removeFirst() }
        if decoder.isReusable && !methods.isEmpty { decoder.begin(requestMethod: methods[0]) }
    }

    private mutating func failed(_ failure: DecodeFailure) {
        if !body.isEmpty { log += "body \(body.count) \(printable(body))\n" }
        log += "failure \(failure.reason.rawValue): \(failure.detail)\n"
        hasFailed = true
    }
}

func describe(_ head: RequestHead) -> String {
    var text = head.string(head.methodText) + " " + head.string(head.path)
    if head.hasQuery { text += "?" + head.string(head.query) }
    text += " \(head.version) to \(head.string(head.authority))"
    if let https = head.schemeIsHTTPS { text += https ? " (https)" : " (http)" }
    text += " \(head.framing)"
    if head.keepsConnection { text += " keep" }
    if head.expectsContinue { text += " 100" }
    if head.acceptsTrailers { text += " trailers" }
    return text + describe(head.fields)
}

func describe(_ head: ResponseHead) -> String {
    "\(head.status) \(head.version) \(head.framing)" + (head.keepsConnection ? " keep" : "") + describe(head.fields)
}

func describe(_ fields: borrowing FieldSection) -> String {
    var text = ""
    for i in 0..<fields.count where !fields.entries[i].isRemoved {
        let name = fields.withBytes(fields.entries[i].name) { String(copying: $0) }
        text += " [\(name): \(printable(fields.withValue(i) { bytes($0) }))]"
    }
    return text
}

func bytes(_ span: Span<UInt8>) -> [UInt8] {
    var copy: [UInt8] = []
    for i in 0..<span.count { copy.append(span[i]) }
    return copy
}

func bytes(_ buffer: borrowing ByteBuffer) -> [UInt8] { buffer.withReadable { bytes($0) } }

/// Bytes as text that shows every one of them.
func printable(_ bytes: [UInt8]) -> String {
    var text = ""
    for byte in bytes {
        switch byte {
        case 13: text += "\\r"
        case 10: text += "\\n"
        case 92: text += "\\\\"
        case 32...126: text.unicodeScalars.append(Unicode.Scalar(byte))
        default: text += "\\x" + String(byte, radix: 16)
        }
    }
    return text
}

/// Reads a row's notation: `⏎` is CR LF, `␊` a bare LF, `␍` a bare CR, `␀` NUL, `→` a tab; all else is itself.
func wire(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for character in text.unicodeScalars {
        switch character {
        case "⏎": bytes += [13, 10]
        case "␊": bytes.append(10)
        case "␍": bytes.append(13)
        case "␀": bytes.append(0)
        case "→": bytes.append(9)
        default: bytes += Array(String(character).utf8)
        }
    }
    return bytes
}
