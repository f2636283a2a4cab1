// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Reactor
import Resilience
import Telemetry
import Upstream

/// Sends a copy of a share of the requests to another upstream, through that one's guard. The copy goes out when the request is complete, with
/// all that the filters before this one made of it; what comes of it is counted and dropped.
///
/// It can neither delay nor fail the request: it waits for nothing, is bounded in bytes and in number, and its upstream has limits of its own.
final class MirrorFilter: Filter {
    private let upstream: Int
    private let share: Int
    private let bodyLimit: Int
    private let concurrent: Int
    /// By shard: copies under way.
    private let underWay: [Counting]
    private let salt: UInt64
    private let sent: Counter
    private let dropped: Counter
    private let failed: Counter

    private final class Counting: @unchecked Sendable {
        /// Touched on its own reactor only.
        var count = 0
    }

    init(_ settings: Configuration.MirrorFilter, to upstream: Int, scope: FilterScope, registry: MetricsRegistry) {
        self.upstream = upstream
        share = settings.share.tenThousandths
        bodyLimit = settings.bodyBytes
        concurrent = settings.concurrent
        underWay = (0..<registry.shards).map { _ in Counting() }
        var hash = StableHash()
        for byte in "\(scope) \(settings.upstream)".utf8 { hash.combine(byte) }
        salt = hash.finalize()
        func counter(_ result: String) -> Counter {
            registry.counter(
                "holdfast_mirrored_requests_total", help: "Copies of requests, by what became of them.",
                labels: [("scope", scope.description), ("upstream", settings.upstream), ("result", result)])
        }
        sent = counter("answered")
        dropped = counter("dropped")
        failed = counter("failed")
    }

    func request(_ pass: FilterPass) -> FilterStep {
        guard pass.home.reactor.draw.below(10_000, request: pass.key, .mirror, salt) < share else { return .next }
        let shard = pass.home.shard
        if case .length(let n) = pass.head.framing, n > UInt64(bodyLimit) {
            dropped.add(shard: shard)
            return .next
        }
        guard underWay[shard].count < concurrent else {
            dropped.add(shard: shard)
            return .next
        }
        let copy = Copy(pass, to: upstream, limit: bodyLimit, filter: self)
        if pass.head.framing == .none { copy.send() } else { pass.watchBody(copy) }
        return .next
    }

    /// A request as it is copied while its body passes.
    private final class Copy: RequestTap {
        private let subrequest: Subrequest
        private let filter: MirrorFilter
        private let limit: Int
        private var body: ByteBuffer? = ByteBuffer()

        init(_ pass: FilterPass, to upstream: Int, limit: Int, filter: MirrorFilter) {
            subrequest = Subrequest(pass.home, to: upstream, in: pass.snapshot, for: pass)
            self.limit = limit
            self.filter = filter
            let (from, to) = (pass.head, subrequest.head)
            to.fields.removeAll(.xRequestID)
            to.fields.append(contentsOf: from.fields)
            to.fields.removeAll(.expect)
            to.fields.append("x-holdfast-mirror", "1")
            to.method = from.method
            to.methodText = from.withBytes(from.methodText) { to.fields.store($0) }
            to.path = from.withBytes(from.path) { to.fields.store($0) }
            to.hasQuery = from.hasQuery
            to.query = from.withBytes(from.query) { to.fields.store($0) }
            to.framing = from.framing
            // It has time of its own, and is told of the client as the other is.
            _ = CallerTerms(takingFrom: to, isTrusted: false)
            to.fields.removeAll(.xHoldfastExplain)
            if let proxy = pass.proxy, let listener = proxy.listener, var identity = proxy.facts.identity {
                identity.host = from.withBytes(identity.host) { to.fields.store($0) }
                listener.forwarding.write(to: to, for: identity)
            }
            pass.snapshot.via.append(to: &to.fields, received: from.version)
        }

        func body(_ bytes: Span<UInt8>) -> FilterRefusal? {
            guard body != nil else { return nil }
            if (body?.count ?? 0) + bytes.count > limit {
                body = nil
                filter.dropped.add(shard: subrequest.home.shard)
            } else {
                body?.append(bytes)
            }
            return nil
        }

        func end() -> FilterRefusal? {
            send()
            return nil
        }

        func send() {
            guard let body = body.take() else { return }
            let shard = subrequest.home.shard
            guard filter.underWay[shard].count < filter.concurrent else {
                filter.dropped.add(shard: shard)
                return
            }
            filter.underWay[shard].count += 1
            let filter = filter
            // The answer is read to its end, so that the connection can be used again.
            body.withReadable { bytes in
                subrequest.start(answerLimit: 1 << 20, body: bytes) { question in
                    filter.underWay[shard].count -= 1
                    if case .failed = question.result { filter.failed.add(shard: shard) } else { filter.sent.add(shard: shard) }
                }
            }
        }
    }
}
