// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The signals of this process, one after the other, taken by the main thread alone. Make it before any thread starts: all
/// inherit that these signals are blocked.
@safe struct SignalQueue {
    enum Event { case reload, terminate, drained }

    private var set = sigset_t()

    init() {
        unsafe sigemptyset(&set)
        for number in [SIGHUP, SIGTERM, SIGINT, SIGUSR2] { unsafe sigaddset(&set, number) }
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Waits for the next one.
    func next() -> Event {
        var set = set
        while true {
            var number: Int32 = 0
            guard unsafe sigwait(&set, &number) == 0 else { continue }
            switch number {
            case SIGHUP: return .reload
            case SIGTERM, SIGINT: return .terminate
            default: return .drained
            }
        }
    }

    /// Wakes the main thread from any other.
    static func reportDrained() { kill(getpid(), SIGUSR2) }
}
