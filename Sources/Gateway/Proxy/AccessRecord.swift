// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Reactor
import TLS
import Telemetry
import Transport
import Upstream

/// Says one request in the access log. Only fields that are known are written; nothing is made a `String`.
enum AccessRecord {
    static func write(
        _ exchange: ProxyExchange, _ server: ServerExchange, explained: [UInt8]?, to log: AccessLog, now: Instant, unix: Int64
    ) {
        log.write(at: unix) { line in
            fill(&line, exchange, server, now: now)
            if let explained { line.field(.explain, explained.span) }
        }
    }

    private static func fill(_ log: inout AccessLine, _ exchange: ProxyExchange, _ server: ServerExchange, now: Instant) {
        let facts = exchange.facts
        let head = server.head
        if !facts.id.isEmpty { head.withBytes(facts.id) { log.field(.requestID, $0) } }
        writeClient(facts, server, to: &log)
        if let listener = exchange.listener { log.field(.listener, text: listener.name) }
        switch head.version {
        case .http10: log.field(.protocol, "HTTP/1.0" as StaticString)
        case .http11: log.field(.protocol, "HTTP/1.1" as StaticString)
        case .http2: log.field(.protocol, "HTTP/2" as StaticString)
        }
        if head.method != .other {
            log.field(.method, head.method.text)
        } else if !head.methodText.isEmpty {
            head.withBytes(head.methodText) { log.field(.method, $0) }
        }
        if !facts.authority.isEmpty { head.withBytes(facts.authority) { log.field(.host, $0) } }
        if !facts.path.isEmpty { writeTarget(facts.path, head, to: &log) }
        log.field(.status, facts.status)
        if let reason = facts.reason { log.field(.reason, reason) }
        if let route = exchange.route { log.field(.route, text: route.name) }
        if let consumer = exchange.pass?.consumer { log.field(.consumer, consumer.name.span) }
        if facts.upstreamIndex != nil { writeUpstream(exchange, to: &log) }
        if let retry = facts.retryReason { log.field(.retryReason, retry) }
        log.field(.bytesIn, server.bodyBytesReceived)
        log.field(.bytesOut, server.bodyBytesSent)
        log.field(.total, nanoseconds: now.nanoseconds(since: facts.startedAt))
        if let tls = server.info.connection.tls {
            log.field(.tlsVersion, text: server.info.tlsVersion)
            log.field(.tlsCipher, text: server.info.tlsCipher)
            if let name = tls.serverName { log.field(.tlsSNI, text: name) }
            log.field(.tlsResumed, tls.isResumed)
        }
        if let i = head.fields.first(.userAgent) { head.fields.withValue(i) { log.field(.userAgent, $0) } }
    }

    private static func writeClient(_ facts: RequestFacts, _ server: ServerExchange, to log: inout AccessLine) {
        var text = ByteBuffer()
        if let address = facts.identity?.address { address.write(into: &text) } else { server.info.peer.writeHost(into: &text) }
        text.withReadable { log.field(.client, $0) }
    }

    private static func writeTarget(_ path: Slice, _ head: RequestHead, to log: inout AccessLine) {
        // Where the query follows its path in the arena, as it came, the two are one run of bytes.
        if head.hasQuery && head.query.range.lowerBound == path.range.upperBound + 1 {
            let whole = Slice(offset: path.range.lowerBound, length: Int(path.length) + 1 + Int(head.query.length))
            head.withBytes(whole) { log.target($0) }
        } else {
            head.withBytes(path) { log.target($0) }
        }
    }

    private static func writeUpstream(_ exchange: ProxyExchange, to log: inout AccessLine) {
        let guarded = exchange.guarded
        if let name = guarded.lastClusterName { log.field(.upstream, text: name) }
        if let endpoint = guarded.lastEndpoint { log.field(.endpoint, text: endpoint.label) }
        log.field(.attempts, guarded.attempts)
        let timings = guarded.timings
        if timings.queue > 0 { log.field(.queue, nanoseconds: timings.queue) }
        if timings.connect > 0 { log.field(.connect, nanoseconds: timings.connect) }
        if timings.tls > 0 { log.field(.tls, nanoseconds: timings.tls) }
        if timings.firstByte > 0 { log.field(.firstByte, nanoseconds: timings.firstByte) }
    }
}
