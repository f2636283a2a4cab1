// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What other threads hand to a reactor: a stack without locks that the reactor takes whole and turns round.
///
/// One word says all: empty, asleep (empty, and the reactor waits in the kernel), or the newest message. So a sender knows
/// from its own compare-and-exchange whether it must wake the reactor, and exactly one sender does.
@safe struct Mailbox: ~Copyable {
    /// One message. Immutable once it is linked; `next` is written only by its sender before that.
    final class Message: @unchecked Sendable {
        fileprivate var next: UInt = 0
        let content: Content

        enum Content {
            case closure(() -> Void)
            case job(UnownedJob)
        }

        init(_ content: Content) { self.content = content }
    }

    private static var empty: UInt { 0 }
    private static var asleep: UInt { 1 }
    private let newest = Atomic<UInt>(0)

    /// Adds a message from any thread. True: the caller must wake the reactor.
    func push(_ message: Message) -> Bool {
        // The word owns the reference until the reactor takes it.
        let word = unsafe UInt(bitPattern: Unmanaged.passRetained(message).toOpaque())
        var old = newest.load(ordering: .relaxed)
        while true {
            message.next = old == Mailbox.asleep ? Mailbox.empty : old
            // Releasing: what the message carries is visible to whoever takes it.
            let (done, seen) = newest.weakCompareExchange(
                expected: old, desired: word, successOrdering: .releasing, failureOrdering: .relaxed)
            if done { return old == Mailbox.asleep }
            old = seen
        }
    }

    /// Whether messages wait. For the reactor.
    var isEmpty: Bool { newest.load(ordering: .relaxed) <= Mailbox.asleep }

    /// Announces that the reactor is going to wait. False: there is mail, do not wait.
    func beginSleep() -> Bool {
        newest.compareExchange(
            expected: Mailbox.empty, desired: Mailbox.asleep, successOrdering: .acquiringAndReleasing, failureOrdering: .relaxed
        ).exchanged
    }

    /// Takes all messages, oldest first, and ends the sleep. For the reactor.
    func takeAll(_ body: (Message.Content) -> Void) {
        if newest.load(ordering: .relaxed) == Mailbox.empty { return }
        // Acquiring: see what the senders released.
        var word = newest.exchange(Mailbox.empty, ordering: .acquiring)
        var oldest: UInt = Mailbox.empty
        while word > Mailbox.asleep, let message = message(word) {
            let following = message.next
            message.next = oldest
            oldest = word
            word = following
        }
        while oldest > Mailbox.asleep, let message = message(oldest) {
            let word = oldest
            oldest = message.next
            release(word)
            body(message.content)
        }
    }

    private func message(_ word: UInt) -> Message? {
        // A word above `asleep` is a reference that `push` retained and nobody has released yet.
        guard let pointer = unsafe UnsafeRawPointer(bitPattern: word) else { return nil }
        return unsafe Unmanaged<Message>.fromOpaque(pointer).takeUnretainedValue()
    }

    private func release(_ word: UInt) {
        guard let pointer = unsafe UnsafeRawPointer(bitPattern: word) else { return }
        unsafe Unmanaged<Message>.fromOpaque(pointer).release()
    }

    deinit { takeAll { _ in } }
}
