// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Where an input is cut into pieces.
struct Cuts {
    var kind: UInt8
    var seed: UInt8

    /// Where two pieces meet, for `kind` 254.
    var place = 0

    static var none: Cuts { Cuts(kind: 255, seed: 0) }

    /// Two pieces that meet at `place`.
    static func at(_ place: Int) -> Cuts { Cuts(kind: 254, seed: 0, place: place) }

    /// Single bytes.
    static var bytes: Cuts { Cuts(kind: 0, seed: 0) }

    /// The size of the piece that begins at `position`, of `left` bytes.
    func size(at position: Int, left: Int) -> Int {
        switch kind {
        case 0: 1
        case 1: min(left, 1 + Int(seed))
        case 2: min(left, position == 0 ? 1 + Int(seed) : left)  // two pieces
        case 3: min(left, 1 + ((position &* 31 &+ Int(seed)) & 63))  // of all sizes
        case 254: position == 0 ? min(left, max(1, place)) : left
        default: left
        }
    }
}

/// A record of what was read, as bytes: compared, and never shown.
struct Record {
    var bytes: [UInt8] = []
    /// The greatest number of bytes that the codec's own storage had.
    var memory = 0

    mutating func note(_ mark: UInt8, _ numbers: UInt64...) {
        bytes.append(mark)
        for number in numbers { for k in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(8 * k))) } }
    }

    mutating func note(_ span: Span<UInt8>) {
        note(UInt8(ascii: "<"), UInt64(span.count))
        for i in 0..<span.count { bytes.append(span[i]) }
    }

    mutating func note(_ fields: borrowing FieldSection, own: UInt64 = 0) {
        for i in 0..<fields.count where !fields.entries[i].isRemoved {
            let entry = fields.entries[i]
            if entry.known.bit & own != 0 { continue }
            fields.withBytes(entry.name) { note($0) }
            fields.withValue(i) { note($0) }
        }
        memory = max(memory, fields.arena.capacity + fields.entries.capacity * MemoryLayout<FieldSection.Entry>.stride)
    }

    mutating func note(_ framing: BodyFraming) {
        switch framing {
        case .none: note(1)
        case .length(let n): note(2, n)
        case .stream: note(3)
        case .untilClose: note(4)
        }
    }

    mutating func note(_ failure: DecodeFailure) {
        failure.detail.withUTF8Buffer { for byte in unsafe $0 { bytes.append(byte) } }
        for byte in failure.reason.rawValue.utf8 { bytes.append(byte) }
    }

    func isEqual(to other: Record) -> Bool { bytes == other.bytes }
}

/// What a record of a body is: its length and a hash, since its cuts do not matter.
struct BodyRecord {
    private var count: UInt64 = 0
    private var hash: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func note(_ span: Span<UInt8>) {
        count &+= UInt64(span.count)
        for i in 0..<span.count { hash = (hash ^ UInt64(span[i])) &* 0x100_0000_01b3 }
    }

    mutating func settle(into record: inout Record) {
        if count > 0 { record.note(UInt8(ascii: "B"), count, hash) }
        self = BodyRecord()
    }
}

/// A piece of the input in memory of its own, of exactly its size: reading beyond it is an error that the sanitizer sees.
func withExactCopy(_ span: Span<UInt8>, _ body: (Span<UInt8>) -> Void) {
    let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(span.count, 1))
    defer { copy.deallocate() }
    for i in 0..<span.count { copy[i] = span[i] }
    body(Span(_unsafeElements: copy.extracting(0..<span.count)))
}

/// Reads a client's connection, notes what it says and writes what a gateway would send on.
struct RequestReading: ~Copyable {
    private var decoder: RequestDecoder
    private let head = RequestHead()
    private var trailers = FieldSection()
    private let isSecond: Bool
    private var body = BodyRecord()
    private var meantBody = BodyRecord()
    private var framing = BodyFraming.none
    /// Everything, for comparing cuts.
    var log = Record()
    /// What whole messages mean, for comparing with their second reading.
    var meaning = Record()
    private var open = Record()
    /// Whole messages, written again.
    var written = Record()
    private var output = ByteBuffer()

