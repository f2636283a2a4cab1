// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Gateway

/// A service with other names for the same things, behind the transform filter (case E25).
@Suite struct TransformAtWorkTests {
    static func yaml(_ more: String = "") -> String {
        """
        listeners: [{ name: public, address: 10.0.0.1:80 }]
        upstreams: { legacy: { endpoints: [10.0.0.3:80] } }
        routes:
          - match: { path: "/orders/*" }
            to: legacy
            filters:
              - transform:
                  method: PUT
                  query: { remove: [debug], rename: { page: p }, set: { v: "2", who: "{header.x-who}" } }
                  request:
                    max_bytes: 1KiB
        \(more)
                    fields:
                      ORDER_NO: { from: id, as: string, required: true }
                      CUST.NAME: { from: customer.name, default: unknown }
                      CURRENCY: { value: EUR }
                      LINES: { each: items, fields: { SKU: product.id, QTY: quantity } }
                  response:
                    max_bytes: 1KiB
        \(more)
                    fields:
                      number: { from: ORDER_NO, as: integer }
                      lines: { each: LINES, from: SKU }
        """
    }

    private func lab(_ more: String = "", _ script: @escaping @Sendable (Service.Asked) -> Service.Reply) throws -> BodiesLab {
        try BodiesLab(TransformAtWorkTests.yaml(more), services: ["10.0.0.3:80": script])
    }

    private let json = [("content-type", "application/json; charset=utf-8")]

