// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// T7: what is kept of bodies for another attempt stays within the gateway's cap, however many slow uploads there are, and all of it
/// is given back.
@Suite struct ReplayMemoryTests {
    private func upload(_ lab: UpstreamLab, _ memory: ReplayMemory, _ length: Int, key: UInt64) -> Asker {
        let asker = Asker(lab.edge.reactor, replay: memory)
        asker.guarded.start(
            UpstreamLab.head(.put, "/\(key)", length: length + 1), hasBody: true, key: key, isIdempotent: false,
            limits: lab.cluster.limits, over: lab.pools)
        asker.guarded.write(String(repeating: "x", count: length).utf8Bytes.span)
        return asker
    }

    @Test func T7_slowUploadsStayWithinTheCap() throws {
        let memory = ReplayMemory(limit: 100_000)
        let lab = try UpstreamLab {
            $0.retries.budget.minimumPerSecondThousandths = 100_000
            $0.breaker.disabled = true
        }
        lab.upstream.answer = { peer, _ in
            let isFirst = peer.heard.contains("x-holdfast-attempt: 1\r\n")
            peer.say(isFirst ? "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        let askers = (0..<30).map { upload(lab, memory, 10_000, key: UInt64($0)) }
        lab.world.run(for: .milliseconds(100))
        #expect(memory.bytes == 100_000, "ten of them have room")
        #expect(memory.abandonedOverShared == 20 && memory.abandonedOverOwn == 0)
        for asker in askers { lab.send("y", asker) }
        for asker in askers { lab.finish(asker) }
        let lost = askers.count { $0.said == "503 " && $0.guarded.retryReason == .retryBody }
        #expect(lost >= 20 && lost + askers.count { $0.said == "200 ok" } == 30, "whoever had no room is not tried again")
        #expect(memory.bytes == 0)
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func whoHasRoomIsTriedAgain() throws {
        let memory = ReplayMemory(limit: 100_000)
        let lab = try UpstreamLab()
        lab.upstream.answer = { peer, n in
            peer.say(n == 1 ? "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        let asker = upload(lab, memory, 10_000, key: 1)
        lab.send("y", asker)
        #expect(memory.bytes == 10_001)
        lab.finish(asker)
        #expect(asker.said == "200 ok" && lab.upstream.requests.count == 2 && memory.bytes == 0)
        lab.end()
    }

    @Test func everyWayOutGivesBack() throws {
        let memory = ReplayMemory()
        let lab = try UpstreamLab { $0.retries.replayBodyBytes = 20_000 }
        let cancelled = upload(lab, memory, 10_000, key: 1)
        let grown = upload(lab, memory, 20_000, key: 2)
        let refused = upload(lab, memory, 5_000, key: 3)
        #expect(memory.bytes == 35_000)
        cancelled.guarded.cancel(.clientCancelled)
        #expect(memory.bytes == 25_000)
        lab.send("y", grown)
        #expect(memory.bytes == 5_000 && memory.abandonedOverOwn == 1, "longer than its own cap")
        lab.upstream.act = { $0.reset() }
        lab.send("y", refused)
        lab.world.run(for: .seconds(30))
        #expect(memory.bytes == 0 && grown.isOver && refused.isOver)
        lab.end()
    }

    @Test func aLowerLimitLetsDrain() {
        let memory = ReplayMemory(limit: 100)
        let first = memory.reserve(80)
        memory.setLimit(50)
        let second = memory.reserve(1)
        memory.release(80)
        let third = memory.reserve(50)
        #expect(first && !second && third && memory.bytes == 50)
    }
}
