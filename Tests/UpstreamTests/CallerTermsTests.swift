// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Resilience
import Testing

@testable import Transport
@testable import Upstream

/// What callers say about time and tries, and what upstreams are told of them (semantics, sections 3 and 4: D2, T2, T8).
@Suite struct CallerTermsTests {
    private func head(_ fields: [(String, String)]) -> RequestHead {
        let head = UpstreamLab.head(.get, "/", length: nil)
        for (name, value) in fields { head.fields.append(name, value) }
        return head
    }

    private func ask(
        _ lab: UpstreamLab, _ fields: [(String, String)] = [], trusted: Bool = true, key: UInt64 = 1
    ) -> Asker {
        let asker = Asker(lab.edge.reactor)
        let head = head(fields)
        let terms = CallerTerms(takingFrom: head, isTrusted: trusted)
        asker.guarded.start(
            head, hasBody: false, key: key, isIdempotent: false, limits: lab.cluster.limits, terms: terms, over: lab.pools)
        return asker
    }

    /// The values that the upstream saw of one field, a request each; "-" where it was not there.
    private func seen(_ lab: UpstreamLab, _ name: String) -> [String] {
        lab.upstreams.flatMap(\.requests).map { request in
            let lines = request.split(separator: "\r\n").filter { $0.lowercased().hasPrefix(name + ": ") }
            return lines.isEmpty ? "-" : lines.map { String($0.dropFirst(name.count + 2)) }.joined(separator: "|")
        }
    }

    private func over(_ lab: UpstreamLab, _ asker: Asker) {
        lab.finish(asker)
        lab.world.run(for: .seconds(1))
        lab.expectNothingHeld()
        lab.end()
    }

    @Test func aTrustedCallersPriorityCountsAndIsPassedOn() throws {
        for (fields, trusted, priority, told) in [
            ([("x-holdfast-priority", "bulk")], true, Priority.bulk, "bulk"),
            ([("x-holdfast-priority", "high"), ("x-holdfast-attempt", "1")], true, .high, "high"),
            ([("x-holdfast-priority", "bulk")], false, nil, "-"),
            ([("x-holdfast-priority", "lowest")], true, nil, "lowest"),
            ([], true, nil, "-"),
        ] as [([(String, String)], Bool, Priority?, String)] {
            let lab = try UpstreamLab()
            let asker = ask(lab, fields, trusted: trusted)
            #expect(asker.guarded.terms.priority == priority)
            over(lab, asker)
            #expect(seen(lab, "x-holdfast-priority") == [told])
        }
    }

