// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Why a text is no JSON document, or not one that is let in: at which byte, and what was expected there.
package struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Problem: String, Sendable, Equatable, CaseIterable {
        case empty = "there is nothing"
        case expectedValue = "expected a value"
        case expectedName = "expected a name in double quotes"
        case expectedNameOrEnd = "expected a name in double quotes or '}'"
        case expectedColon = "expected ':' after the name"
        case expectedCommaOrBrace = "expected ',' or '}'"
        case expectedCommaOrBracket = "expected ',' or ']'"
        case expectedEnd = "expected the end of the document"
        case literal = "expected true, false or null"
        case number = "expected a number as RFC 8259 writes it"
        case unendedString = "expected '\"' before the end"
        case controlCharacter = "expected an escape: control characters may not stand in a string"
        case escape = "expected one of \" \\ / b f n r t u after '\\'"
        case unicodeEscape = "expected four hexadecimal digits after '\\u'"
        case loneSurrogate = "expected both halves of a surrogate pair"
        case utf8 = "expected UTF-8"
        case byteOrderMark = "expected a value and not a byte order mark"
        case duplicateName = "expected a name that this object does not have yet"
        case depth = "too many arrays and objects within each other"
        case nodes = "too many values"
        case bytes = "too long"
    }

    package var problem: Problem
    /// Bytes before the place, from the text's beginning.
    package var offset: Int

    package init(_ problem: Problem, at offset: Int) {
        self.problem = problem
        self.offset = offset
    }

    package var description: String { "byte \(offset): \(problem.rawValue)" }
}
