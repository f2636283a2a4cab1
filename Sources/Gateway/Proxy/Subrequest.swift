// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
import Reactor
import Resilience
import Telemetry
package import Upstream

/// One request of the gateway's own, through the guard of an upstream: to ask who somebody is, to fetch keys, a part of an answer or a
/// fresh copy of a stored one, or to mirror. Its answer is collected within a limit, and is handed over once.
///
///     let question = Subrequest(home, to: index, in: pass.snapshot, for: pass)
///     question.head.method = .get
///     question.setTarget("/verify")
///     question.start(timeout: .seconds(1), answerLimit: 65_536) { question in … question.result … }
///
/// Confined to its reactor. Whoever starts one keeps it and may cancel it; it keeps itself while it runs.
package final class Subrequest {
    package enum Result {
        /// In `answer` and `body`.
        case answered
        /// Refused by the guard, or no attempt brought an answer.
        case failed(GuardedFailure)
        /// It was longer than the limit; `answer` is its head.
        case tooLong
        /// Given up by whoever started it: nobody is told.
        case cancelled
    }

    package let home: GatewayReactor
    package let upstream: Int
    package let snapshot: GatewaySnapshot
    /// The request. `setTarget` and `fields` fill it.
    package let head = RequestHead()
    /// A copy of the answer's head.
    package let answer = ResponseHead()
    package private(set) var body = ByteBuffer()
    package private(set) var result: Result?

    private let key: UInt64
    private var guarded: GuardedExchange?
    private var answerLimit = 0
    private var onEnd: ((Subrequest) -> Void)?

    /// - Parameter pass: the request on whose behalf it is made: its id goes along, and its host where the upstream keeps that.
    package init(_ home: GatewayReactor, to upstream: Int, in snapshot: GatewaySnapshot, for pass: FilterPass? = nil) {
        self.home = home
        self.upstream = upstream
        self.snapshot = snapshot
        key = home.nextKey()
        if let pass {
            let id = pass.requestID
            if !id.isEmpty { pass.head.withBytes(id) { head.fields.append(.xRequestID, $0) } }
            head.authority = pass.head.withBytes(pass.head.authority) { head.fields.store($0) }
        }
    }

    /// A path that may have a query.
    package func setTarget(_ target: Span<UInt8>) {
        var mark = 0
        while mark < target.count, target[mark] != UInt8(ascii: "?") { mark += 1 }
        head.path = head.fields.store(target.extracting(0..<mark))
        head.hasQuery = mark < target.count
        head.query = mark < target.count ? head.fields.store(target.extracting((mark + 1)..<target.count)) : .empty
    }

    /// Sends it. `onEnd` is called once, later or at once, unless it is cancelled before.
    ///
    /// - Parameter timeout: over all attempts, if that is less than the upstream's own; `nil`: the upstream's.
    package func start(
        timeout: Duration? = nil, answerLimit: Int, body: Span<UInt8> = Span(), isIdempotent: Bool = false,
        _ onEnd: @escaping (Subrequest) -> Void
    ) {
        self.answerLimit = answerLimit
        self.onEnd = onEnd
        let pools = home.pools(for: upstream, in: snapshot)
        let guarded = home.takeGuarded()
        self.guarded = guarded
        // `client` is unowned: the closure that is called at the end has the reference until then.
        home.subrequests.insert(self)
        guarded.client = self
        if !body.isEmpty || head.framing != .none { head.framing = .length(UInt64(body.count)) }
        var terms = CallerTerms()
        if let timeout { terms.timeout = timeout.wholeNanoseconds }
        let hasBody = head.framing != .none
        guarded.start(
            head, hasBody: hasBody, key: key, isIdempotent: isIdempotent, limits: pools.cluster.limits, terms: terms, over: pools)
        guard hasBody, self.guarded === guarded, guarded.isRunning else { return }
        if !body.isEmpty { guarded.write(body) }
        if guarded.isRunning { guarded.finishRequest(trailers: FieldSection()) }
    }

    package var isRunning: Bool { guarded != nil }

    /// Gives it up; nobody is told.
    package func cancel() {
        guard let guarded else { return }
        onEnd = nil
        guarded.cancel(.clientCancelled)
        end(.cancelled)
    }

    private func end(_ result: Result) {
        guard let guarded = guarded.take() else { return }
        self.result = result
        snapshot.metrics.upstreams[upstream].count(attempts: guarded.attempts, shard: home.shard)
        home.giveBack(guarded)
        let onEnd = onEnd.take()
        withExtendedLifetime(self) {
            home.subrequests.remove(self)
            onEnd?(self)
        }
    }
}

extension Subrequest: GuardedExchangeClient {
    package func upstreamInformed(_ head: ResponseHead) {}
    package func upstreamReady() {}
    package func upstreamTookBody(_ n: Int) {}
    package func upstreamFallback(for reason: Reason) -> (pools: UpstreamPools, limits: AttemptLimits)? { nil }

    package func upstreamAnswered(_ head: ResponseHead, endStream: Bool) {
        head.stripConnectionFields()
        answer.parts = head.parts
        answer.fields.append(contentsOf: head.fields)
    }

    package func upstreamBody(_ bytes: Span<UInt8>) {
        guard let guarded else { return }
        if body.count + bytes.count > answerLimit {
            guarded.cancel(.responseTooLarge)
            end(.tooLong)
            return
        }
        body.append(bytes)
        guarded.responseConsumed(bytes.count)
    }

    package func upstreamEnded(trailers: borrowing FieldSection) { end(.answered) }
    package func upstreamFailed(_ failure: GuardedFailure) { end(.failed(failure)) }
}

extension Subrequest: Hashable {
    package static func == (a: Subrequest, b: Subrequest) -> Bool { a === b }
    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
