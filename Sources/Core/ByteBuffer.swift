// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A growable queue of contiguous bytes: appended at the back, consumed from the front.
///
/// The bytes of one direction of one connection, or of one body under way. It owns no memory while empty and released, so
/// an idle connection costs nothing. Not `Sendable`: it lives on one reactor. Growth doubles; nothing shrinks but
/// `releaseStorage()`. Reading is by `Span`, bounds-checked; only this file touches the raw memory.
///
///     base ──► | consumed | readable …… | writable …… |
///                         head          tail          capacity
@safe public struct ByteBuffer: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<UInt8>?
    @usableFromInline var head = 0
    @usableFromInline var tail = 0
    public private(set) var capacity = 0

    @inlinable public init() { unsafe base = nil }

    public init(capacity: Int) {
        unsafe base = nil
        reserve(capacity)
    }

    deinit { unsafe free(base) }

    /// Readable bytes.
    @inlinable public var count: Int { tail - head }
    @inlinable public var isEmpty: Bool { tail == head }

    /// The readable bytes. From a class's property use `withReadable`.
    @inlinable public var readable: Span<UInt8> {
        @_lifetime(borrow self) get {
            let span = unsafe Span(_unsafeStart: UnsafePointer(base ?? ByteBuffer.nowhere) + head, count: tail - head)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// A non-null address for the empty span; never read.
    @usableFromInline static var nowhere: UnsafeMutablePointer<UInt8> { unsafe UnsafeMutablePointer(bitPattern: 16)! }

    @inlinable @inline(__always)
    public borrowing func withReadable<Result: ~Copyable, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result { try body(readable) }

    /// The readable bytes as raw memory, for a C call; the pointer must not outlive `body`.
    @inlinable @inline(__always)
    public borrowing func withUnsafeReadable<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe try body(UnsafeRawBufferPointer(start: UnsafePointer(base ?? ByteBuffer.nowhere) + head, count: tail - head))
    }

    /// Lends at least `minimum` writable bytes to a C call and commits as many as `body` says it wrote (clamped to what
    /// was lent). Returns that number.
    @inlinable @inline(__always) @discardableResult
    public mutating func withUnsafeWritable<Failure: Error>(
        minimum: Int, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) -> Int {
        reserve(minimum)
        guard let base = unsafe base else { return 0 }
        let room = capacity - tail
        let written = unsafe try body(UnsafeMutableRawBufferPointer(start: base + tail, count: room))
        let committed = min(max(written, 0), room)
        tail += committed
        return committed
    }

    /// Drops `n` bytes from the front (clamped).
    @inlinable public mutating func consume(_ n: Int) {
        head += min(max(n, 0), tail - head)
        if head == tail {
            head = 0
            tail = 0
        }
    }

    /// Drops all bytes and keeps the memory.
    @inlinable public mutating func removeAll() {
        head = 0
        tail = 0
    }

    /// Gives the memory back if no byte is held.
    public mutating func releaseStorage() {
        guard isEmpty else { return }
        unsafe free(base)
        unsafe base = nil
        head = 0
        tail = 0
        capacity = 0
    }

    /// Makes room for `n` more bytes: moves the readable bytes to the front where that is enough, else doubles.
    @inlinable public mutating func reserve(_ n: Int) {
        if capacity - tail < n { makeRoom(n) }
    }

    @usableFromInline mutating func makeRoom(_ n: Int) {
        let held = count
        if let base = unsafe base, capacity - held >= n, held <= capacity / 2 {
            unsafe memmove(base, base + head, held)
        } else {
            let wanted = max(max(capacity * 2, held + n), 256)
            guard let fresh = unsafe malloc(wanted) else { preconditionFailure("out of memory for \(wanted) bytes") }
            let typed = unsafe fresh.assumingMemoryBound(to: UInt8.self)
            if let base = unsafe base { unsafe memcpy(typed, base + head, held) }
            unsafe free(base)
            unsafe base = typed
            capacity = wanted
        }
        head = 0
        tail = held
    }

    // MARK: Appending

    @inlinable public mutating func append(_ byte: UInt8) {
        reserve(1)
        unsafe base.unsafelyUnwrapped[tail] = byte
        tail += 1
    }

    /// Two bytes at once: what ends a line, or stands between a name and its value.
    @inlinable public mutating func append(_ first: UInt8, _ second: UInt8) {
        reserve(2)
        unsafe base.unsafelyUnwrapped[tail] = first
        unsafe base.unsafelyUnwrapped[tail + 1] = second
        tail += 2
    }

    @inlinable public mutating func append(_ bytes: Span<UInt8>) {
        let n = bytes.count
        if n == 0 { return }
        reserve(n)
        unsafe bytes.withUnsafeBufferPointer { source in
            unsafe (base.unsafelyUnwrapped + tail).update(from: source.baseAddress.unsafelyUnwrapped, count: n)
        }
        tail += n
    }

    @inlinable public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count)
        unsafe UnsafeMutableRawPointer(base.unsafelyUnwrapped + tail).copyMemory(from: start, byteCount: bytes.count)
        tail += bytes.count
    }

    @inlinable public mutating func append(_ bytes: [UInt8]) { append(bytes.span) }

    /// Appends ASCII text known at compile time.
    @inlinable public mutating func append(_ text: StaticString) {
        let n = text.utf8CodeUnitCount
        reserve(n)
        unsafe (base.unsafelyUnwrapped + tail).update(from: text.utf8Start, count: n)
        tail += n
    }

    /// Appends a string's UTF-8. Not for the proxied path.
    public mutating func append(utf8 text: String) {
        var copy = text
        copy.withUTF8 { unsafe append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends `value` in decimal digits.
    @inlinable public mutating func append(decimal value: some FixedWidthInteger & UnsignedInteger) {
        reserve(20)
        var rest = UInt64(value)
        var digits = 1
        var probe = rest
        while probe >= 10 {
            probe /= 10
            digits += 1
        }
        var position = tail + digits
        repeat {
            position -= 1
            unsafe base.unsafelyUnwrapped[position] = UInt8(truncatingIfNeeded: 48 + rest % 10)
            rest /= 10
        } while rest > 0
        tail += digits
    }

    @inlinable public mutating func append(decimal value: Int) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(decimal: value.magnitude)
    }

    /// Appends `value` in lower-case hexadecimal digits, without leading zeros.
    @inlinable public mutating func append(hexadecimal value: UInt64) {
        let digits = max(1, (64 - value.leadingZeroBitCount + 3) / 4)
        reserve(digits)
        for i in 0..<digits {
            let nibble = UInt8(truncatingIfNeeded: (value >> UInt64((digits - 1 - i) * 4)) & 15)
            unsafe base.unsafelyUnwrapped[tail + i] = nibble < 10 ? 48 + nibble : 87 + nibble
        }
        tail += digits
    }

    /// Appends sixteen hexadecimal digits in lower case: eight nibbles at a time are spread over the bytes of a word.
    @inlinable public mutating func append(hexadecimalPadded value: UInt64) {
        reserve(16)
        let place = unsafe UnsafeMutableRawPointer(base.unsafelyUnwrapped + tail)
        unsafe place.storeBytes(of: ByteBuffer.digits(value >> 32), as: UInt64.self)
        unsafe (place + 8).storeBytes(of: ByteBuffer.digits(value & 0xFFFF_FFFF), as: UInt64.self)
        tail += 16
    }

    /// The digits of 32 bits as eight octets, the first one to be written lowest.
    @usableFromInline static func digits(_ value: UInt64) -> UInt64 {
        var spread = value
        spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF
        spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF
        spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = (spread &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return (spread &+ 0x3030_3030_3030_3030 &+ letters &* 39).byteSwapped
    }

    /// Moves all of `other`'s bytes to the end of this buffer. Takes over the memory where this one is empty.
    public mutating func append(movingFrom other: inout ByteBuffer) {
        if isEmpty {
            unsafe swap(&base, &other.base)
            swap(&head, &other.head)
            swap(&tail, &other.tail)
            swap(&capacity, &other.capacity)
            other.removeAll()
        } else {
            append(other.readable)
            other.removeAll()
        }
    }
}
