// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// Hundreds of requests over links that cut, delay, refuse and lose, before upstreams that do whatever they like, with clients that
/// give up at any moment; many seeds. Every request ends once and in time, gets its own answer or a named failure, no POST is
/// delivered whole twice, and nothing stays held (T1, D1, O1, K2, R4; G8).
@Suite struct FaultPropertyTests {
    @Test(arguments: 0..<40 as Range<UInt64>)
    func T1_D1_K1_K2_R4_nothingIsLostDoubledOrHeld(seed: UInt64) throws {
        var random = Draws(seed: seed)
        let lab = try UpstreamLab(
            seed: seed, endpoints: 3, missing: seed % 3 == 0 ? 1 : 0,
            balancing: .lab(seed % 2 == 0 ? .leastRequest : .roundRobin)
        ) {
            $0.retries.attempts = 1 + Int(seed % 4)
            $0.retries.budget.minimumPerSecondThousandths = 20_000
            $0.bulkhead.concurrent = 8
            $0.bulkhead.queue = 8
            $0.timeouts.total = .seconds(3)
            $0.timeouts.perTry = .seconds(1)
            $0.timeouts.idle = .seconds(1)
            $0.timeouts.connect = .milliseconds(300)
            $0.breaker.openFor = .milliseconds(500)
            $0.breaker.ramp = .zero
            $0.breaker.failureRate = Share(tenThousandths: seed % 5 == 0 ? 5_000 : 9_500)
        }
        var conditions = LinkConditions()
        conditions.latency = .milliseconds(1)
        conditions.jitter = .milliseconds(5)
        conditions.segment = 1...1_460
        conditions.sendLimit = 1...5_000
        conditions.loss = 0.01
        conditions.refused = 0.05
        conditions.blackholed = 0.02
        lab.world.conditions = conditions
        // Whole requests as the upstreams' applications saw them.
        var delivered: [String: Int] = [:]
        for upstream in lab.upstreams {
            upstream.answer = { peer, _ in
                let path = String(peer.heard.split(separator: " ")[1])
                delivered[path, default: 0] += 1
                Self.misbehave(peer, path, &random, lab)
            }
        }
        var askers: [(asker: Asker, path: String, isPost: Bool, startedAt: Instant)] = []
        for n in 0..<200 {
            let isPost = random.below(3) == 0
            let path = "/\(n)"
            let body = isPost || random.below(4) == 0 ? String(repeating: "b", count: 1 + random.below(20_000)) : nil
            let asker = lab.ask(isPost ? .post : body != nil ? .put : .get, path, body: body)
            askers.append((asker, path, isPost, lab.world.now))
            if random.below(10) == 0 {
                lab.world.after(.milliseconds(Int64(random.below(400)))) { asker.guarded.cancel(.clientCancelled) }
            }
            lab.world.run(for: .milliseconds(Int64(random.below(30))))
        }
        lab.world.run(for: .seconds(60))
        for (asker, path, isPost, startedAt) in askers {
            #expect(!asker.guarded.isRunning && asker.ends <= 1, "seed \(seed) \(path)")
            if let answeredAt = asker.answeredAt {
                #expect(answeredAt.nanoseconds(since: startedAt) <= 3_000_000_000, "D1: seed \(seed) \(path)")
            } else if let endedAt = asker.endedAt {
                #expect(endedAt.nanoseconds(since: startedAt) <= 3_000_000_000, "D1: seed \(seed) \(path)")
            }
            if asker.ends == 1 && asker.failure == nil {
                #expect(
                    asker.body.isEmpty || asker.body.allSatisfy { $0 == "." } || asker.body.hasPrefix("for \(path) "),
                    "seed \(seed) \(path): \(asker.body.prefix(40))")
            }
            if isPost { #expect(delivered[path, default: 0] <= 1, "T1: seed \(seed) \(path)") }
        }
        let answered = askers.count { $0.asker.ends == 1 && $0.asker.failure == nil }
        #expect(answered > 5, "seed \(seed): too little was answered to tell anything")
        lab.expectNothingHeld("seed \(seed)")
        let state = lab.guardState
        #expect(state.highWater <= 8, "K1")
        lab.end()
        lab.world.run(for: .seconds(120))
        #expect(lab.edge.openConnections == 0, "seed \(seed): connections are left")
    }

    static func misbehave(_ peer: Peer, _ path: String, _ random: inout Draws, _ lab: UpstreamLab) {
        let body = "for \(path) " + String(repeating: "y", count: random.below(3_000))
        let good = "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        switch random.below(14) {
        case 0: peer.close()
        case 1: peer.reset()
        case 2:
            peer.say(String(good.prefix(random.below(good.utf8.count))))
            peer.close()
        case 3: peer.say("HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\n...")
        case 4: peer.say("HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        case 5: break
        case 6: lab.world.after(.milliseconds(Int64(random.below(2_000)))) { peer.say(good) }
        // Two answers for one request.
        case 7: peer.say(good + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        case 8:
            peer.say(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + String(body.utf8.count, radix: 16)
                    + "\r\n\(body)\r\n0\r\n\r\n")
        default: peer.say(good)
        }
    }
}

/// SplitMix64.
struct Draws {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678 }

    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        z ^= z >> 31
        return Int(z.multipliedFullWidth(by: UInt64(bound)).high)
    }
}
