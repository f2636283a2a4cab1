// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import JSON
import Testing

@Suite struct JSONValueTests {
    @Test(
        "A number is the integer that its digits say, or none",
        arguments: [
            ("0", 0), ("-0", 0), ("12", 12), ("12.0", 12), ("1.20e1", 12), ("120e-1", 12), ("0.0e99999999999999999999", 0),
            ("9223372036854775807", .max), ("-9223372036854775808", .min), ("9223372036854775808", nil),
            ("-9223372036854775809", nil),
            ("9.223372036854775807e18", .max), ("1.5", nil), ("1e18", 1_000_000_000_000_000_000), ("1e19", nil), ("1e-1", nil),
            ("10000000000000000000000000000000e-31", 1), ("1e99999999999999999999999", nil), ("1e-99999999999999999999999", nil),
            ("\"1\"", nil), ("true", nil),
        ] as [(String, Int64?)])
    func integers(text: String, expected: Int64?) throws {
        #expect(try JSONDocument.parse(text).root.int64 == expected)
    }

    @Test(
        "A number beyond a double's range is none",
        arguments: [("1e308", 1e308), ("-1e999", nil), ("1e-999", 0), ("0.1", 0.1)] as [(String, Double?)])
    func doubles(text: String, expected: Double?) throws {
        #expect(try JSONDocument.parse(text).root.double == expected)
    }

    @Test(
        "A string is what its escapes mean",
        arguments: [
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"), (#""\u0041\u00e9\u20ac\ud83d\ude00\u0000""#, "Aé€😀\0"),
            (#""é€😀""#, "é€😀"),
        ])
    func strings(text: String, expected: String) throws {
        let value = try JSONDocument.parse(text).root
        #expect(value.string == expected)
        #expect(value.equals(expected))
        #expect(!value.equals(expected + "x"))
    }

    @Test("A read of another type is nil")
    func types() throws {
        let root = try JSONDocument.parse(#"{"s":"x","n":1,"t":true,"f":false,"z":null,"a":[],"o":{}}"#).root
        #expect(root["s"]?.int64 == nil)
        #expect(root["n"]?.string == nil)
        #expect(root["t"]?.bool == true)
        #expect(root["f"]?.bool == false)
        #expect(root["z"]?.isNull == true)
        #expect(root["a"]?.bool == nil)
        #expect(root["missing"] == nil)
        #expect(root[0] == nil)
        #expect(root.members.map(\.value.kind) == [.string, .number, .bool, .bool, .null, .array, .object])
    }

    @Test(
        "A path leads where it says",
        arguments: [
            ("$", #"{"a":{"b":[{"c":"deep"},[1,2]]},"odd.name":{"$":3},"\u00e9":4}"#), ("a.b[0].c", "\"deep\""),
            ("$.a.b[1][1]", "2"),
            (#"["odd.name"].$"#, "3"), (#"$["a"]["b"][1]"#, "[1,2]"), ("é", "4"), ("a.b[2]", nil), ("a.c", nil), ("a[0]", nil),
            ("a.b.c", nil),
        ] as [(String, String?)])
    func paths(path: String, expected: String?) throws {
        let root = try JSONDocument.parse(#"{"a":{"b":[{"c":"deep"},[1,2]]},"odd.name":{"$":3},"\u00e9":4}"#).root
        #expect(root[try JSONPath(parsing: path)]?.text == expected)
    }

    @Test(
        "A path that is none says what was expected where",
        arguments: [
            ("", "at character 1 of the path: expected a name (one with special characters is written [\"so\"])"),
            ("a.", "at character 3 of the path: expected a name (one with special characters is written [\"so\"])"),
            ("a..b", "at character 3 of the path: expected a name (one with special characters is written [\"so\"])"),
            ("a[", "at character 3 of the path: expected a position from 0, or a name in double quotes"),
            ("a[x]", "at character 3 of the path: expected a position from 0, or a name in double quotes"),
            ("a[-1]", "at character 3 of the path: expected a position from 0, or a name in double quotes"),
            ("a[1", "at character 4 of the path: expected ']'"),
            ("a[9999999]", "at character 10 of the path: expected a position of at most 1000000"),
            ("a[\"x]", "at character 3 of the path: expected a JSON string"),
            ("a b", "at character 2 of the path: expected '.' or '['"),
            ("a]", "at character 2 of the path: expected '.' or '['"),
            ("$a b", "at character 3 of the path: expected '.' or '['"),
        ])
    func badPaths(path: String, complaint: String) {
        do throws(JSONPath.Mistake) {
            _ = try JSONPath(parsing: path)
            Issue.record("\(path) was read")
        } catch {
            #expect(error.description == complaint)
        }
    }

    @Test(
        "A path is written as it is read",
        arguments: ["$", "a.b[0].c", #"["odd name"].x[3]"#, #"["\"\\"]"#, "é", #"["$"].x"#, #"[""]"#])
    func pathsRoundTrip(path: String) throws {
        #expect(try JSONPath(parsing: path).description == path)
    }

    @Test("The writer sees to commas and escapes, and what it wrote is read back")
    func writes() throws {
        let other = try JSONDocument.parse(#"{"k\u0061":[1.50, {"x" : null}]}"#).root
        var writer = JSONWriter()
        writer.beginObject()
        writer.name("a\"b")
        writer.beginArray()
        writer.value(1)
        writer.value(Int64.min)
        writer.value(true)
        writer.null()
        writer.value(0.5)
        writer.value(Double.infinity)
        writer.beginObject()
        writer.endObject()
        writer.endArray()
        for (name, value) in other.members {
            writer.name(name)
            writer.value(value)
        }
        writer.name("s")
        writer.string(([0x00, 0x1F, 0x22, 0x5C, 0x0A, 0xC3, 0xA9, 0xFF, 0x7F, 0xE2, 0x82] as [UInt8]).span)
        writer.endObject()
        let text = string(writer.finish())
        #expect(
            text
                == #"{"a\"b":[1,-9223372036854775808,true,null,0.5,null,{}],"k\u0061":[1.50, {"x" : null}],"s":"\u0000\u001f\"\\\né"#
                + "\u{FFFD}\u{7F}\u{FFFD}\u{FFFD}\"}")
        #expect(try JSONDocument.parse(text).root["s"]?.string == "\0\u{1F}\"\\\né\u{FFFD}\u{7F}\u{FFFD}\u{FFFD}")
    }
}
