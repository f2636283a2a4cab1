// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Telemetry

@Suite struct LogEscapingTests {
    private func escaped(_ input: [UInt8], _ escaping: LogEscaping, limit: Int = .max) -> String {
        text { $0.append(escaping: input.span, as: escaping, limit: limit) }
    }

    struct Row: Sendable {
        var input: [UInt8]
        var json: String
        var text: String
        var bare: String

        init(_ input: String, _ json: String, _ text: String, _ bare: String) {
            self.init(Array(input.utf8), json, text, bare)
        }

        init(_ input: [UInt8], _ json: String, _ text: String, _ bare: String) {
            self.input = input
            self.json = json
            self.text = text
            self.bare = bare
        }
    }

    @Test(arguments: [
        Row("", "", "", ""),
        Row("plain text/1.0", "plain text/1.0", "plain text/1.0", #"plain\x20text/1.0"#),
        Row("\r\n\t", #"\r\n\t"#, #"\x0d\x0a\x09"#, #"\x0d\x0a\x09"#),
        Row("\0\u{1}\u{1F}\u{7F}", #"\u0000\u0001\u001f\u007f"#, #"\x00\x01\x1f\x7f"#, #"\x00\x01\x1f\x7f"#),
        Row("\u{1B}[2J", #"\u001b[2J"#, #"\x1b[2J"#, #"\x1b[2J"#),
        Row(#"say "hi" \ o"#, #"say \"hi\" \\ o"#, #"say \x22hi\x22 \x5c o"#, #"say\x20\x22hi\x22\x20\x5c\x20o"#),
        Row("%0a%0d", "%0a%0d", "%0a%0d", "%0a%0d"),
        Row("a=b;c,d'", "a=b;c,d'", "a=b;c,d'", #"a\x3db\x3bc\x2cd\x27"#),
        Row(
            "grüße 漢字 😀", "grüße 漢字 😀", "grüße 漢字 😀",
            #"gr\xc3\xbc\xc3\x9fe\x20\xe6\xbc\xa2\xe5\xad\x97\x20\xf0\x9f\x98\x80"#),
        Row("\u{2028}\u{2029}", #"\u2028\u2029"#, #"\xe2\x80\xa8\xe2\x80\xa9"#, #"\xe2\x80\xa8\xe2\x80\xa9"#),
        Row("\u{85}\u{9B}31m", #"\u0085\u009b31m"#, #"\xc2\x85\xc2\x9b31m"#, #"\xc2\x85\xc2\x9b31m"#),
        Row(
            "\u{202E}gpj\u{FEFF}\u{200B}", #"\u202egpj\ufeff\u200b"#, #"\xe2\x80\xaegpj\xef\xbb\xbf\xe2\x80\x8b"#,
            #"\xe2\x80\xaegpj\xef\xbb\xbf\xe2\x80\x8b"#),
        // Not UTF-8: a stray continuation, an overlong slash, a surrogate, beyond U+10FFFF, cut at the end, bytes never used.
        Row([0x61, 0x80, 0x62], #"a\ufffdb"#, #"a\x80b"#, #"a\x80b"#),
        Row([0xC0, 0xAF], #"\ufffd\ufffd"#, #"\xc0\xaf"#, #"\xc0\xaf"#),
        Row([0xED, 0xA0, 0x80], #"\ufffd\ufffd\ufffd"#, #"\xed\xa0\x80"#, #"\xed\xa0\x80"#),
        Row([0xF4, 0x90, 0x80, 0x80], #"\ufffd\ufffd\ufffd\ufffd"#, #"\xf4\x90\x80\x80"#, #"\xf4\x90\x80\x80"#),
        Row([0x61, 0xE6, 0xBC], #"a\ufffd\ufffd"#, #"a\xe6\xbc"#, #"a\xe6\xbc"#),
        Row([0xFE, 0xFF, 0x0A], #"\ufffd\ufffd\n"#, #"\xfe\xff\x0a"#, #"\xfe\xff\x0a"#),
        // A lead byte whose continuation is a line feed or a quote must not swallow it.
        Row([0xC3, 0x0A], #"\ufffd\n"#, #"\xc3\x0a"#, #"\xc3\x0a"#),
        Row([0xE2, 0x80, 0x22], #"\ufffd\ufffd\""#, #"\xe2\x80\x22"#, #"\xe2\x80\x22"#),
    ])
    func table(row: Row) {
        #expect(escaped(row.input, .json) == row.json)
        #expect(escaped(row.input, .text) == row.text)
        #expect(escaped(row.input, .bare) == row.bare)
    }

    /// Each byte at each place of a word of eight and beyond: the eight-byte steps find what single steps find.
    @Test func everyByteAtEveryPlace() {
        for byte in UInt8.min...UInt8.max {
            let alone = escaped([byte], .text)
            for length in [1, 7, 8, 9, 16, 17] {
                for at in 0..<length {
                    var input = [UInt8](repeating: UInt8(ascii: "a"), count: length)
                    input[at] = byte
                    let expected = String(repeating: "a", count: at) + alone + String(repeating: "a", count: length - at - 1)
                    #expect(escaped(input, .text) == expected, "byte \(byte) at \(at) of \(length)")
                }
            }
        }
    }

    @Test func aCutSplitsNoCharacterAndIsMarked() {
        let word = "ab漢é😀\"c"
        let input = Array(word.utf8)
        for limit in 0..<input.count {
            let told = escaped(input, .text, limit: limit)
            #expect(told.hasSuffix("…"))
            // Whole characters, as many as fit.
            var whole = ""
            for character in word {
                if (whole + String(character)).utf8.count > limit { break }
                whole.append(character)
            }
            #expect(told.dropLast().replacing(#"\x22"#, with: "\"") == whole)
        }
        #expect(escaped(input, .text, limit: input.count) == #"ab漢é😀\x22c"#)
        // Stray continuation bytes are no character to keep whole.
        #expect(escaped([0x80, 0x80, 0x80, 0x80, 0x80], .json, limit: 4) == #"\ufffd\ufffd\ufffd\ufffd…"#)
        #expect(escaped([], .json, limit: 0) == "")
    }

    @Test func randomBytesNeverBreakOut() {
        var random = Seeded()
        let nasty: [UInt8] = [0x0A, 0x0D, 0x22, 0x5C, 0x1B, 0x00, 0x7F, 0x80, 0xC2, 0xE2, 0x80, 0xA8, 0xF0, 0xFF, 0x41]
        for round in 0..<3_000 {
            let input = (0..<Int.random(in: 0..<40, using: &random)).map { _ in
                Bool.random(using: &random) ? nasty.randomElement(using: &random) ?? 0 : UInt8.random(in: 0...255, using: &random)
            }
            let limit = Int.random(in: 0..<50, using: &random)
            for escaping in [LogEscaping.json, .text, .bare] {
                let output = bytes { $0.append(escaping: input.span, as: escaping, limit: limit) }
                let isClean = output.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
                #expect(isClean, "round \(round) \(Seeded.note)")
                let isUTF8 = String(validating: output, as: UTF8.self) != nil
                #expect(isUTF8, "round \(round) \(Seeded.note)")
                var isEscaped = false
                for byte in output {
                    #expect(byte != UInt8(ascii: "\"") || isEscaped, "round \(round) \(Seeded.note)")
                    isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
                }
                #expect(!isEscaped)
            }
        }
    }
}
