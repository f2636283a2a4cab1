// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Turns the bytes of one HTTP/1 upstream connection into responses (RFC 9110, RFC 9112).
///
/// As strict as towards a client, since an answer that two parsers read differently poisons a pooled connection. Whether the
/// connection may be used again is told by `isReusable`; stray bytes behind the end are the caller's to see (cases B02, B10).
package struct ResponseDecoder: ~Copyable {
    package enum Event {
        case needMore
        /// `head` holds a 1xx response; the next call goes on to the next head.
        case informational
        /// `head` is filled; the body follows.
        case head
        /// Bytes of the body: a range of `input`, within what was consumed.
        case body(Range<Int>)
        /// The response is complete; `trailers` holds its trailers.
        case end
        /// The connection must close. Said again at each further call.
        case failure(DecodeFailure)
    }

    private enum State {
        case idle
        case head
        case body(BodyDecoder)
        case ended
        case failed(DecodeFailure)
    }

    private let limits: HeadLimits
    private var state = State.idle
    private var scanner = HeadScanner()
    private var interim = 0
    private var method = Method.get
    private var allowsUpgrade = false
    private var framingAllowsReuse = false

    package init(limits: HeadLimits) { self.limits = limits.bounded }

    /// To be called before each response: its framing depends on the request (RFC 9112 §6.3). 101 is taken only where the
    /// request asked for an upgrade (case B07).
    package mutating func begin(requestMethod: Method, allowsUpgrade: Bool = false) {
        method = requestMethod
        self.allowsUpgrade = allowsUpgrade
        state = .head
        scanner = HeadScanner()
        interim = 0
        framingAllowsReuse = false
    }

    /// Whether the response was read whole and neither its framing nor its head forbids another exchange.
    package var isReusable: Bool {
        if case .ended = state { framingAllowsReuse } else { false }
    }

    /// As `RequestDecoder.next`. Bytes that come before `begin` or after the end are a fault: nobody asked for them.
    package mutating func next(
        _ input: Span<UInt8>, into head: ResponseHead, trailers: inout FieldSection
    ) -> (consumed: Int, event: Event) {
        switch state {
        case .head:
            return nextHead(input, into: head, trailers: &trailers)
        case .body(var body):
            let (consumed, event) = body.next(input, trailers: &trailers, limits: limits)
            switch event {
            case .needMore:
                state = .body(body)
                return (consumed, .needMore)
            case .data(let range):
                state = .body(body)
                return (consumed, .body(range))
            case .end:
                state = .ended
                return (consumed, .end)
            case .failure(let failure):
                return (consumed, fail(failure))
            }
        case .idle, .ended:
            if input.isEmpty { return (0, .needMore) }
            return (0, fail(.malformed("bytes that belong to no response")))
        case .failed(let failure):
            return (0, .failure(failure))
        }
    }

    /// The upstream closed its side, after all it sent was shown to `next`. `truncated`: the close was not authenticated (TLS
    /// without close_notify, or a reset), so that a body that only ends by close is not known to be whole (RFC 9112 §9.8).
    package mutating func endOfStream(truncated: Bool) -> Event {
        switch state {
        case .idle, .ended:
            return .end
        case .head:
            return lost(.resetBeforeHeaders, "closed before the response's head was complete")
        case .body(let body):
            if body.isEnded || (body.endsByClose && !truncated) {
                state = .ended
                framingAllowsReuse = false
                return .end
            }
            return lost(.bodyTruncated, "closed inside the response's body")
        case .failed(let failure):
            return .failure(failure)
        }
    }

    private mutating func lost(_ reason: Reason, _ detail: StaticString) -> Event {
        let failure = DecodeFailure(reason: reason, detail: detail)
        state = .failed(failure)
        return .failure(failure)
    }

    private mutating func fail(_ failure: DecodeFailure) -> Event {
        state = .failed(failure.ofUpstream)
        return .failure(failure.ofUpstream)
    }

    private mutating func nextHead(
        _ input: Span<UInt8>, into head: ResponseHead, trailers: inout FieldSection
    ) -> (consumed: Int, event: Event) {
        if input.isEmpty { return (0, .needMore) }
        if scanner.cursor == 0 {
            // As in `RequestDecoder`: whole heads first, the scanner for all else.
            let window = input.extracting(first: min(input.count, limits.headerBytes))
            if case .complete(let end) = readHead(window, into: head) { return (end, headEnded(head, &trailers)) }
        }
        if input[0] != UInt8(ascii: "H") {
            return (0, fail(.malformed("not a status line of HTTP/1")))
        }
        switch scanner.scan(input, limit: limits.headerBytes) {
        case .incomplete:
            return (0, .needMore)
        case .failure(let failure):
            return (0, fail(failure))
        case .complete(let end):
            switch readHead(input.extracting(0..<end), into: head) {
            case .complete(let end): return (end, headEnded(head, &trailers))
            case .failure(let failure): return (0, fail(failure))
            case .incomplete: return (0, fail(.malformed("bad status line")))
            }
        }
    }

    private func readHead(_ input: Span<UInt8>, into head: ResponseHead) -> FieldSection.LinesOutcome {
        var parts = ResponseHead.Parts()
        let outcome = read(input, &parts, &head.fields)
        head.parts = parts
        return outcome
    }

    private func read(
        _ input: Span<UInt8>, _ parts: inout ResponseHead.Parts, _ fields: inout FieldSection
    ) -> FieldSection.LinesOutcome {
        fields.removeAll()
        let line: StatusLine
        switch StatusLine.read(input) {
        case .line(let read): line = read
        case .incomplete: return .incomplete
        case .failure(let failure): return .failure(failure)
        }
        let outcome = fields.readSection(input, from: line.end, spent: line.size, limits: limits)
        if case .complete = outcome {
            parts.version = line.version
            parts.status = line.status
        }
        return outcome
    }

    private mutating func headEnded(_ head: ResponseHead, _ trailers: inout FieldSection) -> Event {
        trailers.removeAll()
        var parts = head.parts
        let event = settle(&parts, head.fields)
        head.parts = parts
        return event
    }

    /// Applies the rules that need the whole head: interim or final, framing, persistence (RFC 9112 §6.3, §9.3).
    private mutating func settle(_ parts: inout ResponseHead.Parts, _ fields: borrowing FieldSection) -> Event {
        let options = ConnectionOptions(of: fields)
        if options.isAboveLimit { return fail(.malformed("too many connection options")) }
        parts.keepsConnection = options.keepsConnection(parts.version)

        let declared = MessageFraming.read(fields, version: parts.version)
        if case .failure(let failure) = declared { return fail(failure) }

        if parts.status < 200 { return settleInterim(&parts, declared) }
        framingAllowsReuse = parts.keepsConnection
        if method == .head || parts.status == 204 || parts.status == 304 {
            parts.framing = .none
            // What must not be there hints at a body that will follow (case B03); in answers to HEAD both may be there, and a
            // length in a 304 as well (RFC 9110 §8.6, RFC 9112 §6.1).
            if method != .head {
                switch declared {
                case .length(let n): if parts.status == 204 && n > 0 { framingAllowsReuse = false }
                case .chunked: framingAllowsReuse = false
                case .none, .failure: break
                }
            }
        } else {
            switch declared {
            case .length(let n): parts.framing = .length(n)
            case .chunked: parts.framing = .stream
            case .none, .failure:
                parts.framing = .untilClose
                framingAllowsReuse = false
            }
        }
        if !framingAllowsReuse { parts.keepsConnection = false }
        state = .body(BodyDecoder(parts.framing))
        return .head
    }

    /// A 1xx (RFC 9110 §15.2): no body, nor anything that speaks of one (RFC 9110 §8.6, RFC 9112 §6.1).
    private mutating func settleInterim(_ parts: inout ResponseHead.Parts, _ declared: MessageFraming) -> Event {
        switch declared {
        case .none, .length(0): break
        default: return fail(.framing("an interim response with a body"))
        }
        if parts.status == 101 {
            guard allowsUpgrade else { return fail(.malformed("101 without an upgrade")) }
            parts.keepsConnection = false
            state = .body(BodyDecoder(.none))
            return .head
        }
        interim += 1
        if interim > limits.interimResponses { return fail(.malformed("too many interim responses")) }
        scanner = HeadScanner()
        return .informational
    }
}
