// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
package import Core
import Glibc

/// The keys under which session tickets are sealed, shared by all reactors and all contexts that should resume each
/// other's sessions (RFC 5077 §4).
///
/// Two generations: tickets are made under the current one; those of the previous one still resume and are renewed; older
/// ones lead to a full handshake and no failure (D04). A key that was dropped is wiped, and with it the chance to decrypt
/// recorded TLS 1.2 sessions.
package final class TicketKeys: Sendable, Equatable {
    /// Name (16 bytes), AES-256 key (32), HMAC-SHA256 key (32).
    package static let keyBytes = 80
    package static let defaultInterval: Duration = .seconds(12 * 3_600)

    /// One generation: 80 bytes, wiped when nobody uses them any more. Sendable: never changed after it was made.
    @safe final class Generation: @unchecked Sendable {
        private let bytes: UnsafeMutablePointer<UInt8>

        /// Fresh ones, from OpenSSL's random source.
        init() {
            unsafe bytes = .allocate(capacity: TicketKeys.keyBytes)
            // Without randomness there is no TLS either; an all-zero key must not exist.
            let made = unsafe RAND_bytes(bytes, Int32(TicketKeys.keyBytes))
            precondition(made == 1, "no randomness for ticket keys")
        }

        init(_ source: [UInt8]) {
            precondition(source.count == TicketKeys.keyBytes)
            unsafe bytes = .allocate(capacity: TicketKeys.keyBytes)
            for i in source.indices { unsafe bytes[i] = source[i] }
        }

        deinit {
            unsafe OPENSSL_cleanse(bytes, TicketKeys.keyBytes)
            unsafe bytes.deallocate()
        }

        func copyName(to name: UnsafeMutablePointer<UInt8>) { unsafe name.update(from: bytes, count: 16) }

        func hasName(_ name: UnsafePointer<UInt8>) -> Bool { unsafe memcmp(name, bytes, 16) == 0 }

        /// Readies OpenSSL's cipher and MAC for one ticket.
        func prepare(_ cipher: OpaquePointer?, _ mac: OpaquePointer?, iv: UnsafePointer<UInt8>?, encrypting: Bool) -> Bool {
            unsafe holdfast_ticket_set_keys(cipher, mac, TicketKeys.algorithm.raw, bytes + 16, iv, encrypting ? 1 : 0) == 1
        }
    }

    private struct State: Sendable {
        var current: Generation
        var previous: Generation?
        var rotatedAt: Instant
        var interval: Duration
    }

    private let state: GuardLock<State>

    package static func == (left: TicketKeys, right: TicketKeys) -> Bool { left === right }

    /// Fresh keys. `interval`: how long one generation seals tickets.
    package init(now: Instant = .origin, interval: Duration = TicketKeys.defaultInterval) {
        state = GuardLock(State(current: Generation(), previous: nil, rotatedAt: now, interval: interval))
    }

    /// Given keys, `keyBytes` each, for several processes that resume each other's sessions. Nil when a length is wrong.
    package init?(
        current: [UInt8], previous: [UInt8]? = nil, now: Instant = .origin, interval: Duration = TicketKeys.defaultInterval
    ) {
        guard current.count == TicketKeys.keyBytes, previous.map({ $0.count == TicketKeys.keyBytes }) ?? true else { return nil }
        state = GuardLock(
            State(current: Generation(current), previous: previous.map(Generation.init), rotatedAt: now, interval: interval))
    }

    /// Starts a new generation if the current one has served for the interval; after two of them nothing old is kept.
    /// Returns whether it did. Any thread; a caller's timer drives it.
    @discardableResult
    package func rotate(now: Instant) -> Bool {
        guard state.withLock({ now.nanoseconds(since: $0.rotatedAt) >= $0.interval.wholeNanoseconds }) else { return false }
        let fresh = Generation()
        // The dropped generation is wiped outside the lock.
        let dropped: (Bool, Generation?) = state.withLock { state in
            let age = now.nanoseconds(since: state.rotatedAt)
            let wait = state.interval.wholeNanoseconds
            guard age >= wait else { return (false, nil) }
            let old = state.previous
            state.previous = age.subtractingReportingOverflow(wait).partialValue >= wait ? nil : state.current
            state.current = fresh
            state.rotatedAt = now
            return (true, old)
        }
        return dropped.0
    }

    /// Counts the age of the current generation from `now`: keys that were made before there was a clock.
    package func begin(now: Instant) { state.withLock { $0.rotatedAt = now } }

    /// How long a generation seals tickets from now on.
    package func setInterval(_ interval: Duration) { state.withLock { $0.interval = interval } }

    var current: Generation { state.withLock { $0.current } }

    /// The generation that sealed a ticket, and whether a newer one exists; nil when it is not ours or too old.
    func generation(named name: UnsafePointer<UInt8>) -> (generation: Generation, isCurrent: Bool)? {
        state.withLock { state in
            if unsafe state.current.hasName(name) { return (state.current, true) }
            if let previous = state.previous, unsafe previous.hasName(name) { return (previous, false) }
            return nil
        }
    }

    /// Fetched once: OpenSSL 3 looks an algorithm up by name each time otherwise. Never freed, never changed.
    @safe private struct Algorithm: @unchecked Sendable {
        let raw: OpaquePointer?
    }
    private static let algorithm = unsafe Algorithm(raw: EVP_CIPHER_fetch(nil, "AES-256-CBC", nil))
}
