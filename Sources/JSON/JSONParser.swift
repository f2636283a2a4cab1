// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Reads one text into a document's records: the grammar of RFC 8259 to the letter, without recursion, so that depth costs a few
/// bytes of a list and never stack.
struct JSONParser {
    let text: [UInt8]
    let limits: JSONLimits
    var nodes: [JSONDocument.Node] = []
    var hasShadows = false
    var position = 0
    /// Containers that have begun and not ended: record, and how many elements or members so far.
    private var open: [(node: Int, count: Int)] = []

    init(text: [UInt8], limits: JSONLimits) {
        self.text = text
        self.limits = limits
        nodes.reserveCapacity(min(limits.nodes, text.count / 6 &+ 4))
    }

    mutating func parse() throws(JSONError) {
        skipSpace()
        guard position < text.count else { throw JSONError(.empty, at: position) }
        if text[0] == 0xEF, text.count >= 3, text[1] == 0xBB, text[2] == 0xBF { throw JSONError(.byteOrderMark, at: 0) }
        repeat {
            // A container that was opened is followed by its first value, or is empty and has ended.
            guard try !value() else { continue }
            try afterValue()
        } while !open.isEmpty
        skipSpace()
        guard position == text.count else { throw JSONError(.expectedEnd, at: position) }
    }

    /// Reads a scalar, or the beginning of a container. True if a value must follow at once.
    private mutating func value() throws(JSONError) -> Bool {
        skipSpace()
        guard position < text.count else { throw JSONError(.expectedValue, at: position) }
        let start = position
        switch text[position] {
        case UInt8(ascii: "{"):
            try openContainer(.object)
            skipSpace()
            if peek(UInt8(ascii: "}")) {
                try closeContainer()
                return false
            }
            try name(else: .expectedNameOrEnd)
            return true
        case UInt8(ascii: "["):
            try openContainer(.array)
            skipSpace()
            if peek(UInt8(ascii: "]")) {
                try closeContainer()
                return false
            }
            return true
        case UInt8(ascii: "\""):
            try string()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            try number()
            try add(.number, from: start)
        case UInt8(ascii: "t"):
            try literal("true")
            try add(.bool, from: start)
        case UInt8(ascii: "f"):
            try literal("false")
            try add(.bool, from: start)
        case UInt8(ascii: "n"):
            try literal("null")
            try add(.null, from: start)
        default:
            throw JSONError(.expectedValue, at: position)
        }
        return false
    }

    /// Counts the value that has ended for its container, and reads on to where the next one begins: closes what is to be closed.
    private mutating func afterValue() throws(JSONError) {
        while let top = open.indices.last {
            open[top].count &+= 1
            let isObject = nodes[open[top].node].kind == .object
            skipSpace()
            if peek(UInt8(ascii: ",")) {
                position &+= 1
                if isObject {
                    skipSpace()
                    try name(else: .expectedName)
                }
                return
            }
            guard peek(isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
                throw JSONError(isObject ? .expectedCommaOrBrace : .expectedCommaOrBracket, at: position)
            }
            try closeContainer()
        }
    }

    private mutating func openContainer(_ kind: JSONKind) throws(JSONError) {
        guard open.count < limits.depth else { throw JSONError(.depth, at: position) }
        open.append((nodes.count, 0))
        try add(kind, from: position)
        position &+= 1
    }

    private mutating func closeContainer() throws(JSONError) {
        guard let (node, count) = open.popLast() else { return }
        position &+= 1
        let begun = nodes[node]
        nodes[node] = JSONDocument.Node(
            begun.kind, start: Int(begun.start), length: position &- Int(begun.start), next: nodes.count, count: count)
        if begun.kind == .object, count > 1 { try settleDuplicates(in: node, count: count) }
    }

    /// A member's name and the colon.
    private mutating func name(else problem: JSONError.Problem) throws(JSONError) {
        guard peek(UInt8(ascii: "\"")) else { throw JSONError(problem, at: position) }
        try string()
        skipSpace()
        guard peek(UInt8(ascii: ":")) else { throw JSONError(.expectedColon, at: position) }
        position &+= 1
    }

    private mutating func string() throws(JSONError) {
        let start = position
        let isEscaped = try skipString()
        try add(.string, from: start, flags: isEscaped ? JSONDocument.Node.escaped : 0)
    }

    private mutating func add(_ kind: JSONKind, from start: Int, flags: UInt32 = 0) throws(JSONError) {
        guard nodes.count < limits.nodes else { throw JSONError(.nodes, at: start) }
        nodes.append(JSONDocument.Node(kind, start: start, length: position &- start, next: nodes.count &+ 1, flags: flags))
    }

    // MARK: Bytes

    func peek(_ byte: UInt8) -> Bool { position < text.count && text[position] == byte }

    mutating func skipSpace() {
        while position < text.count {
            switch text[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position &+= 1
            default: return
            }
        }
    }

    private mutating func literal(_ word: StaticString) throws(JSONError) {
        let length = word.utf8CodeUnitCount
        guard text.count &- position >= length else { throw JSONError(.literal, at: position) }
        for i in 0..<length where unsafe word.utf8Start[i] != text[position &+ i] {
            throw JSONError(.literal, at: position)
        }
        position &+= length
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?` (RFC 8259 §6). What follows it is the grammar's business.
    private mutating func number() throws(JSONError) {
        let start = position
        if peek(UInt8(ascii: "-")) { position &+= 1 }
        if peek(UInt8(ascii: "0")) {
            position &+= 1
            if isDigit { throw JSONError(.number, at: start) }
        } else {
            try digits(from: start)
        }
        if peek(UInt8(ascii: ".")) {
            position &+= 1
            try digits(from: start)
        }
        if peek(UInt8(ascii: "e")) || peek(UInt8(ascii: "E")) {
            position &+= 1
            if peek(UInt8(ascii: "+")) || peek(UInt8(ascii: "-")) { position &+= 1 }
            try digits(from: start)
        }
    }

    private var isDigit: Bool { position < text.count && text[position] &- 48 < 10 }

    private mutating func digits(from start: Int) throws(JSONError) {
        guard isDigit else { throw JSONError(.number, at: start) }
        repeat { position &+= 1 } while isDigit
    }
}
