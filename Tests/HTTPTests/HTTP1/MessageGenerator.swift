// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// HTTP/1 messages drawn from a seed: mostly well formed, spelled in every way that the grammar leaves open, and now and then
/// damaged in one byte.
struct MessageGenerator {
    private let draw: Draw
    private let message: UInt64
    private var n: UInt64 = 0

    init(seed: UInt64, message: Int) {
        draw = Draw(seed: seed)
        self.message = UInt64(message)
    }

    private mutating func below(_ bound: Int) -> Int {
        n += 1
        return draw.below(bound, request: message, .fault, n)
    }

    private mutating func one<Element>(of choices: [Element]) -> Element { choices[below(choices.count)] }

    mutating func request() -> [UInt8] {
        let method = one(of: ["GET", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "FOO", "M-SEARCH"])
        let target = one(of: [
            "/", "/a/b?c=d", "/%41;x?", "http://h.example/x", "https://h.example?y",
            "/" + text(below(40), "abc/~!$&'()*+,-.:;=@_%"),
        ])
        let isOld = below(8) == 0
        var lines = [one(of: ["Host: h.example", "host:h.example", "HOST: →h.example "])]
        for _ in 0..<below(8) { lines.append(field()) }
        let body = bodyBytes()
        var payload: [UInt8] = []
        switch isOld ? below(2) : below(3) {
        case 0: break
        case 1:
            lines.append("Content-Length: \(body.count)")
            payload = body
        default:
            lines.append("Transfer-Encoding: chunked")
            payload = chunks(body)
        }
        if below(4) == 0 {
            lines.append(one(of: ["Connection: close", "Connection: keep-alive", "Connection: x-a, close", "TE: trailers"]))
        }
        shuffle(&lines)
        return damaged(wire("\(method) \(target) HTTP/1.\(isOld ? 0 : 1)⏎" + lines.map { $0 + "⏎" }.joined() + "⏎") + payload)
    }

    mutating func response() -> [UInt8] {
        var lines: [String] = []
        for _ in 0..<below(8) { lines.append(field()) }
        let body = bodyBytes()
        var payload: [UInt8] = []
        if below(2) == 0 {
            lines.append("Content-Length: \(body.count)")
            payload = body
        } else {
            lines.append("Transfer-Encoding: chunked")
            payload = chunks(body)
        }
        shuffle(&lines)
        let interim = below(4) == 0 ? wire("HTTP/1.1 103 Early⏎Link: a⏎⏎") : []
        let status = one(of: ["200 OK", "404 ", "503 Odd Reason", "201 Created"])
        return damaged(interim + wire("HTTP/1.1 \(status)⏎" + lines.map { $0 + "⏎" }.joined() + "⏎") + payload)
    }

    private mutating func field() -> String {
        let name = one(of: ["Accept", "x-a", "X-B", "Cookie", "user-agent", "X-\(text(1 + below(20), "abcXYZ-_019"))"])
        let before = one(of: ["", " ", " ", " ", "→", "  "])
        let after = one(of: ["", "", "", " ", " →"])
        return name + ":" + before + text(below(40), "abcXYZ ,;=\"'()/é→") + after
    }

    private mutating func text(_ count: Int, _ alphabet: String) -> String {
        let letters = Array(alphabet)
        return String((0..<count).map { _ in one(of: letters) })
    }

    private mutating func bodyBytes() -> [UInt8] { (0..<below(80)).map { _ in UInt8(truncatingIfNeeded: below(256)) } }

    private mutating func chunks(_ body: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        var rest = body[...]
        while !rest.isEmpty {
            let size = min(rest.count, 1 + below(30))
            let zeros = String(repeating: "0", count: below(3))
            output += wire(zeros + String(size, radix: 16, uppercase: below(2) == 0) + one(of: ["", "", ";a=b", " ;x"]) + "⏎")
            output += rest.prefix(size) + [13, 10]
            rest = rest.dropFirst(size)
        }
        output += wire(one(of: ["0", "000"]) + "⏎")
        for _ in 0..<(below(3) == 0 ? below(3) : 0) { output += wire("X-Sum:\(below(9))⏎") }
        return output + [13, 10]
    }

    private mutating func shuffle(_ lines: inout [String]) {
        for i in stride(from: lines.count - 1, to: 0, by: -1) { lines.swapAt(i, below(i + 1)) }
    }

    /// One message in four has one byte that is other than it should be, is missing, or is there twice.
    private mutating func damaged(_ message: [UInt8]) -> [UInt8] {
        if below(4) > 0 || message.isEmpty { return message }
        var message = message
        let place = below(message.count)
        switch below(3) {
        case 0: message[place] = one(of: [0, 9, 10, 13, 32, 58, 59, 48, 127, 255])
        case 1: message.remove(at: place)
        default: message.insert(message[place], at: place)
        }
        return message
    }
}
