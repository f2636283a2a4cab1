// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A counting semaphore: the one thing that a log's writer thread, and those that wait for it, block on. Posting takes a
/// lock that is never held for longer than a few instructions.
///
/// A mutex and a condition on the monotonic clock, since POSIX semaphores wait by the wall clock, which may be set back.
@safe final class Semaphore: @unchecked Sendable {
    // Sendable: `count` is only touched under `mutex`; both C objects have a fixed address.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var count = 0

    init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe pthread_mutex_init(mutex, nil)
        unsafe condition = .allocate(capacity: 1)
        unsafe condition.initialize(to: pthread_cond_t())
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe condition.deallocate()
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    func post() {
        unsafe pthread_mutex_lock(mutex)
        count += 1
        unsafe pthread_cond_signal(condition)
        unsafe pthread_mutex_unlock(mutex)
    }

    func wait() {
        unsafe pthread_mutex_lock(mutex)
        while count == 0 { unsafe pthread_cond_wait(condition, mutex) }
        count -= 1
        unsafe pthread_mutex_unlock(mutex)
    }

    /// False if it was not posted within the time. This is the kernel's clock: the threads here are outside the simulated
    /// world, which has none.
    func wait(nanoseconds: Int64) -> Bool {
        var deadline = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &deadline)
        let (sum, overflow) = max(nanoseconds, 0).addingReportingOverflow(Int64(deadline.tv_nsec))
        let whole = overflow ? Int64.max : sum
        deadline.tv_sec += Int(whole / 1_000_000_000)
        deadline.tv_nsec = Int(whole % 1_000_000_000)
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while count == 0 {
            if unsafe pthread_cond_timedwait(condition, mutex, &deadline) != 0 && count == 0 { return false }
        }
        count -= 1
        return true
    }
}
