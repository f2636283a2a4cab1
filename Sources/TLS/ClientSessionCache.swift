// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core

/// Owns one reference to an `SSL_SESSION`. Sendable: OpenSSL does not change a session that it has handed out, and counts
/// references atomically.
@safe final class Session: @unchecked Sendable {
    let raw: OpaquePointer
    init(owning raw: OpaquePointer) { unsafe self.raw = raw }
    deinit { unsafe SSL_SESSION_free(raw) }
}

/// Sessions that a client may resume, by server name and endpoint, so that a reconnect costs no public-key operation.
///
/// A TLS 1.3 session is taken out when it is offered, since its ticket is for one use (RFC 8446 §C.4); one of TLS 1.2
/// stays. A few a key, because a pool opens several connections; bounded in all, the key stored longest ago goes first. One
/// costs about 20 KiB, most of it the server's parsed certificate.
final class ClientSessionCache: Sendable {
    struct Key: Hashable, Sendable {
        var serverName: String
        var endpoint: String
    }

    static let keyLimit = 256
    static let sessionsPerKey = 4

    private struct Entry: Sendable {
        var sessions: [Session]
        var storedAt: UInt64
    }
    private struct State: Sendable {
        var entries: [Key: Entry] = [:]
        var clock: UInt64 = 0
    }
    private let state = GuardLock(State())

    func store(_ session: Session, for key: Key) {
        state.withLock { state in
            state.clock &+= 1
            var entry = state.entries[key] ?? Entry(sessions: [], storedAt: 0)
            entry.storedAt = state.clock
            if entry.sessions.count >= ClientSessionCache.sessionsPerKey { entry.sessions.removeFirst() }
            entry.sessions.append(session)
            state.entries[key] = entry
            if state.entries.count > ClientSessionCache.keyLimit,
                let oldest = state.entries.min(by: { $0.value.storedAt < $1.value.storedAt })?.key
            {
                state.entries[oldest] = nil
            }
        }
    }

    /// The newest session for `key` that can still be resumed.
    func take(_ key: Key) -> Session? {
        state.withLock { state in
            while let session = state.entries[key]?.sessions.popLast() {
                guard unsafe SSL_SESSION_is_resumable(session.raw) == 1 else { continue }
                if unsafe SSL_SESSION_get_protocol_version(session.raw) < TLS1_3_VERSION {
                    state.entries[key]?.sessions.append(session)
                }
                return session
            }
            state.entries[key] = nil
            return nil
        }
    }

    var count: Int { state.withLock { $0.entries.values.reduce(0) { $0 + $1.sessions.count } } }
}
