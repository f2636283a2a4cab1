// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

@testable import HTTP

/// Counts objects, so that a test sees each one go.
final class Census {
    var living = 0
}

/// A stream that writes down what happens to it, and does what a test says at each event.
final class RecordingStream: HTTP2Stream {
    unowned let peer: Peer
    let census: Census
    private(set) var log = ""
    private(set) var body: [UInt8] = []
    private(set) var end: (code: HTTP2ErrorCode, processed: HTTP2Processed)?
    private(set) var drains = 0
    var consumesAtOnce = true

    init(_ peer: Peer) {
        self.peer = peer
        census = peer.census
        census.living += 1
        super.init()
    }

    deinit { census.living -= 1 }

    private func note(_ line: String) {
        log += line + "\n"
        peer.log += "\(id) \(line)\n"
    }

    override func headReceived(endStream: Bool) {
        note("head \(peer.session.isServer ? transcribe(requestHead) : transcribe(responseHead))\(endStream ? " END" : "")")
        peer.onHead?(self, endStream)
        if endStream { peer.onEnd?(self) }
    }

    override func headRefused(_ failure: DecodeFailure, endStream: Bool) {
        note("refused \(failure.reason.rawValue)\(endStream ? " END" : "")")
        peer.onRefused?(self, failure)
    }

    override func informationalReceived() { note("info \(transcribe(responseHead))") }

    override func dataReceived(_ bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBufferPointer { unsafe body.append(contentsOf: $0) }
        peer.onData?(self, bytes.count)
        if consumesAtOnce && !isClosed { peer.session.consumed(self, bytes: bytes.count) }
    }

    override func endReceived() {
        note("end \(body.count)\(transcribe(trailers))")
        peer.onEnd?(self)
    }

    override func outboundDrained() {
        drains += 1
        peer.onDrained?(self)
    }

    override func closed(code: HTTP2ErrorCode, processed: HTTP2Processed) {
        precondition(end == nil, "closed twice")
        end = (code, processed)
        note("closed \(code)\(processed == .maybe ? "" : " \(processed)")")
        peer.onClosed?(self)
    }

    var text: String { String(decoding: body, as: UTF8.self) }
}

/// One end of a connection in memory: a session, its owner, and its streams in the order of opening.
final class Peer: HTTP2SessionOwner {
    private(set) var session: HTTP2Session!
    let census: Census
    private(set) var streams: [RecordingStream] = []
    var log = ""
    var acceptsStreams = true
    var releasesOnClose = true
    var onHead: ((RecordingStream, Bool) -> Void)?
    var onRefused: ((RecordingStream, DecodeFailure) -> Void)?
    var onData: ((RecordingStream, Int) -> Void)?
    var onEnd: ((RecordingStream) -> Void)?
    var onDrained: ((RecordingStream) -> Void)?
    var onClosed: ((RecordingStream) -> Void)?
    var now = Instant.origin

    init(
        server isServer: Bool, settings: HTTP2Settings = HTTP2Settings(), limits: HeadLimits = HeadLimits(),
        census: Census = Census()
    ) {
        self.census = census
        super.init()
        session =
            isServer
            ? HTTP2Session(server: settings, limits: limits, owner: self)
            : HTTP2Session(client: settings, limits: limits, owner: self)
        onClosed = { [unowned self] in if releasesOnClose { session.release($0) } }
    }

    override func streamOpened(_ session: HTTP2Session) -> HTTP2Stream? {
        if !acceptsStreams { return nil }
        let stream = RecordingStream(self)
        streams.append(stream)
        return stream
    }

    override func settingsReceived(_ session: HTTP2Session) { log += "settings\n" }
    override func goAwayReceived(_ session: HTTP2Session, lastStreamID: Int32, code: HTTP2ErrorCode) {
        log += "goaway \(lastStreamID) \(code)\n"
    }
    override func pingAcknowledged(_ session: HTTP2Session) { log += "pong\n" }

    func forgetStreams() { streams = [] }

    /// Feeds octets in pieces of `piece`; the last verdict as text.
    @discardableResult
    func receive(_ bytes: [UInt8], piece: Int = .max) -> String {
        var verdict = HTTP2Session.Verdict.ok
        var start = 0
        while start < bytes.count {
            let end = piece >= bytes.count - start ? bytes.count : start + piece
            let part = Array(bytes[start..<end])
            verdict = session.receive(part.span, now: now)
            start = end
        }
        switch verdict {
        case .ok: return "ok"
        case .connectionError(let reason, _): return reason.rawValue
        }
    }

    /// What the session has to send, at most `limit` octets a call.
    func produce(limit: Int = 1 << 20) -> [UInt8] {
        var output = ByteBuffer()
        while session.produce(into: &output, limit: output.count + limit) {}
        return copy(output)
    }

    /// The same, as frames in text, without our SETTINGS and acknowledgements.
    func produceText() -> [String] {
        Frame.read(produce()).map(\.text).filter { !$0.hasPrefix("SETTINGS") && !$0.hasPrefix("WINDOW 0") }
    }

