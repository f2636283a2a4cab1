// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Takes the fields of one field block as HPACK yields them, within the limits: what is over them is never stored, so one
/// octet of input cannot become memory (cases C04, CVE-2016-6581). Blocks of one connection do not interleave, so a session
/// has one collector: its memory is warm, and a message gets a copy of just its own size.
struct FieldCollector: ~Copyable {
    enum Kind { case request, response, trailers }

    /// What is to be done with a message whose head is against a rule.
    enum Fault {
        /// The sender can be told by a status.
        case refused(DecodeFailure)
        /// Malformed (RFC 9113 §8.1.1): a stream error.
        case malformed(DecodeFailure)
    }

    /// Beyond this many times the limits a block is not even looked at any more.
    private static let patience = 4
    /// Memory that is kept between blocks.
    private static let keptBytes = 8_192
    /// Room in a message's own memory for what a gateway adds.
    private static let slack = 512

    private let limits: HeadLimits
    private let recogniser = FieldName.Recogniser()
    private var kind = Kind.request
    /// Whether a block is being collected.
    private(set) var isOpen = false
    private var fields = FieldSection()
    private var size = 0
    private var count = 0
    private var crumbs = 0
    /// Cookie crumbs, joined (RFC 9113 §8.2.3; case C08).
    private var cookie = ByteBuffer()
    private var host: Slice?
    private var authority: Slice?
    private var isOfHTTP = true
    private(set) var failure: DecodeFailure?
    private var parts = RequestHead.Parts()
    private(set) var status = 0

    init(limits: HeadLimits) { self.limits = limits }

    mutating func begin(_ kind: Kind) {
        self.kind = kind
        isOpen = true
        fields.removeAll()
        size = 0
        count = 0
        crumbs = 0
        cookie.removeAll()
        host = nil
        authority = nil
        isOfHTTP = true
        failure = nil
        parts = RequestHead.Parts()
        status = 0
    }

    /// Nothing more of the block is wanted.
    mutating func close() {
        isOpen = false
        fields.trim(toBytes: FieldCollector.keptBytes)
    }

    /// Takes one field; the name is in lower case, and name and value are of legal characters: nghttp2 has seen to it.
    /// Returns false when the block is so far beyond the limits that its stream should be reset.
    mutating func take(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
        if !isOpen { return false }
        // RFC 9113 §6.5.2. Each is below 2^32 and the sum stays below a few limits.
        size += name.count + value.count + 32
        if size > limits.headerBytes {
            failure = failure ?? .tooLarge("field section above the limit")
            return size <= limits.headerBytes * FieldCollector.patience
        }
        if name.count > 0 && name[0] == 58 {
            takePseudo(name, value)
            return true
        }
        let known = recogniser.recognise(lowercased: name)
        if known == .cookie {
            crumbs += 1
            if crumbs > limits.cookieCrumbs {
                failure = failure ?? .tooLarge("too many cookie fields")
                return crumbs <= limits.cookieCrumbs * FieldCollector.patience
            }
        } else {
            count += 1
            if count > limits.headerCount {
                failure = failure ?? .tooLarge("too many fields")
                return count <= limits.headerCount * FieldCollector.patience
            }
        }
        if failure != nil { return true }
        if known == .cookie && kind == .request {
            if !cookie.isEmpty { cookie.append("; ") }
            cookie.append(value)
        } else if known == .host && kind == .request {
            host = fields.store(value)
        } else {
            fields.append(name: name, value: value, known: known)
        }
        return true
    }

