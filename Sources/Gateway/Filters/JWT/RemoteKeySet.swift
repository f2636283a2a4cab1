// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Credentials
import HTTP
import Reactor
import Telemetry
import Upstream

/// A key set that a service has, shared by all reactors: one fetch at a time whoever asks for it, the last good one while there is no
/// newer (case E13). When to fetch is `KeySetRefresh`'s to say; this does it, and has those who wait told.
final class RemoteKeySet: Sendable {
    /// What a check goes by. Each set that differs from the one before has a number of its own, by which remembered tokens are known.
    struct Current: Sendable {
        let keys: KeySet
        let version: UInt64
    }

    enum Need {
        case ready(Current)
        case wait
        case unavailable(until: Instant)
    }

    private struct State {
        var refresh: KeySetRefresh
        var current: Current?
        var digest: Digest256?
        /// Shards on which requests wait.
        var waiting: [Int: Reactor] = [:]
    }

    /// Who waits on one reactor, touched there alone.
    private final class Waiting: @unchecked Sendable {
        var calls: [() -> Void] = []
    }

    /// A fetch takes no longer, so that nobody waits for a service that hangs.
    static let timeout: Duration = .seconds(5)

    private let settings: Configuration.JWTFilter.RemoteKeys
    private let reader: JSONWebKeySet
    private let state: GuardLock<State>
    private let waiting: [Waiting]

    init(_ settings: Configuration.JWTFilter.RemoteKeys, allowed: [TokenAlgorithm], shards: Int) {
        self.settings = settings
        reader = JSONWebKeySet(allowed: allowed, acceptsSecrets: false)
        var refresh = KeySetRefresh.Settings()
        refresh.refreshEvery = settings.refresh
        refresh.minimumInterval = settings.minimumInterval
        refresh.keepFor = settings.keep
        state = GuardLock(State(refresh: KeySetRefresh(refresh)))
        waiting = (0..<shards).map { _ in Waiting() }
    }

    /// What is there for a token; `missing`: it was found to name a key that the set does not have. On `.wait`, `call` is called on this reactor
    /// once the fetch is over; whoever has waited asks `afterFetch`.
    func need(_ pass: FilterPass, from upstream: Int, missing: Bool, _ call: @escaping () -> Void) -> Need {
        let shard = pass.home.shard
        let now = pass.home.reactor.now
        let (need, current) = state.withLock { state in
            let need = missing ? state.refresh.missedKey(at: now) : state.refresh.needed(at: now)
            if case .wait = need { state.waiting[shard] = pass.home.reactor }
            return (need, state.current)
        }
        switch need {
        case .ready(let startFetch):
            if startFetch { fetch(pass, from: upstream) }
            // There is one where the engine says so.
            return current.map { .ready($0) } ?? .unavailable(until: now)
        case .wait(let startFetch):
            waiting[shard].calls.append(call)
            if startFetch { fetch(pass, from: upstream) }
            return .wait
        case .unavailable(let until): return .unavailable(until: until)
        }
    }

    /// What is there after a fetch that was waited for, whatever came of it: nobody waits twice.
    func afterFetch(at now: Instant) -> Need {
        let current = state.withLock { $0.refresh.isUsable(at: now) ? $0.current : nil }
        return current.map { .ready($0) } ?? .unavailable(until: now.advanced(by: settings.minimumInterval))
    }

    /// Not on behalf of the request, which may end before: it goes on without it.
    private func fetch(_ pass: FilterPass, from upstream: Int) {
        let fetch = Subrequest(pass.home, to: upstream, in: pass.snapshot)
        fetch.head.method = .get
        let path = Array(settings.path.utf8)
        fetch.setTarget(path.span)
        let host = pass.snapshot.upstreams[upstream].ownAuthority
        fetch.head.authority = fetch.head.fields.store(host.span)
        fetch.head.fields.append(.accept, "application/jwk-set+json, application/json")
        fetch.start(timeout: RemoteKeySet.timeout, answerLimit: JSONWebKeySet.documentBytes) { self.fetched($0) }
    }

    private func fetched(_ fetch: Subrequest) {
        let now = fetch.home.reactor.now
        let problem: String?
        do throws(KeySetProblem) {
            try take(fetch, now)
            problem = nil
        } catch { problem = error.words }
        if let problem {
            state.withLock { $0.refresh.fetchEnded(good: false, at: now) }
            fetch.home.filterLog?.warning(
                "jwks", "the key set could not be fetched; the last good one goes on while it counts",
                [("upstream", settings.upstream), ("path", settings.path), ("problem", problem)])
        }
        let shards = state.withLock { state in
            defer { state.waiting = [:] }
            return state.waiting
        }
        for (shard, reactor) in shards.sorted(by: { $0.key < $1.key }) {
            let waiting = waiting[shard]
            if shard == fetch.home.shard { RemoteKeySet.wake(waiting) } else { reactor.post { RemoteKeySet.wake(waiting) } }
        }
    }

    private static func wake(_ waiting: Waiting) {
        let calls = waiting.calls
        waiting.calls = []
        for call in calls { call() }
    }

    private func take(_ fetch: Subrequest, _ now: Instant) throws(KeySetProblem) {
        switch fetch.result {
        case .answered?: break
        case .failed(let failure)?: throw KeySetProblem(words: failure.reason.rawValue)
        case .tooLong?: throw KeySetProblem(words: "it is longer than \(JSONWebKeySet.documentBytes) bytes")
        case .cancelled?, nil: throw KeySetProblem(words: "given up")
        }
        guard fetch.answer.status == 200 else { throw KeySetProblem(words: "the answer is \(fetch.answer.status)") }
        let bytes = fetch.body.withReadable { Array(copying: $0) }
        let keys = try reader.read(bytes.span)
        let digest = Digest256.sha256(bytes)
        let isNew = state.withLock { state in
            let isNew = state.digest != digest
            if isNew {
                state.current = Current(keys: keys, version: (state.current?.version ?? 0) &+ 1)
                state.digest = digest
            }
            state.refresh.fetchEnded(good: true, at: now)
            return isNew
        }
        if isNew {
            fetch.home.filterLog?.info(
                "jwks", "a new key set counts",
                [
                    ("upstream", settings.upstream), ("keys", "\(keys.keys.count)"),
                    ("ignored", keys.ignored.joined(separator: "; ")),
                ])
        }
    }
}
