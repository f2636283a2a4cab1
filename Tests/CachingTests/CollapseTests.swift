// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP
import Synchronization
import Testing

@testable import Caching

/// Case E20: many requests for one thing that is missing or stale.
@Suite struct CollapseTests {
    static let good = Answered(200, "Cache-Control: max-age=60", "ETag: \"e\"")

    @Test func E20_aThousandRequestsAreOneFetch() {
        let crowd = Crowd()
        let all = crowd.send(1_000)
        #expect(crowd.fetching.count == 1 && crowd.waiting.count == 999)
        crowd.answer(all[0], CollapseTests.good)
        #expect(crowd.served.count == 1_000 && crowd.fetches == 1)
        #expect(all[5].visit.status.text == Array("Holdfast; fwd=uri-miss; ttl=60; collapsed".utf8))
    }

    @Test func E20_aStaleAnswerIsConfirmedOnceForAll() {
        let crowd = Crowd()
        crowd.answer(crowd.send(1)[0], CollapseTests.good)
        crowd.advance(61)
        let all = crowd.send(100)
        #expect(crowd.fetching.count == 1 && crowd.waiting.count == 99)
        crowd.answer(all[0], Answered(304))
        #expect(crowd.served.count == 101 && crowd.fetches == 2)
    }

    @Test func E20_aFillerThatGoesAwayHandsOver() {
        let crowd = Crowd()
        _ = crowd.send(100)
        for left in stride(from: 99, to: 50, by: -1) {
            #expect(crowd.fetching.count == 1 && crowd.waiting.count == left)
            crowd.leave(crowd.fetching[0])
        }
        crowd.answer(crowd.fetching[0], CollapseTests.good)
        #expect(crowd.served.count == 51)
    }

    @Test func E20_aFillerThatFailsHandsOverOnceAndThenNobodyWaits() {
        let crowd = Crowd()
        _ = crowd.send(100)
        crowd.answer(crowd.fetching[0], nil)
        #expect(crowd.fetching.count == 1 && crowd.waiting.count == 98 && crowd.failed.count == 1)
        crowd.answer(crowd.fetching[0], nil)
        // Each goes by itself, and its upstream's guard says what becomes of it.
        #expect(crowd.fetching.count == 98 && crowd.waiting.isEmpty)
    }

    @Test func E20_aFillerThatIsAnsweredWithAFailureIsOneThatFails() {
        let crowd = Crowd()
        _ = crowd.send(10)
        crowd.answer(crowd.fetching[0], Answered(503))
        #expect(crowd.fetching.count == 1 && crowd.waiting.count == 8)
    }

    @Test func E20_whereTheUpstreamFailsAllAreServedWhatIsStale() {
        let crowd = Crowd()
        crowd.answer(crowd.send(1)[0], Answered(200, "Cache-Control: max-age=60, stale-if-error=100"))
        crowd.advance(61)
        _ = crowd.send(100)
        crowd.answer(crowd.fetching[0], nil)
        #expect(crowd.served.count == 101 && crowd.fetches == 2)
    }

    @Test func E20_anAnswerBrokenOffIsAFailure() {
        let crowd = Crowd()
        _ = crowd.send(10)
        var cut = CollapseTests.good
        cut.isTruncated = true
        crowd.answer(crowd.fetching[0], cut)
        #expect(crowd.fetching.count == 1 && crowd.waiting.count == 8 && crowd.store.usage.answers == 0)
    }

    @Test func whatMayNotBeStoredIsNotWaitedForAndForAWhileNotAgain() {
        let crowd = Crowd()
        _ = crowd.send(100)
        crowd.answer(crowd.fetching[0], Answered(200, "Cache-Control: no-store"))
        #expect(crowd.fetching.count == 99 && crowd.waiting.isEmpty)
        _ = crowd.send(10)
        #expect(crowd.fetching.count == 109)
        crowd.advance(11)
        let late = crowd.send(10)
        #expect(crowd.fetching.count == 110 && crowd.waiting.count == 9)
        crowd.answer(late[0], Answered(200, "Cache-Control: max-age=0, must-revalidate", "ETag: \"e\""))
        #expect(crowd.waiting.isEmpty && crowd.fetching.count == 118)
    }