    func open(
        _ method: String = "GET", _ path: String = "/", _ fields: [(String, String)] = [], authority: String = "a.example",
        endStream: Bool = true
    ) -> RecordingStream? {
        let stream = RecordingStream(self)
        let head = requestHead(method, path, fields, authority: authority, endStream: endStream)
        guard session.open(stream, head: head, endStream: endStream) else { return nil }
        streams.append(stream)
        return stream
    }

    func write(_ stream: RecordingStream, _ bytes: [UInt8], end: Bool = false, trailers: [(String, String)] = []) {
        stream.outbound.append(bytes)
        for (name, value) in trailers { stream.outboundTrailers.append(name, value) }
        if end { stream.outboundEnded = true }
        session.resume(stream)
    }

    func respond(
        _ stream: RecordingStream, _ status: Int = 200, _ fields: [(String, String)] = [], body: String? = nil,
        trailers: [(String, String)] = []
    ) {
        let endStream = body == nil && trailers.isEmpty
        if !endStream {
            stream.outbound.append(Array((body ?? "").utf8))
            for (name, value) in trailers { stream.outboundTrailers.append(name, value) }
            stream.outboundEnded = true
        }
        session.respond(stream, head: responseHead(status, fields), endStream: endStream)
    }
}

func copy(_ buffer: borrowing ByteBuffer) -> [UInt8] {
    buffer.withReadable { span in unsafe span.withUnsafeBufferPointer { unsafe Array($0) } }
}

/// A server and a client session whose octets go to each other.
final class Wire {
    let census = Census()
    let server: Peer
    let client: Peer

    init(
        server: HTTP2Settings = HTTP2Settings(), client: HTTP2Settings = HTTP2Settings(), limits: HeadLimits = HeadLimits(),
        clientLimits: HeadLimits = HeadLimits()
    ) {
        self.server = Peer(server: true, settings: server, limits: limits, census: census)
        self.client = Peer(server: false, settings: client, limits: clientLimits, census: census)
    }

    /// Carries octets both ways until neither side has more; returns how many went to the client.
    @discardableResult
    func pump(piece: Int = .max, limit: Int = 1 << 20) -> Int {
        var toClient = 0
        while true {
            let up = client.produce(limit: limit)
            let down = server.produce(limit: limit)
            if up.isEmpty && down.isEmpty { return toClient }
            server.receive(up, piece: piece)
            client.receive(down, piece: piece)
            toClient += down.count
        }
    }
}

// MARK: Heads

func requestHead(
    _ method: String, _ path: String, _ fields: [(String, String)] = [], authority: String = "a.example",
    endStream: Bool = true
) -> RequestHead {
    let head = RequestHead()
    let method = Array(method.utf8)
    head.method = Method.recognise(method.span)
    head.methodText = head.fields.store(method.span)
    let parts = path.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    head.path = head.fields.store(Array(parts[0].utf8).span)
    if parts.count > 1 {
        head.query = head.fields.store(Array(parts[1].utf8).span)
        head.hasQuery = true
    }
    head.authority = head.fields.store(Array(authority.utf8).span)
    head.schemeIsHTTPS = true
    for (name, value) in fields { head.fields.append(name, value) }
    head.framing = endStream ? .none : .stream
    if let length = fields.first(where: { $0.0 == "content-length" }), let n = UInt64(length.1) { head.framing = .length(n) }
    return head
}

func responseHead(_ status: Int, _ fields: [(String, String)] = []) -> ResponseHead {
    let head = ResponseHead()
    head.status = status
    for (name, value) in fields { head.fields.append(name, value) }
    head.framing = .stream
    if let length = fields.first(where: { $0.0 == "content-length" }), let n = UInt64(length.1) { head.framing = .length(n) }
    return head
}

func transcribe(_ fields: borrowing FieldSection) -> String {
    var text = ""
    for i in 0..<fields.count where !fields.entries[i].isRemoved {
        let name = fields.withBytes(fields.entries[i].name) { String(copying: $0) }
        text += " [\(name): \(fields.string(i))]"
    }
    return text
}

func transcribe(_ framing: BodyFraming) -> String {
    switch framing {
    case .none: "none"
    case .length(let n): "length \(n)"
    case .stream: "stream"
    case .untilClose: "close"
    }
}

private func transcribe(_ head: RequestHead) -> String {
    let scheme = head.schemeIsHTTPS.map { $0 ? "https" : "http" } ?? "?"
    let target = head.string(head.path) + (head.hasQuery ? "?" + head.string(head.query) : "")
    return "\(head.string(head.methodText)) \(scheme) \(head.string(head.authority)) \(target) \(transcribe(head.framing))"
        + (head.expectsContinue ? " expects" : "") + transcribe(head.fields)
}

private func transcribe(_ head: ResponseHead) -> String { "\(head.status) \(transcribe(head.framing))\(transcribe(head.fields))" }
