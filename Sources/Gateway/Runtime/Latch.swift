// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Lets the control thread wait until so many reactors have reported. Never waited for on a reactor.
@safe final class Latch: @unchecked Sendable {
    // Sendable: a counting semaphore at a fixed address, which orders what came before a post with what follows a wait.
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        unsafe semaphore = .allocate(capacity: 1)
        unsafe semaphore.initialize(to: sem_t())
        unsafe sem_init(semaphore, 0, 0)
    }

    deinit {
        unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }

    func report() { unsafe sem_post(semaphore) }

    func wait(for reports: Int) {
        for _ in 0..<reports {
            while unsafe sem_wait(semaphore) != 0 {}  // interrupted by a signal
        }
    }
}
