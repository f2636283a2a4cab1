// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import JSON
import Reactor
import Upstream

/// One client's document under way: sends what the run says, tells it what comes, and gives everything back if the client goes away.
/// Confined to its reactor.
final class AggregateCall: TimerOwner {
    private let filter: AggregateFilter
    private let pass: FilterPass
    private var run: AggregateRun
    private var subrequests: [Subrequest?]
    private let timer = Timer()
    private var deadline: Instant?
    private var isOver = false
    /// Of the part that the document fails for.
    private var retryAfter: Int64?

    init(_ filter: AggregateFilter, _ pass: FilterPass) {
        self.filter = filter
        self.pass = pass
        run = AggregateRun(filter.plan)
        subrequests = filter.plan.parts.map { _ in nil }
        timer.owner = self
    }

    func begin() {
        let terms = pass.prepareForUpstreams()
        pass.head.fields.removeContentAndConditions()
        var limit = filter.timeout
        if terms.timeout < .max {
            let callers = Duration.nanoseconds(terms.timeout)
            limit = limit.map { min($0, callers) } ?? callers
        }
        if let limit {
            let end = pass.home.reactor.now.advanced(by: limit)
            deadline = end
            pass.home.reactor.schedule(timer, at: end)
        }
        perform(run.start())
    }

    /// The request is over: parts under way are given up, and their permits go back.
    func cancel() {
        isOver = true
        timer.cancel()
        for subrequest in subrequests { subrequest?.cancel() }
        subrequests = []
    }

    func timerFired(_ timer: Timer, now: Instant) {
        guard !isOver else { return }
        perform(run.timeUp())
    }

    private func perform(_ action: AggregateRun.Action) {
        guard !isOver else { return }
        switch action {
        case .start(let parts):
            // One that is refused at once may end the whole.
            for part in parts where !isOver { send(part) }
        case .finish:
            finish()
        case .fail(let part, let reason):
            let name = String(decoding: filter.plan.parts[part].name, as: UTF8.self)
            countParts()
            cancel()
            pass.resume(
                .refuse(
                    FilterRefusal(
                        reason, detail: "the part \(name) of this document is missing", retryAfterNanoseconds: retryAfter)))
        }
    }

    // MARK: Parts

    private func send(_ part: Int) {
        let request = filter.requests[part]
        let subrequest = Subrequest(pass.home, to: request.upstream, in: pass.snapshot, for: pass)
        do throws(PartWriter.Problem) {
            try write(request, to: subrequest)
        } catch {
            switch error {
            case .nothing: perform(run.hasNothingToAsk(part))
            case .missing: perform(run.failed(part, .aggregateDependency))
            }
            return
        }
        var timeout = request.timeout
        if let deadline {
            let left = Duration.nanoseconds(max(1, deadline.nanoseconds(since: pass.home.reactor.now)))
            timeout = timeout.map { min($0, left) } ?? left
        }
        subrequests[part] = subrequest
        subrequest.start(timeout: timeout, answerLimit: min(filter.plan.parts[part].byteLimit, filter.plan.byteLimit)) { [self] in
            ended(part, $0)
        }
    }

    private func write(_ request: AggregateFilter.Request, to subrequest: Subrequest) throws(PartWriter.Problem) {
        let head = subrequest.head
        var target = ByteBuffer()
        try request.target.writeTarget(pass, values: { self.run.value(of: $0) }, into: &target)
        head.method = .get
        subrequest.setTarget(target.readable)
        head.fields.removeAll(.xRequestID)
        head.fields.append(contentsOf: pass.head.fields)
        for (name, writer) in request.fields {
            var value = ByteBuffer()
            try writer.writeField(pass, values: { self.run.value(of: $0) }, into: &value)
            head.fields.removeAll(named: name)
            if !value.isEmpty { head.fields.append(name: name.span, value: value.readable) }
        }
    }

    private func ended(_ part: Int, _ subrequest: Subrequest) {
        guard !isOver else { return }
        subrequests[part] = nil
        switch subrequest.result {
        case .answered:
            let kind = BodyKind(of: subrequest.answer.fields)
            let status = subrequest.answer.status
            perform(subrequest.body.withReadable { run.answered(part, status: status, isJSON: kind == .json, body: $0) })
        case .tooLong:
            perform(run.failed(part, .responseTooLarge))
        case .failed(let failure):
            retryAfter = failure.retryAfterNanoseconds
            perform(run.failed(part, failure.reason))
        case .cancelled, nil: break
        }
    }

    // MARK: The document

    private func finish() {
        countParts()
        let missing = run.missing.first?.reason
        guard let document = run.document() else {
            cancel()
            pass.resume(
                .refuse(FilterRefusal(.responseTooLarge, detail: "the document is longer than \(filter.plan.byteLimit) bytes")))
            return
        }
        cancel()
        let answer = LocalAnswer(status: 200, body: document.withReadable { ArraySlice([UInt8](copying: $0)) })
        answer.head.fields.append(.contentType, "application/json")
        if let missing {
            answer.head.fields.append(.cacheControl, "no-store")
            answer.head.fields.append(.xHoldfastReason) { $0.append(utf8: missing.rawValue) }
            answer.reason = missing
        } else {
            answer.head.fields.append(name: Array("cache-control".utf8), value: filter.cacheControl)
        }
        pass.resume(.answer(answer))
    }

    private func countParts() {
        for part in filter.plan.parts.indices {
            filter.count(part, run.result(of: part), shard: pass.home.shard)
        }
    }
}

extension FieldSection {
    /// Removes what a request says of its body, of ranges, and of what it knows already (RFC 9110 §8.3 to §8.8, §13.1, §14.2): parts are asked
    /// for whole, as JSON and without a content coding.
    fileprivate mutating func removeContentAndConditions() {
        for name in FieldSection.contentAndConditions { removeAll(named: name) }
        append("accept", "application/json")
        append("accept-encoding", "identity")
    }

    private static let contentAndConditions = [
        "accept", "accept-encoding", "content-type", "content-length", "content-encoding", "content-language", "content-range",
        "content-md5",
        "digest", "content-digest", "repr-digest", "expect", "range", "if-range", "if-match", "if-none-match", "if-modified-since",
        "if-unmodified-since",
    ].map { Array($0.utf8) }
}
