// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import Testing

@testable import Upstream

/// When a name is looked up again and what its answers come to, exactly and without a resolver.
@Suite struct NameRefreshTests {
    private static let users = NameSettings(name: "users.internal", port: 9001)

    /// A name that is looked up against a script: what each question gets, by the look.
    private final class Script {
        var refresh: NameRefresh
        var now = Instant.origin
        var draw = Draw(seed: 1)
        /// Whether answers come in the reverse order of their questions.
        var isReversed = false

        init(_ settings: NameSettings = users) { refresh = NameRefresh(settings, key: 7) }

        /// One look; the clock then stands where the next is due.
        func look(_ answers: [String: NameAnswer]) -> NameRefresh.Settlement {
            var action = refresh.due()
            for _ in 0..<3 {
                guard case .ask(let questions) = action else { break }
                for question in isReversed ? questions.reversed() : questions {
                    action = refresh.answered(question, answers["\(question)"] ?? .failed(.empty), now: now, draw: draw)
                }
            }
            guard case .settle(let settlement) = action else { preconditionFailure("no settlement but \(action)") }
            now = settlement.next
            return settlement
        }

        var addresses: String { refresh.targets.map { "\($0.address)" }.joined(separator: " ") }
    }

    private static func a(_ hosts: [String], _ seconds: Int64 = 30) -> NameAnswer {
        .records(
            hosts.map { .address(SocketAddress.parse(host: $0, port: 0) ?? .loopback(port: 0)) }, timeToLive: .seconds(seconds))
    }

    private static let ten = "10.0.0.1"

    // MARK: Time

    @Test(arguments: [
        (30, 30), (1, 1), (0, 1), (299, 299), (300, 300), (301, 300), (86_400, 300),
    ])
    func anAnswerHoldsForItsTimeToLiveWithinItsBounds(timeToLive: Int64, expected: Int64) throws {
        let script = Script()
        let settlement = script.look(["A users.internal": Self.a([Self.ten], timeToLive)])
        #expect(settlement.next == Instant.origin.advanced(by: .seconds(expected)))
        #expect(script.refresh.state == .current && script.refresh.answeredAt == .origin)
    }

    /// The least of all that the answer rests on.
    @Test func theShortestTimeToLiveCounts() throws {
        let script = Script()
        let settlement = script.look(["A users.internal": Self.a([Self.ten], 30), "AAAA users.internal": Self.a(["fd00::1"], 7)])
        #expect(settlement.next == Instant.origin.advanced(by: .seconds(7)))
        #expect(script.addresses == "10.0.0.1:9001 [fd00::1]:9001")
    }

    /// Doubled with each failure, up to half a minute, drawn from the upper half; over after a success.
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func failuresBackOff(seed: UInt64) throws {
        let script = Script()
        script.draw = Draw(seed: seed)
        _ = script.look(["A users.internal": Self.a([Self.ten])])
        var waits: [Int64] = []
        for round in 0..<9 {
            let before = script.now
            let settlement = script.look(["A users.internal": .failed(.timeout), "AAAA users.internal": .failed(.timeout)])
            let wait = settlement.next.nanoseconds(since: before)
            let whole = min(Int64(1) << Int64(round), 30) * 1_000_000_000
            #expect((whole / 2...whole).contains(wait), "\(round): \(wait)")
            waits.append(wait)
        }
        #expect(Set(waits.map { $0 % 1_000_000 }).count > 3, "drawn: \(waits)")
        _ = script.look(["A users.internal": Self.a([Self.ten], 2)])
        let before = script.now
        let again = script.look(["A users.internal": .failed(.servfail)])
        #expect(again.next.nanoseconds(since: before) <= 1_000_000_000)
    }

    @Test func aBackOffKeepsTheBounds() throws {
        var settings = Self.users
        settings.minimumTimeToLive = .seconds(20)
        settings.maximumTimeToLive = .seconds(20)
        let script = Script(settings)
        for _ in 0..<5 {
            let before = script.now
            let wait = script.look(["A users.internal": .failed(.nxdomain)]).next.nanoseconds(since: before)
            #expect((10_000_000_000...20_000_000_000).contains(wait))
        }
        settings.minimumTimeToLive = .seconds(60)
        settings.maximumTimeToLive = .seconds(600)
        let other = Script(settings)
        let wait = other.look(["A users.internal": .failed(.nxdomain)]).next.nanoseconds
        #expect((30_000_000_000...60_000_000_000).contains(wait), "not sooner than an answer may be asked again")
    }

    // MARK: States

