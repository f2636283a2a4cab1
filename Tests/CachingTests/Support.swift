// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import HTTP

@testable import Caching

/// The seed of a property test: from the environment, or fixed. A failing test names it in its message.
struct Seed: CustomStringConvertible, Sendable {
    let value: UInt64

    static let current = Seed(value: number("HOLDFAST_SEED") ?? 20_261_201)

    static func number(_ name: String) -> UInt64? {
        guard let text = unsafe getenv(name) else { return nil }
        return UInt64(unsafe String(cString: text))
    }

    var description: String { "HOLDFAST_SEED=\(value)" }
    func random(_ stream: UInt64) -> SeededRandom { SeededRandom(draw: Draw(seed: value), stream: stream) }
}

struct SeededRandom: RandomNumberGenerator {
    let draw: Draw
    let stream: UInt64
    var n: UInt64 = 0

    mutating func next() -> UInt64 {
        n += 1
        return draw.bits(request: stream, .fault, n)
    }

    mutating func below(_ bound: Int) -> Int { draw.below(bound, request: stream, .fault, nextNumber()) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }

    private mutating func nextNumber() -> UInt64 {
        n += 1
        return n
    }
}

extension Instant {
    static func seconds(_ n: Int64) -> Instant { Instant(nanoseconds: n * 1_000_000_000) }
}

/// A request in words: `GET /path?query`, then field lines.
struct Asked: Sendable {
    var method = "GET"
    var host = "a.example"
    var isSecure = true
    var path = "/"
    var query: String?
    var fields: [(String, String)] = []
    var body = ""
    var isAuthenticated = false

    init(_ method: String = "GET", _ target: String = "/", host: String = "a.example", secure: Bool = true, _ lines: String...) {
        self.method = method
        self.host = host
        isSecure = secure
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(parts[0])
        query = parts.count > 1 ? String(parts[1]) : nil
        fields = lines.map(pair)
    }

    var head: RequestHead {
        let head = RequestHead()
        let bytes = Array(method.utf8)
        head.method = Method.recognise(bytes.span)
        head.methodText = head.fields.store(bytes.span)
        head.authority = head.fields.store(Array(host.utf8).span)
        head.path = head.fields.store(Array(path.utf8).span)
        if let query {
            head.hasQuery = true
            head.query = head.fields.store(Array(query.utf8).span)
        }
        for (name, value) in fields { head.fields.append(name, value) }
        if !body.isEmpty { head.framing = .length(UInt64(body.utf8.count)) }
        return head
    }

    func value(_ name: String) -> String? {
        let values = fields.filter { $0.0.lowercased() == name }.map(\.1)
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }
}

/// An answer in words.
struct Answered: Sendable {
    var status = 200
    var fields: [(String, String)] = []
    var body = ""
    /// The connection broke before the end of the body.
    var isTruncated = false
    var isCloseDelimited = false

    init(_ status: Int = 200, _ lines: String..., body: String = "hello") {
        self.status = status
        fields = lines.map(pair)
        self.body = status == 304 || status == 204 ? "" : body
    }

    func head(for method: String) -> ResponseHead {
        let head = ResponseHead()
        head.status = status
        for (name, value) in fields { head.fields.append(name, value) }
        let hasNone = status == 304 || status == 204
        head.framing = isCloseDelimited ? .untilClose : hasNone ? .none : .length(UInt64(body.utf8.count))
        return head
    }

    func value(_ name: String) -> String? {
        let values = fields.filter { $0.0.lowercased() == name }.map(\.1)
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }
}

func pair(_ line: String) -> (String, String) {
    let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    return (String(parts[0]), parts.count > 1 ? parts[1].trimmingSpaces : "")
}

extension Substring {
    var trimmingSpaces: String {
        var text = self
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }
}

extension FieldSection {
    /// All fields as text.
    var lines: [(String, String)] {
        var out: [(String, String)] = []
        for i in entries.indices where !entries[i].isRemoved {
            out.append((withBytes(entries[i].name) { String(copying: $0) }, string(i)))
        }
        return out
    }
}

/// What a client got.
struct Got {
    var status: Int
    var fields: [(String, String)]
    var body: String
    /// What the origin was asked, if it was asked before the client had its answer.
    var forwarded: [(String, String)]?
    /// What it was asked behind the client's back.
    var refreshed: [(String, String)]?

    func value(_ name: String) -> String? { fields.first { $0.0 == name }?.1 }
    var cacheStatus: String { value("cache-status") ?? "" }
    var age: Int? { value("age").flatMap { Int($0) } }
    var isFromStore: Bool { forwarded == nil }
}

