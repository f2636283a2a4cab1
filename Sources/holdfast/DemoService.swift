// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import JSON
import Reactor
import Transport

/// A small JSON service, with some ways of going wrong on purpose:
///
///     GET  /users            all of them             GET /users/shaky          503 every third time
///     GET  /users/2          one, or 404             GET /users/flaky          500 three times of four
///     POST /users            201 and what came       ANY /users/slow?ms=300    late; without ms, three seconds
///                                                    GET /users/broken         always 503
///     GET  /orders?user=1         those of one user
///     GET  /products?ids=1,2      those
///     POST /legacy                an order under old names; 201 with the same and a number, or 400
final class DemoService: RequestService {
    enum Kind: String, CaseIterable { case users, orders, products, legacy }

    private let kind: Kind
    private let reactor: Reactor
    private let answer = ResponseHead()
    private var body = ByteBuffer()
    private var shakyCalls = 0
    private var flakyCalls = 0
    private var legacyOrders = 0

    init(_ kind: Kind, on reactor: Reactor) {
        self.kind = kind
        self.reactor = reactor
    }

    private var items: [String] {
        switch kind {
        case .users: [#"{"id":1,"name":"Ada"}"#, #"{"id":2,"name":"Grace"}"#, #"{"id":3,"name":"Barbara"}"#]
        case .orders: [#"{"id":1,"user":1,"product":2}"#, #"{"id":2,"user":3,"product":1}"#]
        case .legacy: [#"{"ORD_NO":"1","ORD_STATUS":"D","CUST_NO":"1"}"#]
        case .products: [#"{"id":1,"name":"rope","price":"12.00"}"#, #"{"id":2,"name":"anchor","price":"95.50"}"#]
        }
    }

    func handle(_ exchange: ServerExchange) {
        let head = exchange.head
        let parts = head.string(head.path).split(separator: "/").map(String.init)
        let name = parts.count > 1 ? parts[1] : ""
        if name == "slow" {
            exchange.handler = DemoPause(exchange, milliseconds: milliseconds(of: head) ?? 3_000, service: self, on: reactor)
        } else if head.method == .post {
            exchange.handler = DemoUpload(exchange, service: self)
            exchange.sendContinue()
        } else if head.method == .get || head.method == .head {
            read(name, exchange)
        } else {
            respond(exchange, 405, #"{"error":"there are GET, HEAD and POST"}"#, allow: "GET, HEAD, POST")
        }
    }

    private func read(_ name: String, _ exchange: ServerExchange) {
        switch name {
        case "": respond(exchange, 200, "[" + chosen(by: exchange.head).joined(separator: ",") + "]")
        case "broken": respond(exchange, 503, #"{"error":"this service is broken on purpose"}"#)
        case "shaky":
            shakyCalls += 1
            if shakyCalls % 3 == 0 {
                respond(exchange, 503, #"{"error":"shaky on purpose"}"#)
            } else {
                respond(exchange, 200, #"{"shaky":"but well"}"#)
            }
        case "flaky":
            flakyCalls += 1
            if flakyCalls % 4 == 0 {
                respond(exchange, 200, #"{"flaky":"but well"}"#)
            } else {
                respond(exchange, 500, #"{"error":"flaky on purpose"}"#)
            }
        default:
            if let id = Int(name), items.indices.contains(id - 1) {
                respond(exchange, 200, items[id - 1])
            } else {
                respond(exchange, 404, #"{"error":"there is no such thing"}"#)
            }
        }
    }

    /// All items, or those that the query names.
    private func chosen(by head: RequestHead) -> [String] {
        for pair in head.string(head.query).split(separator: "&") {
            let value = pair.drop { $0 != "=" }.dropFirst()
            switch kind {
            case .orders where pair.hasPrefix("user="): return items.filter { $0.contains("\"user\":\(value),") }
            case .products where pair.hasPrefix("ids="):
                return value.split(separator: ",").compactMap { Int($0) }.filter { items.indices.contains($0 - 1) }.map {
                    items[$0 - 1]
                }
            default: break
            }
        }
        return items
    }

    /// What became of an upload, of which `kept` is here.
    fileprivate func accept(_ exchange: ServerExchange, _ received: Int, _ kept: [UInt8]) {
        if kind == .legacy {
            takeLegacyOrder(exchange, kept)
            return
        }
        let isObject = received == kept.count && kept.first == UInt8(ascii: "{") && kept.last == UInt8(ascii: "}")
        let echo = isObject ? #","received":"# + String(decoding: kept, as: UTF8.self) : ""
        respond(exchange, 201, #"{"accepted_bytes":\#(received)\#(echo)}"#)
    }

    /// The old service knows its own names only.
    private func takeLegacyOrder(_ exchange: ServerExchange, _ body: [UInt8]) {
        guard let order = try? JSONDocument.parse(body.span).root, let customer = order["CUST_NO"]?.string, !customer.isEmpty else {
            respond(exchange, 400, #"{"ERR":"E17","TEXT":"CUST_NO is missing or no text"}"#)
            return
        }
        legacyOrders += 1
        var writer = JSONWriter()
        writer.beginObject()
        writer.name("ORD_NO")
        writer.value("\(1_000 + legacyOrders)")
        writer.name("ORD_STATUS")
        writer.value("N")
        for (name, value) in order.members {
            writer.name(name)
            writer.value(value)
        }
        writer.endObject()
        respond(exchange, 201, writer.finish().withReadable { String(copying: $0) })
    }

    /// `ms=` in the query, up to a minute.
    private func milliseconds(of head: RequestHead) -> Int? {
        for pair in head.string(head.query).split(separator: "&") where pair.hasPrefix("ms=") {
            return Int(pair.dropFirst(3)).map { min(max($0, 0), 60_000) }
        }
        return nil
    }

    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) {
        respond(exchange, reason.httpStatus, #"{"error":"\#(detail)"}"#)
    }

    func respond(_ exchange: ServerExchange, _ status: Int, _ json: String, allow: StaticString? = nil) {
        body.removeAll()
        body.append(utf8: json)
        body.append("\n")
        answer.reset()
        answer.status = status
        answer.fields.append(.contentType, "application/json")
        if let allow { answer.fields.append(name: Array("allow".utf8).span, value: Array("\(allow)".utf8).span) }
        answer.framing = .length(UInt64(body.count))
        let hasBody = exchange.head.method != .head
        exchange.respond(answer, endStream: !hasBody)
        if hasBody { body.withReadable { exchange.write($0) } }
        exchange.finish()
    }
}

/// Takes a body of any length, and sends back what came if it was a small JSON object.
private final class DemoUpload: RequestHandler {
    private let service: DemoService
    private var exchange: ServerExchange?
    private var received = 0
    private var kept: [UInt8] = []

    private static let keptBytes = 4_096

    init(_ exchange: ServerExchange, service: DemoService) {
        self.exchange = exchange
        self.service = service
    }

    func requestBody(_ bytes: Span<UInt8>) {
        received += bytes.count
        var i = 0
        while i < bytes.count && kept.count < DemoUpload.keptBytes {
            kept.append(bytes[i])
            i += 1
        }
        exchange?.consumed(bytes.count)
    }

    func requestEnded() {
        guard let exchange = exchange.take() else { return }
        service.accept(exchange, received, kept)
    }

    func requestWithdrawn() { exchange = nil }
    func requestAborted(_ reason: Reason, detail: StaticString) { exchange = nil }
    func responseDrained() {}
}

/// Answers late.
private final class DemoPause: RequestHandler, TimerOwner {
    private let service: DemoService
    private let milliseconds: Int
    private var exchange: ServerExchange?
    private lazy var timer = Timer(owner: self)

    init(_ exchange: ServerExchange, milliseconds: Int, service: DemoService, on reactor: Reactor) {
        self.exchange = exchange
        self.milliseconds = milliseconds
        self.service = service
        reactor.schedule(timer, at: reactor.now.advanced(by: .milliseconds(milliseconds)))
    }

    func timerFired(_ timer: Timer, now: Instant) {
        guard let exchange = exchange.take() else { return }
        service.respond(exchange, 200, #"{"waited_ms":\#(milliseconds)}"#)
    }

    private func giveUp() {
        timer.cancel()
        exchange = nil
    }

    func requestBody(_ bytes: Span<UInt8>) { exchange?.consumed(bytes.count) }
    func requestEnded() {}
    func requestWithdrawn() { giveUp() }
    func requestAborted(_ reason: Reason, detail: StaticString) { giveUp() }
    func responseDrained() {}
}
