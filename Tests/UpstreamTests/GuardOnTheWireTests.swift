// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import TLS
import Testing

@testable import Transport
@testable import Upstream

/// What the guard promises, as the upstream sees it: on the simulated network, counted there (semantics, sections 0, 1, 4 and 5; cases E01 to
/// E09). One way over the network takes 100 µs.
@Suite struct GuardOnTheWireTests {
    static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    static let no = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

    private func over(_ lab: UpstreamLab) {
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    /// Opens at the first failure, for 5 s exactly.
    private static func touchy(_ settings: inout GuardSettings) {
        settings.breaker.consecutiveFailures = 1
        settings.breaker.openJitter = Share(tenThousandths: 0)
        settings.breaker.ramp = .zero
        settings.breaker.halfOpenCalls = 1
        settings.retries.attempts = 1
    }

    /// A lab whose breaker has just opened, at 0.
    private func openLab(_ adjust: (inout GuardSettings) -> Void = { _ in }) throws -> UpstreamLab {
        let lab = try UpstreamLab {
            Self.touchy(&$0)
            adjust(&$0)
        }
        lab.upstream.answer = { peer, n in peer.say(n == 1 ? Self.no : Self.ok) }
        lab.finish(lab.ask(.post, body: "x"))
        return lab
    }

    private func isOpen(_ lab: UpstreamLab) -> Bool { if case .open = lab.guardState.breaker { true } else { false } }

    // MARK: Outcomes

    /// Every attempt of a stormy run ends once, in one class, and the breaker's own books say the same: what it counted as completed and as
    /// failed is what the requests' trails add up to.
    @Test(arguments: 0..<6 as Range<UInt64>)
    func O1_everyAttemptEndsInOneClassAndOneReason(seed: UInt64) throws {
        var random = Draws(seed: seed)
        let lab = try UpstreamLab(seed: seed, endpoints: 3, missing: seed % 3 == 0 ? 1 : 0) {
            $0.retries.attempts = 1 + Int(seed % 4)
            $0.retries.budget.minimumPerSecondThousandths = 20_000
            $0.bulkhead.concurrent = 8
            $0.bulkhead.queue = 8
            $0.timeouts.total = .seconds(3)
            $0.timeouts.perTry = .seconds(1)
            $0.timeouts.idle = .seconds(1)
            $0.timeouts.connect = .milliseconds(300)
            // It counts all and judges nothing.
            $0.breaker.window = .count(calls: 100_000)
            $0.breaker.minimumCalls = 100_000
            $0.breaker.saturation = false
        }
        var conditions = LinkConditions()
        conditions.latency = .milliseconds(1)
        conditions.jitter = .milliseconds(5)
        conditions.loss = 0.01
        conditions.refused = 0.05
        conditions.blackholed = 0.02
        lab.world.conditions = conditions
        for upstream in lab.upstreams {
            upstream.answer = { peer, _ in
                FaultPropertyTests.misbehave(peer, String(peer.heard.split(separator: " ")[1]), &random, lab)
            }
        }
        var askers: [Asker] = []
        for n in 0..<200 {
            let isPost = random.below(3) == 0
            let body = isPost ? String(repeating: "b", count: 1 + random.below(20_000)) : nil
            let asker = lab.ask(isPost ? .post : .get, "/\(n)", body: body)
            askers.append(asker)
            if random.below(8) == 0 {
                lab.world.after(.milliseconds(Int64(random.below(400)))) { asker.guarded.cancel(.clientCancelled) }
            }
            lab.world.run(for: .milliseconds(Int64(random.below(30))))
        }
        lab.world.run(for: .seconds(60))
        var classes: [Outcome.Class: Int] = [:]
        for asker in askers {
            let trail = asker.guarded.trail.decisions
            for attempt in 1..<(asker.guarded.attempts + 1) {
                let steps = trail.filter { $0.attempt == attempt }
                #expect(steps.count { $0.step == .admitted } == 1, "seed \(seed): attempt \(attempt) of \(trail.map(\.step))")
                let ends = steps.filter { [.answered, .failed, .cancelled].contains($0.step) }
                guard let outcome = Self.outcomeClass(ends.map { ($0.step, $0.reason) }) else {
                    Issue.record("seed \(seed): attempt \(attempt) has no end in \(trail.map(\.step))")
                    continue
                }
                classes[outcome, default: 0] += 1
            }
        }
        let state = lab.guardState
        #expect(UInt64(classes.values.reduce(0, +)) == state.counters.admitted, "seed \(seed)")
        #expect(
            state.evidence.completed == classes[.success, default: 0] + classes[.failure, default: 0],
            "seed \(seed): \(classes) \(state.evidence)")
        #expect(state.evidence.failed == classes[.failure, default: 0], "seed \(seed): \(classes) \(state.evidence)")
        #expect([.success, .failure, .neutral].allSatisfy { classes[$0, default: 0] > 0 }, "seed \(seed): \(classes)")
        over(lab)
    }

