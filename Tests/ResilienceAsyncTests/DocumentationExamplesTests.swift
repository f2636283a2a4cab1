// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Resilience
import ResilienceAsync
import Testing

// The code of Sources/Resilience/Resilience.docc, compiled and run. `theArticlesShowThisCode` compares it line by line.

protocol InventoryClient: Sendable {
    func stock(of item: String) async throws -> Int
}

struct Inventory {
    let client: any InventoryClient
    let upstream: AsyncGuard<ContinuousClock>

    init(client: any InventoryClient) {
        var settings = GuardSettings()
        settings.timeouts.total = .seconds(2)  // all attempts, waits and back-offs together
        settings.timeouts.perTry = .milliseconds(500)
        settings.retries.attempts = 3  // the first one counts
        settings.bulkhead.concurrent = 32
        self.client = client
        upstream = AsyncGuard(settings, clock: ContinuousClock())
    }

    func stock(of item: String) async throws -> Int {
        try await upstream.run(idempotent: true) { _ in try await client.stock(of: item) }
    }
}

struct Page: Equatable, Sendable {
    var status: Int
    var retryAfter: Duration?
}

/// Answers in order, and remembers the attempts' numbers.
final class Site: Sendable {
    struct NotConnected: Error {}
    private let answers: GuardLock<[Result<Page, any Error>]>
    let attempts = Recorder<Int>()

    init(_ answers: [Result<Page, any Error>]) { self.answers = GuardLock(answers) }

    func get(_ path: String, attempt: Int) async throws -> Page {
        attempts.note(attempt)
        return try answers.withLock { $0.removeFirst() }.get()
    }
}

struct Pages {
    let site: Site
    let upstream: AsyncGuard<ContinuousClock>

    func page(_ path: String) async throws -> Page {
        try await upstream.run(idempotent: true) { attempt in
            try await site.get(path, attempt: attempt.number)
        } classify: { result in
            switch result {
            case .success(let page) where page.status >= 500: .failure(status: page.status, retryAfter: page.retryAfter)
            case .success(let page) where page.status == 429: .backpressure(retryAfter: page.retryAfter)
            case .failure(is Site.NotConnected): .failureBeforeSending
            default: Verdict(result)
            }
        }
    }
}

struct Shop {
    let inventory: Inventory
    let lastKnown: [String: Int]
    let lines = Recorder<String>()

    func log(_ line: String) { lines.note(line) }

    func stockOrGuess(_ item: String) async throws -> Int {
        do {
            return try await inventory.stock(of: item)
        } catch let rejection as GuardRejection where rejection.attempts == 0 {
            log("not asked: \(rejection.reason.rawValue), again in \(rejection.retryAfter ?? .zero)")
            return lastKnown[item] ?? 0
        }
    }
}

func watch(_ upstream: AsyncGuard<ContinuousClock>, settings: GuardSettings) {
    let snapshot = upstream.snapshot()
    print(snapshot.breaker, snapshot.permitsInUse, snapshot.queued, snapshot.counters.refusedOpen)
    upstream.force(.forcedOpen)  // keep everybody away, for maintenance
    upstream.reset()  // closed and automatic again, nothing remembered
    upstream.apply(settings)  // permits, waiters and the breaker's state stay
}

struct Loop {
    let guardian = Guard(GuardSettings(), draw: Draw(seed: 1))

    func exchange(now: Instant, request: UInt64) -> String {
        switch guardian.admit(now: now, request: request, isFirstAttempt: true) {
        case .admitted(var permit):
            guardian.depositFirst(now: now)  // what retries are measured by
            permit.requestSent(now: now)  // the slow clock starts
            permit.headArrived(.success, now: now)  // in time, or slow
            permit.report(.success, now: now)  // the permit goes to the next waiter
            return "served"
        case .mustWait:
            return "the bulkhead is full: join its queue with wait"
        case .refused(let refusal):
            return "refused: \(refusal.reason.rawValue)"
        }
    }

    func retryDelay(after outcome: Outcome, attemptsUsed: Int, deadline: Deadline, now: Instant, request: UInt64) -> Int64? {
        let question = RetryQuestion(
            outcome: outcome, status: nil, method: .idempotent, attemptsUsed: attemptsUsed, isCommitted: false,
            isBodyReplayable: true, pushback: .none, isBreakerClosed: guardian.isClosed(now: now), hasEndpoint: true,
            remainingNanoseconds: deadline.remaining(at: now), minimumTryNanoseconds: 5_000_000)
        switch RetryPolicy.decide(question, settings: RetrySettings(), draw: Draw(seed: 1), request: request) {
        case .retry(let delayNanoseconds): return delayNanoseconds
        case .no: return nil
        }
    }
}