/// A gateway with a cache, in one thread: a working model of the filter around the engine, with a clock that is set by hand.
final class Edge {
    let store: CacheStore
    var policy: CachePolicy
    var now = Instant.seconds(1_000)
    var unix: Int64 = 1_795_564_800
    /// Time that the origin takes, in seconds.
    var delay: Int64 = 0
    var fetches = 0
    /// What background fetches get; nil: what the request's own origin says.
    var background: ((RequestHead) -> Answered?)?
    let namespace: [UInt8]

    init(_ policy: CachePolicy = CachePolicy(), bytes: Int = 1 << 20, namespace: String = "route", store: CacheStore? = nil) {
        self.policy = policy
        self.store = store ?? CacheStore(bytes: bytes)
        self.namespace = Array(namespace.utf8)
    }

    func advance(_ seconds: Int64) {
        now = now.advanced(byNanoseconds: seconds * 1_000_000_000)
        unix += seconds
    }

    /// An IMF-fixdate so many seconds from now.
    func date(_ offset: Int64 = 0) -> String {
        var out = ByteBuffer()
        HTTPDate.write(seconds: unix + offset, into: &out)
        return out.withReadable { String(copying: $0) }
    }

    /// Nil from the origin: it cannot be reached.
    func send(_ asked: Asked, _ origin: @escaping (RequestHead) -> Answered?) -> Got {
        let head = asked.head
        let visit = CacheVisit(
            head, policy: policy, store: store, namespace: namespace, isSecure: asked.isSecure,
            isAuthenticated: asked.isAuthenticated)
        defer { visit.ended() }
        switch visit.begin(head, now: now, waiter: nil) {
        case .reply(let answer, let ticket):
            var got = reply(visit, answer, head)
            if let ticket { got.refreshed = refresh(answer, ticket, asked, background ?? origin) }
            return got
        case .wait: return Got(status: 0, fields: [], body: "waits")
        case .unsatisfiable: return Got(status: 504, fields: [], body: "")
        case .forward: break
        }
        let forwarded = head.fields.lines
        fetches += 1
        let answer = origin(head)
        advance(delay)
        guard let answer else {
            if let stored = visit.failed(mayReply: true, now: now) {
                var got = reply(visit, stored, head)
                got.forwarded = forwarded
                return got
            }
            return Got(status: 502, fields: [], body: "", forwarded: forwarded)
        }
        let response = answer.head(for: asked.method)
        let body = Array(answer.body.utf8)
        var got = Got(status: answer.status, fields: [], body: asked.method == "HEAD" ? "" : answer.body, forwarded: forwarded)
        switch visit.answered(response, head, now: now, unix: unix) {
        case .pass: break
        case .keep:
            // In two pieces.
            visit.received(body.span.extracting(0..<(body.count / 2)), now: now)
            if !answer.isTruncated {
                visit.received(body.span.extracting((body.count / 2)..<body.count), now: now)
                visit.completed(now: now)
            } else {
                _ = visit.failed(mayReply: false, now: now)
            }
        case .collect:
            visit.received(body.span, now: now)
            if answer.isTruncated {
                _ = visit.failed(mayReply: false, now: now)
            } else if let stored = visit.completed(now: now) {
                got = reply(visit, stored, head)
                got.forwarded = forwarded
                return got
            }
        case .reply(let stored):
            got = reply(visit, stored, head)
            got.forwarded = forwarded
            return got
        }
        visit.status.append(to: &response.fields)
        got.fields = response.fields.lines
        return got
    }

    private func reply(_ visit: CacheVisit, _ answer: StoredAnswer, _ head: RequestHead) -> Got {
        let response = ResponseHead()
        let range = visit.write(answer, head, now: now, into: response)
        return Got(
            status: response.status, fields: response.fields.lines, body: String(decoding: answer.body.bytes[range], as: UTF8.self))
    }

    private func refresh(
        _ stored: StoredAnswer, _ ticket: FillTicket, _ asked: Asked, _ origin: (RequestHead) -> Answered?
    ) -> [(String, String)] {
        let head = asked.head
        let visit = CacheVisit(
            head, policy: policy, store: store, namespace: namespace, isSecure: asked.isSecure,
            isAuthenticated: asked.isAuthenticated)
        defer { visit.ended() }
        visit.beginRefresh(of: stored, with: ticket, head, now: now)
        fetches += 1
        let asked = head.fields.lines
        guard let answer = origin(head) else {
            _ = visit.failed(mayReply: false, now: now)
            return asked
        }
        switch visit.answered(answer.head(for: "GET"), head, now: now, unix: unix) {
        case .keep, .collect:
            visit.received(Array(answer.body.utf8).span, now: now)
            if answer.isTruncated { _ = visit.failed(mayReply: false, now: now) } else { visit.completed(now: now) }
        case .pass, .reply: break
        }
        return asked
    }
}
