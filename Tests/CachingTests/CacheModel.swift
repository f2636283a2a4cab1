// Holdfast
// SPDX-License-Identifier: Apache-2.0

import HTTP

/// RFC 9111 read once more, from the side of what is forbidden: given everything that ever passed between the gateway and the origin, may this
/// answer be given to that request without asking?
///
/// It shares no code with the cache: text and lists, no table, no clock arithmetic but seconds. It knows nothing of how the cache decides, only
/// what no shared cache may do, and what this one promises beyond that (no Set-Cookie, no request that may mean another method or host).
struct CacheModel {
    /// One answer of the origin to one request.
    struct Exchange {
        var id: Int
        var request: Asked
        var answer: Answered
        var requestedAt: Int64
        var receivedAt: Int64
        /// When it was confirmed since, with which fields.
        var confirmations: [(request: Asked, fields: [(String, String)], requestedAt: Int64, receivedAt: Int64)] = []
    }

    private(set) var exchanges: [Int: Exchange] = [:]
    /// URI and time of what was ended.
    private var ended: [String: Int64] = [:]

    mutating func note(_ exchange: Exchange) { exchanges[exchange.id] = exchange }

    mutating func noteConfirmation(
        of id: Int, for request: Asked, _ fields: [(String, String)], requestedAt: Int64, receivedAt: Int64
    ) {
        exchanges[id]?.confirmations.append((request, fields, requestedAt, receivedAt))
    }

    mutating func noteEnd(of uri: String, at time: Int64) { ended[uri] = time }

    /// scheme, host and port as one text.
    static func uri(_ asked: Asked) -> String {
        var host = asked.host.lowercased()
        let ownPort = asked.isSecure ? ":443" : ":80"
        if !host.contains(":") { host += ownPort }
        return (asked.isSecure ? "https" : "http") + " " + host + " " + asked.path + (asked.query.map { "?" + $0 } ?? "")
    }

    /// The host that an upstream builds its links from.
    private static func shownHost(_ asked: Asked) -> String {
        let host = (asked.value("x-forwarded-host") ?? asked.host).lowercased()
        let port = asked.isSecure ? ":443" : ":80"
        return host.hasSuffix(port) ? String(host.dropLast(port.count)) : host
    }

    static let overrides = ["x-http-method-override", "x-method-override", "x-original-url"]

    /// Why the answer with this number, taken from the store, must not go to that request; nil if it may.
    func forbids(_ id: Int, to asked: Asked, got: Got, now: Int64, afterFailure: Bool = false) -> String? {
        guard let exchange = exchanges[id] else { return "an answer that the origin never gave" }
        let first = exchange.request
        let answer = exchange.answer
        if first.method != "GET" { return "the answer to a \(first.method)" }
        if asked.method != "GET" && asked.method != "HEAD" { return "served to a \(asked.method)" }
        if CacheModel.uri(first) != CacheModel.uri(asked) { return "another URI: \(CacheModel.uri(first))" }
        if CacheModel.shownHost(first) != CacheModel.shownHost(asked) { return "another X-Forwarded-Host" }
        for name in CacheModel.overrides where first.value(name) != nil || asked.value(name) != nil { return name }
        if !first.body.isEmpty || !asked.body.isEmpty { return "a body in the request" }
        if answer.isTruncated { return "an incomplete answer" }
        if answer.status == 206 || answer.status == 304 || answer.value("content-range") != nil { return "a part" }
        if first.value("range") != nil && answer.status != 200 { return "what a Range made of it" }

        let said = directives(answer.value("cache-control"))
        if directives(first.value("cache-control"))["no-store"] != nil { return "the request said no-store" }
        if said["no-store"] != nil { return "no-store" }
        if said["private"] != nil { return "private" }
        let isShared = said["public"] != nil || said["must-revalidate"] != nil || number(said["s-maxage"]) != nil
        if first.value("authorization") != nil || first.isAuthenticated, !isShared { return "the answer to one user's credentials" }
        if answer.value("set-cookie") != nil { return "an answer that sets a cookie" }
        if got.value("set-cookie") != nil { return "a cookie from the store" }
        if let why = varies(exchange, asked) { return why }
        if let end = ended[CacheModel.uri(first)], end >= lastAsked(exchange) { return "it was ended since" }
        return isTooOld(exchange, asked, now: now, afterFailure: afterFailure) ?? isWrongPart(exchange, asked, got)
    }

    private func lastAsked(_ exchange: Exchange) -> Int64 { exchange.confirmations.last?.requestedAt ?? exchange.requestedAt }

