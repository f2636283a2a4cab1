// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import HTTP
import Reactor
import Resilience
import Testing
import Upstream

@testable import Gateway
@testable import Transport

/// What the chain promises every filter: each is asked once and told once of the end, waits are waited for, bodies are whole, and whatever is
/// held is given back however the request ends.
@Suite struct FilterChainTests {
    /// Does what its closures say, and notes what it was asked.
    final class Probe: Filter, @unchecked Sendable {
        // Unchecked: the simulated world has one thread.
        var notes: [String] = []
        var pass: FilterPass?
        var onRequest: (FilterPass) -> FilterStep = { _ in .next }
        var onBody: (FilterPass, inout ByteBuffer) -> FilterStep = { _, _ in .next }
        var onResponse: (FilterPass, ResponseHead) -> ResponseStep = { _, _ in .next }
        var onAnswer: (ResponseHead, inout ByteBuffer) -> ResponseStep = { _, _ in .next }
        var onFailure: (GuardedFailure) -> LocalAnswer? = { _ in nil }

        func request(_ pass: FilterPass) -> FilterStep {
            notes.append("request")
            self.pass = pass
            return onRequest(pass)
        }

        func collected(_ pass: FilterPass, _ body: inout ByteBuffer) -> FilterStep {
            notes.append("collected \(body.count)")
            return onBody(pass, &body)
        }

        func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
            notes.append("response \(head.status)\(pass.isLocalAnswer ? " local" : "")")
            return onResponse(pass, head)
        }

        func collectedResponse(_ pass: FilterPass, _ head: ResponseHead, _ body: inout ByteBuffer) -> ResponseStep {
            notes.append("whole \(body.count)")
            return onAnswer(head, &body)
        }

        func failed(_ pass: FilterPass, _ failure: GuardedFailure) -> LocalAnswer? {
            notes.append("failed \(failure.reason.rawValue)")
            return onFailure(failure)
        }