    init(limits: HeadLimits, isSecond: Bool = false) {
        decoder = RequestDecoder(limits: limits)
        self.isSecond = isSecond
    }

    mutating func read(_ input: Span<UInt8>, _ cuts: Cuts) {
        var start = 0
        var end = 0
        var isOver = false
        while !isOver {
            if end < input.count { end += cuts.size(at: end, left: input.count - end) }
            var goesOn = true
            while goesOn && !isOver {
                let piece = input.extracting(start..<end)
                var used = 0
                withExactCopy(piece) { copy in
                    let (consumed, event) = decoder.next(copy, into: head, trailers: &trailers)
                    if consumed > copy.count { fatalError("more consumed than there is") }
                    used = consumed
                    take(event, copy, consumed, &goesOn, &isOver)
                }
                start += used
                if !goesOn && used > 0 && start < end { goesOn = true }
            }
            if end == input.count { break }
        }
        body.settle(into: &log)
        if case .untilClose = framing { fatalError("a request until close") }
    }

    private mutating func take(
        _ event: RequestDecoder.Event, _ input: Span<UInt8>, _ consumed: Int, _ goesOn: inout Bool, _ isOver: inout Bool
    ) {
        switch event {
        case .needMore: goesOn = false
        case .head:
            noteHead()
        case .body(let range):
            if range.isEmpty || range.upperBound > consumed { fatalError("a body outside of what was consumed") }
            let span = input.extracting(range)
            body.note(span)
            meantBody.note(span)
            if framing == .stream { HTTP1Encoder.encodeChunk(span, into: &output) } else { output.append(span) }
        case .end:
            body.settle(into: &log)
            log.note(UInt8(ascii: "E"))
            log.note(trailers)
            meantBody.settle(into: &open)
            open.note(trailers, own: HTTP1Encoder.ownFields)
            if framing == .stream { HTTP1Encoder.encodeLastChunk(trailers: trailers, into: &output) }
            meaning.bytes += open.bytes
            open = Record()
            output.withReadable { bytes in for i in 0..<bytes.count { written.bytes.append(bytes[i]) } }
            output.removeAll()
            decoder.startNext()
        case .http2Preface:
            log.note(UInt8(ascii: "2"))
            isOver = true
        case .failure(let failure):
            body.settle(into: &log)
            log.note(failure)
            isOver = true
        }
    }

    private mutating func noteHead() {
        framing = head.framing
        log.note(UInt8(ascii: "H"), UInt64(head.version.rawValue), UInt64(head.method.rawValue), head.hasQuery ? 1 : 0)
        for slice in [head.methodText, head.path, head.query, head.authority] { head.withBytes(slice) { log.note($0) } }
        log.note(head.framing)
        log.note(
            head.keepsConnection ? 1 : 0, head.expectsContinue ? 1 : 0, head.acceptsTrailers ? 1 : 0,
            head.schemeIsHTTPS.map { $0 ? 2 : 1 } ?? 0)
        log.note(head.fields)

        head.stripConnectionFields()
        open = Record()
        open.note(UInt8(ascii: "H"), UInt64(head.method.rawValue), head.hasQuery ? 1 : 0, head.acceptsTrailers ? 1 : 0)
        for slice in [head.methodText, head.path, head.query, head.authority] { head.withBytes(slice) { open.note($0) } }
        open.note(head.framing == .length(0) ? .none : head.framing)
        open.note(head.fields, own: HTTP1Encoder.ownFields)
        output.removeAll()
        HTTP1Encoder.encodeRequest(head, into: &output)
    }
}

