// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Reading of field lines: of heads, and of trailers.
///
/// A line is read in one pass and noted as two slices; when the section is whole its bytes are copied to the arena **once**,
/// where names are put into lower case and recognised. A client that writes `Name: value` with one space, as all do,
/// leaves lines in the arena that the encoder can copy in one run.
extension FieldSection {
    enum LinesOutcome {
        /// The empty line ends before this offset.
        case complete(end: Int)
        case incomplete
        case failure(DecodeFailure)
    }

    /// Reads the field lines that begin at `start`, up to and including the empty line (RFC 9112 §5), and takes them and all
    /// before them over into the arena. Unless the section is complete, nothing is added.
    ///
    /// `input` is cut to the limit by the caller; `spent` is what the start line took of it. Strict: no fold, no space before the colon, no bare CR or
    /// LF, no control but HTAB.
    mutating func readSection(
        _ input: Span<UInt8>, from start: Int, spent: Int, limits: borrowing HeadLimits
    ) -> LinesOutcome {
        let first = entries.count
        // Taken out, so that adding an entry is no access through `self`.
        var lines: [Entry] = []
        swap(&lines, &entries)
        let base = arena.count
        let headerBytes = limits.headerBytes
        // No line is shorter than `a:` CR LF. Room is made once, so that adding an entry is one store.
        let room = min(limits.headerCount, input.count / 4)
        var outcome = LinesOutcome.incomplete
        var isUnusual = false
        lines.append(addingCapacity: room) { added in
            outcome = FieldSection.readLines(
                input, from: start, base: base, spent: spent, headerBytes: headerBytes, isUnusual: &isUnusual, into: &added)
        }
        if case .complete(let end) = outcome {
            hasUnusualNames = hasUnusualNames || isUnusual
            adopt(input.extracting(0..<end), lines: &lines, from: first)
        } else {
            lines.removeSubrange(first...)
        }
        swap(&lines, &entries)
        return outcome
    }

    /// Notes each line as slices of the arena as it will be; `base` is where there `input` will begin. As many fields are allowed as
    /// `lines` has room for.
    private static func readLines(
        _ input: Span<UInt8>, from start: Int, base: Int, spent: Int, headerBytes: Int, isUnusual: inout Bool,
        into lines: inout OutputSpan<Entry>
    ) -> LinesOutcome {
        let n = input.count
        var size = spent
        var i = start
        while true {
            if i >= n { return .incomplete }
            if input[i] == 13 {
                if i &+ 1 >= n { return .incomplete }
                return input[i &+ 1] == 10 ? .complete(end: i &+ 2) : .failure(.malformed("bare CR"))
            }
            let colon = input.endOfToken(from: i, isUnusual: &isUnusual)
            if colon >= n { return .incomplete }
            if colon == i || input[colon] != 58 { return .failure(faultOfName(stop: input[colon], isFirst: i == colon)) }

            // All positions are within `input`, so that no sum of them can overflow.
            var value = colon &+ 1
            while value < n && input[value].isSpaceOrTab { value &+= 1 }
            let stop = input.endOfFieldValue(from: value)
            if stop &+ 1 >= n { return .incomplete }
            if input[stop] != 13 || input[stop &+ 1] != 10 { return .failure(faultOfValue(input[stop])) }
            var end = stop
            while end > value && input[end &- 1].isSpaceOrTab { end &-= 1 }

            size &+= (colon &- i) &+ (end &- value) &+ 32
            if size > headerBytes { return .failure(.tooLarge("head above the limit")) }
            if lines.isFull { return .failure(.tooLarge("too many fields")) }
            lines.append(
                Entry(
                    name: Slice(bounded: base &+ i, colon &- i), value: Slice(bounded: base &+ value, end &- value),
                    known: .other, isLine: value == colon &+ 2 && end == stop && input[colon &+ 1] == 32))
            i = stop &+ 2
        }
    }

    private static func faultOfName(stop: UInt8, isFirst: Bool) -> DecodeFailure {
        if isFirst {
            if stop == 58 { return .malformed("empty field name") }
            if stop.isSpaceOrTab { return .malformed("line folding") }
            return .malformed("character not allowed in a field name")
        }
        if stop.isSpaceOrTab { return .malformed("space before the colon") }
        if stop == 13 || stop == 10 { return .malformed("field line without a colon") }
        return .malformed("character not allowed in a field name")
    }

    private static func faultOfValue(_ stop: UInt8) -> DecodeFailure {
        switch stop {
        case 13: .malformed("bare CR")
        case 10: .malformed("bare LF")
        case 0: .malformed("NUL in a field value")
        default: .malformed("control character in a field value")
        }
    }

    /// Copies a section's bytes to the arena and recognises the fields that were noted from `first` on.
    private mutating func adopt(_ bytes: Span<UInt8>, lines: inout [Entry], from first: Int) {
        let length = bytes.count
        let start = arena.count
        let recogniser = FieldName.Recogniser()
        var seen = present
        _ = unsafe arena.withUnsafeWritable(minimum: length) { room in
            // The room is at least `length` long and lives as long as this closure; all further access goes through the
            // span and is checked.
            let target = unsafe room.assumingMemoryBound(to: UInt8.self)
            unsafe bytes.withUnsafeBufferPointer { source in _ = unsafe target.update(fromContentsOf: source) }
            var copy = unsafe MutableSpan(_unsafeElements: target.extracting(0..<length))
            for k in first..<lines.count {
                let name = lines[k].name
                let from = Int(name.offset) &- start
                let range = from..<(from &+ Int(name.length))
                copy.lowercase(range)
                let known = recogniser.recognise(lowercased: copy.span.extracting(range))
                lines[k].known = known
                seen |= 1 &<< UInt64(known.rawValue)
            }
            return length
        }
        present = seen
    }
}

extension Slice {
    /// For a head whose size is known to be below `HeadLimits.ceiling`.
    @inline(__always)
    fileprivate init(bounded offset: Int, _ length: Int) {
        self.init(offset: 0, length: 0)
        self.offset = UInt32(truncatingIfNeeded: offset)
        self.length = UInt32(truncatingIfNeeded: length)
    }
}

extension HeadLimits {
    /// Offsets into a head have 32 bits: whatever the settings say, no head may be larger than this (case A12).
    static var ceiling: Int { 1 << 30 }

    /// These limits, none beyond what the decoders can hold.
    var bounded: HeadLimits {
        var limits = self
        limits.headerBytes = min(max(headerBytes, 0), HeadLimits.ceiling)
        limits.targetBytes = min(max(targetBytes, 0), HeadLimits.ceiling)
        limits.headerCount = min(max(headerCount, 0), HeadLimits.ceiling)
        return limits
    }
}
