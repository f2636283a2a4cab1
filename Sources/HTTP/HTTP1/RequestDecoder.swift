// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Turns the bytes of one HTTP/1 client connection into requests (RFC 9110, RFC 9112), one after the other.
///
/// It holds no bytes: the caller keeps what was not consumed and shows it again with what has come since. A body is never
/// copied and a head once. What it says depends on the bytes alone, not on how they were cut (promise P2).
///
///     next → head → body* → end → startNext() → next → …
package struct RequestDecoder: ~Copyable {
    package enum Event {
        /// Nothing more can be said without more bytes.
        case needMore
        /// `head` is filled; the body follows.
        case head
        /// Bytes of the body: a range of `input`, within what was consumed.
        case body(Range<Int>)
        /// The message is complete; `trailers` holds its trailers.
        case end
        /// The connection begins with HTTP/2's preface; nothing of it is consumed (RFC 9113 §3.4).
        case http2Preface
        /// The connection must close after its answer. Said again at each further call.
        case failure(DecodeFailure)
    }

    private enum State {
        case head
        case body(BodyDecoder)
        case ended
        case failed(DecodeFailure)
    }

    /// Empty lines that are skipped before a request line (RFC 9112 §2.2; case A09).
    private static let emptyLineLimit = 2

    private let limits: HeadLimits
    private var state = State.head
    private var scanner = HeadScanner()
    private var emptyLines = 0
    private var isFirst = true

    package init(limits: HeadLimits) { self.limits = limits.bounded }

    /// Whether no byte of a further request's head has been looked at.
    package var isBetweenMessages: Bool {
        if case .head = state { scanner.cursor == 0 } else { false }
    }

    /// Ready for the next request; only after `.end`.
    package mutating func startNext() {
        guard case .ended = state else { return }
        state = .head
        scanner = HeadScanner()
        emptyLines = 0
        isFirst = false
    }

    /// Looks at `input`, all unconsumed bytes of the connection, and tells the next event and how many bytes it used up.
    ///
    /// `head` is written to from the first call for a message on and means something from `.head` on; after a failure it holds
    /// what was understood, perhaps nothing. `trailers` is cleared with the head.
    package mutating func next(
        _ input: Span<UInt8>, into head: RequestHead, trailers: inout FieldSection
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
        case .ended:
            return (0, .needMore)
        case .failed(let failure):
            return (0, .failure(failure))
        }
    }

    private mutating func fail(_ failure: DecodeFailure) -> Event {
        state = .failed(failure)
        return .failure(failure)
    }

    private mutating func nextHead(
        _ input: Span<UInt8>, into head: RequestHead, trailers: inout FieldSection
    ) -> (consumed: Int, event: Event) {
        var skipped = 0
        if scanner.cursor == 0 {
            while skipped < input.count && (input[skipped] == 13 || input[skipped] == 10) {
                if input[skipped] == 10 { return (skipped, fail(.malformed("bare LF"))) }
                if skipped + 1 == input.count { return (skipped, .needMore) }
                if input[skipped + 1] != 10 { return (skipped, fail(.malformed("bare CR"))) }
                emptyLines += 1
                if emptyLines > RequestDecoder.emptyLineLimit {
                    return (skipped, fail(.malformed("too many empty lines before a request")))
                }
                skipped += 2
            }
            if skipped == input.count { return (skipped, .needMore) }
        }
        let rest = input.extracting(skipped..<input.count)

        if scanner.cursor == 0 {
            // Nearly every head arrives whole: try that first. Whatever else comes out is left to the scanner, which knows
            // whether the head has ended, so that a fault is found at the same byte however the bytes arrived.
            var parts = RequestHead.Parts()
            let window = rest.extracting(first: min(rest.count, limits.headerBytes))
            if case .complete(let end, let failure) = read(window, &parts, &head.fields) {
                head.parts = parts
                return (skipped + end, headEnded(parts.framing, &trailers, failure))
            }
            if !rest[0].isTokenOctet { return (skipped, fail(.malformed("not a request line"))) }
        }
        // A method, the target and " HTTP/1.1" with its CR.
        let firstLine = RequestLine.methodLimit + 1 + limits.targetBytes + 10
        switch scanner.scan(rest, limit: limits.headerBytes, firstLine: firstLine) {
        case .incomplete:
            return (skipped, .needMore)
        case .failure(let failure):
            return (skipped, fail(failure))
        case .complete(let end):
            let section = rest.extracting(0..<end)
            if isFirst && emptyLines == 0 && section.equals("PRI * HTTP/2.0\r\n\r\n") {
                scanner = HeadScanner()
                return (0, .http2Preface)
            }
            var parts = RequestHead.Parts()
            let outcome = read(section, &parts, &head.fields)
            head.parts = parts
            switch outcome {
            case .complete(let end, let failure): return (skipped + end, headEnded(parts.framing, &trailers, failure))
            case .malformed(let failure): return (skipped, fail(failure))
            case .incomplete: return (skipped, fail(.malformed("not a request")))
            }
        }
    }

    private mutating func headEnded(
        _ framing: BodyFraming, _ trailers: inout FieldSection, _ failure: DecodeFailure?
    ) -> Event {
        trailers.removeAll()
        if let failure { return fail(failure) }
        state = .body(BodyDecoder(framing))
        return .head
    }

    private enum HeadOutcome {
        /// Well formed, within the limits and ended; yet it may be against a rule.
        case complete(end: Int, DecodeFailure?)
        case incomplete
        case malformed(DecodeFailure)
    }

    /// Reads a head that begins with `input`, which is not longer than a head may be.
    private func read(
        _ input: Span<UInt8>, _ parts: inout RequestHead.Parts, _ fields: inout FieldSection
    ) -> HeadOutcome {
        fields.removeAll()
        let line: RequestLine
        switch RequestLine.read(input, limits: limits) {
        case .line(let read): line = read
        case .incomplete: return .incomplete
        case .failure(let failure): return .malformed(failure)
        }
        switch fields.readSection(input, from: line.end, spent: line.size, limits: limits) {
        case .complete(let end):
            parts = RequestHead.Parts(line, &fields)
            return .complete(end: end, parts.settle(&fields))
        case .incomplete: return .incomplete
        case .failure(let failure): return .malformed(failure)
        }
    }
}
