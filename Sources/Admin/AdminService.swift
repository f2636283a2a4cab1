// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Caching
import Core
import Gateway
import HTTP
import Reactor
import Telemetry
import Transport
import Upstream

/// Answers on the admin listener: `GET /metrics`, `/healthz` (alive), `/readyz` (serving and not draining), `/upstreams` (what every guard
/// is doing), `/cache` (what is stored), `/explain/ID` (why a request went as it did); `POST /upstreams/NAME/breaker` and `POST /cache/purge`
/// change something and need the token.
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
        if head.withBytes(head.path, { $0.equals("/metrics") }) {
            guard isRead(exchange) else { return }
            answer.fields.append(.contentType, PrometheusText.contentType)
            registry.write(into: &body)
            finish(exchange, 200)
        } else if head.withBytes(head.path, { $0.equals("/healthz") }) {
            guard isRead(exchange) else { return }
            respond(exchange, 200, "ok\n")
        } else if head.withBytes(head.path, { $0.equals("/readyz") }) {
            guard isRead(exchange) else { return }
            respond(exchange, gateway.isDraining ? 503 : 200, gateway.isDraining ? "draining\n" : "ready\n")
        } else if head.withBytes(head.path, { $0.equals("/upstreams") }) {
            guard isRead(exchange) else { return }
            answer.fields.append(.contentType, "application/json")
            UpstreamReport(
                clusters: gateway.snapshot.upstreams.map(\.current), overrides: gateway.overrides, overload: gateway.overload,
                now: gateway.context.reactor.now
            ).write(into: &body)
            finish(exchange, 200)
        } else if let id = head.withBytes(head.path, { AdminService.explainedID($0) }) {
            guard isRead(exchange) else { return }
            guard let record = gateway.explanations.find(Array(id.utf8)) else {
                respond(exchange, 404, "no record of that request: it was not explained, or newer ones took its place\n")
                return
            }
            answer.fields.append(.contentType, "application/json")
            body.append(record)
            finish(exchange, 200)
        } else if let name = head.withBytes(head.path, { AdminService.breakerName($0) }) {
            changeBreaker(of: name, exchange)
        } else if head.withBytes(head.path, { $0.equals("/cache") }) {
            guard isRead(exchange) else { return }
            showCache(exchange)
        } else if head.withBytes(head.path, { $0.equals("/cache/purge") }) {
            purge(exchange)
        } else {
            respond(
                exchange, 404,
                "there are /metrics, /healthz, /readyz, /upstreams, /cache, /explain/ID, POST /upstreams/NAME/breaker and POST /cache/purge\n"
            )
        }
    }

    private func isRead(_ exchange: ServerExchange) -> Bool {
        if exchange.head.method == .get || exchange.head.method == .head { return true }
        answer.fields.append("allow", "GET, HEAD")
        respond(exchange, 405, "only GET\n")
        return false
    }

    /// ID in `/explain/ID`.
    static func explainedID(_ path: Span<UInt8>) -> String? {
        let head = "/explain/".utf8.count
        guard path.count > head, path.extracting(first: head).equals("/explain/") else { return nil }
        return QueryItems.decode(path.extracting(head..<path.count))
    }

    // MARK: Changes

    /// NAME in `/upstreams/NAME/breaker`.
    static func breakerName(_ path: Span<UInt8>) -> String? {
        let head = "/upstreams/".utf8.count
        let tail = "/breaker".utf8.count
        guard path.count > head + tail, path.extracting(first: head).equals("/upstreams/"),
            path.extracting((path.count - tail)..<path.count).equals("/breaker")
        else { return nil }
        return String(copying: path.extracting(head..<(path.count - tail)))
    }

    /// Whether it is a POST with the token; else it is answered.
    private func mayChange(_ exchange: ServerExchange) -> Bool {
        let head = exchange.head
        guard head.method == .post else {
            answer.fields.append("allow", "POST")
            respond(exchange, 405, "only POST\n")
            return false
        }
        guard let token = gateway.snapshot.adminToken else {
            respond(exchange, 403, "nothing can be changed here: set admin_token in the configuration\n")
            return false
        }
        guard AdminService.shows(token, head.fields) else {
            answer.fields.append("www-authenticate", "Bearer")
            respond(exchange, 401, "show the token: Authorization: Bearer ...\n")
            return false
        }
        return true
    }

    private func showCache(_ exchange: ServerExchange) {
        let usage = gateway.snapshot.cacheStore?.usage ?? CacheStore.Usage()
        answer.fields.append(.contentType, "application/json")
        body.append(
            utf8:
                "{\"answers\":\(usage.answers),\"bytes\":\(usage.bytes),\"limit_bytes\":\(usage.limit),\"evictions\":\(usage.evictions)}\n"
        )
        finish(exchange, 200)
    }

    private func purge(_ exchange: ServerExchange) {
        guard mayChange(exchange) else { return }
        let command: PurgeCommand
        do throws(PurgeCommand.Problem) {
            command = try PurgeCommand(exchange.head.withBytes(exchange.head.query) { QueryItems($0) })
        } catch {
            answer.fields.append(.contentType, "text/plain; charset=utf-8")
            body.append(utf8: error.text + "\n")
            finish(exchange, 400)
            return
        }
        let count = gateway.snapshot.cacheStore.map { command.perform(on: $0, now: gateway.context.reactor.now) } ?? 0
        gateway.operationalLog?.warning("cache", "purged by hand", [("what", command.what), ("answers", "\(count)")])
        answer.fields.append(.contentType, "application/json")
        body.append(utf8: "{\"purged\":\(count)}\n")
        finish(exchange, 200)
    }

    private func changeBreaker(of name: String, _ exchange: ServerExchange) {
        let head = exchange.head
        guard mayChange(exchange) else { return }
        guard let cluster = gateway.snapshot.upstreams.first(where: { $0.name == name }), let overrides = gateway.overrides else {
            respond(exchange, 404, "there is no such upstream\n")
            return
        }
        let items = head.withBytes(head.query) { QueryItems($0) }
        let command: BreakerCommand
        do throws(BreakerCommand.Problem) { command = try BreakerCommand(items) } catch {
            answer.fields.append(.contentType, "text/plain; charset=utf-8")
            body.append(utf8: error.text + "\n")
            finish(exchange, 400)
            return
        }
        switch command.action {
        case .force(let override, let duration): overrides.force(override, cluster, for: duration, reason: command.reason)
        case .reset: overrides.reset(cluster, reason: command.reason)
        }
        answer.fields.append(.contentType, "application/json")
        UpstreamReport(
            clusters: [cluster], overrides: overrides, overload: gateway.overload, now: gateway.context.reactor.now
        ).write(into: &body)
        finish(exchange, 200)
    }

    /// Takes as long whatever the difference.
    static func shows(_ token: [UInt8], _ fields: borrowing FieldSection) -> Bool {
        guard let i = fields.first(.authorization), fields.first(.authorization, from: i + 1) == nil else { return false }
        return fields.withValue(i) { value in
            let scheme = "Bearer ".utf8.count
            guard value.count == scheme + token.count, value.extracting(first: scheme).equalsIgnoringCase("bearer ") else {
                return false
            }
            var difference: UInt8 = 0
            for k in 0..<token.count { difference |= token[k] ^ value[scheme + k] }
            return difference == 0
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
