// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Credentials
import Reactor

/// The passwords that one reactor has to hash: one at a time, a slice a turn of the loop, so that everything else goes on in between.
/// Requests with the same pair wait for one hash.
///
/// Confined to its reactor.
final class PasswordQueue {
    /// Rounds in a slice: about half a millisecond.
    static let slice = 1_000

    private struct Job {
        let fingerprint: Digest256
        var check: PasswordCheck
        let expected: PasswordHash
        let isKnown: Bool
        var waiting: [(Bool) -> Void]
    }

    private let reactor: Reactor
    private let limit: Int
    private var jobs: [Job] = []
    private var waiting = 0
    private var isRunning = false

    init(reactor: Reactor, limit: Int) {
        self.reactor = reactor
        self.limit = limit
    }

    /// Calls `answer` on a later turn with whether the password is right. False: there are too many already.
    func check(
        _ credential: BasicCredential, fingerprint: Digest256, against hash: PasswordHash, isKnown: Bool,
        _ answer: @escaping (Bool) -> Void
    ) -> Bool {
        guard waiting < limit else { return false }
        waiting += 1
        if let i = jobs.firstIndex(where: { $0.fingerprint == fingerprint && $0.expected == hash }) {
            jobs[i].waiting.append(answer)
        } else {
            let password = credential.password
            jobs.append(
                Job(
                    fingerprint: fingerprint, check: PasswordCheck(password.span, salt: hash.salt, rounds: hash.rounds),
                    expected: hash,
                    isKnown: isKnown, waiting: [answer]))
        }
        if !isRunning {
            isRunning = true
            next()
        }
        return true
    }

    private func next() {
        let confined = Confined(self, to: reactor)
        reactor.post { confined.value.work() }
    }

    private func work() {
        guard !jobs.isEmpty else {
            isRunning = false
            return
        }
        if jobs[0].check.advance(by: PasswordQueue.slice) {
            let job = jobs.removeFirst()
            waiting -= job.waiting.count
            // The comparison is made either way.
            let isRight = (job.check.result == job.expected.hash) && job.isKnown
            for answer in job.waiting { answer(isRight) }
        }
        next()
    }
}
