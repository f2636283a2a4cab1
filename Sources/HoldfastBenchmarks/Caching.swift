// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Caching
import Core
import HTTP

extension MeasuredBody {
    /// A stored answer found, judged fresh and written: what a cache adds to a request in place of an upstream. A thousand keys, so that
    /// the table's memory is seen; once with a Vary.
    static func caching() -> [MeasuredBody] {
        [("Cache: a hit", false), ("Cache: a hit of a variant", true)].map { name, varies in
            let store = CacheStore(bytes: 64 << 20)
            let heads = (0..<1_000).map { request("/static/assets/\($0)/app.js") }
            let now = Instant(nanoseconds: 1_000_000_000)
            let body = [UInt8](repeating: 120, count: 4_096)
            for head in heads {
                let visit = visit(head, store)
                _ = visit.begin(head, now: now, waiter: nil)
                let answer = ResponseHead()
                answer.framing = .length(UInt64(body.count))
                for (name, value) in [
                    ("content-type", "text/javascript"), ("cache-control", "public, max-age=86400"), ("etag", "\"65f0-80\""),
                    ("date", "Tue, 01 Dec 2026 04:00:00 GMT"), ("vary", varies ? "accept-encoding" : "origin"),
                ] {
                    answer.fields.append(name, value)
                }
                _ = visit.answered(answer, head, now: now, unix: 1_796_097_600)
                visit.received(body.span, now: now)
                visit.completed(now: now)
                visit.ended()
            }
            let out = ResponseHead()
            return MeasuredBody(name) { times in
                var sum = 0
                for i in 0..<times {
                    let head = heads[i % heads.count]
                    let visit = visit(head, store)
                    if case .reply(let stored, _) = visit.begin(head, now: now, waiter: nil) {
                        sum &+= visit.write(stored, head, now: now, into: out).count &+ out.fields.count
                    }
                    visit.ended()
                }
                return sum
            }
        }
    }

    private static func visit(_ head: RequestHead, _ store: CacheStore) -> CacheVisit {
        CacheVisit(
            head, policy: CachePolicy(), store: store, namespace: Array("public\0/static/*\0".utf8), isSecure: true,
            isAuthenticated: false)
    }

    private static func request(_ path: String) -> RequestHead {
        let head = RequestHead()
        head.methodText = head.fields.store("GET")
        head.authority = head.fields.store("www.example.com")
        head.path = head.fields.store(Array(path.utf8).span)
        for (name, value) in [
            ("user-agent", "curl/8.5.0"), ("accept", "*/*"), ("accept-encoding", "gzip, br"), ("cookie", "a=b; c=d"),
        ] {
            head.fields.append(name, value)
        }
        return head
    }
}
