// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// A request line, taken apart (RFC 9112 §3). Slices are offsets from the line's first byte, which is the arena's first.
struct RequestLine {
    /// Longer than any registered method (`UPDATEREDIRECTREF` has 17 letters).
    static let methodLimit = 32

    enum Form { case origin, absolute(isHTTPS: Bool), asterisk }

    enum Outcome {
        case line(RequestLine)
        case incomplete
        case failure(DecodeFailure)
    }

    var method = Method.other
    var methodLength = 0
    var version = HTTPVersion.http11
    var form = Form.origin
    var authority = 0..<0
    var path = 0..<0
    var query = 0..<0
    var hasQuery = false
    /// What the line takes of the header limit: method, target and version.
    var size = 0
    /// Where the next line begins.
    var end = 0

    /// Reads the line at the beginning of `input`.
    static func read(_ input: Span<UInt8>, limits: borrowing HeadLimits) -> Outcome {
        let n = input.count
        var line = RequestLine()
        var i = 0
        while i < n && input[i].isTokenOctet { i += 1 }
        if i == n { return .incomplete }
        if i == 0 || input[i] != 32 { return .failure(.malformed("not a request line")) }
        if i > methodLimit { return .failure(.malformed("method above the limit")) }
        line.methodLength = i
        line.method = Method.recognise(input.extracting(0..<i))

        let start = i + 1
        var question = -1
        i = start
        while true {
            i = input.endOfTargetPart(from: i)
            if i == n { return .incomplete }
            let stop = input[i]
            if stop == 63 {
                if question < 0 { question = i }
                i += 1
                continue
            }
            if stop == 32 { break }
            return .failure(
                stop == 13 || stop == 10
                    ? .malformed("request line without a version") : .target("character not allowed in a request target"))
        }
        let target = start..<i
        if target.count > limits.targetBytes {
            return .failure(DecodeFailure(reason: .requestURITooLong, detail: "request target above the limit"))
        }

        // "HTTP/1.x" CR LF
        if i + 11 > n { return .incomplete }
        let version = input.word(at: i + 1)
        if version == 0x312e_312f_5054_5448 {
            line.version = .http11
        } else if version == 0x302e_312f_5054_5448 {
            line.version = .http10
        } else {
            return .failure(.malformed("not a version of HTTP that is spoken here"))
        }
        if input[i + 9] != 13 || input[i + 10] != 10 { return .failure(.malformed("request line does not end after its version")) }
        line.size = i + 9
        line.end = i + 11

        if line.method == .connect || line.method == .trace {
            return .failure(DecodeFailure(reason: .requestMethod, detail: "CONNECT and TRACE are refused"))
        }
        if target.isEmpty { return .failure(.malformed("empty request target")) }
        if let failure = line.divide(target, question: question, input) { return .failure(failure) }
        return .line(line)
    }

    /// The four forms of a target (RFC 9112 §3.2); authority-form belongs to CONNECT alone.
    private mutating func divide(_ target: Range<Int>, question: Int, _ input: Span<UInt8>) -> DecodeFailure? {
        let pathEnd = question < 0 ? target.upperBound : question
        if question >= 0 {
            hasQuery = true
            query = (question + 1)..<target.upperBound
        }
        if input[target.lowerBound] == 47 {
            path = target.lowerBound..<pathEnd
            return nil
        }
        if input[target.lowerBound] == 42 {
            guard target.count == 1 else { return .target("not a form of request target") }
            guard method == .options else { return .target("`*` is for OPTIONS only") }
            form = .asterisk
            path = target
            return nil
        }
        let text = input.extracting(target)
        let scheme: Int
        if text.count > 7 && text.extracting(0..<7).equalsIgnoringCase("http://") {
            scheme = 7
            form = .absolute(isHTTPS: false)
        } else if text.count > 8 && text.extracting(0..<8).equalsIgnoringCase("https://") {
            scheme = 8
            form = .absolute(isHTTPS: true)
        } else {
            return .target("not a form of request target")
        }
        var slash = target.lowerBound + scheme
        while slash < pathEnd && input[slash] != 47 { slash += 1 }
        authority = (target.lowerBound + scheme)..<slash
        path = slash..<pathEnd
        return nil
    }
}
