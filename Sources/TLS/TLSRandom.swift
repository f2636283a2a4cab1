// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Glibc

/// Lets a simulation seed OpenSSL's random draws, on its own thread and nowhere else.
///
/// One `RAND_METHOD` is installed for the process when the first seed is set, so never in a process that does not simulate.
/// It asks for the calling thread's generator; a thread without one gets OpenSSL's own randomness. So no real listener can
/// ever draw from a seed unless its very thread was seeded. Not for secrets.
package enum TLSRandom {
    /// Runs `body` with this thread's draws from `seed`; afterwards they come from where they came from before.
    package static func withSeed<Result: ~Copyable, Failure: Error>(
        _ seed: UInt64, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var generator = seed
        let before = unsafe pthread_getspecific(source.key)
        // The pointer stays valid: it is taken out again before `generator` goes.
        return unsafe try withUnsafeMutablePointer(to: &generator) { (pointer) throws(Failure) -> Result in
            unsafe pthread_setspecific(source.key, pointer)
            defer { unsafe pthread_setspecific(source.key, before) }
            return try body()
        }
    }

    /// Seeds this thread until `unseedThread`; for the thread of a simulated world.
    package static func seedThread(_ seed: UInt64) {
        unseedThread()
        let generator = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
        unsafe generator.initialize(to: seed)
        unsafe pthread_setspecific(source.key, generator)
    }

    /// Ends `seedThread`. Not inside `withSeed`.
    package static func unseedThread() {
        guard let generator = unsafe pthread_getspecific(source.key) else { return }
        unsafe generator.assumingMemoryBound(to: UInt64.self).deallocate()
        pthread_setspecific(source.key, nil)
    }

    package static var isThreadSeeded: Bool { unsafe pthread_getspecific(source.key) != nil }

    /// The thread-local's key and the installed method. Made once; the method is never freed, since OpenSSL keeps it.
    @safe private struct Source: @unchecked Sendable {
        var key = pthread_key_t()
    }

    private static let source: Source = {
        var made = Source()
        unsafe pthread_key_create(&made.key, nil)
        let method = UnsafeMutablePointer<RAND_METHOD>.allocate(capacity: 1)
        unsafe method.initialize(
            to: RAND_METHOD(
                seed: { _, _ in 1 }, bytes: TLSRandom.draw, cleanup: {}, add: { _, _, _ in 1 }, pseudorand: TLSRandom.draw,
                status: { 1 }))
        unsafe RAND_set_rand_method(method)
        return made
    }()

    private static let draw: @convention(c) (UnsafeMutablePointer<UInt8>?, Int32) -> Int32 = { buffer, count in
        guard let state = unsafe pthread_getspecific(TLSRandom.source.key)?.assumingMemoryBound(to: UInt64.self) else {
            return unsafe RAND_OpenSSL()?.pointee.bytes?(buffer, count) ?? 0
        }
        guard let buffer = unsafe buffer else { return 0 }
        var word: UInt64 = 0
        for i in 0..<Int(count) {
            if i & 7 == 0 {
                unsafe state.pointee &+= 0x9E37_79B9_7F4A_7C15  // SplitMix64
                word = unsafe state.pointee
                word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
                word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
                word ^= word >> 31
            }
            unsafe buffer[i] = UInt8(truncatingIfNeeded: word)
            word >>= 8
        }
        return 1
    }
}
