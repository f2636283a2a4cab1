// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

struct FieldSectionTests {
    @Test func findsFieldsInTheirOrder() {
        var fields = FieldSection()
        fields.append("Set-Cookie", "a")
        fields.append("X-Other", "b")
        fields.append(.setCookie, "c")
        let first = fields.first(.setCookie)
        let second = fields.first(.setCookie, from: 1)
        let third = fields.first(.setCookie, from: 3)
        let other = fields.first(named: Array("x-other".utf8).span)
        let absent = fields.contains(.host)
        #expect(first == 0)
        #expect(second == 2)
        #expect(third == nil)
        #expect(other == 1)
        #expect(!absent)
        #expect(describe(fields) == " [set-cookie: a] [x-other: b] [set-cookie: c]")
    }

    @Test func removedFieldsKeepTheirPlace() {
        var fields = FieldSection()
        fields.append(.via, "1")
        fields.append(.date, "2")
        fields.append(.via, "3")
        fields.remove(at: 0)
        let at = fields.first(.via)
        #expect(at == 2)
        fields.removeAll(.via)
        let gone = fields.first(.via)
        let count = fields.count
        let text = fields.string("date")
        #expect(gone == nil)
        #expect(count == 3)
        #expect(text == "2")
        #expect(describe(fields) == " [date: 2]")
    }

    @Test func startsAnewAfterAClear() {
        var fields = FieldSection()
        fields.append(.via, "1")
        fields.removeAll()
        let isEmpty = fields.isEmpty
        let has = fields.contains(.via)
        #expect(isEmpty && !has)
        fields.append(.date) { $0.append(decimal: UInt(7)) }
        #expect(describe(fields) == " [date: 7]")
        fields.trim(toBytes: 1 << 20)
        #expect(describe(fields) == " [date: 7]")
        fields.trim(toBytes: 1)
        let capacity = fields.arena.capacity
        #expect(describe(fields) == "" && capacity == 0)
    }

    @Test func copiesLiveFieldsOfAnother() {
        var source = FieldSection()
        source.append("A", "1")
        source.append(.via, "2")
        source.append("C", "3")
        source.remove(at: 0)
        var target = FieldSection()
        target.append("Z", "0")
        target.append(contentsOf: source)
        let via = target.first(.via)
        #expect(describe(target) == " [z: 0] [via: 2] [c: 3]")
        #expect(via == 1)
    }

    /// The mark that lets the encoder copy a field as it stands says the truth, for every way a field can be added.
    @Test func linesAreLines() {
        let head = EncoderTests.request("GET / HTTP/1.1⏎Host: h⏎A: 1⏎B:2⏎C: 3 ⏎D:  4⏎E:⏎F: ⏎Via: →5⏎⏎")
        head.fields.append("G", "x\ny")
        head.fields.append(.date, "6")
        head.fields.append(.via, Array("7".utf8).span)
        head.fields.append(.age) { $0.append(decimal: UInt(8)) }
        let name = head.fields.store("h")
        head.fields.append(name: name, value: head.fields.store("9"), known: .other)
        var other = FieldSection()
        other.append(contentsOf: head.fields)
        var marked = ""
        for i in 0..<head.fields.count {
            let entry = head.fields.entries[i]
            if !entry.isLine { continue }
            marked += head.string(entry.name)
            let line = Slice(offset: Int(entry.name.offset), length: entry.value.range.upperBound + 2 - Int(entry.name.offset))
            #expect(head.string(line) == head.string(entry.name) + ": " + head.fields.string(i) + "\r\n")
        }
        #expect(marked == "hostafdateviaage")
        #expect(describe(other) == describe(head.fields))
    }
}

struct HeadsTests {
    private func recognise(_ text: [UInt8]) -> HTTP.Method { HTTP.Method.recognise(text.span) }

    @Test func methodsAreRecognisedByCase() {
        for method in HTTP.Method.allCases where method != .other {
            let text = method.text.withUTF8Buffer { unsafe Array($0) }
            #expect(recognise(text) == method)
            #expect(recognise(text + [65]) == .other)
            #expect(recognise(text.map { $0 | 0x20 }) == .other)
        }
        #expect(recognise([]) == .other)
    }

    @Test func methodsKnowWhatMayBeRepeated() {
        let safe = HTTP.Method.allCases.filter(\.isSafe)
        let idempotent = HTTP.Method.allCases.filter(\.isIdempotent)
        #expect(safe == [.get, .head, .options, .trace])
        #expect(idempotent == [.get, .head, .put, .delete, .options, .trace])
    }

    @Test func resetForgets() {
        let head = EncoderTests.request("POST http://h/p?q HTTP/1.0⏎Connection: keep-alive⏎TE: trailers⏎Content-Length: 3⏎⏎")
        head.reset()
        #expect(describe(head) == describe(RequestHead()))
        let response = EncoderTests.response("HTTP/1.0 404 X⏎A: b⏎⏎")
        response.reset()
        #expect(describe(response) == describe(ResponseHead()))
    }

    @Test func slicesOfImpossibleSizesAreClamped() {
        let slice = Slice(offset: .max, length: -1)
        #expect(slice.offset == .max && slice.isEmpty)
    }
}
