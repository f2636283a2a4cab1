// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import HTTP

struct FieldNameTests {
    private func recognise(_ text: [UInt8]) -> FieldName { FieldName.recognise(lowercased: text.span) }
    private func equal(_ text: String, _ other: StaticString) -> Bool { Array(text.utf8).span.equals(other) }
    private func equalIgnoringCase(_ text: String, _ other: StaticString) -> Bool {
        Array(text.utf8).span.equalsIgnoringCase(other)
    }

    @Test(arguments: FieldName.allCases)
    func isRecognisedByItsText(name: FieldName) {
        let text = name.text.withUTF8Buffer { unsafe Array($0) }
        #expect(recognise(text) == name)
        for i in text.indices {  // one letter more, less, or other
            var other = text
            other[i] ^= 1
            #expect(recognise(other) != name)
            other.remove(at: i)
            #expect(recognise(other) != name)
        }
        if name != .other {
            #expect(recognise((text + [120])) != name)
            #expect(text.allSatisfy { $0.isTokenOctet && $0.asciiLowercased == $0 })
        }
    }

    @Test func othersAreOther() {
        let long = [UInt8](repeating: 120, count: 5_000)
        for text in [[], [120], Array("hostt".utf8), Array("Host".utf8), long] {
            #expect(recognise(text) == .other)
        }
        #expect(FieldName.allCases.count <= 64, "a section keeps one bit a name")
    }

    @Test func comparesText() {
        #expect(equal("Keep-Alive", "Keep-Alive"))
        #expect(!equal("Keep-Alive", "keep-alive"))
        #expect(!equal("Keep-Alive", "Keep-Aliv"))
        #expect(equal("", ""))
        #expect(equalIgnoringCase("Keep-Alive", "keep-alive"))
        #expect(!equalIgnoringCase("Keep-Alive", "keep-alivf"))
        #expect(!equalIgnoringCase("@", "`"))  // 0x40 and 0x60 are no letters
    }
}
