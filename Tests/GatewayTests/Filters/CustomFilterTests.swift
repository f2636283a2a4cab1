// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Reactor
import Testing

@testable import Gateway
@testable import Transport

/// Filters of an embedding program: what they see, what they may change, and what becomes of one that waits, throws or misbehaves.
@Suite struct CustomFilterTests {
    struct Trouble: Error {}

    struct Scripted: CustomFilter {
        var ask: @Sendable (inout CustomRequest) async throws -> CustomDecision = { _ in .next }
        var tell: @Sendable (inout CustomResponse) -> Void = { _ in }

        func request(_ request: inout CustomRequest) async throws -> CustomDecision { try await ask(&request) }
        func response(_ response: inout CustomResponse) { tell(&response) }
    }

    private static func lab(_ filter: Scripted) throws -> FilterLab {
        try FilterLab(
            filters: "{ custom: { name: f, settings: { a: 1 } } }",
            custom: CustomFilters([
                "f": { settings in
                    guard settings == ["a": "1"] else { throw Trouble() }
                    return filter
                }
            ]))
    }

    @Test func seesTheRequestAndChangesItsFields() throws {
        var filter = Scripted()
        filter.ask = { request in
            request.headers.set(
                "X-Seen",
                "\(request.method) \(request.host) \(request.path) \(request.query ?? "-") \(request.clientAddress) \(request.route)"
            )
            request.headers.set("x-gone", nil)
            request.headers.set("content-length", "999")
            request.headers.set("x-evil", "a\r\nx-smuggled: 1")
            return .next
        }
        filter.tell = { $0.headers.set("x-status", "\($0.status) \($0.isLocal)") }
        let lab = try Self.lab(filter)
        let answer = try lab.post("hello", to: "/items/7?a=b", fields: "x-gone: 1\r\nx-kept: 2\r\n")
        let heard = lab.upstreams[0].heard
        #expect(heard.contains("x-seen: POST shop.example /items/7 a=b 10.0.0.2 /items/{id}\r\n"), "\(heard)")
        #expect(heard.hasPrefix("POST /items/7?a=b HTTP/1.1\r\nhost: shop.example\r\n"), "\(heard)")
        #expect(answer.contains("x-request-id: ") && heard.contains("x-request-id: "))
        #expect(!heard.contains("x-gone") && heard.contains("x-kept: 2\r\n") && heard.contains("content-length: 5\r\n"))
        #expect(!heard.contains("\r\nx-smuggled") && heard.hasSuffix("\r\n\r\nhello"))
        #expect(answer.contains("x-status: 200 false\r\n") && answer.hasSuffix("ok") && lab.isAtRest)
        lab.end()
    }

    @Test func answersItself() throws {
        var filter = Scripted()
        filter.ask = { _ in
            .answer(status: 402, headers: [("x-price", "5"), ("bad name", "1"), ("content-length", "7")], body: Array("pay".utf8))
        }
        filter.tell = { $0.headers.set("x-local", "\($0.isLocal)") }
        let lab = try Self.lab(filter)
        let answer = try lab.get()
        #expect(answer.hasPrefix("HTTP/1.1 402") && answer.contains("x-price: 5\r\n") && answer.contains("x-local: true\r\n"))
        #expect(answer.contains("content-length: 3\r\n") && !answer.contains("bad name") && answer.hasSuffix("\r\n\r\npay"))
        #expect(lab.upstreams[0].peers.isEmpty && lab.isAtRest)
        lab.end()
    }

    @Test func mayWaitAndComesBackToItsReactor() throws {
        var filter = Scripted()
        filter.ask = { request in
            for _ in 0..<5 { await Task.yield() }
            request.headers.set("x-waited", "yes")
            return .next
        }
        let lab = try Self.lab(filter)
        #expect(try lab.get().hasPrefix("HTTP/1.1 200") && lab.upstreams[0].heard.contains("x-waited: yes\r\n"))
        lab.end()
    }

    @Test func whatThrowsIsAnsweredAndTellsNothing() throws {
        var filter = Scripted()
        filter.ask = { _ in throw Trouble() }
        let lab = try Self.lab(filter)
        let answer = try lab.get()
        #expect(answer.hasPrefix("HTTP/1.1 500") && answer.contains("\"reason\":\"internal\"") && !answer.contains("Trouble"))
        #expect(lab.upstreams[0].peers.isEmpty && lab.isAtRest)
        lab.end()
    }

    @Test func aNameThatTheProgramLacksIsAComplaint() {
        func complaint(_ name: String, _ make: @escaping CustomFilters.Make) -> String {
            do {
                _ = try FilterLab(filters: "{ custom: { name: \(name) } }", custom: CustomFilters(["f": make]))
                return "none"
            } catch { return "\(error)" }
        }
        #expect(complaint("g") { _ in Scripted() } == "route /items/{id}: filter custom: this program has no filter g; it has f")
        #expect(complaint("f") { _ in throw Trouble() } == "route /items/{id}: filter custom: f: Trouble()")
    }
}
