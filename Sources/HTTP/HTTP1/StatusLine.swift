// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A status line (RFC 9112 §4). The reason phrase is read over: the gateway writes its own.
struct StatusLine {
    enum Outcome {
        case line(StatusLine)
        case incomplete
        case failure(DecodeFailure)
    }

    var version: HTTPVersion
    var status: Int
    var size: Int
    var end: Int

    /// Reads the line at the beginning of `input`. The phrase may be empty, but its space is there (case B11).
    static func read(_ input: Span<UInt8>) -> Outcome {
        if input.count < 15 { return .incomplete }
        let version: HTTPVersion
        switch input.word(at: 0) {
        case 0x312e_312f_5054_5448: version = .http11
        case 0x302e_312f_5054_5448: version = .http10
        default: return .failure(.malformed("not a status line of HTTP/1"))
        }
        guard input[8] == 32, input[9].isDigit, input[10].isDigit, input[11].isDigit, input[12] == 32 else {
            return .failure(.malformed("bad status line"))
        }
        let status = Int(input[9] - 48) * 100 + Int(input[10] - 48) * 10 + Int(input[11] - 48)
        guard (100...599).contains(status) else { return .failure(.malformed("status out of range")) }
        let stop = input.endOfFieldValue(from: 13)
        if stop + 1 >= input.count { return .incomplete }
        guard input[stop] == 13, input[stop + 1] == 10 else { return .failure(.malformed("control character in a status line")) }
        return .line(StatusLine(version: version, status: status, size: stop, end: stop + 2))
    }
}
