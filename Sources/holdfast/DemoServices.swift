// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import Transport

/// The three services behind the demo's gateway, on one reactor of their own.
final class DemoServices {
    private let group: ReactorGroup
    let addresses: [(name: String, address: String)]

    init() throws {
        let group = try ReactorGroup(count: 1, draw: .seededByKernel())
        let reactor = group.reactors[0]
        let context = Confined(DemoContext(TransportContext(reactor: reactor)), to: reactor)
        var addresses: [(name: String, address: String)] = []
        for service in DemoService.Kind.allCases {
            let result = DemoResult()
            reactor.post { result.set(context.value.open(service)) }
            guard let address = result.wait() else {
                group.stop()
                group.join()
                throw DemoError(description: "no port is free for the service \(service.rawValue)")
            }
            addresses.append((service.rawValue, address))
        }
        self.group = group
        self.addresses = addresses
    }

    func stop() {
        group.stop()
        group.join()
    }
}

struct DemoError: Error, CustomStringConvertible {
    var description: String
}

/// What lives on the services' reactor.
final class DemoContext {
    private let context: TransportContext
    private var listeners: [ServerListener] = []

    init(_ context: TransportContext) { self.context = context }

    /// The address that the service is at.
    func open(_ kind: DemoService.Kind) -> String? {
        guard
            let listener = try? ServerListener(
                on: .loopback(port: 0), context: context, tls: nil, settings: ServerSettings(),
                connectionSettings: Connection.Settings(), service: DemoService(kind))
        else { return nil }
        listeners.append(listener)
        return "\(listener.address)"
    }
}

/// Hands an address from the reactor to the thread that waits for it.
final class DemoResult: Sendable {
    private let state = GuardLock<(isSet: Bool, address: String?)>((false, nil))

    func set(_ address: String?) { state.withLock { $0 = (true, address) } }

    func wait() -> String? {
        while true {
            let state = state.withLock { $0 }
            if state.isSet { return state.address }
            Processors.yield()
        }
    }
}

/// A small JSON service: a list, one of it, what is posted, something slow and something broken.
final class DemoService: RequestService {
    enum Kind: String, CaseIterable { case users, orders, products }

    private let kind: Kind
    private let answer = ResponseHead()
    private var body = ByteBuffer()

    init(_ kind: Kind) { self.kind = kind }

    private var items: [String] {
        switch kind {
        case .users: [#"{"id":1,"name":"Ada"}"#, #"{"id":2,"name":"Grace"}"#, #"{"id":3,"name":"Barbara"}"#]
        case .orders: [#"{"id":1,"user":1,"product":2}"#, #"{"id":2,"user":3,"product":1}"#]
        case .products: [#"{"id":1,"name":"rope","price":"12.00"}"#, #"{"id":2,"name":"anchor","price":"95.50"}"#]
        }
    }

    func handle(_ exchange: ServerExchange) {
        let head = exchange.head
        let parts = head.string(head.path).split(separator: "/").map(String.init)
        if head.method == .post {
            exchange.handler = DemoUpload(service: self)
            exchange.sendContinue()
            (exchange.handler as? DemoUpload)?.begin(exchange)
            return
        }
        guard parts.count > 1 else {
            respond(exchange, 200, "[" + items.joined(separator: ",") + "]")
            return
        }
        if parts[1] == "broken" {
            respond(exchange, 503, #"{"error":"this service is broken on purpose"}"#)
        } else if parts[1] == "slow" {
            // Never answers: the gateway's per-try timeout does.
            exchange.handler = DemoSilence()
        } else if let id = Int(parts[1]), items.indices.contains(id - 1) {
            respond(exchange, 200, items[id - 1])
        } else {
            respond(exchange, 404, #"{"error":"there is no such thing"}"#)
        }
    }

    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) {
        respond(exchange, reason.httpStatus, #"{"error":"\#(detail)"}"#)
    }

    func respond(_ exchange: ServerExchange, _ status: Int, _ json: String) {
        body.removeAll()
        body.append(utf8: json)
        body.append("\n")
        answer.reset()
        answer.status = status
        answer.fields.append(.contentType, "application/json")
        answer.framing = .length(UInt64(body.count))
        let hasBody = exchange.head.method != .head
        exchange.respond(answer, endStream: !hasBody)
        if hasBody { body.withReadable { exchange.write($0) } }
        exchange.finish()
    }
}

/// Takes a body and says how long it was.
private final class DemoUpload: RequestHandler {
    private let service: DemoService
    private var exchange: ServerExchange?
    private var received = 0

    init(service: DemoService) { self.service = service }

    func begin(_ exchange: ServerExchange) { self.exchange = exchange }

    func requestBody(_ bytes: Span<UInt8>) {
        received += bytes.count
        exchange?.consumed(bytes.count)
    }

    func requestEnded() {
        guard let exchange = exchange.take() else { return }
        service.respond(exchange, 201, #"{"accepted_bytes":\#(received)}"#)
    }

    func requestWithdrawn() { exchange = nil }
    func requestAborted(_ reason: Reason, detail: StaticString) { exchange = nil }
    func responseDrained() {}
}

/// Answers nothing until the client gives up.
private final class DemoSilence: RequestHandler {
    func requestBody(_ bytes: Span<UInt8>) {}
    func requestEnded() {}
    func requestWithdrawn() {}
    func requestAborted(_ reason: Reason, detail: StaticString) {}
    func responseDrained() {}
}
