// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Finds the end of a head that arrives in pieces, looking at each byte once.
///
/// It knows lines and nothing else: a section ends with its first empty line. It refuses a bare line feed (RFC 9112 §2.2
/// lets a recipient take it; a second parser may not) and a section above the limit as soon as that is certain, so what it
/// says depends on the bytes alone and not on how they were cut.
struct HeadScanner {
    enum Outcome {
        case incomplete
        /// The section ends before this offset, empty line included.
        case complete(end: Int)
        case failure(DecodeFailure)
    }

    /// All before it has been looked at.
    private(set) var cursor = 0
    private var lineStart = 0

    /// `input` begins with the section and holds at least what it held at the last call. `firstLine` limits the first line.
    mutating func scan(_ input: Span<UInt8>, limit: Int, firstLine: Int = .max) -> Outcome {
        while true {
            let feed = input.lineFeed(from: cursor)
            if lineStart == 0 && feed > firstLine && firstLine < limit {
                return .failure(DecodeFailure(reason: .requestURITooLong, detail: "request line above the limit"))
            }
            if feed >= limit { return .failure(.tooLarge("head above the limit")) }
            cursor = feed
            if feed == input.count { return .incomplete }
            if feed == 0 || input[feed - 1] != 13 { return .failure(.malformed("bare LF")) }
            cursor = feed + 1
            if feed - lineStart == 1 { return .complete(end: feed + 1) }
            lineStart = feed + 1
        }
    }
}
