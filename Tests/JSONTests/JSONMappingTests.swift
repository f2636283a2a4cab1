// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import JSON
import Testing

@Suite struct JSONMappingTests {
    typealias Rule = (target: JSONPath, source: JSONMapping.Source)

    static func path(_ text: String) -> JSONPath { (try? JSONPath(parsing: text)) ?? JSONPath() }

    static func use(_ change: (inout JSONMapping.Use) -> Void = { _ in }) -> JSONMapping.Use {
        var use = JSONMapping.Use()
        change(&use)
        return use
    }

    static func from(_ target: String, _ source: String, _ change: (inout JSONMapping.Use) -> Void = { _ in }) -> Rule {
        (path(target), .value(path(source), use(change)))
    }

    static func map(_ text: String, _ mapping: JSONMapping, as root: JSONMapping.Root = .object, limit: Int = 10_000) -> String {
        do {
            var out = ByteBuffer()
            try mapping.apply(to: try JSONDocument.parse(text).root, as: root, limit: limit, into: &out)
            return string(out)
        } catch {
            return "\(error)"
        }
    }

    static func legacy() throws -> JSONMapping {
        try JSONMapping([
            from("ORDER_NO", "id") {
                $0.conversion = .string; $0.isRequired = true
            },
            from("CUST.NAME", "customer.name") { $0.fallback = Array("\"unknown\"".utf8) },
            from("CUST.MAIL", "customer.email"),
            (path("CURRENCY"), .constant(Array("\"EUR\"".utf8))),
            (
                path("LINES"),
                .eachObject(
                    path("items"),
                    try JSONMapping([from("SKU", "product.id"), from("QTY", "quantity") { $0.conversion = .integer }]), use())
            ),
            (path("TAGS"), .eachValue(path("tags"), of: path("name"), use())),
        ])
    }

    @Test(
        "Fields are taken, renamed, nested and converted; constants and defaults fill the rest, and lists are mapped element by element"
    )
    func maps() throws {
        let mapping = try JSONMappingTests.legacy()
        #expect(
            JSONMappingTests.map(
                #"{"id":7,"customer":{"email":"a@b","x":1},"items":[{"product":{"id":"p1"},"quantity":"2"},{"quantity":3.0}],"tags":[{"name":"\u00e9"}],"other":1}"#,
                mapping)
                == #"{"ORDER_NO":"7","CUST":{"NAME":"unknown","MAIL":"a@b"},"CURRENCY":"EUR","LINES":[{"SKU":"p1","QTY":2},{"QTY":3}],"TAGS":["\u00e9"]}"#
        )
    }

    @Test(
        "What cannot be mapped is refused and says where",
        arguments: [
            ("[]", "$ is no object"),
            ("1", "$ is no object"),
            ("{}", "id is missing"),
            (#"{"id":null}"#, "id cannot be written as string"),
            (#"{"id":{}}"#, "id cannot be written as string"),
            (#"{"id":1,"items":{}}"#, "items is no array"),
            (#"{"id":1,"items":[1]}"#, "items[0] is no object"),
            (#"{"id":1,"items":[{},{"quantity":1.5}]}"#, "quantity cannot be written as integer"),
            (#"{"id":1,"items":[{"quantity":" 1"}]}"#, "quantity cannot be written as integer"),
            (#"{"id":1,"tags":[{}]}"#, "name is missing"),
        ])
    func refuses(text: String, complaint: String) throws {
        #expect(JSONMappingTests.map(text, try JSONMappingTests.legacy()) == complaint)
    }

    @Test("What is unknown is kept where it was, less what was taken from it or is dropped")
    func keeps() throws {
        let mapping = try JSONMapping(
            [
                JSONMappingTests.from("number", "ORDER_NO"), JSONMappingTests.from("customer.name", "CUST.NAME"),
                JSONMappingTests.from("meta.at", "meta.at") { $0.conversion = .string },
            ], keepsUnknown: true, drops: [JSONMappingTests.path("SECRET"), JSONMappingTests.path("a.b")])
        #expect(
            JSONMappingTests.map(
                #"{"ORDER_NO":7,"CUST":{"NAME":"x"},"SECRET":1,"a":{"b":1,"c": 2},"meta":{"z":0,"at":5},"rest":[1, 2]}"#, mapping)
                == #"{"a":{"c":2},"meta":{"z":0,"at":"5"},"rest":[1, 2],"number":7,"customer":{"name":"x"}}"#)
        #expect(
            JSONMappingTests.map(#"{"CUST":{"NAME":"x","AGE":3},"customer":{"id":9,"name":"old"},"a":{"b":1}}"#, mapping)
                == #"{"CUST":{"AGE":3},"customer":{"id":9,"name":"x"}}"#)
    }

    @Test("Null counts as missing where that is asked for")
    func nulls() throws {
        let rule = JSONMappingTests.from("b", "a") {
            $0.takesNullForMissing = true; $0.fallback = Array("0".utf8)
        }
        #expect(JSONMappingTests.map(#"{"a":null}"#, try JSONMapping([rule])) == #"{"b":0}"#)
        #expect(JSONMappingTests.map(#"{"a":null}"#, try JSONMapping([JSONMappingTests.from("b", "a")])) == #"{"b":null}"#)
    }

    @Test("A list of objects is mapped one by one where the outermost value may be one")
    func roots() throws {
        let mapping = try JSONMapping([JSONMappingTests.from("b", "a")])
        #expect(JSONMappingTests.map(#"[{"a":1},{}]"#, mapping, as: .array) == #"[{"b":1},{}]"#)
        #expect(JSONMappingTests.map(#"[{"a":1},{}]"#, mapping, as: .either) == #"[{"b":1},{}]"#)
        #expect(JSONMappingTests.map(#"{"a":1}"#, mapping, as: .either) == #"{"b":1}"#)
        #expect(JSONMappingTests.map(#"{"a":1}"#, mapping, as: .array) == "$ is no array")
        #expect(JSONMappingTests.map("[1]", mapping, as: .either) == "[0] is no object")
    }

    @Test("The result is bounded, however often one value is taken")
    func bound() throws {
        let rules = (0..<50).map { JSONMappingTests.from("m\($0)", "a") }
        let text = "{\"a\":\"\(String(repeating: "x", count: 1_000))\"}"
        #expect(JSONMappingTests.map(text, try JSONMapping(rules), limit: 10_000) == "the result is longer than 10000 bytes")
    }

    @Test(
        "Targets that do not go together are refused",
        arguments: [
            (["a", "a"], 1, "another target is the same, a part of this one, or has this one as a part"),
            (["a.b", "a"], 1, "another target is the same, a part of this one, or has this one as a part"),
            (["a", "a.b.c"], 1, "another target is the same, a part of this one, or has this one as a part"),
            (["a[0]"], 0, "a target has names only; a list is made with each"), (["b", "$"], 1, "a target has at least one name"),
        ])
    func conflicts(targets: [String], rule: Int, message: String) {
        do throws(JSONMapping.Conflict) {
            _ = try JSONMapping(targets.map { JSONMappingTests.from($0, "x") })
            Issue.record("was taken")
        } catch {
            #expect(error.rule == rule)
            #expect(error.description == message)
        }
    }
}
