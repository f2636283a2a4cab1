// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP
import Synchronization

/// The answers of all cache filters, in memory and within a bound of bytes; shared by all reactors.
///
/// A table in shards, each behind a `GuardLock`, of immutable answers that are shared by reference. Not one table a reactor with an owner for
/// each key, since then most hits would be a message to another reactor and back, some microseconds where the lock takes a tenth of one; and
/// the step is one step: who looks, and finds nothing, is in the same step the one who fetches. So there is one fetch and not one a reactor.
/// Nothing is held across a suspension, and whoever has to be woken is woken outside the lock.
package final class CacheStore: Sendable {
    private let shards: [GuardLock<CacheShard>]
    /// Bytes of answers on their way into the store.
    private let arriving = Atomic<Int>(0)
    private let bound: Atomic<Int>

    /// - Parameters:
    ///   - bytes: the bound of all answers together, bookkeeping included.
    ///   - shards: fewer for a small bound, so that a large answer still fits a shard.
    package init(bytes: Int, shards: Int = 16) {
        let count = max(1, min(shards, bytes / CacheStore.smallestShard))
        self.shards = (0..<count).map { _ in GuardLock(CacheShard(limit: bytes / count)) }
        bound = Atomic(bytes)
    }

    /// A shard holds at least this, so that what `largestObject` allows does not empty it.
    private static let smallestShard = 4 << 20

    /// The largest answer that is sure to be kept: a quarter of a shard.
    package static func largestObject(in bytes: Int) -> Int { bytes / max(1, min(16, bytes / smallestShard)) / 4 }

    /// The same for this store, whose number of shards stays over reloads.
    package func largestObject(in bytes: Int) -> Int { bytes / shards.count / 4 }

    private func shard(of key: CacheKey) -> GuardLock<CacheShard> {
        shards[Int(truncatingIfNeeded: (key.stableHash >> 40) % UInt64(shards.count))]
    }

    // MARK: Requests

    /// What a request finds.
    package enum Entrance: Sendable {
        case serve(StoredAnswer, Reuse)
        /// Serve it, and fetch with the ticket meanwhile; without one somebody does already.
        case serveStale(StoredAnswer, FillTicket?)
        /// Fetch; with what is stored to be confirmed, if anything is, and with a ticket if others may wait for it.
        case fetch(StoredAnswer?, FillTicket?, Miss)
        /// The waiter will be woken.
        case wait
        /// only-if-cached, and it is not.
        case unsatisfiable
    }

    /// Why nothing stored could be served: `fwd` of RFC 9211 §2.2.
    package enum Miss: String, Sendable {
        case uriMiss = "uri-miss"
        case varyMiss = "vary-miss"
        case stale
        case request
    }

    /// What a request is, to the store.
    package struct Question {
        package let key: CacheKey
        package let partition: [UInt8]
        package let directives: RequestDirectives
        /// Whether its answer may become that of others, so that it may fetch for them, and they for it.
        package let mayShare: Bool
        /// Whether somebody can fetch behind its back; else it fetches itself while others are served what is stale.
        package let mayRefresh: Bool
        /// Who is to be woken; nil: it does not wait.
        package let waiter: (any CacheWaiter)?
        /// The upstream just failed at this: what is stale may do.
        package let afterFailure: Bool
    }

    /// Looks, and if there is nothing to serve, settles in the same step who fetches.
    package func enter(_ question: Question, _ head: RequestHead, now: Instant) -> Entrance {
        shard(of: question.key).withLock { shard in
            let found = shard.find(question.key, question.partition, head.fields)
            var miss = Miss.uriMiss
            if let found {
                let reuse = Reuse(found.answer.freshness, question.directives, now: now)
                if reuse == .fresh || reuse == .staleAccepted {
                    shard.touch(found.slot)
                    return .serve(found.answer, reuse)
                }
                if reuse == .staleWhileRevalidating, let entrance = serveStale(found.answer, question, head, &shard) {
                    shard.touch(found.slot)
                    return entrance
                }
                if question.afterFailure, Reuse.isAllowedOnError(found.answer.freshness, question.directives, now: now) {
                    return .serve(found.answer, .staleAccepted)
                }
                miss = found.answer.freshness.isFresh(at: now) && !found.answer.freshness.needsValidation ? .request : .stale
            } else if shard.hasOther(question.key, question.partition) {
                miss = .varyMiss
            }
            if question.directives.onlyIfCached { return .unsatisfiable }
            let stored = found?.answer
            guard question.mayShare, !shard.isPassed(question.key, now: now) else { return .fetch(stored, nil, miss) }
            let scope = shard.scope(question.key, question.partition, head.fields)
            switch shard.join(question.key, question.partition, scope, waiter: question.waiter) {
            case .waits: return .wait
            case .full: return .fetch(stored, nil, miss)
            case .began(let id): return .fetch(stored, FillTicket(store: self, key: question.key, id: id), miss)
            }
        }
    }

    /// What is served while one fetches: with the ticket for that, unless a fetch is under way. Nil: the request itself is to fetch.
    private func serveStale(
        _ answer: StoredAnswer, _ question: Question, _ head: RequestHead, _ shard: inout CacheShard
    ) -> Entrance? {
        let scope = shard.scope(question.key, question.partition, head.fields)
        if shard.hasFill(question.key, question.partition, scope) { return .serveStale(answer, nil) }
        guard question.mayRefresh else { return question.mayShare ? nil : .serveStale(answer, nil) }
        if case .began(let id) = shard.join(question.key, question.partition, scope, waiter: nil) {
            return .serveStale(answer, FillTicket(store: self, key: question.key, id: id))
        }
        return .serveStale(answer, nil)
    }

    /// A waiter does not wait any more. It may have been woken already.
    package func leave(_ key: CacheKey, _ waiter: any CacheWaiter) { shard(of: key).withLock { $0.leave(key, waiter) } }

    func end(_ key: CacheKey, _ id: UInt64, _ end: FillTicket.End) {
        guard let (waiters, news) = shard(of: key).withLock({ $0.end(key, id, end) }) else { return }
        for waiter in waiters {
            switch news {
            case .look: waiter.wake(.look)
            case .lookAfterFailure: waiter.wake(.lookAfterFailure)
            case .alone: waiter.wake(.alone)
            case .takeOver: waiter.wake(.takeOver(FillTicket(store: self, key: key, id: id)))
            }
        }
    }

    // MARK: Answers

    /// What is stored for a request, whatever its freshness.
    package func peek(_ key: CacheKey, _ partition: [UInt8], _ head: RequestHead) -> StoredAnswer? {
        shard(of: key).withLock { $0.find(key, partition, head.fields)?.answer }
    }

    @discardableResult
    package func store(_ answer: StoredAnswer, for request: borrowing FieldSection) -> Bool {
        change(shard(of: answer.key)) { $0.store(answer, for: request) }
    }

    @discardableResult
    package func replace(_ old: StoredAnswer, by new: StoredAnswer, for request: borrowing FieldSection) -> Bool {
        change(shard(of: old.key)) { $0.replace(old, by: new, for: request) }
    }

    package func remove(_ answer: StoredAnswer) { change(shard(of: answer.key)) { $0.remove(answer) } }

    /// A step that may remove answers, which are freed after it.
    private func change<Result>(_ shard: GuardLock<CacheShard>, _ step: (inout CacheShard) -> Result) -> Result {
        shard.withLock { (step(&$0), $0.takeDropped()) }.0
    }

    /// Reserves room for bytes on their way in; false where answers under way have filled half of the bound already.
    func reserve(_ bytes: Int) -> Bool {
        let (before, _) = arriving.add(bytes, ordering: .relaxed)
        if before + bytes <= bound.load(ordering: .relaxed) / 2 { return true }
        arriving.subtract(bytes, ordering: .relaxed)
        return false
    }

    func release(_ bytes: Int) { arriving.subtract(bytes, ordering: .relaxed) }

    // MARK: Purging

    /// Forgets all answers to a URI, of every variant, route and upstream. Returns how many there were.
    @discardableResult
    package func purge(_ key: CacheKey, now: Instant) -> Int { change(shard(of: key)) { $0.purge(key, now: now) } }

    /// Forgets all answers with a tag.
    @discardableResult
    package func purge(tag: String, now: Instant) -> Int {
        let hash = AnswerTerms.tag(Array(tag.utf8).span)
        return purge { $0.beginPurge(tag: hash, now: now) }
    }

    @discardableResult
    package func purgeAll(now: Instant) -> Int { purge { $0.beginPurgeOfAll(now: now) } }

    /// In steps, so that no reactor waits long for the lock.
    private func purge(_ begin: (inout CacheShard) -> [StoredAnswer]) -> Int {
        var count = 0
        for shard in shards {
            let answers = shard.withLock { begin(&$0) }
            count += answers.count
            for start in stride(from: 0, to: answers.count, by: 128) {
                change(shard) { shard in
                    for answer in answers[start..<min(start + 128, answers.count)] { shard.remove(answer) }
                }
            }
        }
        return count
    }

    // MARK: State

    package struct Usage: Equatable, Sendable {
        package var answers = 0
        package var bytes = 0
        package var limit = 0
        package var evictions: UInt64 = 0
        package init(limit: Int = 0) { self.limit = limit }
    }

    package var usage: Usage {
        var usage = Usage(limit: bound.load(ordering: .relaxed))
        for shard in shards {
            shard.withLock {
                usage.answers += $0.count
                usage.bytes += $0.bytes
                usage.evictions &+= $0.evictions
            }
        }
        return usage
    }

    /// A new bound after a reload; the number of shards stays.
    package func setLimit(bytes: Int) {
        bound.store(bytes, ordering: .relaxed)
        for shard in shards { change(shard) { $0.setLimit(bytes / shards.count) } }
    }
}
