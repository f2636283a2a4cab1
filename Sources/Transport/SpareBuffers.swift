// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// Memory that no connection uses right now, for the next one that has something to write: so that neither an idle
/// connection holds a buffer nor a busy one allocates one a request.
final class SpareBuffers {
    private final class Box {
        var buffer = ByteBuffer()
    }

    /// What is kept at the most, and the largest buffer that is.
    static let limit = 256
    static let largest = 64 * 1024

    private var full: [Box] = []
    private var empty: [Box] = []

    /// Gives memory to an empty buffer, if there is some.
    @inline(__always)
    func lend(to buffer: inout ByteBuffer) {
        guard let box = full.popLast() else {
            buffer.reserve(4_096)
            return
        }
        swap(&buffer, &box.buffer)
        empty.append(box)
    }

    /// Takes the memory of an empty buffer.
    @inline(__always)
    func take(from buffer: inout ByteBuffer) {
        guard buffer.capacity <= SpareBuffers.largest, full.count < SpareBuffers.limit else {
            buffer.releaseStorage()
            return
        }
        let box = empty.popLast() ?? Box()
        swap(&buffer, &box.buffer)
        full.append(box)
    }
}

/// Request heads that no HTTP/1 connection uses right now: an idle connection has none.
final class SpareHeads {
    /// What an idle connection has instead. Nobody writes to it.
    let none = RequestHead()
    private var spare: [RequestHead] = []

    /// An empty head.
    func take() -> RequestHead { spare.popLast() ?? RequestHead() }

    func give(_ head: RequestHead) {
        guard head !== none, spare.count < SpareBuffers.limit else { return }
        head.reset()
        // What an unusually large head needed is not kept for the next one.
        head.fields.trim(toBytes: 16_384)
        spare.append(head)
    }
}
