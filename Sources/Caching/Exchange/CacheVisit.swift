// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP

/// One request's way past the cache: what was asked, what is to be done, and what is made of the answer that comes. Pure: it is told of events and
/// says what to do; the store is the only thing that it changes.
///
///     begin ─► reply · wait ─ woken ─► … · forward ─ answered ─► pass · reply · keep ─ received… completed
///                                                  └ failed ──► reply (stale) · pass
///
/// Confined to its request's reactor. Ends by `ended`, or by being dropped: what it holds goes back.
package final class CacheVisit {
    package enum Step: Sendable {
        /// Serve this; `refresh` is a fetch to begin behind the client's back.
        case reply(StoredAnswer, refresh: FillTicket?)
        /// Until the waiter is woken, but no longer than this; then call `waitEnded`.
        case wait(until: Instant)
        /// Send the request on; its head was made ready.
        case forward
        /// only-if-cached, and it is not: 504 (RFC 9111 §5.2.1.7).
        case unsatisfiable
    }

    package enum AnswerStep: Sendable {
        /// It goes its way; nothing is kept.
        case pass
        /// It goes its way, and each byte of it also to `received`.
        case keep
        /// The whole is wanted before the client is answered: it asked for a part of it, or whether it has changed.
        case collect
        /// Serve this in its place.
        case reply(StoredAnswer)
    }

    private enum Role {
        /// The cache has no part in it.
        case bystander
        /// It changes things: what it says of its target, if it succeeds, ends what is stored.
        case unsafe
        /// It fetches, to store.
        case fetching
        /// HEAD: it can confirm or end what is stored (§4.3.5).
        case probing
    }

    private let store: CacheStore
    private let policy: CachePolicy
    package let key: CacheKey
    private let partition: [UInt8]
    private let mayRefresh: Bool
    package let terms: RequestTerms
    package var status = CacheStatus()

    private var role = Role.bystander
    private var ticket: FillTicket?
    private weak var waiter: (any CacheWaiter)?
    private var isWaiting = false
    private var waits = 0
    private var waitLimit = Instant.never
    /// What is stored, stale, and asked about.
    private var validating: StoredAnswer?
    /// What may be served if the upstream fails.
    private var fallback: StoredAnswer?
    private var requestedAt = Instant.origin

    // The answer being kept.
    private var arriving: Arriving?
    private var body = ByteBuffer()
    private var reserved = 0
    /// Set-Cookie of a 304: it is for the client that asked, and is not stored.
    private var cookies: [[UInt8]] = []

    private struct Arriving {
        var answer: AnswerTerms
        var freshness: Freshness
        var variant: Variant
        var unix: Int64
    }

    private var fields = FieldSection()
    /// The request's fields when the cache looked: by these variants are told apart, as the next request's will be.
    private var asked = FieldSection()

    /// Rounds of waiting after which a request goes by itself.
    private static let waitRounds = 3

    /// - Parameters:
    ///   - namespace: tells apart what different routes and upstreams answer to one URI.
    ///   - isSecure: the scheme that the client used, as far as is known.
    ///   - isAuthenticated: a filter before this one has found out who asks.
    ///   - mayRefresh: whether the caller can fetch behind the client's back.
    package init(
        _ head: RequestHead, policy: CachePolicy, store: CacheStore, namespace: [UInt8], isSecure: Bool, isAuthenticated: Bool,
        mayRefresh: Bool = true
    ) {
        self.mayRefresh = mayRefresh
        self.store = store
        self.policy = policy
        terms = RequestTerms(head, isAuthenticated: isAuthenticated, heedsDirectives: policy.heedsRequests)
        key = CacheKey(head, isSecure: isSecure, ignoring: policy.ignoredParameters)
        partition = CacheVisit.partition(head, namespace, policy, isSecure: isSecure)
    }

    deinit { store.release(reserved) }

    /// What is told apart beside the key: the namespace, the configured fields, and a host or scheme that a trusted proxy before us vouches for
    /// and the upstream therefore builds its answer from.
    private static func partition(_ head: RequestHead, _ namespace: [UInt8], _ policy: CachePolicy, isSecure: Bool) -> [UInt8] {
        var out = namespace
        for name in policy.vary {
            out.append(0)
            if let value = Variant.value(of: name, in: head.fields) {
                out.append(61)
                out.append(contentsOf: value)
            }
        }
        var next = head.fields.first(.xForwardedHost)
        while let i = next {
            let isOwn = head.fields.withValue(i) { value in head.withBytes(head.authority) { value.equals($0) } }
            if !isOwn { head.fields.withValue(i) { out += [0, 104] + [UInt8](copying: $0) } }
            next = head.fields.first(.xForwardedHost, from: i + 1)
        }
        next = head.fields.first(.xForwardedProto)
        while let i = next {
            let isOwn = head.fields.withValue(i) { isSecure ? $0.equals("https") : $0.equals("http") }
            if !isOwn { head.fields.withValue(i) { out += [0, 112] + [UInt8](copying: $0) } }
            next = head.fields.first(.xForwardedProto, from: i + 1)
        }
        return out
    }

    // MARK: The request

    /// - Parameter waiter: whom to wake; kept weakly here and by the store while it waits.
    package func begin(_ head: RequestHead, now: Instant, waiter: (any CacheWaiter)?) -> Step {
        requestedAt = now
        self.waiter = waiter
        waitLimit = now.advanced(byNanoseconds: policy.collapseWait)
        if !terms.method.isSafe {
            role = .unsafe
            status.forward = .method
            return .forward
        }
        guard terms.method == .get || (terms.method == .head && policy.answersHead) else {
            status.forward = .method
            return .forward
        }
        if terms.hasBody || terms.isOverridden || terms.hasPrecondition {
            status.forward = .bypass
            return .forward
        }
        return enter(head, now: now, afterFailure: false)
    }

    private func enter(_ head: RequestHead, now: Instant, afterFailure: Bool) -> Step {
        let mayStore = terms.method == .get && !terms.directives.noStore
        let question = CacheStore.Question(
            key: key, partition: partition, directives: terms.directives,
            // What a Range brings is nobody else's.
            mayShare: mayStore && policy.collapses && !terms.directives.noCache && !terms.isRange && waits < CacheVisit.waitRounds,
            mayRefresh: mayStore && mayRefresh, waiter: now < waitLimit ? waiter : nil, afterFailure: afterFailure)
        switch store.enter(question, head, now: now) {
        case .serve(let answer, .staleAccepted) where afterFailure:
            serveAfterFailure(answer, now: now)
            return .reply(answer, refresh: nil)
        case .serve(let answer, _):
            serve(answer, now: now)
            return .reply(answer, refresh: nil)
        case .serveStale(let answer, let ticket):
            serve(answer, now: now)
            return .reply(answer, refresh: ticket)
        case .wait:
            waits += 1
            isWaiting = true
            status.collapsed = true
            return .wait(until: waitLimit)
        case .unsatisfiable:
            status.detail = "only-if-cached"
            return .unsatisfiable
        case .fetch(let stored, let ticket, let miss):
            status.forward = .init(miss)
            status.collapsed = false
            return fetch(head, stored, ticket, now: now)
        }
    }

    private func serve(_ answer: StoredAnswer, now: Instant) {
        status.ttl = -answer.freshness.staleness(at: now) / 1_000_000_000
        // One that waited was forwarded, by another (RFC 9211 §2.6).
        if waits > 0 { status.forward = .uriMiss } else { status.isHit = true }
    }

    /// Makes the request ready to be sent.
    private func fetch(_ head: RequestHead, _ stored: StoredAnswer?, _ ticket: FillTicket?, now: Instant) -> Step {
        requestedAt = now
        self.ticket = ticket
        fallback = stored.flatMap { Reuse.isAllowedOnError($0.freshness, terms.directives, now: now) ? $0 : nil }
        if terms.method == .head {
            role = .probing
            validating = stored
            asked = head.fields.copy()
            return .forward
        }
        role = .fetching
        asked = head.fields.copy()
        // A range of what is not stored is the origin's to cut; of what is stored, the whole is confirmed and cut here.
        if terms.isRange && stored == nil { return .forward }
        let asksForOthers = ticket != nil || stored?.hasValidator == true
        if asksForOthers || terms.isRange { hold(head) }
        if let stored, stored.hasValidator {
            validating = stored
            stored.writeValidators(into: head)
        }
        return .forward
    }

    /// Makes a copy of the request that was just served stale the one that fetches anew, behind the client's back (RFC 5861 §3).
    package func beginRefresh(of stored: StoredAnswer, with ticket: FillTicket, _ head: RequestHead, now: Instant) {
        requestedAt = now
        self.ticket = ticket
        role = .fetching
        asked = head.fields.copy()
        hold(head)
        if stored.hasValidator {
            validating = stored
            stored.writeValidators(into: head)
        }
    }

    /// Takes the client's own conditions out of the request, so that the whole answer comes; they are answered here.
    private func hold(_ head: RequestHead) {
        for i in terms.ifNoneMatch { head.fields.remove(at: i) }
        for i in [terms.ifModifiedSince, terms.range, terms.ifRange] { if let i { head.fields.remove(at: i) } }
        holdsConditions = true
    }

    private var holdsConditions = false

    /// What became of the fetch that was waited for.
    package func woken(_ news: FillNews, _ head: RequestHead, now: Instant) -> Step {
        isWaiting = false
        switch news {
        case .look: return enter(head, now: now, afterFailure: false)
        case .lookAfterFailure:
            waits = CacheVisit.waitRounds
            return enter(head, now: now, afterFailure: true)
        case .alone: return goAlone(head, now: now)
        case .takeOver(let ticket):
            status.forward = .uriMiss
            status.collapsed = false
            return fetch(head, store.peek(key, partition, head), ticket, now: now)
        }
    }

    /// The wait took too long.
    package func waitEnded(_ head: RequestHead, now: Instant) -> Step {
        leave()
        waits = CacheVisit.waitRounds
        return enter(head, now: now, afterFailure: true)
    }

    private func goAlone(_ head: RequestHead, now: Instant) -> Step {
        waits = CacheVisit.waitRounds
        return enter(head, now: now, afterFailure: false)
    }

    private func leave() {
        guard isWaiting, let waiter else { return }
        isWaiting = false
        store.leave(key, waiter)
    }

    // MARK: The answer

    /// The upstream's head. `request` is the request's, with the fields as they were sent.
    package func answered(_ head: ResponseHead, _ request: RequestHead, now: Instant, unix: Int64) -> AnswerStep {
        status.forwardStatus = head.status
        switch role {
        case .bystander: return .pass
        case .unsafe:
            if (200..<400).contains(head.status) { invalidate(head, now: now) }
            return .pass
        case .probing, .fetching: break
        }
        if let stored = validating, head.status == 304, role == .fetching {
            return confirmed(stored, head, request, now: now, unix: unix)
        }
        if let fallback, Storability.isFailure(head.status), Reuse.isAllowedOnError(fallback.freshness, terms.directives, now: now)
        {
            settle(.failed(servesStale: true))
            serveAfterFailure(fallback, now: now)
            return .reply(fallback)
        }
        if role == .probing {
            probed(head, request, now: now, unix: unix)
            return .pass
        }
        return fetched(head, request, now: now, unix: unix)
    }

    private func fetched(_ head: ResponseHead, _ request: RequestHead, now: Instant, unix: Int64) -> AnswerStep {
        let answer = AnswerTerms(head, unix: unix)
        var terms = terms
        if holdsConditions {
            terms.range = nil
            terms.ifRange = nil
        }
        if let refusal = Storability.refusal(terms, answer, policy) {
            notStored(refusal.rawValue, answer, now: now)
            return .pass
        }
        guard let freshness = Freshness(terms, answer, policy, requestedAt: requestedAt, receivedAt: now, unix: unix) else {
            notStored("freshness", answer, now: now)
            return .pass
        }
        guard let variant = Variant(answer.vary, before: asked, after: request.fields) else {
            notStored("vary", answer, now: now)
            return .pass
        }
        fields = StoredFields.of(head, unix: unix)
        arriving = Arriving(answer: answer, freshness: freshness, variant: variant, unix: unix)
        guard isOfUse(freshness, now: now) else {
            notStored("freshness", answer, now: now)
            return .pass
        }
        status.stored = true
        if let length = answer.contentLength, reserve(Int(clamping: length)) { body.reserve(Int(clamping: length)) }
        // The client's own conditions were held back: the whole is looked at before it is answered.
        return holdsConditions && answer.status == 200 && (self.terms.isRange || self.terms.isConditional) ? .collect : .keep
    }

    /// A stored answer that is never fresh, cannot be confirmed and must not be served stale only takes room.
    private func isOfUse(_ freshness: Freshness, now: Instant) -> Bool {
        if freshness.isFresh(at: now) && !freshness.needsValidation { return true }
        if freshness.staleIfError > 0 || freshness.staleWhileRevalidate > 0 { return true }
        var hasValidator = false
        fields.forEachLive { i in
            if fields.entries[i].known == .etag || fields.withBytes(fields.entries[i].name, { $0.equals("last-modified") }) {
                hasValidator = true
            }
        }
        return hasValidator
    }

    private func notStored(_ why: String, _ answer: AnswerTerms, now: Instant) {
        arriving = nil
        status.stored = false
        status.detail = why
        // The origin has a newer word than what is stored; a failure is none.
        if let validating, !Storability.isFailure(answer.status) { store.remove(validating) }
        if Storability.isFailure(answer.status) {
            settle(.failed(servesStale: false))
        } else {
            settle(.uncacheable(until: now.advanced(byNanoseconds: policy.passFor)))
        }
    }

    /// Bytes of the answer's body.
    package func received(_ bytes: Span<UInt8>, now: Instant) {
        guard arriving != nil else { return }
        if body.count + bytes.count > policy.objectBytes || !reserve(body.count + bytes.count) {
            giveUp(now: now)
            return
        }
        body.append(bytes)
    }

    private func giveUp(now: Instant) {
        arriving = nil
        body.removeAll()
        body.releaseStorage()
        store.release(reserved)
        reserved = 0
        settle(.uncacheable(until: now.advanced(byNanoseconds: policy.passFor)))
    }

    private func reserve(_ bytes: Int) -> Bool {
        if bytes <= reserved { return true }
        // In steps, so that not each packet asks.
        for step in [max(bytes - reserved, min(65_536, policy.objectBytes)), bytes - reserved] where store.reserve(step) {
            reserved += step
            return true
        }
        return false
    }

    /// The answer came whole. Returns what was stored.
    @discardableResult
    package func completed(now: Instant) -> StoredAnswer? {
        guard let kept = arriving else { return nil }
        arriving = nil
        if let length = kept.answer.contentLength, length != UInt64(body.count) {
            giveUp(now: now)
            return nil
        }
        var fields = FieldSection()
        swap(&fields, &self.fields)
        let answer = StoredAnswer(
            key: key, partition: partition, variant: kept.variant, status: kept.answer.status, fields: fields,
            body: StoredBody(copying: body), freshness: kept.freshness, terms: kept.answer, unix: kept.unix)
        body.removeAll()
        body.releaseStorage()
        store.release(reserved)
        reserved = 0
        store.store(answer, for: asked)
        // One that nobody may use without asking is of no use to those who wait.
        let isShared = kept.freshness.isFresh(at: now) && !kept.freshness.needsValidation
        settle(isShared ? .stored : .uncacheable(until: now.advanced(byNanoseconds: policy.passFor)))
        return answer
    }

    /// No answer came, or it broke off. The stored one to serve in its place, if nothing was sent yet and that is allowed.
    package func failed(mayReply: Bool, now: Instant) -> StoredAnswer? {
        arriving = nil
        guard let fallback, role == .fetching || role == .probing,
            Reuse.isAllowedOnError(fallback.freshness, terms.directives, now: now)
        else {
            settle(.failed(servesStale: false))
            return nil
        }
        settle(.failed(servesStale: true))
        guard mayReply else { return nil }
        serveAfterFailure(fallback, now: now)
        return fallback
    }

    private func serveAfterFailure(_ answer: StoredAnswer, now: Instant) {
        status.isHit = true
        status.forward = nil
        status.ttl = -answer.freshness.staleness(at: now) / 1_000_000_000
        status.detail = "stale-if-error"
    }

    /// It is over, however it ended: who waits is not forgotten.
    package func ended() {
        leave()
        arriving = nil
        ticket = nil  // unsettled, it is handed over
        body.removeAll()
        body.releaseStorage()
        store.release(reserved)
        reserved = 0
    }

    private func settle(_ end: FillTicket.End) { ticket.take()?.settle(end) }

    // MARK: What is stored, confirmed or ended

    /// 304 to our own question (§4.3.3, §4.3.4).
    private func confirmed(
        _ stored: StoredAnswer, _ head: ResponseHead, _ request: RequestHead, now: Instant, unix: Int64
    ) -> AnswerStep {
        var next = head.fields.first(.setCookie)
        while let i = next {
            cookies.append(head.fields.withValue(i) { [UInt8](copying: $0) })
            next = head.fields.first(.setCookie, from: i + 1)
        }
        let fresh = freshen(stored, by: head, request, now: now, unix: unix)
        status.ttl = -fresh.answer.freshness.staleness(at: now) / 1_000_000_000
        status.stored = fresh.isStored
        let isShared = fresh.isStored && fresh.answer.freshness.isFresh(at: now) && !fresh.answer.freshness.needsValidation
        settle(isShared ? .stored : .uncacheable(until: now.advanced(byNanoseconds: policy.passFor)))
        return .reply(fresh.answer)
    }

    /// Makes a new stored answer of one that was confirmed, and puts it in its place if it may still be stored.
    private func freshen(
        _ stored: StoredAnswer, by head: ResponseHead, _ request: RequestHead, now: Instant, unix: Int64
    ) -> (answer: StoredAnswer, isStored: Bool) {
        let whole = ResponseHead()
        whole.status = stored.status
        whole.framing = .length(UInt64(stored.body.count))
        let fields = StoredFields.freshened(stored.fields, by: head, unix: unix)
        whole.fields.append(contentsOf: fields)
        // Age is of this answer and not stored.
        if let i = head.fields.first(.age) { whole.fields.copy(i, of: head.fields) }
        let answer = AnswerTerms(whole, unix: unix)
        var terms = terms
        terms.method = .get
        terms.range = nil
        if let freshness = Freshness(terms, answer, policy, requestedAt: requestedAt, receivedAt: now, unix: unix),
            let variant = Variant(answer.vary, before: asked, after: request.fields)
        {
            let next = StoredAnswer(
                key: key, partition: partition, variant: variant, status: stored.status,
                fields: fields,
                body: stored.body, freshness: freshness, terms: answer, unix: unix)
            if Storability.refusal(terms, answer, policy) == nil {
                // Replaced only where it still stands: what was purged meanwhile stays gone.
                return (next, store.replace(stored, by: next, for: asked))
            }
            // The origin's newest word on it may not be stored, so that the older one is not relied on either.
            store.remove(stored)
            return (next, false)
        }
        store.remove(stored)
        return (stored, false)
    }

    /// The answer to a HEAD (§4.3.5): the same representation is confirmed, another one ends what is stored.
    private func probed(_ head: ResponseHead, _ request: RequestHead, now: Instant, unix: Int64) {
        guard let stored = validating, head.status == 200 else { return }
        let answer = AnswerTerms(head, unix: unix)
        let tag = answer.etag.map { i in head.fields.withValue(i) { [UInt8](copying: $0) } }
        let hasSameTag = stored.withETag { old in
            guard let tag else { return old == nil }
            guard let old else { return false }
            return old.equals(tag.span)
        }
        let hasSameLength = answer.contentLength == nil || answer.contentLength == UInt64(stored.body.count)
        if stored.hasValidator, hasSameTag, hasSameLength, answer.lastModified == stored.lastModified {
            _ = freshen(stored, by: head, request, now: now, unix: unix)
        } else {
            store.remove(stored)
        }
    }

    /// §4.4: an unsafe request succeeded.
    private func invalidate(_ head: ResponseHead, now: Instant) {
        store.purge(key, now: now)
        head.fields.forEachLive { i in
            let entry = head.fields.entries[i]
            guard entry.known == .location || head.fields.withBytes(entry.name, { $0.equals("content-location") }) else { return }
            // Only what is of the same origin: an answer must not end what another site stored (§4.4).
            let other = head.fields.withValue(i) { key.resolving($0, ignoring: policy.ignoredParameters) }
            if let other, other.hasSameOrigin(as: key) { store.purge(other, now: now) }
        }
    }

    // MARK: Writing

    /// Writes the head of a reply, and says which bytes of the body go with it.
    package func write(_ answer: StoredAnswer, _ request: RequestHead, now: Instant, into head: ResponseHead) -> Range<Int> {
        let reply = Reply(to: terms, request.fields, answer)
        reply.write(answer, for: terms.method, now: now, into: head)
        for cookie in cookies { head.fields.append(.setCookie, cookie.span) }
        status.append(to: &head.fields)
        return reply.body(of: answer, for: terms.method)
    }
}
