// Holdfast
// SPDX-License-Identifier: Apache-2.0

@testable import HTTP

/// Writes HTTP/2 frames as a peer that keeps to no rule would (RFC 9113 §4.1, §6). Field blocks are HPACK literals without
/// indexing or Huffman coding, unless given as octets.
struct FrameWriter {
    var bytes: [UInt8] = []

    enum Kind: UInt8 { case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate, continuation }

    static let endStream: UInt8 = 1
    static let endHeaders: UInt8 = 4
    static let padded: UInt8 = 8

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    /// A client's first octets: the preface and empty SETTINGS.
    static func client(_ settings: [(Int, Int)] = []) -> FrameWriter {
        var writer = FrameWriter(bytes: preface)
        writer.settings(settings)
        return writer
    }

    mutating func frame(_ kind: UInt8, flags: UInt8 = 0, _ id: Int, _ payload: [UInt8] = []) {
        let n = payload.count
        bytes += [UInt8(n >> 16), UInt8(n >> 8 & 255), UInt8(n & 255), kind, flags]
        bytes += FrameWriter.four(id)
        bytes += payload
    }

    mutating func settings(_ entries: [(Int, Int)] = []) {
        frame(
            Kind.settings.rawValue, 0, entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + FrameWriter.four($0.1) })
    }

    mutating func settingsAcknowledgement() { frame(Kind.settings.rawValue, flags: 1, 0) }

    mutating func headers(_ id: Int, _ fields: [(String, String)], endStream: Bool = true, endHeaders: Bool = true) {
        headers(id, block: FrameWriter.block(fields), endStream: endStream, endHeaders: endHeaders)
    }

    mutating func headers(_ id: Int, block: [UInt8], endStream: Bool = true, endHeaders: Bool = true) {
        let flags = (endStream ? FrameWriter.endStream : 0) | (endHeaders ? FrameWriter.endHeaders : 0)
        frame(Kind.headers.rawValue, flags: flags, id, block)
    }

    mutating func continuation(_ id: Int, block: [UInt8], endHeaders: Bool) {
        frame(Kind.continuation.rawValue, flags: endHeaders ? FrameWriter.endHeaders : 0, id, block)
    }

    mutating func data(_ id: Int, _ payload: [UInt8], endStream: Bool = false) {
        frame(Kind.data.rawValue, flags: endStream ? FrameWriter.endStream : 0, id, payload)
    }

    mutating func reset(_ id: Int, _ code: Int = 8) { frame(Kind.reset.rawValue, id, FrameWriter.four(code)) }
    mutating func ping(acknowledges: Bool = false) {
        frame(Kind.ping.rawValue, flags: acknowledges ? 1 : 0, 0, Array(repeating: 7, count: 8))
    }
    mutating func windowUpdate(_ id: Int, _ increment: Int) {
        frame(Kind.windowUpdate.rawValue, id, FrameWriter.four(increment))
    }
    mutating func priority(_ id: Int, on other: Int = 0) {
        frame(Kind.priority.rawValue, id, FrameWriter.four(other) + [15])
    }
    mutating func goAway(last: Int, _ code: Int = 0) {
        frame(Kind.goAway.rawValue, 0, FrameWriter.four(last) + FrameWriter.four(code))
    }

    static func get(_ path: String = "/", _ more: [(String, String)] = []) -> [(String, String)] {
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", path)] + more
    }

    static func post(_ path: String = "/", _ more: [(String, String)] = []) -> [(String, String)] {
        [(":method", "POST"), (":scheme", "https"), (":authority", "a.example"), (":path", path)] + more
    }

    static func four(_ n: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: n >> (24 - 8 * $0)) } }

    /// Literals without indexing, new names (RFC 7541 §6.2.2).
    static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { [0] + text(Array($0.0.utf8)) + text(Array($0.1.utf8)) }
    }

    static func text(_ bytes: [UInt8]) -> [UInt8] { integer(bytes.count, prefix: 7) + bytes }

    /// RFC 7541 §5.1.
    static func integer(_ value: Int, prefix: Int, first: UInt8 = 0) -> [UInt8] {
        let limit = 1 << prefix - 1
        if value < limit { return [first | UInt8(value)] }
        var out = [first | UInt8(limit)]
        var rest = value - limit
        while rest >= 128 {
            out.append(UInt8(rest & 127) | 128)
            rest >>= 7
        }
        out.append(UInt8(rest))
        return out
    }
}

/// A frame that a session wrote.
struct Frame: Equatable {
    var kind: UInt8
    var flags: UInt8
    var id: Int
    var payload: [UInt8]

    var code: Int { payload.count >= 4 ? Frame.number(payload[0..<4]) : -1 }
    var second: Int { payload.count >= 8 ? Frame.number(payload[4..<8]) : -1 }
    var isAcknowledgement: Bool { flags & 1 == 1 }

    static func number(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reduce(0) { $0 << 8 | Int($1) } }

    static func read(_ bytes: [UInt8]) -> [Frame] {
        var rest = bytes[...]
        if rest.starts(with: FrameWriter.preface) { rest = rest.dropFirst(FrameWriter.preface.count) }
        var frames: [Frame] = []
        while rest.count >= 9 {
            let s = rest.startIndex
            let n = number(rest[s..<(s + 3)])
            precondition(rest.count >= 9 + n, "cut frame")
            frames.append(
                Frame(
                    kind: rest[s + 3], flags: rest[s + 4], id: number(rest[(s + 5)..<(s + 9)]),
                    payload: Array(rest[(s + 9)..<(s + 9 + n)])))
            rest = rest.dropFirst(9 + n)
        }
        precondition(rest.isEmpty, "stray bytes")
        return frames
    }

    /// As text: `HEADERS 1 END`, `DATA 1 5`, `RST 1 PROTOCOL_ERROR`, `GOAWAY 3 NO_ERROR`, `WINDOW 0 100`, …
    var text: String {
        func name(_ n: Int) -> String { HTTP2ErrorCode(rawValue: UInt32(n)).description }
        switch FrameWriter.Kind(rawValue: kind) {
        case .data: return "DATA \(id) \(payload.count)" + (flags & 1 == 1 ? " END" : "")
        case .headers: return "HEADERS \(id)" + (flags & 1 == 1 ? " END" : "")
        case .reset: return "RST \(id) \(name(code))"
        case .goAway: return "GOAWAY \(code) \(name(second))"
        case .windowUpdate: return "WINDOW \(id) \(code)"
        case .settings: return isAcknowledgement ? "SETTINGS ACK" : "SETTINGS"
        case .ping: return isAcknowledgement ? "PING ACK" : "PING"
        default: return "type \(kind) \(id)"
        }
    }
}