    @Test func statesAndNews() throws {
        let script = Script()
        #expect(script.refresh.state == .pending)
        let good = ["A users.internal": Self.a([Self.ten])]
        let gone: [String: NameAnswer] = ["A users.internal": .failed(.nxdomain), "AAAA users.internal": .failed(.nxdomain)]
        let slow: [String: NameAnswer] = ["A users.internal": .failed(.timeout), "AAAA users.internal": .failed(.timeout)]
        for (answers, state, isNews, changes) in [
            (gone, NameRefresh.State.failing, true, false), (gone, .failing, false, false), (slow, .failing, true, false),
            (good, .current, true, true), (good, .current, false, false), (gone, .stale, true, false), (gone, .stale, false, false),
            (slow, .stale, true, false), (good, .current, true, false),
        ] {
            let settlement = script.look(answers)
            #expect(script.refresh.state == state && settlement.isNews == isNews && (settlement.targets != nil) == changes)
        }
        #expect(script.addresses == "10.0.0.1:9001", "kept through all of it")
    }

    @Test(arguments: [
        ("nxdomain", "nxdomain", NameFailure.nxdomain), ("empty", "empty", .empty), ("nxdomain", "empty", .nxdomain),
        ("timeout", "nxdomain", .timeout), ("empty", "servfail", .servfail), ("servfail", "timeout", .servfail),
        ("refused", "refused", .refused), ("unreachable", "unreachable", .unreachable), ("malformed", "empty", .malformed),
        ("local", "local", .local),
    ])
    func whatAFailureIsCalled(a: String, aaaa: String, expected: NameFailure) throws {
        for isReversed in [false, true] {
            let script = Script()
            script.isReversed = isReversed
            let settlement = script.look([
                "A users.internal": .failed(try #require(NameFailure(rawValue: a))),
                "AAAA users.internal": .failed(try #require(NameFailure(rawValue: aaaa))),
            ])
            #expect(settlement.failure == expected)
        }
    }

    @Test func whatStopsStaysStopped() {
        var refresh = NameRefresh(Self.users, key: 1)
        _ = refresh.due()
        refresh.stop()
        #expect(
            refresh.answered(NameQuestion("users.internal", .a), Self.a([Self.ten]), now: .origin, draw: Draw(seed: 1)) == .none)
        #expect(refresh.due() == .none && refresh.targets.isEmpty)
    }

    @Test func oneLookAtATimeAndNoAnswerTwice() {
        var refresh = NameRefresh(Self.users, key: 1)
        let question = NameQuestion("users.internal", .a)
        #expect(refresh.answered(question, Self.a([Self.ten]), now: .origin, draw: Draw(seed: 1)) == .none, "nobody asked")
        _ = refresh.due()
        #expect(refresh.due() == .none)
        #expect(refresh.answered(question, Self.a([Self.ten]), now: .origin, draw: Draw(seed: 1)) == .none)
        #expect(
            refresh.answered(question, Self.a([Self.ten]), now: .origin, draw: Draw(seed: 1)) == .none, "the other is still open")
        #expect(refresh.isAsking)
    }

    // MARK: Sets

    @Test(arguments: [
        (["10.0.0.2", "10.0.0.1"], "10.0.0.1:9001 10.0.0.2:9001"), (["10.0.0.10", "10.0.0.9"], "10.0.0.9:9001 10.0.0.10:9001"),
        (["10.0.0.1", "10.0.0.1"], "10.0.0.1:9001"), (["::ffff:10.0.0.1", "10.0.0.1"], "10.0.0.1:9001"),
    ])
    func theOrderIsTheAddresses(hosts: [String], expected: String) throws {
        for order in [hosts, hosts.reversed()] {
            let script = Script()
            _ = script.look(["A users.internal": Self.a(order)])
            #expect(script.addresses == expected)
        }
        let script = Script()
        _ = script.look(["A users.internal": Self.a(hosts)])
        let again = script.look(["A users.internal": Self.a(hosts.reversed())])
        #expect(again.targets == nil, "another order is no other set")
    }

    @Test func halfAnAnswerLeavesTheOtherHalf() throws {
        let script = Script()
        _ = script.look(["A users.internal": Self.a(["10.0.0.1"]), "AAAA users.internal": Self.a(["fd00::1"])])
        let half = script.look(["A users.internal": Self.a(["10.0.0.2"]), "AAAA users.internal": .failed(.servfail)])
        #expect(half.failure == nil && script.addresses == "10.0.0.2:9001 [fd00::1]:9001")
        _ = script.look(["A users.internal": Self.a(["10.0.0.2"]), "AAAA users.internal": .failed(.empty)])
        #expect(script.addresses == "10.0.0.2:9001", "that there is none is an answer")
    }

