// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The reactor that the calling thread is working for.
enum CurrentReactor {
    /// One key for the process; it has no destructor, since a thread does not own its reactor.
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        guard unsafe pthread_key_create(&key, nil) == 0 else { preconditionFailure("no thread-specific key is left") }
        return key
    }()

    static var value: Reactor? {
        get {
            // Whoever sets the value keeps the reactor alive until it sets another.
            guard let raw = unsafe pthread_getspecific(key) else { return nil }
            return unsafe Unmanaged<Reactor>.fromOpaque(raw).takeUnretainedValue()
        }
        set { _ = unsafe pthread_setspecific(key, newValue.map { unsafe Unmanaged.passUnretained($0).toOpaque() }) }
    }
}
