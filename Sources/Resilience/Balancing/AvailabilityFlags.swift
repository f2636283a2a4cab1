// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// One flag an endpoint, read by every pick on every thread and changed by health checks and ejection: words of atomic bits.
@safe final class AvailabilityFlags: @unchecked Sendable {
    // Sendable: `words` is set once, and the words are atomics.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let wordCount: Int
    private let available: Atomic<Int>

    /// All available.
    init(count: Int) {
        wordCount = max(1, (count + 63) / 64)
        unsafe words = .allocate(capacity: wordCount)
        for index in 0..<wordCount { unsafe (words + index).initialize(to: Atomic(.max)) }
        available = Atomic(count)
    }

    deinit {
        unsafe words.deinitialize(count: wordCount)
        unsafe words.deallocate()
    }

    var availableCount: Int { available.load(ordering: .relaxed) }

    subscript(index: Int) -> Bool {
        precondition(index >= 0 && index >> 6 < wordCount)
        return unsafe words[index >> 6].load(ordering: .relaxed) >> UInt64(index & 63) & 1 == 1
    }

    func set(_ index: Int, _ isAvailable: Bool) {
        precondition(index >= 0 && index >> 6 < wordCount)
        let bit = UInt64(1) << UInt64(index & 63)
        if isAvailable {
            let before = unsafe words[index >> 6].bitwiseOr(bit, ordering: .relaxed).oldValue
            if before & bit == 0 { available.wrappingAdd(1, ordering: .relaxed) }
        } else {
            let before = unsafe words[index >> 6].bitwiseAnd(~bit, ordering: .relaxed).oldValue
            if before & bit != 0 { available.wrappingSubtract(1, ordering: .relaxed) }
        }
    }
}
