// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import JSON
import Testing

@Suite struct JSONParsingTests {
    @Test(
        "What RFC 8259 calls a document is read",
        arguments: [
            "null", " true\n", "false", "0", "-0", "-1.5e+10", "1E400", "\"\"", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "[]", "{}",
            "[[]]",
            "{\"\":0}", "{\"a\":{\"b\":[1,2,{}]}}", "\t[ 1 , \"\u{7f}\u{2028}é😀\" ]\r\n", "[{},{\"a\":[]},[]]",
        ])
    func reads(text: String) throws {
        let document = try JSONDocument.parse(text)
        #expect(document.root.text == text.trimmed)
    }

    @Test(
        "What is none is refused at its byte",
        arguments: [
            ("", "byte 0: there is nothing"),
            (" \n", "byte 2: there is nothing"),
            ("\u{FEFF}{}", "byte 0: expected a value and not a byte order mark"),
            ("{", "byte 1: expected a name in double quotes or '}'"),
            ("{\"a\"}", "byte 4: expected ':' after the name"),
            ("{\"a\":}", "byte 5: expected a value"),
            ("{\"a\":1,}", "byte 7: expected a name in double quotes"),
            ("{\"a\":1 \"b\":2}", "byte 7: expected ',' or '}'"),
            ("{a:1}", "byte 1: expected a name in double quotes or '}'"),
            ("{'a':1}", "byte 1: expected a name in double quotes or '}'"),
            ("{\"a\":1]", "byte 6: expected ',' or '}'"),
            ("[1,]", "byte 3: expected a value"),
            ("[,1]", "byte 1: expected a value"),
            ("[1 2]", "byte 3: expected ',' or ']'"),
            ("[1", "byte 2: expected ',' or ']'"),
            ("[", "byte 1: expected a value"),
            ("[1}", "byte 2: expected ',' or ']'"),
            ("1 2", "byte 2: expected the end of the document"),
            ("{}}", "byte 2: expected the end of the document"),
            ("{} // why", "byte 3: expected the end of the document"),
            ("01", "byte 0: expected a number as RFC 8259 writes it"),
            ("-", "byte 0: expected a number as RFC 8259 writes it"),
            ("1.", "byte 0: expected a number as RFC 8259 writes it"),
            ("1e", "byte 0: expected a number as RFC 8259 writes it"),
            ("1e+", "byte 0: expected a number as RFC 8259 writes it"),
            (".5", "byte 0: expected a value"),
            ("+1", "byte 0: expected a value"),
            ("0x1", "byte 1: expected the end of the document"),
            ("NaN", "byte 0: expected a value"),
            ("nul", "byte 0: expected true, false or null"),
            ("True", "byte 0: expected a value"),
            ("truer", "byte 4: expected the end of the document"),
            ("\"a", "byte 0: expected '\"' before the end"),
            ("\"a\\\"", "byte 0: expected '\"' before the end"),
            ("\"a\nb\"", "byte 2: expected an escape: control characters may not stand in a string"),
            ("\"\\x\"", "byte 1: expected one of \" \\ / b f n r t u after '\\'"),
            ("\"\\u12g4\"", "byte 1: expected four hexadecimal digits after '\\u'"),
            ("\"\\ud800\"", "byte 1: expected both halves of a surrogate pair"),
            ("\"\\ud800x\"", "byte 1: expected both halves of a surrogate pair"),
            ("\"\\ud800\\u0041\"", "byte 1: expected both halves of a surrogate pair"),
            ("\"\\udc00\\ud800\"", "byte 1: expected both halves of a surrogate pair"),
            ("{\"a\":1,\"a\":2}", "byte 7: expected a name that this object does not have yet"),
            ("{\"a\":1,\"\\u0061\":2}", "byte 7: expected a name that this object does not have yet"),
        ])
    func refuses(text: String, complaint: String) {
        #expect(problem(text) == complaint)
    }

