// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Caching
import Core
import HTTP
import Reactor

/// A fetch behind the client's back: the request that was just served a stale answer goes to the upstream once more, through its guard, with the
/// stored answer's validators in place of the client's (RFC 5861 §3). Keeps itself until it has ended.
final class CacheRefresh {
    private let visit: CacheVisit
    private let question: Subrequest
    private let limit: Int

    /// Nil if the route leads to no upstream.
    init?(_ stored: StoredAnswer, _ ticket: FillTicket, _ pass: FilterPass, _ filter: CacheFilter) {
        guard let upstream = pass.upstreamIndex else { return nil }
        question = Subrequest(pass.home, to: upstream, in: pass.snapshot)
        limit = filter.policy.objectBytes
        let head = question.head
        head.parts = pass.head.parts
        head.fields = pass.head.fields.copy()
        if head.method == .head {
            head.method = .get
            head.methodText = head.fields.store("GET")
        }
        visit = filter.visit(head, pass)
        visit.beginRefresh(of: stored, with: ticket, head, now: pass.home.reactor.now)
        pass.prepareCopy(head)
    }

    func start(_ onEnd: @escaping () -> Void) {
        question.start(answerLimit: limit) { question in
            self.ended(question)
            onEnd()
        }
    }

    private func ended(_ question: Subrequest) {
        let reactor = question.home.reactor
        defer { visit.ended() }
        guard case .answered = question.result else {
            _ = visit.failed(mayReply: false, now: reactor.now)
            return
        }
        let head = question.answer
        question.snapshot.via.append(to: &head.fields, received: head.version)
        switch visit.answered(head, question.head, now: reactor.now, unix: reactor.unixNanoseconds / 1_000_000_000) {
        case .keep, .collect:
            question.body.withReadable { visit.received($0, now: reactor.now) }
            visit.completed(now: reactor.now)
        case .pass, .reply: break
        }
    }
}