    private func varies(_ exchange: Exchange, _ asked: Asked) -> String? {
        // A confirmation may have changed what it varies on, and is the origin's word for the request that it answered.
        let first = exchange.confirmations.last?.request ?? exchange.request
        let fields =
            exchange.confirmations.last { $0.fields.contains { $0.0.lowercased() == "vary" } }?.fields ?? exchange.answer.fields
        for (name, value) in fields where name.lowercased() == "vary" {
            for part in value.split(separator: ",") {
                let field = part.trimmingSpaces.lowercased()
                if field == "*" { return "Vary: *" }
                if words(first.value(field)) != words(asked.value(field)) { return "Vary: \(field)" }
            }
        }
        return nil
    }

    private func words(_ value: String?) -> [String]? { value.map { $0.split(separator: ",").map(\.trimmingSpaces) } }

    /// §4.2: the newest word on how long it is good.
    private func isTooOld(_ exchange: Exchange, _ asked: Asked, now: Int64, afterFailure: Bool) -> String? {
        var fields = exchange.answer.fields
        var start = exchange.requestedAt
        var came = exchange.receivedAt
        // A later confirmation's fields take the place of the earlier ones of their name; Age is of the last message alone.
        for confirmation in exchange.confirmations {
            fields.removeAll { field in
                confirmation.fields.contains { $0.0.lowercased() == field.0.lowercased() } || field.0.lowercased() == "age"
            }
            fields += confirmation.fields
            start = confirmation.requestedAt
            came = confirmation.receivedAt
        }
        let says = directives(fields.filter { $0.0.lowercased() == "cache-control" }.map(\.1).joined(separator: ","))
        let wants = directives(asked.value("cache-control"))
        if wants["no-cache"] != nil { return "the request said no-cache" }
        if says["no-cache"] != nil { return "no-cache" }
        let lifetime =
            says["s-maxage"] != nil ? number(says["s-maxage"]) ?? 0 : says["max-age"] != nil ? number(says["max-age"]) ?? 0 : 0
        let age = (fields.first { $0.0.lowercased() == "age" }.flatMap { Int64($0.1) } ?? 0) + (came - start) + (now - came)
        let stale = age - lifetime
        let forbidden = says["must-revalidate"] != nil || says["proxy-revalidate"] != nil
        if let most = wants["max-age"], age > number(most) ?? 0, !afterFailure { return "older than the request's max-age" }
        if let least = number(wants["min-fresh"]), -stale < least, !afterFailure { return "not as fresh as the request asks for" }
        if stale < 0 { return nil }
        if forbidden { return "stale by \(stale) s, which it forbids" }
        if says["s-maxage"] == nil, let accepted = wants["max-stale"], stale <= number(accepted) ?? .max { return nil }
        if let window = number(says["stale-while-revalidate"]), stale < window { return nil }
        if afterFailure, let window = number(says["stale-if-error"]), stale < window { return nil }
        return "stale by \(stale) s"
    }

    private func isWrongPart(_ exchange: Exchange, _ asked: Asked, _ got: Got) -> String? {
        let body = exchange.answer.body
        if asked.method == "HEAD" { return got.body.isEmpty ? nil : "a HEAD with a body" }
        switch got.status {
        case 304:
            guard let conditions = asked.value("if-none-match") else { return "304 to a request without a condition" }
            let tags = conditions.split(separator: ",").map(\.trimmingSpaces)
            let own =
                exchange.confirmations.last { $0.fields.contains { $0.0.lowercased() == "etag" } }?.fields ?? exchange.answer.fields
            let tag = own.first { $0.0.lowercased() == "etag" }?.1
            return tag != nil && tags.contains(tag ?? "") ? nil : "304 to a client that has something else"
        case 206:
            guard let range = asked.value("range"), let dash = range.firstIndex(of: "-"),
                let from = Int(range[..<dash].dropFirst(6))
            else {
                return "a part that nobody asked for"
            }
            let to = Int(range[range.index(after: dash)...]) ?? .max
            let octets = Array(body.utf8)
            return got.body == String(decoding: octets[from...min(to, octets.count - 1)], as: UTF8.self) ? nil : "another part"
        case 416: return asked.value("range") == nil ? "416 to a request without a range" : nil
        default: return got.status == exchange.answer.status && got.body == body ? nil : "another body"
        }
    }

    /// The directives of a well-formed field; a name that stands twice with different arguments says nothing that can be relied on.
    private func directives(_ field: String?) -> [String: String] {
        var out: [String: String] = [:]
        for part in (field ?? "").split(separator: ",") {
            let sides = part.split(separator: "=", maxSplits: 1)
            guard let first = sides.first else { continue }
            let name = Substring(first).trimmingSpaces.lowercased()
            var value = sides.count > 1 ? sides[1].trimmingSpaces : ""
            if value.count >= 2, value.first == "\"", value.last == "\"" { value = String(value.dropFirst().dropLast()) }
            out[name] = out[name] == nil || out[name] == value ? value : "?"
        }
        return out
    }

    private func number(_ text: String?) -> Int64? {
        guard let text, !text.isEmpty, text.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
        return Int64(text)
    }
}
