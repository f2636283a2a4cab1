// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CNGHTTP2
import Core

/// The names and values of one field block on their way into nghttp2, which copies them when it is handed the list: HPACK
/// works when the frame is written, and the head may be gone by then.
///
/// One a session, used over and over. What a block has beside a message's fields is written to `text`; entries refer to
/// it by position, since it may move while it grows.
@safe struct NameValueList: ~Copyable {
    private enum Source { case text, arena }
    private struct Entry {
        var name: Slice
        var nameSource: Source
        var value: Slice
        var valueSource: Source
    }

    private var entries: [Entry] = []
    private var text = ByteBuffer()
    /// Empty but while `submit` runs.
    private var pairs: [nghttp2_nv] = unsafe []

    mutating func begin() {
        entries.removeAll(keepingCapacity: true)
        text.removeAll()
    }

    private mutating func store(_ name: StaticString) -> Slice {
        let start = text.count
        text.append(name)
        return Slice(offset: start, length: text.count - start)
    }

    /// Adds a field whose value `write` appends.
    mutating func add(_ name: StaticString, writing write: (inout ByteBuffer) -> Void) {
        let nameSlice = store(name)
        let start = text.count
        write(&text)
        let value = Slice(offset: start, length: text.count - start)
        entries.append(Entry(name: nameSlice, nameSource: .text, value: value, valueSource: .text))
    }

    /// Adds a field whose value is in the arena that `submit` will be given.
    mutating func add(_ name: StaticString, arena value: Slice) {
        let nameSlice = store(name)
        entries.append(Entry(name: nameSlice, nameSource: .text, value: value, valueSource: .arena))
    }

    /// Adds the live fields of a section but those in `mask`.
    mutating func add(_ fields: borrowing FieldSection, without mask: UInt64) {
        for i in 0..<fields.count {
            let entry = fields.entries[i]
            if entry.isRemoved || (mask >> UInt64(entry.known.rawValue)) & 1 == 1 { continue }
            entries.append(Entry(name: entry.name, nameSource: .arena, value: entry.value, valueSource: .arena))
        }
    }

    /// Runs `body` with the pairs; they hold until it returns.
    mutating func submit(
        _ fields: borrowing FieldSection, _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Int32
    ) -> Int32 {
        defer { unsafe pairs.removeAll(keepingCapacity: true) }
        let entries = entries
        return unsafe text.withUnsafeReadable { text in
            unsafe fields.arena.withUnsafeReadable { arena in
                for entry in entries {
                    let names = unsafe entry.nameSource == .text ? text : arena
                    let values = unsafe entry.valueSource == .text ? text : arena
                    // nghttp2 does not write through these, whatever their type says. `rebasing` checks the bounds.
                    let name = unsafe UnsafeRawBufferPointer(rebasing: names[entry.name.range])
                    let value = unsafe UnsafeRawBufferPointer(rebasing: values[entry.value.range])
                    unsafe pairs.append(
                        nghttp2_nv(
                            name: UnsafeMutablePointer(mutating: name.baseAddress?.assumingMemoryBound(to: UInt8.self)),
                            value: UnsafeMutablePointer(mutating: value.baseAddress?.assumingMemoryBound(to: UInt8.self)),
                            namelen: name.count, valuelen: value.count, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
                }
                return unsafe pairs.withUnsafeBufferPointer { unsafe body($0.baseAddress, $0.count) }
            }
        }
    }
}