    @Test("An order goes to the old service under its names and comes back under ours")
    func bothWays() throws {
        let lab = try lab { asked in
            .init(
                status: 201,
                fields: [
                    ("content-type", "application/vnd.legacy+json"), ("etag", "\"abc\""), ("content-md5", "x"),
                    ("digest", "sha-256=x"),
                    ("accept-ranges", "bytes"), ("x-kept", "1"),
                ], body: #"{"ORDER_NO":"42","LINES":[{"SKU":"p1"}]}"#, isStream: true)
        }
        let client = try lab.ask(
            "POST", "/orders/1?debug=1&page=3",
            json + [("x-who", "a&b"), ("accept-encoding", "gzip"), ("range", "bytes=0-1"), ("digest", "sha-256=y")],
            body: #"{"id":42,"items":[{"product":{"id":"p1"},"quantity":2}]}"#)
        let asked = try #require(lab.asked[0].first)
        #expect(asked.method == "PUT")
        #expect(asked.target == "/orders/1?p=3&v=2&who=a%26b")
        #expect(asked.body == #"{"ORDER_NO":"42","CUST":{"NAME":"unknown"},"CURRENCY":"EUR","LINES":[{"SKU":"p1","QTY":2}]}"#)
        #expect(asked.fields["content-length"] == "\(asked.body.utf8.count)")
        #expect(asked.fields["accept-encoding"] == "identity")
        #expect(asked.fields["range"] == nil)
        #expect(asked.fields["digest"] == nil)
        #expect(client.status == 201)
        #expect(client.body == #"{"number":42,"lines":["p1"]}"#)
        #expect(client.fields["etag"] == "W/\"abc\"")
        #expect(client.fields["x-kept"] == "1")
        for name in ["content-md5", "digest", "accept-ranges"] { #expect(client.fields[name] == nil) }
    }

    @Test(
        "E25: a body that cannot be mapped is refused with its reason and reaches nobody, or by policy is passed on untouched",
        arguments: [
            ("text/plain", nil, "{\"id\":1}", 415, "request.body_type"),
            ("application/json", "gzip", "{\"id\":1}", 415, "request.body_type"),
            ("application/json", nil, "{\"id\":1", 400, "request.body_malformed"),
            ("application/json", nil, "{\"id\":1,\"id\":2}", 400, "request.body_malformed"),
            ("application/json", nil, "[]", 422, "request.body_mapping"),
            ("application/json", nil, "{}", 422, "request.body_mapping"),
            ("application/json", nil, "{\"id\":{}}", 422, "request.body_mapping"),
            ("application/json", nil, "{\"id\":1,\"items\":1}", 422, "request.body_mapping"),
            ("application/json", nil, "{\"id\":\"" + String(repeating: "x", count: 2_000) + "\"}", 413, "request.body_too_large"),
            ("application/json", nil, String(repeating: "[", count: 500), 400, "request.body_malformed"),
        ] as [(String, String?, String, Int, String)])
    func E25_requests(type: String, coding: String?, body: String, status: Int, reason: String) throws {
        let fields = [("content-type", type)] + (coding.map { [("content-encoding", $0)] } ?? [])
        let strict = try lab { _ in .init(body: #"{"ORDER_NO":"1"}"#) }
        let refused = try strict.ask("POST", "/orders/1", fields, body: body)
        #expect(refused.status == status)
        #expect(refused.fields["x-holdfast-reason"] == reason)
        #expect(strict.asked[0].isEmpty)
        let lenient = try lab("            on_mismatch: pass") { _ in .init(body: #"{"ORDER_NO":"1"}"#) }
        #expect(try lenient.ask("POST", "/orders/1", fields, body: body).status == 200)
        #expect(lenient.asked[0].first?.body == body)
    }

    @Test(
        "E25: an answer that cannot be mapped is a 502 that says nothing of it, or by policy is passed on untouched",
        arguments: [
            ("text/html", nil, "<p>", "response.unusable"), ("application/json", "br", "{}", "response.unusable"),
            ("application/json", nil, "{", "response.unusable"), ("application/json", nil, "[]", "response.unusable"),
            ("application/json", nil, "{\"ORDER_NO\":\"x\"}", "response.unusable"),
            ("application/json", nil, "{\"LINES\":[{}]}", "response.unusable"),
            ("application/json", nil, "{\"x\":\"" + String(repeating: "x", count: 2_000) + "\"}", "response.too_large"),
        ] as [(String, String?, String, String)], [false, true])
    func E25_answers(answer: (String, String?, String, String), isStream: Bool) throws {
        let (type, coding, body, reason) = answer
        let script: @Sendable (Service.Asked) -> Service.Reply = { _ in
            .init(
                fields: [("content-type", type), ("etag", "\"e\"")] + (coding.map { [("content-encoding", $0)] } ?? []), body: body,
                isStream: isStream)
        }
        let refused = try lab("", script).ask("GET", "/orders/1")
        #expect(refused.status == 502)
        #expect(refused.fields["x-holdfast-reason"] == reason)
        #expect(refused.fields["etag"] == nil)
        let passed = try lab("            on_mismatch: pass", script).ask("GET", "/orders/1")
        #expect(passed.status == 200)
        #expect(passed.body == body)
        #expect(passed.fields["etag"] == "\"e\"")
    }

    @Test("What has no body, is of another status or only a range is passed on; a HEAD says no length that is not a GET's")
    func untouched() throws {
        func answer(_ method: String, _ reply: Service.Reply) throws -> BodiesClient {
            try lab { _ in reply }.ask(method, "/orders/1")
        }
        let missing = try answer("GET", .init(status: 404, body: #"{"ORDER_NO":"1"}"#))
        #expect(missing.body == #"{"ORDER_NO":"1"}"#)
        #expect(try answer("GET", .init(status: 204, fields: [])).status == 204)
        let range = try answer(
            "GET", .init(status: 206, fields: [("content-type", "application/json"), ("content-range", "bytes 0-1/9")], body: "{}"))
        #expect(range.body == "{}")
        let head = try answer(
            "HEAD", .init(fields: [("content-type", "application/json"), ("etag", "\"e\"")], body: #"{"ORDER_NO":"1"}"#))
        #expect(head.status == 200)
        #expect(head.fields["content-length"] == nil)
        #expect(head.fields["etag"] == "W/\"e\"")
        let notModified = try answer("GET", .init(status: 304, fields: [("etag", "\"e\"")]))
        #expect(notModified.fields["etag"] == "W/\"e\"")
    }
}
