// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Finds the body in a connection's bytes and says where it ends, for requests and responses alike.
///
/// Body bytes are never copied: an event names their range in the input. Nothing is collected, so a chunk-size of 2^63-1
/// costs no more than one of 1 (case A07).
struct BodyDecoder {
    enum Event {
        case needMore
        case data(Range<Int>)
        case end
        case failure(DecodeFailure)
    }

    private enum State {
        case length(UInt64)
        case untilClose
        /// In a chunk's size: its value so far and the number of digits.
        case size(UInt64, digits: Int)
        /// Behind the size: space, which only an extension may follow.
        case beforeExtension
        case `extension`
        case sizeLineFeed
        case data(UInt64)
        case dataReturn, dataLineFeed
        case trailers(HeadScanner)
        case ended
    }

    private var state: State
    /// The size of the chunk whose line is being read.
    private var chunk: UInt64 = 0
    private var extensionBytes = 0

    /// Legal sizes may have leading zeros (RFC 9112 §7.1, case A06), but not without end.
    static let digitLimit = 32

    init(_ framing: BodyFraming) {
        switch framing {
        case .none, .length(0): state = .ended
        case .length(let n): state = .length(n)
        case .stream: state = .size(0, digits: 0)
        case .untilClose: state = .untilClose
        }
    }

    var isEnded: Bool {
        if case .ended = state { true } else { false }
    }

    /// Whether the end of the connection ends this body.
    var endsByClose: Bool {
        if case .untilClose = state { true } else { false }
    }

    mutating func next(
        _ input: Span<UInt8>, trailers: inout FieldSection, limits: borrowing HeadLimits
    ) -> (consumed: Int, event: Event) {
        switch state {
        case .ended:
            return (0, .end)
        case .untilClose:
            return input.isEmpty ? (0, .needMore) : (input.count, .data(0..<input.count))
        case .length(let left):
            if input.isEmpty { return (0, .needMore) }
            let n = Int(min(UInt64(input.count), left))
            state = left == UInt64(n) ? .ended : .length(left - UInt64(n))
            return (n, .data(0..<n))
        default:
            return nextOfChunks(input, trailers: &trailers, limits: limits)
        }
    }

    private mutating func nextOfChunks(
        _ input: Span<UInt8>, trailers: inout FieldSection, limits: borrowing HeadLimits
    ) -> (consumed: Int, event: Event) {
        let n = input.count
        let extensionLimit = limits.chunkExtensionBytes
        var i = 0
        while true {
            switch state {
            case .data(let left):
                if i == n { return (n, .needMore) }
                let size = Int(min(UInt64(n - i), left))
                state = left == UInt64(size) ? .dataReturn : .data(left - UInt64(size))
                return (i + size, .data(i..<(i + size)))
            case .dataReturn:
                if i == n { return (n, .needMore) }
                if input[i] != 13 { return (i, .failure(.framing("chunk longer than its size"))) }
                state = .dataLineFeed
                i += 1
            case .dataLineFeed:
                if i == n { return (n, .needMore) }
                if input[i] != 10 { return (i, .failure(.framing("bare CR after a chunk"))) }
                state = .size(0, digits: 0)
                i += 1
            case .size(let value, let digits):
                if let failure = readSize(input, &i, value, digits) { return (i, .failure(failure)) }
                if case .size = state { return (n, .needMore) }
            case .beforeExtension:
                while i < n && input[i].isSpaceOrTab && extensionBytes <= extensionLimit {
                    i += 1
                    extensionBytes += 1
                }
                if extensionBytes > extensionLimit { return (i, .failure(.framing("chunk extensions above the limit"))) }
                if i == n { return (n, .needMore) }
                if input[i] != 59 { return (i, .failure(.framing("bad chunk size"))) }
                state = .extension
            case .extension:
                let stop = input.endOfFieldValue(from: i)
                let (sum, overflow) = extensionBytes.addingReportingOverflow(stop - i)
                if overflow || sum > extensionLimit {
                    return (i, .failure(.framing("chunk extensions above the limit")))
                }
                extensionBytes = sum
                i = stop
                if i == n { return (n, .needMore) }
                if input[i] != 13 { return (i, .failure(.framing("control character in a chunk extension"))) }
                state = .sizeLineFeed
                i += 1
            case .sizeLineFeed:
                if i == n { return (n, .needMore) }
                if input[i] != 10 { return (i, .failure(.framing("bare CR after a chunk size"))) }
                state = chunk == 0 ? .trailers(HeadScanner()) : .data(chunk)
                i += 1
            case .trailers(let scanner):
                return readTrailers(input, from: i, scanner, into: &trailers, limits: limits)
            case .ended:
                return (i, .end)
            case .length, .untilClose:
                return (i, .needMore)
            }
        }
    }

    /// 1*HEXDIG, at most 2^63-1 (RFC 9112 §7.1); leaves the state `size` only when it needs more bytes.
    private mutating func readSize(_ input: Span<UInt8>, _ i: inout Int, _ before: UInt64, _ count: Int) -> DecodeFailure? {
        var value = before
        var digits = count
        while i < input.count {
            if let digit = input[i].hexadecimalValue {
                if value >> 59 != 0 { return .framing("chunk size overflows") }
                digits += 1
                if digits > BodyDecoder.digitLimit { return .framing("chunk size with too many digits") }
                value = value << 4 | UInt64(digit)
                i += 1
                continue
            }
            if digits == 0 { return .framing("bad chunk size") }
            chunk = value
            switch input[i] {
            case 13:
                state = .sizeLineFeed
                i += 1
            case 59:
                state = .extension
            case 32, 9:
                state = .beforeExtension
            default:
                return .framing("bad chunk size")
            }
            return nil
        }
        state = .size(value, digits: digits)
        return nil
    }

    private mutating func readTrailers(
        _ input: Span<UInt8>, from start: Int, _ before: HeadScanner, into trailers: inout FieldSection,
        limits: borrowing HeadLimits
    ) -> (consumed: Int, event: Event) {
        var scanner = before
        let rest = input.extracting(start..<input.count)
        switch scanner.scan(rest, limit: limits.headerBytes) {
        case .failure(let failure):
            return (start, .failure(failure))
        case .incomplete:
            state = .trailers(scanner)
            return (start, .needMore)
        case .complete(let end):
            state = .ended
            if end == 2 { return (start + 2, .end) }
            let section = rest.extracting(0..<end)
            switch trailers.readSection(section, from: 0, spent: 0, limits: limits) {
            case .complete(end):
                trailers.dropFieldsNotAllowedInTrailers()
                return (start + end, .end)
            case .complete, .incomplete:
                return (start, .failure(.malformed("trailer section without an end")))
            case .failure(let failure):
                return (start, .failure(failure))
            }
        }
    }
}