    private mutating func takePseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        if failure != nil { return }
        if name.equals(":method") {
            if value.count > RequestLine.methodLimit {
                failure = .malformed("method above the limit")
                return
            }
            parts.method = Method.recognise(value)
            parts.methodText = fields.store(value)
        } else if name.equals(":path") {
            takePath(value)
        } else if name.equals(":authority") {
            authority = fields.store(value)
        } else if name.equals(":scheme") {
            if value.equalsIgnoringCase("https") {
                parts.schemeIsHTTPS = true
            } else if value.equalsIgnoringCase("http") {
                parts.schemeIsHTTPS = false
            } else {
                isOfHTTP = false
            }
        } else if name.equals(":status"), value.count == 3, let code = value.decimalLength {
            status = Int(code)
        }
    }

    /// `:path` is path and query (RFC 9113 §8.3.1), of the characters that a request line may have.
    private mutating func takePath(_ value: Span<UInt8>) {
        if value.count > limits.targetBytes {
            failure = DecodeFailure(reason: .requestURITooLong, detail: "request target above the limit")
            return
        }
        var question = value.count
        var i = 0
        while true {
            i = value.endOfTargetPart(from: i)
            if i == value.count { break }
            guard value[i] == 63 else {
                failure = .target("character not allowed in a request target")
                return
            }
            question = min(question, i)
            i += 1
        }
        parts.path = fields.store(value.extracting(0..<question))
        if question < value.count {
            parts.hasQuery = true
            parts.query = fields.store(value.extracting((question + 1)..<value.count))
        }
    }

    // MARK: The end of a block

    /// Applies the rules that need a request's whole head (cases C06, C07) and fills `head.parts`.
    mutating func endRequest(_ head: RequestHead, endStream: Bool) -> Fault? {
        var parts = parts
        parts.version = .http2
        parts.acceptsTrailers = true
        let fault = settle(&parts, endStream: endStream)
        head.fields.replace(with: fields, slack: FieldCollector.slack)
        head.parts = parts
        close()
        return fault
    }

    private mutating func settle(_ parts: inout RequestHead.Parts, endStream: Bool) -> Fault? {
        if let authority = authority ?? host { parts.authority = authority }
        if let failure {
            switch failure.reason {
            case .requestHeaderTooLarge, .requestURITooLong: return .refused(failure)
            default: return .malformed(failure)
            }
        }
        if !cookie.isEmpty { cookie.withReadable { fields.append(.cookie, $0) } }
        if parts.method == .connect || parts.method == .trace {
            return .refused(DecodeFailure(reason: .requestMethod, detail: "CONNECT and TRACE are refused"))
        }
        guard isOfHTTP, let isHTTPS = parts.schemeIsHTTPS else { return .malformed(.target("scheme other than http and https")) }
        if let fault = settleAuthority(isHTTPS: isHTTPS) { return .malformed(fault) }
        let isAsterisk = fields.withBytes(parts.path) { $0.equals("*") }
        let isPath = fields.withBytes(parts.path) { $0.count > 0 && $0[0] == 47 }
        guard isPath || isAsterisk && parts.method == .options && !parts.hasQuery else {
            return .malformed(.target("not a path"))
        }
        if let i = fields.first(.contentLength) {
            guard let length = fields.withValue(i, { $0.decimalLength }) else { return .malformed(.framing("bad content-length")) }
            parts.framing = .length(length)
        } else {
            parts.framing = endStream ? .none : .stream
        }
        return settleExpectation(&parts)
    }

    /// One authority without user information, that Host agrees with where both are there (RFC 9113 §8.3.1).
    private func settleAuthority(isHTTPS: Bool) -> DecodeFailure? {
        guard let named = authority ?? host else { return .host("no authority") }
        if fields.withBytes(named, { Authority.read($0) }) == nil { return .host("bad authority") }
        if let authority, let host {
            let agree = fields.withBytes(authority) { left in
                fields.withBytes(host) { Authority.areEqual(left, $0, isHTTPS: isHTTPS) }
            }
            if !agree { return .host("Host differs from the authority") }
        }
        return nil
    }

    /// As in HTTP/1 (RFC 9110 §10.1.1).
    private func settleExpectation(_ parts: inout RequestHead.Parts) -> Fault? {
        var next = fields.first(.expect)
        while let i = next {
            guard fields.withValue(i, { $0.equalsIgnoringCase("100-continue") }) else {
                return .refused(DecodeFailure(reason: .requestExpectation, detail: "expectation other than 100-continue"))
            }
            parts.expectsContinue = parts.framing != .none && parts.framing != .length(0)
            next = fields.first(.expect, from: i + 1)
        }
        return nil
    }

    /// Fills `head.parts` of a response, interim or final. Any fault of it is the upstream's.
    mutating func endResponse(_ head: ResponseHead, requestMethod: Method, endStream: Bool) -> DecodeFailure? {
        var parts = ResponseHead.Parts()
        parts.version = .http2
        parts.status = status
        let failure = settle(&parts, requestMethod: requestMethod, endStream: endStream)
        head.fields.replace(with: fields, slack: FieldCollector.slack)
        head.parts = parts
        close()
        return failure
    }

    private func settle(_ parts: inout ResponseHead.Parts, requestMethod: Method, endStream: Bool) -> DecodeFailure? {
        if let failure { return failure.ofUpstream }
        guard (100...599).contains(status) else { return DecodeFailure.malformed("status out of range").ofUpstream }
        if status < 200 {
            return endStream ? DecodeFailure.malformed("interim response that ends the stream").ofUpstream : nil
        }
        if requestMethod == .head || status == 204 || status == 304 {
            parts.framing = .none
        } else if let i = fields.first(.contentLength) {
            guard let length = fields.withValue(i, { $0.decimalLength }) else {
                return DecodeFailure.framing("bad content-length").ofUpstream
            }
            parts.framing = .length(length)
        } else {
            parts.framing = endStream ? .length(0) : .stream
        }
        return nil
    }

    /// Leaves in a trailer section what may be there (RFC 9110 §6.5.1; case B13).
    mutating func endTrailers(_ trailers: inout FieldSection) -> DecodeFailure? {
        if failure == nil {
            fields.dropFieldsNotAllowedInTrailers()
            trailers.replace(with: fields, slack: 0)
        }
        close()
        return failure
    }
}

extension FieldSection {
    /// Makes this section a copy of another, in its own memory where that suffices, else in `slack` bytes more than the copy
    /// needs.
    fileprivate mutating func replace(with other: borrowing FieldSection, slack: Int) {
        removeAll()
        arena.reserve(other.arena.count + slack)
        other.arena.withReadable { arena.append($0) }
        entries.reserveCapacity(other.entries.count + slack / 64)
        entries.append(contentsOf: other.entries)
        present = other.present
    }
}