        func ended(_ pass: FilterPass) { notes.append("ended") }
    }

    private static let one = "{ custom: { name: one } }"
    private static let two = "{ custom: { name: one } }, { custom: { name: two } }"

    @Test func requestsGoDownAndAnswersComeBack() throws {
        let (one, two) = (Probe(), Probe())
        var order: [String] = []
        one.onRequest = { _ in
            order.append("1"); return .next
        }
        two.onRequest = { _ in
            order.append("2"); return .next
        }
        one.onResponse = { _, _ in
            order.append("-1"); return .next
        }
        two.onResponse = { _, _ in
            order.append("-2"); return .next
        }
        let lab = try FilterLab(filters: Self.two, inner: ["one": one, "two": two])
        #expect(try lab.get().hasPrefix("HTTP/1.1 200"))
        #expect(order == ["1", "2", "-2", "-1"])
        #expect(one.notes == ["request", "response 200", "ended"] && two.notes == one.notes)
        #expect(lab.isAtRest)
        lab.end()
    }

    @Test func theOrderIsTheKindsAndNotTheFiles() throws {
        let lab = try FilterLab(
            filters:
                "{ mirror: { to: b } }, { custom: { name: one } }, { limits: { body_bytes: 5B } }, { headers: { security: true } }",
            inner: ["one": Probe()])
        let kinds = lab.snapshot.routes[0].chain?.filters.map { "\(type(of: $0.filter))" }
        #expect(kinds == ["LimitsFilter", "HeadersFilter", "Probe", "MirrorFilter"])
        #expect(
            FilterRank.allCases.firstIndex(of: .jwt)! < FilterRank.allCases.firstIndex(of: .cache)!,
            "nobody gets what he may not see")
        lab.end()
    }

    @Test func filtersOfListenerRouteAndUpstreamAreAllAsked() throws {
        let (one, two, three) = (Probe(), Probe(), Probe())
        let lab = try FilterLab(
            filters: "{ custom: { name: two } }", listener: ", filters: [{ custom: { name: one } }]",
            upstream: ", filters: [{ custom: { name: three } }]", inner: ["one": one, "two": two, "three": three])
        _ = try lab.get()
        #expect([one, two, three].map(\.notes) == Array(repeating: ["request", "response 200", "ended"], count: 3))
        _ = try lab.get("/plain/x")
        #expect(one.notes.count == 6 && two.notes.count == 3 && three.notes.count == 3, "the listener's is for all routes")
        #expect(try lab.get("/nowhere").hasPrefix("HTTP/1.1 404"))
        #expect(one.notes.suffix(3) == ["request", "response 404 local", "ended"], "and for what no route takes")
        lab.end()
    }

    // MARK: Deciding

    @Test func aRefusalPassesThoseThatWereAskedOnly() throws {
        let (one, two) = (Probe(), Probe())
        one.onRequest = { _ in
            var refusal = FilterRefusal(.authMissing, detail: "no key")
            refusal.fields = [("www-authenticate", Array("Key".utf8))]
            return .refuse(refusal)
        }
        let lab = try FilterLab(filters: Self.two, inner: ["one": one, "two": two])
        let answer = try lab.get()
        #expect(
            answer.hasPrefix("HTTP/1.1 401") && answer.contains("\r\nwww-authenticate: Key\r\n") && answer.contains("auth.missing"))
        #expect(one.notes == ["request", "response 401 local", "ended"] && two.notes.isEmpty)
        #expect(lab.upstreams[0].peers.isEmpty && lab.isAtRest)
        lab.end()
    }

    @Test func aWaitIsWaitedForAndTheBodyIsKept() throws {
        let probe = Probe()
        probe.onRequest = { _ in .wait }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        let client = try lab.connect()
        client.say("POST /items/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        lab.world.run(for: .milliseconds(100))
        #expect(client.heard.isEmpty && lab.upstreams[0].peers.isEmpty)
        probe.pass?.resume(.next)
        lab.world.run(for: .milliseconds(100))
        #expect(lab.upstreams[0].heard.hasSuffix("\r\n\r\nhello"), "what came meanwhile goes on")
        client.say("world")
        lab.world.run(for: .milliseconds(100))
        #expect(lab.upstreams[0].heard.hasSuffix("helloworld") && client.heard.hasPrefix("HTTP/1.1 200"))
        #expect(lab.isAtRest)
        lab.end()
    }

    @Test func aFilterMayAnswerItselfBeforeItSaysThatItWaits() throws {
        let probe = Probe()
        probe.onRequest = { pass in
            pass.resume(.next)
            return .wait
        }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        #expect(try lab.get().hasPrefix("HTTP/1.1 200"))
        lab.end()
    }

    @Test func whoGoesAwayWhileAFilterWaitsLeavesNothing() throws {
        let probe = Probe()
        probe.onRequest = { _ in .wait }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        let client = try lab.connect()
        client.say("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        lab.world.run(for: .milliseconds(50))
        client.hangUp()
        lab.world.run(for: .milliseconds(50))
        #expect(probe.notes == ["request", "ended"] && lab.isAtRest)
        probe.pass?.resume(.next)
        probe.pass?.resume(.refuse(FilterRefusal(.internal)))
        lab.world.run(for: .milliseconds(50))
        #expect(probe.notes == ["request", "ended"] && lab.upstreams[0].peers.isEmpty, "too late does nothing")
        lab.end()
    }

    @Test func aSecondResumeDoesNothing() throws {
        let (one, two) = (Probe(), Probe())
        one.onRequest = { _ in .wait }
        two.onRequest = { _ in .wait }
        let lab = try FilterLab(filters: Self.two, inner: ["one": one, "two": two])
        let client = try lab.connect()
        client.say("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        lab.world.run(for: .milliseconds(50))
        one.pass?.resume(.next)
        two.pass?.resume(.next)
        two.pass?.resume(.next)
        one.pass?.resume(.refuse(FilterRefusal(.internal)))
        lab.world.run(for: .milliseconds(100))
        #expect(client.heard.hasPrefix("HTTP/1.1 200") && lab.upstreams[0].peers.count == 1)
        lab.end()
    }

    // MARK: Whole bodies

    @Test func aRequestIsCollectedAndRewritten() throws {
        let probe = Probe()
        probe.onRequest = { _ in .collect(limit: 100) }
        probe.onBody = { _, body in
            body.removeAll()
            body.append("a body that is longer than what came")
            return .next
        }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        let client = try lab.connect()
        client.say("POST /items/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        lab.world.run(for: .milliseconds(50))
        #expect(lab.upstreams[0].peers.isEmpty, "it waits for all")
        client.say("0\r\n\r\n")
        lab.world.run(for: .milliseconds(50))
        #expect(probe.notes.prefix(2) == ["request", "collected 5"])
        #expect(lab.upstreams[0].heard.contains("content-length: 36\r\n") && lab.upstreams[0].heard.hasSuffix("what came"))
        #expect(client.heard.hasPrefix("HTTP/1.1 200") && lab.isAtRest)
        // The connection is as good as before: credit was neither lost nor given twice.
        client.say("POST /items/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        lab.world.run(for: .milliseconds(50))
        #expect(client.heard.components(separatedBy: "HTTP/1.1 200").count == 3)
        lab.end()
    }

    @Test(arguments: [
        "Content-Length: 101\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n65\r\n" + String(repeating: "x", count: 101),
    ])
    func aRequestThatIsTooLongToBeCollectedIsRefused(rest: String) throws {
        let probe = Probe()
        probe.onRequest = { _ in .collect(limit: 100) }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        let answer = try lab.ask("POST /items/1 HTTP/1.1\r\nHost: a\r\n" + rest)
        #expect(answer.hasPrefix("HTTP/1.1 413") && answer.contains("longer than 100 bytes"), "\(answer)")
        #expect(probe.notes == ["request", "response 413 local", "ended"] && lab.upstreams[0].peers.isEmpty && lab.isAtRest)
        lab.end()
    }

    @Test func aClientThatWaitsForLeaveIsToldToGoOn() throws {
        let probe = Probe()
        probe.onRequest = { _ in .collect(limit: 100) }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        let client = try lab.connect()
        client.say("POST /items/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        lab.world.run(for: .milliseconds(50))
        #expect(client.heard == "HTTP/1.1 100 Continue\r\n\r\n")
        client.say("hello")
        lab.world.run(for: .milliseconds(50))
        #expect(client.heard.contains("HTTP/1.1 200") && lab.upstreams[0].heard.hasSuffix("hello"))
        lab.end()
    }

    // MARK: Answers

    private static func long(_ n: Int, chunked: Bool) -> String {
        let text = String(repeating: "y", count: n)
        return chunked
            ? "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\(String(n, radix: 16))\r\n\(text)\r\n0\r\n\r\n"
            : "HTTP/1.1 200 OK\r\ncontent-length: \(n)\r\netag: \"x\"\r\n\r\n\(text)"
    }

    @Test(arguments: [true, false])
    func anAnswerIsCollectedAndRewritten(chunked: Bool) throws {
        let probe = Probe()
        probe.onResponse = { _, _ in .collect(limit: 200_000, overflow: .fail) }
        probe.onAnswer = { head, body in
            head.fields.append("x-was", "\(body.count)")
            body.removeAll()
            body.append("short")
            return .next
        }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        lab.upstreams[0].answer = { _ in Self.long(150_000, chunked: chunked) }
        let answer = try lab.get()
        #expect(
            answer.contains("x-was: 150000\r\n") && answer.contains("content-length: 5\r\n") && answer.hasSuffix("\r\n\r\nshort"))
        #expect(probe.notes == ["request", "response 200", "whole 150000", "ended"] && lab.isAtRest)
        lab.end()
    }

    @Test func anAnswerThatIsTooLongFailsOrPassesOn() throws {
        for (overflow, wanted) in [(ResponseStep.Overflow.fail, "HTTP/1.1 502"), (.passOn, "HTTP/1.1 200")] {
            let (one, two) = (Probe(), Probe())
            two.onResponse = { _, _ in .collect(limit: 1_000, overflow: overflow) }
            one.onResponse = { pass, head in
                head.fields.append("x-seen", "one")
                return .next
            }
            let lab = try FilterLab(filters: Self.two, inner: ["one": one, "two": two])
            lab.upstreams[0].answer = { _ in Self.long(150_000, chunked: false) }
            let answer = try lab.get()
            #expect(answer.hasPrefix(wanted) && answer.contains("x-seen: one"), "\(answer.prefix(300))")
            #expect(answer.contains("response.too_large") == (wanted == "HTTP/1.1 502"))
            if wanted.hasSuffix("200") { #expect(answer.hasSuffix("\r\n\r\n" + String(repeating: "y", count: 150_000))) }
            #expect(lab.isAtRest)
            lab.end()
        }
    }

    /// Doubles each byte, and says so at the end.
    final class Doubling: ResponseStage {
        var isAborted = false
        func body(_ bytes: Span<UInt8>, into out: inout ByteBuffer) { for i in bytes.indices { out.append(bytes[i], bytes[i]) } }
        func end(into out: inout ByteBuffer) { out.append("!") }
        func aborted() { isAborted = true }
    }

    @Test func stagesStreamInTheOrderOfTheAnswer() throws {
        let (one, two) = (Probe(), Probe())
        two.onResponse = { _, head in
            head.framing = .stream
            return .stage(Doubling())
        }
        one.onResponse = two.onResponse
        let lab = try FilterLab(filters: Self.two, inner: ["one": one, "two": two])
        lab.upstreams[0].answer = { _ in "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" }
        let answer = try lab.get()
        #expect(answer.contains("transfer-encoding: chunked"))
        #expect(answer.contains("ooookkkk") && answer.contains("!!!"), "\(answer)")
        #expect(lab.isAtRest)
        lab.end()
    }

    @Test func aStageAfterACollectedBodySeesWhatWasMadeOfIt() throws {
        let (one, two) = (Probe(), Probe())
        two.onResponse = { _, _ in .collect(limit: 100, overflow: .fail) }
        two.onAnswer = { _, body in
            body.removeAll()
            body.append("ab")
            return .next
        }
        one.onResponse = { _, head in
            head.framing = .stream
            return .stage(Doubling())
        }
        let lab = try FilterLab(filters: Self.two, inner: ["one": one, "two": two])
        let answer = try lab.get()
        #expect(answer.contains("aabb") && answer.contains("!"), "\(answer)")
        #expect(lab.isAtRest)
        lab.end()
    }

    @Test func anAnswerThatBreaksOffIsNotTakenForWhole() throws {
        let probe = Probe()
        let stage = Doubling()
        probe.onResponse = { _, head in
            head.framing = .stream
            return .stage(stage)
        }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        lab.upstreams[0].answer = { [unowned lab] _ in
            lab.world.at(lab.world.now.advanced(by: .milliseconds(20))) { lab.upstreams[0].peers[0].hangUp() }
            return "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok"
        }
        let client = try lab.connect()
        let answer = try lab.ask("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n", of: client)
        #expect(answer.contains("ookk") && !answer.hasSuffix("0\r\n\r\n"), "\(answer)")
        #expect(stage.isAborted && probe.notes.last == "ended" && lab.isAtRest)
        lab.end()
    }

    @Test(arguments: [10, 300_000, 3_000_000])
    func anAnswerCanBeReplacedAndTheAttemptIsCountedAsItWas(bytes: Int) throws {
        let probe = Probe()
        probe.onResponse = { pass, head in
            guard head.status == 500, !pass.isLocalAnswer else { return .next }
            return .replace(LocalAnswer(status: 203, body: ArraySlice("from the store".utf8)))
        }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        let body = String(repeating: "z", count: bytes)
        lab.upstreams[0].answer = { _ in "HTTP/1.1 500 No\r\ncontent-length: \(bytes)\r\n\r\n\(body)" }
        let answer = try lab.get()
        #expect(answer.hasPrefix("HTTP/1.1 203") && answer.hasSuffix("\r\n\r\nfrom the store"), "\(answer.prefix(200))")
        lab.world.run(for: .seconds(5))
        #expect(lab.isAtRest, "what was left of the other answer is gone")
        #expect(lab.snapshot.upstreams[0].guardian.snapshot(now: lab.gateway.reactor.now).evidence.failed == 1)
        lab.end()
    }

    @Test func whereThereIsNoAnswerAFilterMayHaveOne() throws {
        let (one, two) = (Probe(), Probe())
        one.onFailure = { _ in LocalAnswer(status: 200, body: ArraySlice("stale".utf8)) }
        let lab = try FilterLab(filters: Self.two, inner: ["one": one, "two": two])
        lab.upstreams[0].close()
        let answer = try lab.get()
        #expect(
            answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("stale") && answer.contains("x-holdfast-reason: connect.refused"))
        #expect(two.notes == ["request", "failed connect.refused", "response 200 local", "ended"], "the last is asked first")
        #expect(lab.isAtRest)
        lab.end()
    }

    @Test func aLongAnswerOfAFilterWaitsForASlowClient() throws {
        let probe = Probe()
        let body = [UInt8](repeating: 0x78, count: 5_000_000)
        probe.onRequest = { _ in .answer(LocalAnswer(status: 200, body: body[...])) }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        let answer = try lab.get()
        #expect(answer.contains("content-length: 5000000") && answer.utf8.count > 5_000_000 && lab.isAtRest)
        let head = try lab.ask("HEAD /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(head.contains("content-length: 5000000") && head.hasSuffix("\r\n\r\n"))
        // One that goes away in the middle.
        let client = try lab.connect()
        client.say("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        lab.world.run(for: .microseconds(500))
        client.hangUp()
        lab.world.run(for: .seconds(1))
        #expect(lab.isAtRest)
        lab.end()
    }

    // MARK: Requests of the gateway's own

    @Test func aSubrequestBringsAnAnswerAndGivesBackWhatItHeld() throws {
        let probe = Probe()
        var results: [String] = []
        probe.onRequest = { pass in
            let question = Subrequest(pass.home, to: 1, in: pass.snapshot, for: pass)
            question.head.method = .post
            let target = Array("/verify?x=1".utf8)
            question.setTarget(target.span)
            let body = Array("who?".utf8)
            question.start(timeout: .seconds(2), answerLimit: 100, body: body.span) { question in
                switch question.result {
                case .answered:
                    results.append("\(question.answer.status) \(question.body.count)")
                    pass.resume(.next)
                case .failed(let failure):
                    results.append(failure.reason.rawValue)
                    pass.resume(.refuse(FilterRefusal(.authUnavailable)))
                case .tooLong: results.append("too long"); pass.resume(.refuse(FilterRefusal(.authUnavailable)))
                case .cancelled, nil: results.append("cancelled")
                }
            }
            pass.state = question
            return .wait
        }
        let lab = try FilterLab(filters: Self.one, inner: ["one": probe])
        #expect(try lab.get().hasPrefix("HTTP/1.1 200"))
        #expect(
            lab.upstreams[1].heard.hasPrefix("POST /verify?x=1 HTTP/1.1\r\n") && lab.upstreams[1].heard.hasSuffix("\r\n\r\nwho?"))
        lab.upstreams[1].answer = { _ in Self.long(1_000, chunked: false) }
        #expect(try lab.get().hasPrefix("HTTP/1.1 503"))
        lab.upstreams[1].answer = { _ in nil }
        let client = try lab.connect()
        client.say("GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        lab.world.run(for: .seconds(3))
        #expect(client.heard.hasPrefix("HTTP/1.1 503"))
        #expect(results == ["200 2", "too long", "deadline"])
        #expect(lab.isAtRest)
        lab.end()
    }
}