    private func failingLab(_ adjust: (inout GuardSettings) -> Void = { _ in }) throws -> UpstreamLab {
        let lab = try UpstreamLab {
            $0.retries.attempts = 3
            $0.retries.backoffBase = .zero
            $0.retries.budget.minimumPerSecondThousandths = 100_000
            adjust(&$0)
        }
        lab.upstream.answer = { peer, n in
            lab.world.after(.milliseconds(700)) {
                peer.say(n < 3 ? "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            }
        }
        return lab
    }

    /// D2: each attempt is told what is left for it, and never more.
    @Test func D2_eachAttemptIsToldItsTime() throws {
        let lab = try failingLab {
            $0.timeouts.total = .seconds(6)
            $0.timeouts.perTry = .seconds(5)
            $0.timeouts.hopMargin = .milliseconds(10)
        }
        let asker = ask(lab)
        over(lab, asker)
        #expect(asker.said == "200 ok")
        #expect(seen(lab, "x-holdfast-attempt") == ["1", "2", "3"])
        // 5 s of a try less 200 µs for the connection; then 6 s less what two tries took; 10 ms for the way back.
        #expect(seen(lab, "x-request-timeout-ms") == ["4989", "4990", "4589"])
        // T2: apart from these the requests are the same.
        let rest = Set(
            lab.upstream.requests.map { request in
                request.split(separator: "\r\n").filter { !$0.hasPrefix("x-holdfast-") && !$0.hasPrefix("x-request-timeout") }
            })
        #expect(rest.count == 1)
    }

    @Test func nothingIsSaidWhereItIsSwitchedOffOrEndless() throws {
        let endless = try UpstreamLab {
            $0.timeouts.total = nil
            $0.timeouts.perTry = nil
        }
        over(endless, ask(endless))
        #expect(seen(endless, "x-request-timeout-ms") == ["-"] && seen(endless, "x-holdfast-attempt") == ["1"])
        let quiet = try UpstreamLab(attemptFields: false)
        over(quiet, ask(quiet, [("x-holdfast-attempt", "7"), ("x-request-timeout-ms", "5")], trusted: false))
        #expect(seen(quiet, "x-request-timeout-ms") == ["-"] && seen(quiet, "x-holdfast-attempt") == ["-"])
    }

    /// gRPC's own limit is the call's, body and all: passed on less the time that went by, whoever sent it.
    @Test(arguments: [true, false])
    func D2_grpcTimeoutsAreCountedDown(trusted: Bool) throws {
        let lab = try failingLab()
        let asker = ask(lab, [("content-type", "application/grpc"), ("grpc-timeout", "3S")], trusted: trusted)
        over(lab, asker)
        #expect(seen(lab, "grpc-timeout") == ["2999800u", "2299600u", "1599400u"])
        #expect(seen(lab, "grpc-previous-rpc-attempts") == ["-", "1", "2"])
        #expect(seen(lab, "x-request-timeout-ms") == ["-", "-", "-"])
    }

    /// A trusted caller's limit is the deadline, and its being short is not the upstream's fault.
    @Test(arguments: [("x-request-timeout-ms", "250"), ("grpc-timeout", "250m")])
    func D1_aTrustedCallersLimitBinds(name: String, value: String) throws {
        let lab = try UpstreamLab()
        lab.upstream.answer = { _, _ in }
        let asker = ask(lab, [(name, value)])
        over(lab, asker)
        #expect(asker.failure?.reason == .deadline && asker.endedAt == lab.at(0.25))
        #expect(lab.guardState.evidence.completed == 0, "neutral")
    }

    @Test func anUntrustedCallersLimitDoesNot() throws {
        let lab = try UpstreamLab { $0.retries.attempts = 1 }
        lab.upstream.answer = { _, _ in }
        let asker = ask(lab, [("x-request-timeout-ms", "250")], trusted: false)
        over(lab, asker)
        #expect(asker.failure?.reason == .timeoutPerTry && asker.endedAt == lab.at(5))
        #expect(lab.guardState.evidence.failed == 1)
        #expect(seen(lab, "x-request-timeout-ms") == ["4999"])
    }

    @Test(arguments: ["", "1", "9x", "123456789S", "S"])
    func whatIsMalformedIsIgnoredAndCounted(text: String) {
        let head = head([("grpc-timeout", text)])
        let terms = CallerTerms(takingFrom: head, isTrusted: true)
        #expect(terms.isMalformed && terms.timeout == .max && terms.callTimeout == .max)
        #expect(head.fields.string("grpc-timeout") == nil, "it goes no further")
    }

    /// T8: whoever tries again itself gets no retries here, makes no deposit, and the hops behind are told the same.
    @Test(arguments: [("x-holdfast-attempt", "2"), ("grpc-previous-rpc-attempts", "1")])
    func T8_aRepeatIsNotRepeated(name: String, value: String) throws {
        let lab = try failingLab()
        let asker = ask(lab, [(name, value)])
        over(lab, asker)
        #expect(asker.said == "503 " && asker.guarded.retryReason == .retryMax)
        #expect(seen(lab, "x-holdfast-attempt") == ["2"])
        let untrusted = try failingLab()
        let other = ask(untrusted, [(name, value)], trusted: false)
        over(untrusted, other)
        #expect(other.said == "200 ok" && seen(untrusted, "x-holdfast-attempt") == ["1", "2", "3"])
    }

    /// T8 over three hops that all see only 503: with what a hop says taken to heart there are no 27 tries.
    @Test(arguments: ["retry.exhausted", "breaker.open", "shed.occupancy", "bulkhead.full"])
    func T8_whatAHopGaveUpIsNotTriedAgain(word: String) throws {
        let lab = try UpstreamLab()
        lab.upstream.answer = { peer, _ in
            peer.say(
                "HTTP/1.1 503 No\r\nX-Holdfast-Reason: reset.before_headers\r\nX-Holdfast-Reason: \(word)\r\nContent-Length: 0\r\n\r\n"
            )
        }
        let asker = ask(lab)
        over(lab, asker)
        #expect(asker.said == "503 " && asker.guarded.retryReason == .retryPushback && lab.upstream.requests.count == 1)
    }
}