    @Test func sixtyFourAtMost() throws {
        let many = (1...70).map { "10.0.0.\($0)" }
        for order in [many, many.reversed()] {
            let script = Script()
            let settlement = script.look(["A users.internal": Self.a(order)])
            #expect(settlement.surplus == 6 && script.refresh.targets.count == 64)
            #expect(script.addresses.hasSuffix(" 10.0.0.64:9001"), "the same ones whatever the order")
        }
    }

    // MARK: Services

    private static func srv(_ records: [(String, UInt16, UInt16, UInt16)], _ seconds: Int64 = 30) -> NameAnswer {
        .records(records.map { .service(target: $0.0, port: $0.1, priority: $0.2, weight: $0.3) }, timeToLive: .seconds(seconds))
    }

    private static let service = NameSettings(name: "_users._tcp.internal", port: 0, record: .service)

    private struct ServiceRow: Sendable, CustomTestStringConvertible {
        var records: [(String, UInt16, UInt16, UInt16)]
        var expected: String
        var testDescription: String { expected }
    }

    @Test(arguments: [
        ServiceRow(
            records: [("a.internal", 9001, 0, 5), ("b.internal", 9002, 0, 10)], expected: "10.0.0.1:9001*5 10.0.0.2:9002*10"),
        // The lowest value of priority alone.
        ServiceRow(records: [("a.internal", 9001, 1, 5), ("b.internal", 9002, 0, 10)], expected: "10.0.0.2:9002*10"),
        ServiceRow(records: [("a.internal", 9001, 7, 0)], expected: "10.0.0.1:9001*1"),
        ServiceRow(records: [("a.internal", 9001, 0, 5), ("a.internal", 9003, 0, 2)], expected: "10.0.0.1:9001*5 10.0.0.1:9003*2"),
        // One address under two names has both shares; one record twice has its own.
        ServiceRow(records: [("a.internal", 9001, 0, 5), ("c.internal", 9001, 0, 2)], expected: "10.0.0.1:9001*7"),
        ServiceRow(records: [("a.internal", 9001, 0, 5), ("a.internal", 9001, 0, 5)], expected: "10.0.0.1:9001*5"),
        // What is not there, has no port or has no address.
        ServiceRow(records: [("", 9001, 0, 5)], expected: ""), ServiceRow(records: [("a.internal", 0, 0, 5)], expected: ""),
        ServiceRow(records: [("nowhere.internal", 9001, 0, 5), ("b.internal", 9002, 0, 1)], expected: "10.0.0.2:9002*1"),
    ])
    private func services(row: ServiceRow) {
        for isReversed in [false, true] {
            let script = Script(Self.service)
            script.isReversed = isReversed
            let settlement = script.look([
                "SRV _users._tcp.internal": Self.srv(isReversed ? row.records.reversed() : row.records),
                "A a.internal": Self.a(["10.0.0.1"]), "A b.internal": Self.a(["10.0.0.2"], 4),
                "A c.internal": Self.a(["10.0.0.1"]), "A nowhere.internal": .failed(.nxdomain),
                "AAAA nowhere.internal": .failed(.nxdomain),
            ])
            #expect(script.refresh.targets.map { "\($0.address)*\($0.weight)" }.joined(separator: " ") == row.expected)
            #expect((settlement.failure == nil) == !row.expected.isEmpty)
            if row.expected.contains("10.0.0.2") { #expect(settlement.next == Instant.origin.advanced(by: .seconds(4))) }
        }
    }

    /// A target whose address cannot be asked for now keeps the one it had; one that is no longer named does not.
    @Test func aTargetThatCannotBeAskedStays() throws {
        let script = Script(Self.service)
        let both = Self.srv([("a.internal", 9001, 0, 1), ("b.internal", 9002, 0, 1)])
        _ = script.look([
            "SRV _users._tcp.internal": both, "A a.internal": Self.a(["10.0.0.1"]), "A b.internal": Self.a(["10.0.0.2"]),
        ])
        _ = script.look(["SRV _users._tcp.internal": both, "A a.internal": .failed(.timeout), "A b.internal": Self.a(["10.0.0.3"])])
        #expect(script.addresses == "10.0.0.1:9001 10.0.0.3:9002")
        _ = script.look([
            "SRV _users._tcp.internal": Self.srv([("b.internal", 9002, 0, 1)]), "A a.internal": .failed(.timeout),
            "A b.internal": Self.a(["10.0.0.3"]),
        ])
        #expect(script.addresses == "10.0.0.3:9002")
        let failed = script.look(["SRV _users._tcp.internal": .failed(.refused)])
        #expect(failed.failure == .refused && script.refresh.state == .stale && script.addresses == "10.0.0.3:9002")
    }
}
