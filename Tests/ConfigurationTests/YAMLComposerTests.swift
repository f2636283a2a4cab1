// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

/// What libyaml and Yams are told, and what is kept of it: places, aliases, double keys, bounds.
struct YAMLComposerTests {
    typealias Row = ComplaintTests.Row

    private func said(_ text: String) -> String {
        var composer = YAMLComposer(file: "x.yaml")
        let tree = composer.compose(text)
        #expect((tree == nil) == !composer.complaints.isEmpty)
        return ConfigurationErrors(composer.complaints).description
    }

    @Test(arguments: [
        Row("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: the key \"a\" already stands on line 1 of this mapping", "a key twice"),
        Row(
            "a: 1\na: 2\na: 3\nb: 1\nb: 2",
            "x.yaml:2:1: the key \"a\" already stands on line 1 of this mapping\nx.yaml:3:1: the key \"a\" already stands on line 1 of this mapping\nx.yaml:5:1: the key \"b\" already stands on line 4 of this mapping",
            "every double key"),
        Row(
            "x: { \"a b\": 1, \"a b\": 2 }", "x.yaml:1:16: the key \"a b\" already stands on line 1 of this mapping", "quoted keys"),
        Row("a: 1\n\"a\": 2", "x.yaml:2:1: the key \"a\" already stands on line 1 of this mapping", "the same key in quotes"),
        Row("é: 1\né: 2", "x.yaml:2:1: the key \"é\" already stands on line 1 of this mapping", "a key beyond ASCII"),
        Row(
            "a: 1\r\nb: 1\r\nb: 2\r\n", "x.yaml:3:1: the key \"b\" already stands on line 2 of this mapping",
            "lines that end in CR LF"),
        Row("'': 1\n'': 2", "x.yaml:1:1: the key \"\" stands in this mapping twice", "keys of no length"),
        Row(
            "a: *b", "x.yaml:1:4: the alias *b has no anchor &b before it; a value that begins with * needs quotes",
            "an alias of nothing"),
        Row(
            "a: &a [*a]", "x.yaml:1:8: the alias *a has no anchor &a before it; a value that begins with * needs quotes",
            "an alias of what is around it"),
        Row(
            "host: *.example.com", "x.yaml:1:7: a value that begins with * needs quotes: \"*.example.com\"",
            "a wildcard without quotes"),
        Row("? [a]\n: 1", "x.yaml:1:3: a key is a single word, not a list", "a list for a key"),
        Row("<<: 1", "x.yaml:1:5: << merges a mapping or a list of mappings; found a single value", "a merge of a word"),
        Row("a: !secret b", "x.yaml:1:4: the tag \"!secret\" has no meaning here; write the value alone", "a tag"),
        Row("a: 1\n---\nb: 2", "x.yaml:2:1: a second document begins here; a configuration is one YAML document", "two documents"),
        Row(
            "a: [1, 2", "x.yaml:1:9: is not YAML: did not find expected ',' or ']' while parsing a flow sequence (line 1)",
            "an open bracket"),
        Row(
            "a:\n\t- b",
            "x.yaml:2:1: is not YAML: found character that cannot start any token while scanning for the next token (line 2); indent with spaces, and quote a value that begins with @, % or a backquote",
            "a tab for indentation"),
        Row(
            "a: b: c",
            "x.yaml:1:5: is not YAML: mapping values are not allowed in this context; quote a value that holds a colon and a space, and look at the indentation",
            "two colons"),
        Row(
            "a: \"b", "x.yaml:1:6: is not YAML: found unexpected end of stream while scanning a quoted scalar (line 1)",
            "an open quote"),
        Row("a: 1\nb: \u{1}", "x.yaml:2:4: is not YAML: control characters are not allowed", "a control character"),
        Row(
            "a: \u{E000}", "x.yaml:1:4: a private-use character (U+E000 to U+E0FF) has no meaning here", "a character that we need"),
        Row(
            "a: 1\n b: 2",
            "x.yaml:2:3: is not YAML: mapping values are not allowed in this context; quote a value that holds a colon and a space, and look at the indentation",
            "an indentation that jumps"),
    ])
    func refuses(row: Row) {
        #expect(said(row.text) == row.said)
    }

    /// A tree on one line, with the place of each scalar.
    private func shown(_ tree: YAML) -> String {
        switch tree.content {
        case .scalar(let text, let isPlain): (isPlain ? text : quoted(text)) + "@\(tree.position.line):\(tree.position.column)"
        case .sequence(let items): "[" + items.map(shown).joined(separator: " ") + "]"
        case .mapping(let entries):
            "{"
                + entries.map { "\($0.key)@\($0.keyPosition.line):\($0.keyPosition.column)=\(shown($0.value))" }.joined(
                    separator: " ") + "}"
        }
    }

