// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import JSON
import Testing

@testable import Gateway

/// Which parts are asked when, what becomes of those that fail, and what the document says (case E24).
@Suite struct AggregateRunTests {
    private func part(_ name: String, _ change: (inout AggregatePlan.Part) -> Void = { _ in }) -> AggregatePlan.Part {
        var part = AggregatePlan.Part(name: Array(name.utf8), placement: .member(Array(name.utf8)))
        change(&part)
        return part
    }

    private func plan(_ parts: [AggregatePlan.Part], limit: Int = 1 << 20) -> AggregatePlan {
        AggregatePlan(parts: parts, completeName: Array("complete".utf8), missingName: Array("missing".utf8), byteLimit: limit)
    }

    private func json(_ text: String) -> JSONDocument? { try? JSONDocument.parse(text) }

    private func text(_ run: borrowing AggregateRun) -> String {
        guard let document = run.document() else { return "too long" }
        return String(decoding: document.withReadable { [UInt8](copying: $0) }, as: UTF8.self)
    }

    @Test("Parts go at once, and one that uses another's answer after it")
    func order() {
        var run = AggregateRun(
            plan([part("user"), part("orders"), part("products") { $0.waitsFor = [1] }]))
        #expect(run.start() == .start([0, 1]))
        #expect(run.answered(1, status: 200, isJSON: true, body: Array("{\"items\" : [1]}".utf8).span) == .start([2]))
        #expect(run.value(of: 1)?["items"]?.count == 1)
        #expect(run.answered(2, status: 200, isJSON: true, body: Array("[]".utf8).span) == .start([]))
        #expect(run.answered(0, status: 203, isJSON: true, body: Array(" {\"id\":1.0} ".utf8).span) == .finish)
        #expect(text(run) == #"{"user":{"id":1.0},"orders":{"items" : [1]},"products":[],"complete":true}"#)
    }

    @Test(
        "What a part must not be makes it missing, with the reason",
        arguments: [
            (200, true, "{", Reason.responseUnusable), (200, true, "", .responseUnusable),
            (200, true, "{\"a\":1,\"a\":2}", .responseUnusable),
            (200, true, "[\"\\ud800\"]", .responseUnusable), (200, true, "NaN", .responseUnusable),
            (200, true, String(repeating: "[", count: 100), .responseUnusable), (200, false, "{}", .responseUnusable),
            (200, true, "[\(String(repeating: "1,", count: 600))1]", .responseTooLarge), (500, true, "{}", .statusFailure),
            (404, true, "{}", .statusFailure), (301, true, "{}", .statusFailure), (204, true, "", .responseUnusable),
        ])
    func unusable(status: Int, isJSON: Bool, body: String, reason: Reason) {
        let parts = [
            part("a") {
                $0.byteLimit = 1_000; $0.isRequired = false
            }, part("b"),
        ]
        var run = AggregateRun(plan(parts))
        _ = run.start()
        #expect(run.answered(0, status: status, isJSON: isJSON, body: Array(body.utf8).span) == .start([]))
        #expect(run.answered(1, status: 200, isJSON: true, body: Array("1".utf8).span) == .finish)
        #expect(text(run) == "{\"b\":1,\"complete\":false,\"missing\":{\"a\":\"\(reason.rawValue)\"}}")
    }

    @Test("A part that is needed ends the whole with its reason, and what comes later changes nothing")
    func required() {
        var run = AggregateRun(plan([part("a"), part("b") { $0.waitsFor = [0] }]))
        #expect(run.start() == .start([0]))
        #expect(run.failed(0, .breakerOpen) == .fail(part: 0, .breakerOpen))
        #expect(run.failed(0, .deadline) == .start([]))
        #expect(run.answered(1, status: 200, isJSON: true, body: Array("1".utf8).span) == .start([]))
    }

    @Test("A default stands for what is missing, for later parts too")
    func defaults() {
        var run = AggregateRun(
            plan([
                part("a") {
                    $0.isRequired = false; $0.fallback = json("[7]")
                },
                part("b") {
                    $0.waitsFor = [0]; $0.isRequired = false
                },
            ]))
        #expect(run.start() == .start([0]))
        #expect(run.failed(0, .timeoutPerTry) == .start([1]))
        #expect(run.value(of: 0)?.text == "[7]")
        #expect(run.failed(1, .aggregateDependency) == .finish)
        #expect(
            text(run) == #"{"a":[7],"complete":false,"missing":{"a":"timeout.per_try","b":"aggregate.dependency"}}"#)
    }

    @Test("A 404 that means nothing, and an empty list that nothing is asked about, leave the document complete")
    func absent() {
        var run = AggregateRun(
            plan([
                part("a") { $0.notFoundIsAbsent = true },
                part("b") {
                    $0.notFoundIsAbsent = true; $0.fallback = json("[]")
                }, part("c"),
            ]))
        _ = run.start()
        #expect(run.answered(0, status: 404, isJSON: false, body: Span()) == .start([]))
        #expect(run.answered(1, status: 404, isJSON: false, body: Span()) == .start([]))
        #expect(run.hasNothingToAsk(2) == .finish)
        #expect(text(run) == #"{"b":[],"complete":true}"#)
    }

