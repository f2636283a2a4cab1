// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Caching
import Core
import HTTP
import Reactor
import Upstream

/// One request at a cache filter: performs what its `CacheVisit` says, waits for another's fetch, and is woken from any thread.
final class CacheCall: CacheWaiter, TimerOwner, @unchecked Sendable {
    // Sendable: other threads only call `wake`, which posts to the request's own reactor; all else is touched there.
    private let visit: CacheVisit
    private let filter: CacheFilter
    private let reactor: Reactor
    private weak var pass: FilterPass?
    /// Most requests never wait.
    private var timer: Timer?
    private var isWaiting = false
    private var result = CacheMetrics.Result.miss

    init(_ visit: CacheVisit, _ pass: FilterPass, _ filter: CacheFilter) {
        self.visit = visit
        self.filter = filter
        self.pass = pass
        reactor = pass.home.reactor
    }

    private var unix: Int64 { reactor.unixNanoseconds / 1_000_000_000 }

    // MARK: The request

    func begin(_ pass: FilterPass) -> FilterStep { perform(visit.begin(pass.head, now: reactor.now, waiter: self), pass) }

    private func perform(_ step: CacheVisit.Step, _ pass: FilterPass) -> FilterStep {
        switch step {
        case .reply(let stored, let ticket):
            result = visit.status.isHit ? visit.status.ttl ?? 0 < 0 ? .stale : .hit : .collapsed
            let answer = answer(stored, pass)
            if let ticket { filter.refresh(stored, with: ticket, for: pass) }
            return .answer(answer)
        case .wait(let until):
            isWaiting = true
            let timer = timer ?? Timer(owner: self)
            self.timer = timer
            reactor.schedule(timer, at: min(until, halfway(pass)))
            return .wait
        case .forward:
            if visit.status.forward == .bypass || visit.status.forward == .method { result = .bypass }
            return .next
        case .unsatisfiable:
            var refusal = FilterRefusal(
                .cacheOnlyIfCached, detail: "the request asked for a stored answer only, and there is none to serve")
            refusal.fields.append(("cache-status", visit.status.text))
            return .refuse(refusal)
        }
    }

    /// Half of the time that a trusted caller has: so much is left to go by itself, should the other's fetch not come.
    private func halfway(_ pass: FilterPass) -> Instant {
        guard pass.isTrusted, let i = pass.head.fields.first(.xRequestTimeout),
            let timeout = pass.head.fields.withValue(i, { RequestTimeout.parseMilliseconds($0) })
        else { return .never }
        return reactor.now.advanced(byNanoseconds: timeout / 2)
    }

    // From any thread.
    func wake(_ news: FillNews) {
        let confined = Confined(self, to: reactor)
        reactor.post { confined.value.woken(news) }
    }

    private func woken(_ news: FillNews) {
        // Too late: a ticket that came with the news dies here, and is handed over.
        guard isWaiting, let pass, !pass.isOver else { return }
        isWaiting = false
        timer?.cancel()
        goOn(visit.woken(news, pass.head, now: reactor.now), pass)
    }

    func timerFired(_ timer: Timer, now: Instant) {
        guard isWaiting, let pass, !pass.isOver else { return }
        isWaiting = false
        goOn(visit.waitEnded(pass.head, now: now), pass)
    }

    private func goOn(_ step: CacheVisit.Step, _ pass: FilterPass) {
        let step = perform(step, pass)
        if case .wait = step { return }
        pass.resume(step)
    }

    // MARK: The answer

    func answered(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        if pass.isDegraded {
            // Another upstream's answer, for want of one, is not what the URI means.
            _ = visit.failed(mayReply: false, now: reactor.now)
            visit.status.detail = "fallback"
            visit.status.append(to: &head.fields)
            return .next
        }
        switch visit.answered(head, pass.head, now: reactor.now, unix: unix) {
        case .pass:
            visit.status.append(to: &head.fields)
            return .next
        case .keep:
            visit.status.append(to: &head.fields)
            if pass.answerHasBody { return .stage(Recorder(visit, reactor)) }
            visit.completed(now: reactor.now)
            return .next
        case .collect:
            // For the case that it is too long to be collected.
            visit.status.append(to: &head.fields)
            return .collect(limit: filter.policy.objectBytes, overflow: .passOn)
        case .reply(let stored):
            result = visit.status.forwardStatus == 304 ? .revalidated : .stale
            return .replace(answer(stored, pass))
        }
    }

    func collected(_ pass: FilterPass, _ body: borrowing ByteBuffer) -> ResponseStep {
        body.withReadable { visit.received($0, now: reactor.now) }
        guard let stored = visit.completed(now: reactor.now) else { return .next }
        return .replace(answer(stored, pass))
    }

    func failed(_ pass: FilterPass, _ failure: GuardedFailure) -> LocalAnswer? {
        // What a client did, or did not wait for, is no failure of the upstream.
        guard failure.reason.httpStatus >= 500, let stored = visit.failed(mayReply: true, now: reactor.now) else { return nil }
        result = .stale
        let answer = answer(stored, pass)
        answer.reason = failure.reason
        return answer
    }

    private func answer(_ stored: StoredAnswer, _ pass: FilterPass) -> LocalAnswer {
        let answer = LocalAnswer(status: stored.status)
        let range = visit.write(stored, pass.head, now: reactor.now, into: answer.head)
        // The body of a HEAD's answer is left out by whoever sends it, with its length told.
        let isWhole = pass.head.method == .head && answer.head.status == stored.status
        answer.body = stored.body.bytes[isWhole ? 0..<stored.body.count : range]
        return answer
    }

    func ended(_ pass: FilterPass) {
        timer?.cancel()
        visit.ended()
        filter.metrics.count(result, shard: pass.home.shard)
    }

    /// Keeps what passes.
    private final class Recorder: ResponseStage {
        private let visit: CacheVisit
        private let reactor: Reactor

        init(_ visit: CacheVisit, _ reactor: Reactor) {
            self.visit = visit
            self.reactor = reactor
        }

        func body(_ bytes: Span<UInt8>, into out: inout ByteBuffer) {
            out.append(bytes)
            visit.received(bytes, now: reactor.now)
        }

        func end(into out: inout ByteBuffer) { visit.completed(now: reactor.now) }

        /// It broke off, or the client went: what is here is not the whole (case B04).
        func aborted() { _ = visit.failed(mayReply: false, now: reactor.now) }
    }
}