    @Test(arguments: [
        Row("a: 1\nb: [x, 'y z']", "{a@1:1=1@1:4 b@2:1=[x@2:5 \"y z\"@2:8]}", "places"),
        Row("\u{FEFF}a: 1", "{a@1:1=1@1:4}", "a byte order mark has no column"),
        Row("é: ü", "{é@1:1=ü@1:4}", "columns count characters"),
        Row("a: &x 1\nb: *x", "{a@1:1=1@1:4 b@2:1=1@1:4}", "an alias is where its anchor is"),
        Row("a: &x {k: 1}\nb: {<<: *x, l: 2}", "{a@1:1={k@1:8=1@1:11} b@2:1={l@2:13=2@2:16 k@1:8=1@1:11}}", "a merge"),
        Row("a: &x {k: 1}\nb: {<<: *x, k: 2}", "{a@1:1={k@1:8=1@1:11} b@2:1={k@2:13=2@2:16}}", "what is there wins"),
        Row(
            "a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y]}",
            "{a@1:1={k@1:8=1@1:11} b@2:1={k@2:8=2@2:11 m@2:14=3@2:17} c@3:1={k@1:8=1@1:11 m@2:14=3@2:17}}",
            "the first of several merges wins"),
        Row("a: &x 1\nb: &x 2\nc: *x", "{a@1:1=1@1:4 b@2:1=2@2:4 c@3:1=2@2:4}", "an anchor may be set anew"),
        Row("*a : 1", "the alias", "an alias for a key needs an anchor"),
        Row("? &k key\n: 1\nb: {*k : 2}", "{key@1:3=1@2:3 b@3:1={key@3:5=2@3:10}}", "an alias for a key"),
        Row(
            "a: '*b'\nc: x*y\nd: \"*\"\n# *\ne: /u/*", "{a@1:1=\"*b\"@1:4 c@2:1=x*y@2:4 d@3:1=\"*\"@3:4 e@5:1=/u/*@5:4}",
            "a star that is no alias"),
        Row("a: |\n  *x\n  y\n", "{a@1:1=\"*x\\u{a}y\\u{a}\"@1:4}", "a star in a block of text"),
        Row("a: !!str 1", "{a@1:1=1@1:4}", "YAML's own tags"),
    ])
    func composes(row: Row) throws {
        if row.said == "the alias" {
            #expect(
                said(row.text) == "x.yaml:1:1: the alias *a has no anchor &a before it; a value that begins with * needs quotes")
        } else {
            #expect(shown(try tree(of: row.text)) == row.said)
        }
    }

    /// Nested aliases double a few times over what one line of text says; the budget ends it at the alias that is too much.
    @Test(arguments: [
        "[*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]", "{k: *a, l: *a, m: *a, n: *a, o: *a, p: *a, q: *a, r: *a, s: *a, t: *a}",
    ])
    func aliasesHaveABudget(level: String) {
        var text = "a0: &a0 x\n"
        for depth in 1...12 {
            text +=
                "a\(depth): &a\(depth) "
                + level.split(separator: "*a", omittingEmptySubsequences: false).joined(separator: "*a\(depth - 1)") + "\n"
        }
        #expect(said(text).contains("has more than 1000000 nodes with the alias"))
    }

    /// The same as keys, which Yams would compare by their whole content.
    @Test func aliasesAsKeysAreNotExpanded() {
        var text = "a0: &a0 [x]\n"
        for depth in 1...30 { text += "a\(depth): &a\(depth) [*a\(depth - 1), *a\(depth - 1)]\n" }
        #expect(said(text + "b: {*a5 : 1, *a30 : 2}").contains("a key is a single word, not a list"))
    }

    @Test func depthHasABound() {
        #expect(said(String(repeating: "[", count: 63) + String(repeating: "]", count: 63)) == "")
        #expect(
            said(String(repeating: "[", count: 65) + String(repeating: "]", count: 65))
                == "x.yaml:1:65: is nested deeper than 64 levels")
        #expect(said(String(repeating: "[", count: 100_000)).contains("is not YAML"))
        #expect(said(String(repeating: "- ", count: 100_000)).contains("is not YAML"))
        let deep = "a: &a " + String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
        #expect(
            said(deep + "\nb: " + String(repeating: "[", count: 30) + "*a" + String(repeating: "]", count: 30)).contains(
                "with the alias *a"))
    }

    @Test func sizeHasABound() {
        let text = "# " + String(repeating: "x", count: YAMLComposer.maximumBytes)
        #expect(said(text) == "x.yaml: is \(text.utf8.count) bytes long; a configuration has at most \(YAMLComposer.maximumBytes)")
    }

    @Test func aHundredDoubleKeysAreEnough() {
        #expect(said(String(repeating: "a: 1\n", count: 300)).contains("stands in this mapping twice"))
    }

    /// Ten thousand routes are what the router is made for.
    @Test func aLargeFileIsFine() throws {
        var text = minimal() + "\n"
        for number in 0..<10_000 { text += "  - { match: { path: /r\(number)/* }, to: a }\n" }
        #expect(try read(text).configuration.routes.count == 10_001)
    }
}