/// Reads an upstream's connection, as `RequestReading` a client's.
struct ResponseReading: ~Copyable {
    private var decoder: ResponseDecoder
    private let head = ResponseHead()
    private var trailers = FieldSection()
    private let method: Method
    private var body = BodyRecord()
    private var meantBody = BodyRecord()
    private var framing = BodyFraming.none
    var log = Record()
    var meaning = Record()
    private var open = Record()
    var written = Record()
    private var output = ByteBuffer()

    init(limits: HeadLimits, method: Method) {
        decoder = ResponseDecoder(limits: limits)
        self.method = method
        decoder.begin(requestMethod: method)
    }

    mutating func read(_ input: Span<UInt8>, _ cuts: Cuts, truncated: Bool) {
        var start = 0
        var end = 0
        var isOver = false
        while !isOver {
            if end < input.count { end += cuts.size(at: end, left: input.count - end) }
            var goesOn = true
            while goesOn && !isOver {
                let piece = input.extracting(start..<end)
                var used = 0
                withExactCopy(piece) { copy in
                    let (consumed, event) = decoder.next(copy, into: head, trailers: &trailers)
                    if consumed > copy.count { fatalError("more consumed than there is") }
                    used = consumed
                    take(event, copy, consumed, &goesOn, &isOver)
                }
                start += used
                if !goesOn && used > 0 && start < end { goesOn = true }
            }
            if end == input.count { break }
        }
        if !isOver {
            var goesOn = false
            take(decoder.endOfStream(truncated: truncated), input, input.count, &goesOn, &isOver)
        }
        body.settle(into: &log)
    }

    private mutating func take(
        _ event: ResponseDecoder.Event, _ input: Span<UInt8>, _ consumed: Int, _ goesOn: inout Bool, _ isOver: inout Bool
    ) {
        switch event {
        case .needMore: goesOn = false
        case .informational:
            noteHead(isFinal: false)
        case .head:
            noteHead(isFinal: true)
        case .body(let range):
            if range.isEmpty || range.upperBound > consumed { fatalError("a body outside of what was consumed") }
            let span = input.extracting(range)
            body.note(span)
            meantBody.note(span)
            if framing == .stream { HTTP1Encoder.encodeChunk(span, into: &output) } else { output.append(span) }
        case .end:
            body.settle(into: &log)
            log.note(UInt8(ascii: "E"), decoder.isReusable ? 1 : 0)
            log.note(trailers)
            meantBody.settle(into: &open)
            open.note(trailers, own: HTTP1Encoder.ownFields)
            if framing == .stream { HTTP1Encoder.encodeLastChunk(trailers: trailers, into: &output) }
            meaning.bytes += open.bytes
            open = Record()
            output.withReadable { bytes in for i in 0..<bytes.count { written.bytes.append(bytes[i]) } }
            output.removeAll()
            if decoder.isReusable { decoder.begin(requestMethod: method) } else { isOver = true }
        case .failure(let failure):
            body.settle(into: &log)
            log.note(failure)
            isOver = true
        }
    }

    private mutating func noteHead(isFinal: Bool) {
        framing = head.framing
        log.note(UInt8(ascii: "H"), UInt64(head.version.rawValue), UInt64(head.status), head.keepsConnection ? 1 : 0)
        log.note(head.framing)
        log.note(head.fields)

        head.stripConnectionFields()
        // What a 204 or 304 is followed by upstream is no concern of the client's; a body until close has no length there either.
        let keeps = head.framing != .untilClose
        open.note(UInt8(ascii: "H"), UInt64(head.status))
        open.note(head.framing)
        open.note(head.fields, own: HTTP1Encoder.ownFields)
        if isFinal {
            HTTP1Encoder.encodeResponse(
                head, framing: head.framing, requestMethod: method, version: .http11, keepsConnection: keeps, into: &output)
        } else {
            HTTP1Encoder.encodeInformational(head, into: &output)
        }
    }
}