    @Test("When time is up, what is not there is missing")
    func timeUp() {
        var run = AggregateRun(plan([part("a"), part("b") { $0.isRequired = false }]))
        _ = run.start()
        _ = run.answered(0, status: 200, isJSON: true, body: Array("1".utf8).span)
        #expect(run.timeUp() == .finish)
        #expect(text(run) == #"{"a":1,"complete":false,"missing":{"b":"deadline"}}"#)
        var other = AggregateRun(plan([part("a"), part("b") { $0.isRequired = false }]))
        _ = other.start()
        #expect(other.timeUp() == .fail(part: 0, .deadline))
    }

    @Test("All answers together are bounded")
    func total() {
        var run = AggregateRun(plan([part("a"), part("b") { $0.isRequired = false }], limit: 60))
        _ = run.start()
        _ = run.answered(0, status: 200, isJSON: true, body: Array("\"123456789012345678901234567890123456789\"".utf8).span)
        #expect(run.answered(1, status: 200, isJSON: true, body: Array("\"1234567890123456789\"".utf8).span) == .finish)
        #expect(run.missing.map(\.reason) == [.responseTooLarge])
    }

    @Test("A flattened part's members are the document's; what has the name already stays")
    func flattens() {
        var run = AggregateRun(
            plan([
                part("a") { $0.placement = .flatten },
                part("b") {
                    $0.placement = .flatten; $0.take = JSONPath([.name(Array("data".utf8))])
                }, part("c"),
            ]))
        _ = run.start()
        _ = run.answered(0, status: 200, isJSON: true, body: Array(#"{"x":1,"complete":"no","c":0}"#.utf8).span)
        _ = run.answered(1, status: 200, isJSON: true, body: Array(#"{"data":{"x":2,"y":3}}"#.utf8).span)
        #expect(run.answered(2, status: 200, isJSON: true, body: Array("[]".utf8).span) == .finish)
        #expect(text(run) == #"{"x":1,"y":3,"c":[],"complete":true}"#)
    }

    private func join(_ change: (inout AggregatePlan.Join) -> Void = { _ in }) -> AggregatePlan.Part {
        func path(_ text: String) -> JSONPath { (try? JSONPath(parsing: text)) ?? JSONPath() }
        var join = AggregatePlan.Join(
            into: 0, list: path("data.items"), on: path("product"), key: path("id"), member: Array("details".utf8))
        change(&join)
        return part("products") { $0.placement = .join(join) }
    }

    @Test("A joined part's elements go into those of another, by a key; the rest of it is as it was")
    func joins() {
        let orders = #"{"data":{"n" : 3,"items":[{"product":7,"details":0},{"product":"p2"},{"product":"none"},5]}}"#
        var run = AggregateRun(plan([part("orders"), join()]))
        _ = run.start()
        _ = run.answered(0, status: 200, isJSON: true, body: Array(orders.utf8).span)
        _ = run.answered(
            1, status: 200, isJSON: true, body: Array(#"[{"id":"7","name":"seven"},{"id":"p2"},{"id":"p2","x":1}]"#.utf8).span)
        #expect(
            text(run)
                == #"{"orders":{"data":{"n":3,"items":[{"product":7,"details":{"id":"7","name":"seven"}},{"product":"p2","details":{"id":"p2"}},{"product":"none"},5]}},"complete":true}"#
        )
        // One object by key.
        var other = AggregateRun(plan([part("orders"), join()]))
        _ = other.start()
        _ = other.answered(0, status: 200, isJSON: true, body: Array(#"{"data":{"items":[{"product":7}]}}"#.utf8).span)
        _ = other.answered(1, status: 200, isJSON: true, body: Array(#"{"7":"seven"}"#.utf8).span)
        #expect(text(other) == #"{"orders":{"data":{"items":[{"product":7,"details":"seven"}]}},"complete":true}"#)
    }

    @Test("A small answer that is joined into many elements does not make a document beyond its bound")
    func joinedBound() {
        var run = AggregateRun(plan([part("orders"), join { $0.list = JSONPath() }], limit: 20_000))
        _ = run.start()
        let orders = "[" + (0..<500).map { _ in "{\"product\":1}" }.joined(separator: ",") + "]"
        _ = run.answered(0, status: 200, isJSON: true, body: Array(orders.utf8).span)
        _ = run.answered(
            1, status: 200, isJSON: true, body: Array("[{\"id\":1,\"x\":\"\(String(repeating: "y", count: 5_000))\"}]".utf8).span)
        #expect(text(run) == "too long")
    }
}
