// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// One atomic word an endpoint, all zero at first. Each word stands for itself, so that relaxed order is enough: nothing else
/// is published by a store to it.
@safe final class AtomicWords: @unchecked Sendable {
    // Sendable: `words` is set once, and the words are atomics.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    let count: Int

    init(count: Int) {
        self.count = max(0, count)
        unsafe words = .allocate(capacity: max(1, self.count))
        for index in 0..<self.count { unsafe (words + index).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe words.deinitialize(count: count)
        unsafe words.deallocate()
    }

    subscript(index: Int) -> UInt64 {
        get {
            precondition(index >= 0 && index < count)
            return unsafe words[index].load(ordering: .relaxed)
        }
        set {
            precondition(index >= 0 && index < count)
            unsafe words[index].store(newValue, ordering: .relaxed)
        }
    }

    func add(_ delta: UInt64, at index: Int) {
        precondition(index >= 0 && index < count)
        unsafe words[index].wrappingAdd(delta, ordering: .relaxed)
    }

    func subtract(_ delta: UInt64, at index: Int) {
        precondition(index >= 0 && index < count)
        unsafe words[index].wrappingSubtract(delta, ordering: .relaxed)
    }

    /// Replaces a word by what `change` makes of it, though other threads change it at the same time.
    @inline(__always)
    func update(_ index: Int, _ change: (UInt64) -> UInt64) {
        precondition(index >= 0 && index < count)
        var old = unsafe words[index].load(ordering: .relaxed)
        while true {
            let (exchanged, original) = unsafe words[index].weakCompareExchange(
                expected: old, desired: change(old), ordering: .relaxed)
            if exchanged { return }
            old = original
        }
    }
}
