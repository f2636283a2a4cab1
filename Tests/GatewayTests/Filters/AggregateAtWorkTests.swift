// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import Testing

@testable import Gateway

/// The dashboard of three services on virtual time (case E24).
@Suite struct AggregateAtWorkTests {
    static let yaml = """
        listeners: [{ name: public, address: 10.0.0.1:80 }]
        upstreams:
          users: { endpoints: [10.0.0.3:80] }
          orders: { endpoints: [10.0.0.4:80] }
          products: { endpoints: [10.0.0.5:80] }
        routes:
          - match: { path: "/dashboard/{user}" }
            to: users
            filters:
              - aggregate:
                  parts:
                    user: { to: users, path: "/users/{param.user}", timeout: 1s, max_bytes: 100KiB }
                    orders: { to: orders, path: "/orders?user={param.user}&q={query.q}", timeout: 1s, default: [], take: items }
                    products:
                      to: products
                      path: "/products?ids={part.orders[*].product}"
                      headers: { x-user: "{part.user.id}" }
                      timeout: 1s
                      required: false
                      join: { into: orders, on: product, key: id, as: details }
        """

    private typealias Script = @Sendable (Service.Asked) -> Service.Reply

    private func lab(
        _ user: @escaping Script = { _ in .init(body: #"{"id":7,"name":"Ada"}"#) },
        _ orders: @escaping Script = { _ in .init(body: #"{"items":[{"product":"a b"},{"product":2},{"product":"a b"}]}"#) },
        _ products: @escaping Script = { _ in .init(body: #"[{"id":2,"name":"two"}]"#) }
    ) throws -> BodiesLab {
        try BodiesLab(
            AggregateAtWorkTests.yaml, services: ["10.0.0.3:80": user, "10.0.0.4:80": orders, "10.0.0.5:80": products])
    }

    @Test("Three services make one document; the last is asked for what the second said, once each")
    func document() throws {
        let lab = try lab()
        let client = try lab.ask("GET", "/dashboard/7?q=x%20y", [("accept", "text/html"), ("if-none-match", "*"), ("x-mine", "1")])
        #expect(client.status == 200)
        #expect(client.fields["content-type"] == "application/json")
        #expect(client.fields["content-length"] == "\(client.body.utf8.count)")
        #expect(client.fields["cache-control"] == "no-store")
        #expect(client.fields["x-holdfast-reason"] == nil)
        #expect(
            client.body
                == #"{"user":{"id":7,"name":"Ada"},"orders":[{"product":"a b"},{"product":2,"details":{"id":2,"name":"two"}},{"product":"a b"}],"complete":true}"#
        )
        #expect(lab.asked.map { $0.map(\.target) } == [["/users/7"], ["/orders?user=7&q=x%20y"], ["/products?ids=a%20b,2"]])
        let last = try #require(lab.asked[2].first)
        #expect(last.fields["x-user"] == "7")
        #expect(last.fields["accept"] == "application/json")
        #expect(last.fields["if-none-match"] == nil)
        #expect(last.fields["x-mine"] == "1")
        #expect(last.fields["x-forwarded-for"] == "10.0.0.2")
        #expect(last.fields["x-request-id"] == client.fields["x-request-id"])
        #expect(lab.permitsInUse == [0, 0, 0])
    }

    @Test("E24: one part times out, one is 10 MiB, one is no JSON: the document has what is there and says what is not")
    func E24_partsThatFail() throws {
        let late = try lab({ _ in .init(body: "{\"id\":7}") }, { _ in .init(body: "{}", after: .seconds(30)) })
        let started = late.world.now
        let client = try late.ask("GET", "/dashboard/7")
        #expect(client.status == 200)
        #expect(late.world.now < started.advanced(by: .milliseconds(1_500)))
        #expect(client.body == #"{"user":{"id":7},"orders":[],"complete":false,"missing":{"orders":"deadline"}}"#)
        #expect(client.fields["x-holdfast-reason"] == "deadline")
        #expect(late.asked[2].isEmpty, "there is nothing to ask for")

        let big = try lab(
            { _ in .init(body: "{\"id\":7}") }, { _ in .init(body: "[\"" + String(repeating: "x", count: 10 << 20) + "\"]") })
        #expect(
            try big.ask("GET", "/dashboard/7").body
                == #"{"user":{"id":7},"orders":[],"complete":false,"missing":{"orders":"response.too_large"}}"#)
        #expect(big.permitsInUse == [0, 0, 0])

        let text = try lab({ _ in .init(body: "{\"id\":7}") }, { _ in .init(fields: [("content-type", "text/html")], body: "<p>") })
        #expect(
            try text.ask("GET", "/dashboard/7").body
                == #"{"user":{"id":7},"orders":[],"complete":false,"missing":{"orders":"response.unusable"}}"#)
    }

    @Test(
        "A part that is needed decides the status, with its reason",
        arguments: [
            (Service.Reply(body: "{}", after: .seconds(30)), 504, "deadline"),
            (Service.Reply(status: 500, body: "{}"), 502, "status.failure"),
            (Service.Reply(body: "{"), 502, "response.unusable"),
        ])
    func needed(reply: Service.Reply, status: Int, reason: String) throws {
        let lab = try lab({ _ in reply })
        let client = try lab.ask("GET", "/dashboard/7")
        #expect(client.status == status)
        #expect(client.fields["x-holdfast-reason"] == reason)
        #expect(client.fields["content-type"] == "application/problem+json")
        #expect(client.body.contains("the part user of this document is missing"))
        lab.world.run(for: .seconds(5))
        #expect(lab.permitsInUse == [0, 0, 0])
    }

    @Test("E24: a client that goes away takes its parts with it: all are given up, and their permits go back at once")
    func E24_clientAbort() throws {
        let lab = try lab(
            { _ in .init(body: "{}", after: .seconds(30)) }, { _ in .init(body: "{}", after: .seconds(30)) })
        let client = try lab.send("GET", "/dashboard/7")
        lab.world.run(for: .milliseconds(100))
        #expect(lab.permitsInUse == [1, 1, 0])
        client.abandon()
        lab.world.run(for: .milliseconds(100))
        #expect(lab.permitsInUse == [0, 0, 0])
        #expect(lab.given == [1, 1, 0])
        #expect(lab.gateway.exchangesUnderWay == 0)
        lab.world.run(for: .seconds(60))
        #expect(lab.asked[2].isEmpty)
    }

    @Test("A value of a service cannot end a field's line")
    func fieldValues() throws {
        let lab = try lab({ _ in .init(body: #"{"id":"7\r\nx-admin: 1"}"#) })
        #expect(try lab.ask("GET", "/dashboard/7").body.hasSuffix(#""missing":{"products":"aggregate.dependency"}}"#))
        #expect(lab.asked[2].isEmpty)
    }

    @Test("A value cannot lead a part elsewhere, and a HEAD has no body; another method is refused")
    func edges() throws {
        let yaml = AggregateAtWorkTests.yaml.replacing(
            "/products?ids={part.orders[*].product}", with: "/products/{part.user.next}/{query.p}/x")
        let lab = try BodiesLab(
            yaml,
            services: [
                "10.0.0.3:80": { asked in
                    .init(body: asked.target == "/users/1" ? #"{"id":1,"next":"../admin"}"# : #"{"id":2,"next":"a b?"}"#)
                },
                "10.0.0.4:80": { _ in .init(body: #"{"items":[]}"#) }, "10.0.0.5:80": { _ in .init(body: "[]") },
            ])
        #expect(try lab.ask("GET", "/dashboard/1?p=1").body.contains(#""missing":{"products":"aggregate.dependency"}"#))
        #expect(try lab.ask("GET", "/dashboard/2?p=%2e%2e").body.contains(#""missing":{"products":"aggregate.dependency"}"#))
        #expect(try lab.ask("GET", "/dashboard/2?p=..%2Fadmin").body.contains(#""missing":{"products":"aggregate.dependency"}"#))
        #expect(lab.asked[2].isEmpty)
        let head = try lab.ask("HEAD", "/dashboard/2?p=q")
        #expect(head.status == 200)
        #expect(head.body == "")
        #expect(lab.asked[2].map(\.target) == ["/products/a%20b%3F/q/x"])
        #expect(lab.asked[2].map(\.method) == ["GET"])
        let post = try lab.ask("POST", "/dashboard/2", body: "{}")
        #expect(post.status == 405)
        #expect(post.fields["allow"] == "GET, HEAD")
    }
}