@Suite(.timeLimit(.minutes(5))) struct DocumentationExamplesTests {
    /// Fails as often as it is told to.
    private final class FlakyClient: InventoryClient {
        private let failuresLeft: GuardLock<Int>
        init(failures: Int) { failuresLeft = GuardLock(failures) }

        func stock(of item: String) async throws -> Int {
            let fails = failuresLeft.withLock { left in
                left -= 1
                return left >= 0
            }
            if fails { throw Broken() }
            return 7
        }
    }

    /// The same without limits of time, since these examples run by the real clock on a machine that may be busy.
    private static func patient(_ settings: GuardSettings = GuardSettings()) -> GuardSettings {
        var settings = settings
        settings.timeouts.total = nil
        settings.timeouts.perTry = nil
        settings.breaker.slowCall = nil
        return settings
    }

    private func inventory(failures: Int) -> Inventory {
        let inventory = Inventory(client: FlakyClient(failures: failures))
        inventory.upstream.apply(Self.patient())
        return inventory
    }

    @Test func theInventoryIsTriedAgain() async throws {
        let inventory = inventory(failures: 1)
        #expect(try await inventory.stock(of: "rope") == 7)
        #expect(inventory.upstream.snapshot().retriesGranted == 1)
    }

    @Test func theShopGuessesWhenNothingWasAsked() async throws {
        let shop = Shop(inventory: inventory(failures: 0), lastKnown: ["rope": 3])
        #expect(try await shop.stockOrGuess("rope") == 7)
        shop.inventory.upstream.force(.forcedOpen)
        #expect(try await shop.stockOrGuess("rope") == 3)
        #expect(shop.lines.all == ["not asked: breaker.forced, again in 0.0 seconds"])
        watch(shop.inventory.upstream, settings: Self.patient())
        #expect(try await shop.stockOrGuess("rope") == 7)
    }

    @Test func pagesAreClassified() async throws {
        var settings = Self.patient()
        settings.retries.backoffBase = .zero
        settings.retries.attempts = 3
        let site = Site([.success(Page(status: 503)), .failure(Site.NotConnected()), .success(Page(status: 200))])
        let pages = Pages(site: site, upstream: AsyncGuard(settings, clock: ContinuousClock(), seed: 1))
        // The budget's floor is one token, and one call earns a fifth of one: the last answer is what there is.
        #expect(try await pages.page("/") == Page(status: 503))
        #expect(site.attempts.all == [1, 2])
        #expect(pages.upstream.snapshot().evidence.failed == 2)
    }

    @Test func theLoopServesAndRetries() {
        let loop = Loop()
        #expect(loop.exchange(now: .origin, request: 1) == "served")
        loop.guardian.force(.forcedOpen, now: .origin)
        #expect(loop.exchange(now: .origin, request: 2) == "refused: breaker.forced")
        loop.guardian.reset(now: .origin)
        let lost = Outcome(.failure, reason: .resetBeforeHeaders, processed: .maybe)
        let deadline = Deadline(start: .origin, total: .seconds(1))
        let delay = loop.retryDelay(after: lost, attemptsUsed: 1, deadline: deadline, now: .origin, request: 3)
        #expect(delay.map { (0...25_000_000).contains($0) } == true)
        #expect(loop.retryDelay(after: lost, attemptsUsed: 2, deadline: deadline, now: .origin, request: 3) == nil)
    }

    @Test func theArticlesShowThisCode() throws {
        let here = URL(filePath: #filePath)
        let own = try String(contentsOf: here, encoding: .utf8)
        let known = Set(own.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) })
        let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        var examples = 0
        for article in ["GuardAnAsyncFunction", "GuardOnYourOwnLoop"] {
            let path = root.appending(path: "Sources/Resilience/Resilience.docc/\(article).md")
            var isCode = false
            for line in try String(contentsOf: path, encoding: .utf8).split(separator: "\n") {
                let text = line.trimmingCharacters(in: .whitespaces)
                if text.hasPrefix("```") {
                    isCode = text == "```swift"
                    examples += isCode ? 1 : 0
                } else if isCode && !known.contains(text) {
                    Issue.record("\(article).md shows a line that no test compiles: \(text)")
                }
            }
        }
        #expect(examples == 6)
    }
}