    @Test func requestsThatTheFetchedAnswerIsNotForFetchTheirOwnOnce() {
        let crowd = Crowd()
        func ask(_ language: String, _ n: Int) { _ = crowd.send(n, Asked("GET", "/", "Accept-Language: \(language)")) }
        ask("de", 10)
        ask("en", 10)
        #expect(crowd.fetching.count == 1)
        let varying = Answered(200, "Cache-Control: max-age=60", "Vary: Accept-Language")
        crowd.answer(crowd.fetching[0], varying)
        #expect(crowd.served.count == 10 && crowd.fetching.count == 1 && crowd.waiting.count == 9)
        ask("fr", 10)
        #expect(crowd.fetching.count == 2)
        for call in crowd.fetching { crowd.answer(call, varying) }
        #expect(crowd.served.count == 30 && crowd.fetches == 3 && crowd.store.usage.answers == 3)
    }

    @Test func oneUsersCredentialsDoNotFetchForAnother() {
        let crowd = Crowd()
        _ = crowd.send(1, Asked("GET", "/", "Authorization: alice"))
        _ = crowd.send(10, Asked("GET", "/", "Authorization: bob"))
        crowd.answer(crowd.fetching[0], CollapseTests.good)
        #expect(crowd.served.count == 1 && crowd.fetching.count == 10)
    }

    @Test func aRangeFetchesForItselfAlone() {
        let crowd = Crowd()
        let part = crowd.send(1, Asked("GET", "/", "Range: bytes=0-1"))
        _ = crowd.send(3)
        #expect(crowd.fetching.count == 2 && crowd.waiting.count == 2)
        crowd.answer(part[0], Answered(206, "Content-Range: bytes 0-1/5", body: "he"))
        _ = crowd.send(1)
        #expect(crowd.waiting.count == 3, "the part said nothing of the whole")
        crowd.answer(crowd.fetching[0], CollapseTests.good)
        #expect(crowd.served.count == 5)
    }

    @Test func aWaitEnds() {
        let crowd = Crowd()
        _ = crowd.send(3)
        crowd.advance(5)
        for call in crowd.waiting { crowd.waitEnds(call) }
        #expect(crowd.fetching.count == 3)
        crowd.answer(crowd.fetching[0], CollapseTests.good)
        #expect(crowd.served.count == 1 && crowd.fetching.count == 2)
    }

    @Test func aTicketForOneThatHasLeftIsHandedOn() {
        let crowd = Crowd()
        let all = crowd.send(4)
        crowd.pumps = false
        crowd.leave(all[0])
        crowd.leave(all[1])  // the ticket is on its way to it
        crowd.pumps = true
        crowd.pump()
        #expect(crowd.fetching.count == 1 && crowd.waiting.count == 1)
    }

    @Test func whatWaitsWhileItsKeyIsPurgedFetchesAnew() {
        let crowd = Crowd()
        _ = crowd.send(5)
        crowd.advance(1)
        crowd.store.purge(CacheKey(uri: "https://a.example/")!, now: crowd.now)
        crowd.advance(1)
        let after = crowd.send(5)
        #expect(crowd.fetching.count == 2)
        crowd.advance(1)
        crowd.answer(crowd.fetching[0], CollapseTests.good)
        #expect(crowd.store.usage.answers == 0)
        crowd.answer(after[0], CollapseTests.good)
        #expect(crowd.served.count == 10 && crowd.fetches == 2)
    }

    @Test func withoutCollapsingNobodyWaits() {
        let crowd = Crowd()
        crowd.policy.collapses = false
        _ = crowd.send(10)
        #expect(crowd.fetching.count == 10)
    }

    /// Many threads, one key: whatever they do, at most one of them fetches at a time, and none waits for ever.
    @Test func E20_manyThreadsOneKey() async {
        let counts = Counts()
        await withTaskGroup(of: Void.self) { group in
            for thread in 0..<8 {
                group.addTask {
                    for round in 0..<300 { await ThreadCaller(counts, "/\(round % 7)", gives: (round + thread) % 5).run() }
                }
            }
        }
        // Seven keys, one fetch each at a time.
        #expect(counts.most.load(ordering: .relaxed) <= 7)
        #expect(counts.fetches.load(ordering: .relaxed) > 0)
    }
}

private final class Counts: Sendable {
    let store = CacheStore(bytes: 1 << 20)
    let fetching = Atomic<Int>(0)
    let most = Atomic<Int>(0)
    let fetches = Atomic<Int>(0)
}

/// One request of a thread's own: fetches when it is told to, now and then gives up or purges.
private final class ThreadCaller: CacheWaiter, @unchecked Sendable {
    // Sendable: other threads only call `wake`, and a stream takes that.
    private let visit: CacheVisit
    private let head: RequestHead
    private let news = AsyncStream<FillNews>.makeStream()
    private let gives: Int
    private let counts: Counts

