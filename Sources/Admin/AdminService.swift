// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Gateway
import HTTP
import Telemetry
import Transport

/// Answers on the admin listener: `GET /metrics`, `/healthz` (alive), `/readyz` (serving and not draining).
final class AdminService: RequestService {
    private let registry: MetricsRegistry
    private unowned let gateway: GatewayReactor
    private let answer = ResponseHead()
    private var body = ByteBuffer()

    init(registry: MetricsRegistry, gateway: GatewayReactor) {
        self.registry = registry
        self.gateway = gateway
    }

    func handle(_ exchange: ServerExchange) {
        let head = exchange.head
        answer.reset()
        body.removeAll()
        guard head.withBytes(head.authority, { AdminService.isLocalHost($0) }) else {
            respond(exchange, 421, "this is an admin listener: ask for it by a loopback address\n")
            return
        }
        guard head.method == .get || head.method == .head else {
            answer.fields.append("allow", "GET, HEAD")
            respond(exchange, 405, "only GET\n")
            return
        }
        if head.withBytes(head.path, { $0.equals("/metrics") }) {
            answer.fields.append(.contentType, PrometheusText.contentType)
            registry.write(into: &body)
            finish(exchange, 200)
        } else if head.withBytes(head.path, { $0.equals("/healthz") }) {
            respond(exchange, 200, "ok\n")
        } else if head.withBytes(head.path, { $0.equals("/readyz") }) {
            respond(exchange, gateway.isDraining ? 503 : 200, gateway.isDraining ? "draining\n" : "ready\n")
        } else {
            respond(exchange, 404, "there are /metrics, /healthz and /readyz\n")
        }
    }

    func refuse(_ exchange: ServerExchange, reason: Reason, detail: StaticString) {
        answer.reset()
        body.removeAll()
        respond(exchange, reason.httpStatus, detail)
    }

    private func respond(_ exchange: ServerExchange, _ status: Int, _ text: StaticString) {
        answer.fields.append(.contentType, "text/plain; charset=utf-8")
        body.append(text)
        finish(exchange, status)
    }

    private func finish(_ exchange: ServerExchange, _ status: Int) {
        answer.status = status
        answer.fields.append(.cacheControl, "no-store")
        answer.framing = .length(UInt64(body.count))
        let hasBody = exchange.head.method != .head && !body.isEmpty
        exchange.respond(answer, endStream: !hasBody)
        if hasBody { body.withReadable { exchange.write($0) } }
        exchange.finish()
    }

    /// A literal address, or localhost, with any port.
    static func isLocalHost(_ authority: Span<UInt8>) -> Bool {
        var end = authority.count
        if end > 0, authority[0] != UInt8(ascii: "[") {
            var i = 0
            while i < end && authority[i] != UInt8(ascii: ":") { i += 1 }
            end = i
        }
        let host = authority.extracting(0..<end)
        if host.equalsIgnoringCase("localhost") { return true }
        var isAddress = host.count > 0
        for i in host.indices {
            let byte = host[i]
            let isPart =
                (byte >= 48 && byte <= 57) || byte == 46 || byte == 58 || byte == 91 || byte == 93
                || (byte | 32 >= 97 && byte | 32 <= 102)
            if !isPart { isAddress = false }
        }
        return isAddress && (host[0] == 91 || (host[0] >= 48 && host[0] <= 57))
    }
}
