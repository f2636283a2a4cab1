// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Testing

@testable import Caching

/// Promise P26: the cache never crosses users. Random exchanges of three users with an origin that says all kinds of things about its
/// answers, against a model of what RFC 9111 forbids.
///
/// `HOLDFAST_CACHE_EXCHANGES` sets their number (`make cache`: 10^6), HOLDFAST_SEED the seed.
@Suite struct CrossingTests {
    static let exchanges = Int(clamping: Seed.number("HOLDFAST_CACHE_EXCHANGES") ?? 10_000)

    @Test func P26_E17_E18_E19_theCacheNeverCrossesUsers() {
        var random = Seed.current.random(26)
        var tally = Tally()
        var left = CrossingTests.exchanges
        var worlds = 0
        while left > 0, tally.forbidden.isEmpty {
            worlds += 1
            var world = World(settings(&random), random: random)
            for _ in 0..<min(left, 200) where tally.forbidden.isEmpty { world.exchange(&tally) }
            left -= 200
            random = world.random
        }
        #expect(tally.forbidden.isEmpty, "\(Seed.current), world \(worlds): \(tally.forbidden)")
        // A cache that stores nothing would pass as well: this one is to be used.
        #expect(tally.hits * 12 > tally.all, "\(tally)")
        #expect(
            tally.confirmed > 0 && tally.stale > 0 && tally.parts > 0 && tally.notModified > 0 && tally.afterFailure > 0, "\(tally)"
        )
    }

    private func settings(_ random: inout SeededRandom) -> CachePolicy {
        var policy = CachePolicy()
        policy.storesCookieSetters = false
        policy.collapses = random.chance(50)
        policy.answersHead = random.chance(80)
        policy.heedsRequests = true
        return policy
    }

    struct Tally {
        var all = 0
        var hits = 0
        var confirmed = 0
        var stale = 0
        var parts = 0
        var notModified = 0
        var afterFailure = 0
        var forbidden = ""
    }

    struct World {
        let edge: Edge
        var model = CacheModel()
        var random: SeededRandom
        private var next = 0

        init(_ policy: CachePolicy, random: SeededRandom) {
            edge = Edge(policy, bytes: 64 << 10)
            self.random = random
        }

        private var time: Int64 { edge.now.nanoseconds / 1_000_000_000 }

        mutating func exchange(_ tally: inout Tally) {
            tally.all += 1
            if random.chance(40) { edge.advance(Int64(random.below(12))) }
            edge.delay = random.chance(20) ? Int64(random.below(4)) : 0
            let asked = request()
            let fails = random.chance(8)
            var script = Script(answer: answer(to: asked), fails: fails, random: random.chance(50))
            let start = time
            let known = model
            var confirmed: Int?
            var gave: Int?
            let id = next
            next += 1
            script.answer.body = "id=\(id);user=\(asked.value("authorization") ?? "nobody");0123456789"
            let plan = script
            // The origin confirms what it gave before, if it likes; to the client's own question it always gives a whole answer.
            let got = edge.send(asked) { head in
                if plan.fails { return nil }
                if plan.random, let tag = head.fields.lines.first(where: { $0.0 == "if-none-match" })?.1,
                    tag != asked.value("if-none-match"),
                    let old = known.exchanges.values.filter({ $0.answer.value("etag") == tag }).max(by: { $0.id < $1.id })
                {
                    confirmed = old.id
                    let fields = plan.confirmation + [("ETag", tag)]
                    var answer = Answered(304)
                    answer.fields = fields
                    return answer
                }
                gave = id
                return plan.answer
            }
            // What was asked behind the client's back comes after its answer was taken.
            check(asked, got, at: got.isFromStore ? start : time, fails: fails, confirmed: confirmed, gave: gave, &tally)
            if let gave {
                var answer = plan.answer
                if asked.method == "HEAD" { answer.body = "" }
                // A Range that the cache kept to itself made nothing of the answer.
                var sent = asked
                if !(got.forwarded ?? got.refreshed ?? []).contains(where: { $0.0 == "range" }) {
                    sent.fields.removeAll { $0.0 == "Range" }
                }
                model.note(.init(id: gave, request: sent, answer: answer, requestedAt: start, receivedAt: time))
            }
            if let confirmed {
                model.noteConfirmation(of: confirmed, for: asked, plan.confirmation, requestedAt: start, receivedAt: time)
            }
            if !["GET", "HEAD", "OPTIONS"].contains(asked.method), gave != nil, (200..<400).contains(plan.answer.status) {
                model.noteEnd(of: CacheModel.uri(asked), at: time)
            }
        }

        struct Script {
            var answer: Answered
            var fails: Bool
            var random: Bool

            /// What of the answer a 304 in its place says.
            var confirmation: [(String, String)] {
                answer.fields.filter { !["ETag", "Set-Cookie", "Content-Range", "X-Id"].contains($0.0) }
            }
        }

        private mutating func check(
            _ asked: Asked, _ got: Got, at time: Int64, fails: Bool, confirmed: Int?, gave: Int?, _ tally: inout Tally
        ) {
            let served = World.id(of: got) ?? World.id(got.body)
            if got.isFromStore || got.cacheStatus.contains("stale-if-error") {
                guard got.status != 504 || got.cacheStatus.contains("hit") else { return }
                tally.hits += 1
                let id = served ?? World.stored(got)
                guard let id else {
                    tally.forbidden = "no telling what was served: \(got) to \(asked)"
                    return
                }
                if got.cacheStatus.contains("ttl=-") { tally.stale += 1 }
                if got.status == 206 { tally.parts += 1 }
                if got.status == 304 { tally.notModified += 1 }
                let isAfterFailure = got.cacheStatus.contains("stale-if-error")
                if isAfterFailure { tally.afterFailure += 1 }
                if let why = model.forbids(id, to: asked, got: got, now: time, afterFailure: isAfterFailure) {
                    tally.forbidden = "\(why)\n  served: \(got)\n  to: \(asked)\n  from: \(String(describing: model.exchanges[id]))"
                }
            } else if let confirmed {
                // The origin said that this client may have what was stored: it must be that, and the URI's own.
                tally.confirmed += 1
                if got.status == 200, let served, served != confirmed {
                    tally.forbidden = "confirmed \(confirmed), served \(served) to \(asked)"
                }
                if let old = model.exchanges[confirmed], CacheModel.uri(old.request) != CacheModel.uri(asked) {
                    tally.forbidden = "asked about \(CacheModel.uri(old.request)) for \(asked)"
                }
            } else if let gave, got.status != 502, asked.method != "HEAD", got.status != 304, got.status != 416, let served,
                served != gave
            {
                tally.forbidden = "the origin gave \(gave), and \(served) was served to \(asked)"
            }
        }

        /// The number in a body, or in the field that each answer carries.
        private static func id(_ body: String) -> Int? {
            guard body.hasPrefix("id="), body.contains(";") else { return nil }
            return Int(body.dropFirst(3).prefix { $0.isNumber })
        }

        private static func id(of got: Got) -> Int? { got.value("x-id").flatMap { Int($0) } }

        /// A 304 has no X-Id; its ETag carries the number of the first answer that had it.
        private static func stored(_ got: Got) -> Int? {
            got.value("etag").flatMap { Int($0.dropFirst().prefix { $0.isNumber }) }
        }

        // MARK: Making things up

        private mutating func request() -> Asked {
            var asked = Asked()
            asked.method = random.chance(80) ? "GET" : random.pick(["HEAD", "OPTIONS", "POST", "DELETE", "PURGE", "HEAD"])
            asked.host =
                random.chance(75)
                ? "a.example" : random.pick(["A.Example", "a.example:443", "a.example:80", "b.example", "a.example:8443"])
            asked.isSecure = random.chance(85)
            asked.path = random.chance(70) ? "/" : random.pick(["/x", "/X", "/x/"])
            asked.query = random.chance(80) ? nil : random.pick(["", "a=1&b=2", "b=2&a=1"])
            if random.chance(35) { asked.fields.append(("Authorization", random.pick(["alice", "bob", "carol"]))) }
            if random.chance(20) { asked.fields.append(("Cookie", random.pick(["id=alice", "id=bob"]))) }
            if random.chance(30) { asked.fields.append(("Accept-Language", random.pick(["de", "en", "de, en", "de,en"]))) }
            if random.chance(5) { asked.fields.append(("X-Forwarded-Host", random.pick(["a.example", "evil.example"]))) }
            if random.chance(3) {
                asked.fields.append((random.pick(["X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL"]), "DELETE"))
            }
            if random.chance(8) { asked.fields.append(("Range", random.pick(["bytes=0-3", "bytes=2-", "bytes=5-9"]))) }
            if random.chance(8) { asked.fields.append(("If-None-Match", "\"\(max(0, next - 1 - random.below(12)))\"")) }
            if random.chance(3) { asked.fields.append(("If-Match", "\"1\"")) }
            if random.chance(15) {
                asked.fields.append(
                    (
                        "Cache-Control",
                        random.pick([
                            "no-cache", "no-store", "max-age=3", "max-age=0", "min-fresh=4", "max-stale", "max-stale=5",
                            "only-if-cached",
                            "max-stale=3, max-age=9", "x",
                        ])
                    ))
            }
            if random.chance(2) { asked.body = "{}" }
            if random.chance(4) { asked.isAuthenticated = true }
            return asked
        }

        private mutating func answer(to asked: Asked) -> Answered {
            var answer = Answered()
            answer.status = random.chance(85) ? 200 : random.pick([404, 302, 500, 503, 206, 204, 410])
            var says: [String] = []
            if random.chance(85) {
                says.append(random.pick(["max-age=10", "max-age=30", "max-age=2", "max-age=0", "max-age=\"20\"", "MAX-AGE=10"]))
            }
            if random.chance(15) { says.append(random.pick(["s-maxage=5", "s-maxage=20", "s-maxage=x", "max-age=40"])) }
            if random.chance(20) { says.append(random.pick(["public", "Public"])) }
            if random.chance(8) { says.append(random.pick(["private", "private=\"x\"", "no-store", "NO-STORE", "no-cache"])) }
            if random.chance(8) { says.append(random.pick(["must-revalidate", "proxy-revalidate"])) }
            if random.chance(12) { says.append("stale-while-revalidate=6") }
            if random.chance(25) { says.append("stale-if-error=20") }
            if !says.isEmpty {
                if random.chance(70) || says.count == 1 {
                    answer.fields.append(("Cache-Control", says.joined(separator: ", ")))
                } else {
                    answer.fields.append(("Cache-Control", says[0]))
                    answer.fields.append(("cache-control", says[1...].joined(separator: ",")))
                }
            }
            if random.chance(40) {
                answer.fields.append(
                    ("Vary", random.pick(["Accept-Language", "accept-language, Authorization", "Cookie", "Authorization", "*"])))
            }
            if random.chance(8) { answer.fields.append(("Set-Cookie", "id=\(asked.value("authorization") ?? "x")")) }
            if random.chance(70) { answer.fields.append(("ETag", "\"\(next)\"")) }
            if random.chance(8) { answer.fields.append(("Age", "\(random.below(8))")) }
            if answer.status == 206 { answer.fields.append(("Content-Range", "bytes 0-3/20")) }
            answer.fields.append(("X-Id", "\(next)"))
            answer.isTruncated = random.chance(3)
            return answer
        }
    }
}