    init(_ counts: Counts, _ path: String, gives: Int) {
        self.counts = counts
        self.gives = gives
        head = Asked("GET", path).head
        visit = CacheVisit(
            head, policy: CachePolicy(), store: counts.store, namespace: [], isSecure: true, isAuthenticated: false)
    }

    func wake(_ news: FillNews) { self.news.continuation.yield(news) }

    func run() async {
        let now = Instant.seconds(1)
        defer { visit.ended() }
        var step = visit.begin(head, now: now, waiter: self)
        var waits = news.stream.makeAsyncIterator()
        while case .wait = step {
            guard let next = await waits.next() else { break }
            step = visit.woken(next, head, now: now)
        }
        guard case .forward = step else { return }
        let count = counts.fetching.add(1, ordering: .relaxed).newValue
        counts.fetches.add(1, ordering: .relaxed)
        if count > counts.most.load(ordering: .relaxed) { counts.most.store(count, ordering: .relaxed) }
        await Task.yield()
        counts.fetching.subtract(1, ordering: .relaxed)
        switch gives {
        case 0: break
        case 1: counts.store.purge(visit.key, now: Instant.seconds(0))
        default:
            let answer = Answered(200, "Cache-Control: max-age=60").head(for: "GET")
            guard case .keep = visit.answered(answer, head, now: now, unix: 0) else { return }
            let body = Array("hello".utf8)
            visit.received(body.span, now: now)
            visit.completed(now: now)
        }
    }
}

/// Requests at one cache, whose fetches are answered one by one by the test.
final class Crowd {
    final class Call: CacheWaiter, @unchecked Sendable {
        // Sendable: everything of a test runs in one thread.
        let visit: CacheVisit
        let head: RequestHead
        weak var crowd: Crowd?

        init(_ visit: CacheVisit, _ head: RequestHead, _ crowd: Crowd) {
            self.visit = visit
            self.head = head
            self.crowd = crowd
        }

        func wake(_ news: FillNews) {
            guard let crowd else { return }
            crowd.mail.append((self, news))
            if crowd.pumps { crowd.pump() }
        }
    }

    let store = CacheStore(bytes: 1 << 20)
    var policy = CachePolicy()
    var now = Instant.seconds(1_000)
    private(set) var fetching: [Call] = []
    private(set) var waiting: [Call] = []
    private(set) var served: [Call] = []
    private(set) var failed: [Call] = []
    private(set) var fetches = 0
    /// Whether news are told at once.
    var pumps = true
    fileprivate var mail: [(Call, FillNews)] = []

    func advance(_ seconds: Int64) { now = now.advanced(byNanoseconds: seconds * 1_000_000_000) }

    func send(_ count: Int, _ asked: Asked = Asked()) -> [Call] {
        (0..<count).map { _ in
            let head = asked.head
            let visit = CacheVisit(head, policy: policy, store: store, namespace: [], isSecure: true, isAuthenticated: false)
            let call = Call(visit, head, self)
            perform(visit.begin(head, now: now, waiter: call), call)
            return call
        }
    }

    private func perform(_ step: CacheVisit.Step, _ call: Call) {
        switch step {
        case .reply: served.append(call)
        case .wait: waiting.append(call)
        case .forward:
            fetches += 1
            fetching.append(call)
        case .unsatisfiable: failed.append(call)
        }
        if case .reply = step { call.visit.ended() }
    }

    func pump() {
        while !mail.isEmpty {
            let (call, news) = mail.removeFirst()
            guard let i = waiting.firstIndex(where: { $0 === call }) else { continue }
            waiting.remove(at: i)
            perform(call.visit.woken(news, call.head, now: now), call)
        }
    }

    func answer(_ call: Call, _ answer: Answered?) {
        fetching.removeAll { $0 === call }
        guard let answer else {
            if call.visit.failed(mayReply: true, now: now) == nil { failed.append(call) } else { served.append(call) }
            call.visit.ended()
            return
        }
        switch call.visit.answered(answer.head(for: "GET"), call.head, now: now, unix: 1_795_564_800) {
        case .keep, .collect:
            let body = Array(answer.body.utf8)
            call.visit.received(body.span, now: now)
            if answer.isTruncated {
                _ = call.visit.failed(mayReply: false, now: now)
                failed.append(call)
            } else {
                call.visit.completed(now: now)
                served.append(call)
            }
        case .pass, .reply: served.append(call)
        }
        call.visit.ended()
    }

    func leave(_ call: Call) {
        fetching.removeAll { $0 === call }
        waiting.removeAll { $0 === call }
        call.visit.ended()
    }

    func waitEnds(_ call: Call) {
        waiting.removeAll { $0 === call }
        perform(call.visit.waitEnded(call.head, now: now), call)
    }
}