    /// The class of the table in semantics, section 0.1. A failure status is final with its head, a good head only with its end.
    private static func outcomeClass(_ ends: [(step: DecisionTrail.Step, reason: Reason?)]) -> Outcome.Class? {
        // Whoever is cancelled before his next attempt ends none.
        guard let first = ends.first, ends.count <= 2, ends.count < 2 || first.step == .answered || ends[1].step == .cancelled
        else {
            return nil
        }
        if first.step == .answered, let reason = first.reason { return reason == .statusBackpressure ? .backpressure : .failure }
        switch first.step == .failed ? first : ends.last {
        case (.cancelled, _)?: return .neutral
        case (.failed, .connectionStale)?: return .neutral
        case (.failed, .localResources)?: return .local
        case (.failed, .some)?: return .failure
        case (.answered, _)?: return .success
        default: return nil
        }
    }

    /// Requests before an upstream that hangs, each given up before it is slow, wherever it is: in the queue, while the connection is made,
    /// or waiting for the head. The guard is as it was, and an upstream that answers at last is asked as if nothing had been.
    @Test func O3_cancelledRequestsLeaveTheGuardAsItWas() throws {
        let lab = try UpstreamLab {
            $0.bulkhead.concurrent = 3
            $0.bulkhead.queue = 4
            $0.bulkhead.queueTimeout = .seconds(2)
            $0.bulkhead.congestionInterval = nil
            $0.breaker.consecutiveFailures = 1
            $0.breaker.minimumCalls = 1
        }
        var conditions = LinkConditions()
        conditions.latency = .milliseconds(50)
        lab.world.conditions = conditions
        lab.upstream.answer = { _, _ in }
        let before = lab.guardState
        for round in 0..<30 {
            // Three are sent, four wait, and each is gone within 990 ms.
            let askers = (0..<7).map { n in (lab.ask(n % 2 == 0 ? .get : .post, body: n % 2 == 0 ? nil : "x"), n) }
            for (asker, n) in askers {
                // Those that wait go first in every other round, and last in the others.
                let turn = round % 2 == 0 ? n : 6 - n
                lab.world.after(.milliseconds(Int64(round * 33 + turn * 5) % 990)) { asker.guarded.cancel(.clientCancelled) }
            }
            lab.world.run(for: .milliseconds(990))
            #expect(askers.allSatisfy { !$0.0.guarded.isRunning && $0.0.ends == 0 })
            let after = lab.guardState
            #expect(
                after.breaker == .closed && after.generation == before.generation && after.evidence == before.evidence,
                "round \(round)")
            #expect(
                after.permitsInUse == 0 && after.queued == 0 && after.retriesOutstanding == 0 && after.openings == 0,
                "round \(round)")
        }
        #expect(lab.guardState.counters.admitted > 90 && lab.guardState.counters.cancelledInQueue > 0)
        over(lab)
    }

    // MARK: The breaker

    /// Those that waited when it opened are not sent, nor is anybody before its time.
    @Test func B1_nothingReachesAnUpstreamBeforeItsTime() throws {
        let lab = try UpstreamLab {
            Self.touchy(&$0)
            $0.bulkhead.concurrent = 1
            $0.bulkhead.queue = 10
            $0.bulkhead.queueTimeout = .seconds(10)
            $0.bulkhead.congestionInterval = nil
        }
        lab.upstream.answer = { peer, n in
            if n == 1 { lab.world.after(.milliseconds(10)) { peer.say(Self.no) } } else { peer.say(Self.ok) }
        }
        let first = lab.ask(.post, body: "x")
        let waiting = (0..<10).map { _ in lab.ask() }
        lab.finish(first)
        lab.world.run(for: .milliseconds(1))
        #expect(waiting.allSatisfy { $0.failure?.reason == .breakerOpen }, "\(waiting.map(\.said))")
        guard case .open(let until) = lab.guardState.breaker else {
            Issue.record("not open")
            return
        }
        #expect(until > lab.at(5))
        var refused = 0
        while lab.world.now < until.advanced(byNanoseconds: -1_000_000) {
            if lab.ask().failure?.reason == .breakerOpen { refused += 1 }
            lab.world.run(for: .milliseconds(7))
        }
        #expect(refused > 700 && lab.upstream.requests.count == 1)
        lab.world.run(until: until.advanced(byNanoseconds: -1))
        #expect(lab.ask().failure?.reason == .breakerOpen)
        lab.world.run(until: until)
        let probe = lab.ask()
        lab.finish(probe)
        #expect(probe.said == "200 ok" && lab.upstream.requests.count == 2)
        over(lab)
    }

    /// The refusal is there before the call that asked returns: no time, no permit, no connection, no byte kept.
    @Test func B11_aRefusalTakesNoTimeAndHoldsNothing() throws {
        let lab = try openLab()
        let memory = ReplayMemory()
        let peers = lab.upstream.peers.count
        let connections = lab.edge.openConnections
        for n in 0..<100 as Range<UInt64> {
            let asker = Asker(lab.edge.reactor, replay: memory)
            let askedAt = lab.edge.reactor.now
            asker.guarded.start(
                UpstreamLab.head(.put, "/", length: 10_000), hasBody: true, key: n, isIdempotent: false, limits: lab.cluster.limits,
                over: lab.pools)
            #expect(asker.failure?.reason == .breakerOpen && asker.endedAt == askedAt && !asker.guarded.isRunning)
            asker.guarded.write(String(repeating: "x", count: 10_000).utf8Bytes.span)
            lab.expectNothingHeld()
            #expect(memory.bytes == 0 && asker.taken == 0)
        }
        lab.world.run(for: .seconds(1))
        #expect(lab.upstream.peers.count == peers && lab.edge.openConnections == connections && lab.upstream.requests.count == 1)
        over(lab)
    }

    /// The only probe is given up at every moment of its life, 10 µs apart: while its connection is made, after its head, inside the answer's
    /// body. The place comes back, the next request probes, and the breaker closes.
    @Test func P9_E01_E03_theOnlyProbeIsGivenUpAtEveryMoment() throws {
        var unsettled = 0
        for moment in stride(from: 0 as Int64, through: 1_200, by: 10) {
            let lab = try openLab()
            // A new connection for the probe, and a body that takes its time.
            lab.upstream.peers[0].close()
            lab.upstream.answer = { peer, n in
                peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
                lab.world.after(.microseconds(500)) { peer.say("k") }
            }
            lab.world.run(until: lab.at(5.1))
            let probe = lab.ask()
            #expect(lab.guardState.breaker == .halfOpen)
            let second = lab.ask()
            #expect(second.failure?.reason == .breakerHalfOpen)
            lab.world.run(for: .microseconds(moment))
            probe.guarded.cancel(.clientCancelled)
            let state = lab.guardState
            #expect(state.permitsInUse == 0, "\(moment) µs")
            if state.breaker == .halfOpen { unsettled += 1 }
            // Its good head may have closed the breaker; that it was given up has neither closed nor opened it.
            #expect(state.breaker == (probe.status == 200 ? .closed : .halfOpen), "\(moment) µs")
            let next = lab.ask()
            lab.finish(next)
            #expect(next.said == "200 ok" && lab.guardState.breaker == .closed, "\(moment) µs")
            over(lab)
        }
        #expect(unsettled > 30 && unsettled < 100, "both kinds of moment were met: \(unsettled)")
    }

    // MARK: Time

    /// With `total_includes_body` the deadline cuts the body short, to the nanosecond.
    @Test func D1_theTotalMayIncludeTheBody() throws {
        let lab = try UpstreamLab {
            $0.timeouts.total = .seconds(8)
            $0.timeouts.totalIncludesBody = true
        }
        lab.upstream.answer = { peer, _ in
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for second in 1...20 { lab.world.after(.seconds(second)) { peer.say("drip") } }
        }
        let asker = lab.ask()
        lab.finish(asker)
        #expect(asker.failure?.reason == .deadline && asker.endedAt == lab.at(8) && asker.body.utf8.count == 28)
        over(lab)
    }

    /// A body on a slow link: whatever ends the request, what the gateway had not handed to the network is never sent, and the
    /// permit is free at once.
    @Test(arguments: [nil, 1, 10, 50, 250] as [Int64?])
    func D3_afterExpiryOrCancelNothingMoreIsSent(cancelAfter: Int64?) throws {
        let lab = try UpstreamLab {
            $0.retries.attempts = 1
            $0.timeouts.perTry = .milliseconds(300)
        }
        var slow = LinkConditions()
        slow.bytesPerSecond = 100_000
        slow.sendBuffer = 4_096
        slow.receiveWindow = 4_096
        lab.world.setConditions(slow, from: lab.world.host("10.0.0.1"), to: lab.world.host("10.0.0.10"))
        var heard: [(Instant, Int)] = []
        lab.upstream.raw = { _, bytes in heard.append((lab.world.now, bytes.count)) }
        let asker = lab.ask(.put, body: String(repeating: "x", count: 200_000))
        if let cancelAfter {
            lab.world.run(for: .milliseconds(cancelAfter))
            asker.guarded.cancel(.clientCancelled)
        } else {
            lab.finish(asker)
            #expect(asker.failure?.reason == .timeoutPerTry && asker.endedAt == lab.at(0.3))
        }
        lab.expectNothingHeld()
        let end = lab.world.now
        asker.guarded.write(String(repeating: "y", count: 1_000).utf8Bytes.span)
        lab.world.run(for: .seconds(30))
        let late = heard.filter { $0.0 > end }.reduce(0) { $0 + $1.1 }
        let sent = heard.reduce(0) { $0 + $1.1 }
        #expect(late <= 4_096, "only what was on its way: \(late)")
        #expect(sent < 50_000 && (sent > 0 || cancelAfter == 1), "\(sent)")
        #expect(lab.upstream.peers.allSatisfy { $0.isClosed })
        over(lab)
    }

    /// A client that takes a byte a second for ten minutes, of an answer that the upstream gave at once.
    @Test func D4_aByteASecondIsNoEvidence() throws {
        let lab = try UpstreamLab {
            Self.touchy(&$0)
            $0.timeouts.idle = .seconds(3)
            $0.timeouts.perTry = .seconds(2)
        }
        let length = 600_000
        lab.upstream.answer = { peer, _ in
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\n" + String(repeating: "x", count: length))
        }
        let asker = Asker(lab.edge.reactor)
        asker.reads = false
        asker.guarded.start(
            UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: 9, isIdempotent: false, limits: lab.cluster.limits,
            over: lab.pools)
        lab.world.run(for: .milliseconds(10))
        #expect(asker.body.utf8.count < length, "there is more than the gateway holds")
        // The gateway hears of it in lumps, ten seconds apart: far longer than an upstream may be silent.
        for _ in 0..<60 {
            asker.guarded.clientStalled(true)
            lab.world.run(for: .seconds(10))
            asker.guarded.clientStalled(false)
            asker.guarded.responseConsumed(10)
            // Not the asker itself: a failing `#expect` cannot look into what it holds.
            let isOver = asker.isOver
            #expect(!isOver)
        }
        #expect(lab.guardState.evidence.failed == 0 && lab.guardState.evidence.slow == 0 && lab.guardState.breaker == .closed)
        asker.reads = true
        asker.guarded.responseConsumed(asker.body.utf8.count - 600)
        lab.finish(asker)
        #expect(asker.failure == nil && asker.body.utf8.count == length)
        #expect(lab.guardState.evidence.failed == 0 && lab.guardState.evidence.completed == 1)
        over(lab)
    }

    /// E09: one deadline over queue, tries and back-offs. Each try is told what is left, and none begins with less than a try needs.
    @Test func E09_D2_oneDeadlineOverAll() throws {
        let lab = try UpstreamLab {
            $0.retries.attempts = 4
            $0.retries.backoffBase = .zero
            $0.retries.budget.minimumPerSecondThousandths = 100_000
            $0.timeouts.perTry = .seconds(2)
            $0.bulkhead.concurrent = 1
            $0.bulkhead.queue = 4
            $0.bulkhead.queueTimeout = .seconds(1)
            $0.bulkhead.congestionInterval = nil
            $0.breaker.disabled = true
        }
        lab.upstream.answer = { peer, _ in lab.world.after(.milliseconds(30)) { peer.say(Self.no) } }
        func ask(_ milliseconds: Int, key: UInt64) -> Asker {
            let head = UpstreamLab.head(.get, "/\(milliseconds)", length: nil)
            head.fields.append("x-request-timeout-ms", "\(milliseconds)")
            let terms = CallerTerms(takingFrom: head, isTrusted: true)
            let asker = Asker(lab.edge.reactor)
            asker.guarded.start(
                head, hasBody: false, key: key, isIdempotent: false, limits: lab.cluster.limits, terms: terms, over: lab.pools)
            return asker
        }
        let hopeless = ask(1, key: 1)
        #expect(hopeless.failure?.reason == .deadlineInsufficient && hopeless.guarded.attempts == 0)
        // Four tries of 30 ms do not fit.
        let begun = lab.world.now
        let tries = ask(100, key: 2)
        let queued = ask(20, key: 3)
        lab.finish(queued)
        #expect(queued.failure?.reason == .deadline && queued.guarded.attempts == 0)
        #expect(lab.world.now.nanoseconds(since: begun) == 20_000_000)
        lab.finish(tries)
        // Its last whole answer is better than none.
        #expect(tries.said == "503 " && lab.world.now.nanoseconds(since: begun) <= 100_000_000, "\(tries.said)")
        lab.world.run(for: .seconds(1))
        let told = lab.upstream.requests.compactMap { request in
            request.split(separator: "\r\n").first { $0.hasPrefix("x-request-timeout-ms: ") }.flatMap { Int($0.dropFirst(22)) }
        }
        #expect(told == [99, 69, 39, 9], "what is left, never more")
        #expect(!lab.upstream.requests.contains { $0.hasPrefix("GET /1 ") || $0.hasPrefix("GET /20 ") })
        over(lab)
    }

    // MARK: The bulkhead

    /// B's answers, with A idle and with A hanging on all its permits under a hundred requests a second: to the nanosecond the same.
    @Test func K4_aNeighbourThatHangsCostsNothing() throws {
        func instants(hanging: Bool) throws -> [Int64] {
            let lab = try UpstreamLab(endpoints: 2) {
                $0.bulkhead.concurrent = 4
                $0.bulkhead.queue = 4
                $0.breaker.disabled = true
            }
            lab.cluster.picker.setAvailable(false, 1)
            let cluster = UpstreamCluster(
                name: "b", endpoints: [lab.cluster.endpoints[1]], guardian: Guard(draw: lab.world.draw), settings: GuardSettings(),
                balancer: EndpointBalancer(names: [lab.cluster.endpoints[1].label], draw: lab.world.draw, now: .origin),
                pool: PoolSettings(), client: ClientConnection.Settings(), connectOptions: ConnectOptions(),
                tls: nil, serverName: "", hostField: .upstream, identity: "b")
            let b = UpstreamPools(cluster: cluster, context: lab.edge)
            lab.upstreams[0].answer = { _, _ in }
            lab.upstreams[1].answer = { peer, n in lab.world.after(.milliseconds(Int64(n % 7))) { peer.say(Self.ok) } }
            var askers: [Asker] = []
            var neighbours: [Asker] = []
            for step in 0..<3_000 {
                if hanging, step % 10 == 0 { neighbours.append(lab.ask()) }
                if step % 3 == 0 {
                    let asker = Asker(lab.edge.reactor)
                    asker.guarded.start(
                        UpstreamLab.head(.get, "/", length: nil), hasBody: false, key: UInt64(step), isIdempotent: false,
                        limits: cluster.limits, over: b)
                    askers.append(asker)
                }
                lab.world.run(for: .milliseconds(1))
            }
            lab.world.run(for: .seconds(20))
            #expect(askers.allSatisfy { $0.said == "200 ok" } && neighbours.allSatisfy { !$0.guarded.isRunning })
            let refused = neighbours.count {
                $0.failure?.reason == .bulkheadFull || $0.failure?.reason == .bulkheadQueueTimeout
                    || $0.failure?.reason == .bulkheadCoDel
            }
            if hanging { #expect(refused > 200 && lab.guardState.highWater == 4, "A was full all the time: \(refused)") }
            let state = cluster.guardian.snapshot()
            #expect(state.counters.refusals.allSatisfy { $0.count == 0 } && state.counters.queued == 0)
            b.drain()
            over(lab)
            return askers.map { $0.endedAt?.nanoseconds ?? -1 }
        }
        #expect(try instants(hanging: true) == instants(hanging: false))
    }
}