    @Test(
        "A string that is no UTF-8 is refused",
        arguments: [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xE2, 0x82],
            [0xF0, 0x80, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xF0, 0x9F, 0x98],
        ] as [[UInt8]])
    func refusesWhatIsNoUTF8(bytes: [UInt8]) {
        let text = [UInt8(ascii: "\"")] + bytes + [UInt8(ascii: "\"")]
        #expect(throws: JSONError(.utf8, at: 1)) { try JSONDocument.parse(text.span) }
    }

    @Test("A text longer, deeper or fuller than allowed is refused, and one that just fits is not")
    func limits() throws {
        func deep(_ n: Int) -> String { String(repeating: "[", count: n) + String(repeating: "]", count: n) }
        #expect(problem(deep(64)) == nil)
        #expect(problem(deep(65)) == "byte 64: too many arrays and objects within each other")
        #expect(problem(String(repeating: "[", count: 100_000)) == "byte 64: too many arrays and objects within each other")
        #expect(problem("[1,2]", JSONLimits(bytes: 5)) == nil)
        #expect(problem("[1,2]", JSONLimits(bytes: 4)) == "byte 4: too long")
        #expect(problem("[1,2]", JSONLimits(nodes: 3)) == nil)
        #expect(problem("[1,2]", JSONLimits(nodes: 2)) == "byte 3: too many values")
    }

    @Test("Of members of one name the first or the last is seen, by policy; a copy has only that one", arguments: [2, 20])
    func duplicates(others: Int) throws {
        let filler = (0..<others).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
        let text = "{\"a\":1,\(filler),\"\\u0061\":[2],\"b\":{\"c\":1,\"c\":2}}"
        #expect(problem(text) != nil)
        for (policy, expected) in [(JSONLimits.DuplicateNames.firstWins, "1"), (.lastWins, "[2]")] {
            let root = try JSONDocument.parse(text, limits: JSONLimits(duplicates: policy)).root
            #expect(root["a"]?.text == expected)
            #expect(root.count == others + 2)
            #expect(root.members.map(\.name.string).filter { $0 == "a" }.count == 1)
            #expect(written(root["b"]) == (policy == .firstWins ? "{\"c\":1}" : "{\"c\":2}"))
            #expect(problem(written(root)) == nil)
        }
    }

    @Test("Many names that are alike take no more than their time", .timeLimit(.minutes(5)))
    func manyNames() throws {
        let members = (0..<20_000).map { "\"name\($0)\":\($0)" }
        #expect(problem("{\(members.joined(separator: ","))}") == nil)
        #expect(problem("{\(members.joined(separator: ",")),\"name3\":0}") != nil)
    }

    @Test("Whatever is changed, cut or put in, the parser answers and never stops")
    func survivesDamage() throws {
        let seed = Array("{\"a\":[1,-2.5e3,\"x\\u00e9\\ud83d\\ude00é\",true,null,{}],\"b\":{\"c\":[[]]}}".utf8)
        var state: UInt64 = 0x9E37_79B9
        func draw(_ n: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % n
        }
        var accepted = 0
        for _ in 0..<20_000 {
            var text = seed
            for _ in 0...draw(3) {
                let at = draw(text.count)
                switch draw(4) {
                case 0: text[at] = UInt8(draw(256))
                case 1: text.remove(at: at)
                case 2: text.insert(Array("{}[],:\"\\0-e.".utf8)[draw(12)], at: at)
                default: text.removeSubrange(at...)
                }
                if text.isEmpty { break }
            }
            guard let document = try? JSONDocument.parse(text.span) else { continue }
            accepted += 1
            // What was let in is read to its last value, and written again is the same.
            #expect(problem(written(document.root)) == nil)
            visit(document.root)
        }
        #expect(accepted > 500)
    }

    private func visit(_ value: JSONValue) {
        _ = (value.string, value.int64, value.double, value.bool)
        for element in value.elements { visit(element) }
        for (name, value) in value.members {
            _ = name.string
            visit(value)
        }
    }
}

func problem(_ text: String, _ limits: JSONLimits = JSONLimits()) -> String? {
    do throws(JSONError) {
        _ = try JSONDocument.parse(text, limits: limits)
        return nil
    } catch {
        return error.description
    }
}

func written(_ value: JSONValue?) -> String {
    var out = ByteBuffer()
    value?.append(to: &out)
    return string(out)
}

func string(_ buffer: borrowing ByteBuffer) -> String {
    var bytes: [UInt8] = []
    let span = buffer.readable
    for i in 0..<span.count { bytes.append(span[i]) }
    return String(decoding: bytes, as: UTF8.self)
}

extension String {
    var trimmed: String {
        var view = Substring(self)
        while let last = view.unicodeScalars.last, " \t\r\n".unicodeScalars.contains(last) { view.unicodeScalars.removeLast() }
        while let first = view.unicodeScalars.first, " \t\r\n".unicodeScalars.contains(first) { view.unicodeScalars.removeFirst() }
        return String(view)
    }
}
