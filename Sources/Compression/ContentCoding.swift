// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A content coding that the gateway speaks (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
package enum ContentCoding: String, CaseIterable, Sendable {
    case brotli = "br"
    case zstd
    case gzip
    case deflate

    /// The coding of that name, in any case; `nil`: none that the gateway knows.
    package init?(_ name: Span<UInt8>) {
        for (text, coding) in ContentCoding.names where name.isSame(as: text) {
            self = coding
            return
        }
        return nil
    }

    private static let names: [(text: [UInt8], coding: ContentCoding)] = [
        (Array("gzip".utf8), .gzip), (Array("br".utf8), .brotli), (Array("zstd".utf8), .zstd), (Array("deflate".utf8), .deflate),
        (Array("x-gzip".utf8), .gzip),
    ]
}

extension Span<UInt8> {
    /// Whether these are the letters of `text`, which is in lower case, in any case.
    fileprivate func isSame(as text: [UInt8]) -> Bool {
        guard count == text.count else { return false }
        for i in indices {
            let byte = self[i]
            if (byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) != text[i] { return false }
        }
        return true
    }

    /// Where it is without the blanks around it.
    fileprivate var trimmed: Range<Int> {
        func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }
        var start = 0
        var end = count
        while start < end, isBlank(self[start]) { start += 1 }
        while end > start, isBlank(self[end - 1]) { end -= 1 }
        return start..<end
    }
}

/// What a client says of content codings in `Accept-Encoding` (RFC 9110 §12.5.3): weights in thousandths.
package struct AcceptEncoding: Equatable, Sendable {
    private var weights = InlineArray<4, Int16>(repeating: -1)
    private var identity: Int16 = -1
    private var others: Int16 = -1

    package init() {}

    private static func index(_ coding: ContentCoding) -> Int {
        switch coding {
        case .brotli: 0
        case .zstd: 1
        case .gzip: 2
        case .deflate: 3
        }
    }

    package static func == (a: AcceptEncoding, b: AcceptEncoding) -> Bool {
        a.identity == b.identity && a.others == b.others && (0..<4).allSatisfy { a.weights[$0] == b.weights[$0] }
    }

    /// Takes in one field's value. What is not well-formed is passed over: then nothing is compressed for it.
    package mutating func add(_ value: Span<UInt8>) {
        var at = 0
        while at < value.count {
            var end = at
            while end < value.count, value[end] != UInt8(ascii: ",") { end += 1 }
            addElement(value.extracting(at..<end))
            at = end + 1
        }
    }

    private mutating func addElement(_ element: Span<UInt8>) {
        var mark = 0
        while mark < element.count, element[mark] != UInt8(ascii: ";") { mark += 1 }
        let before = element.extracting(0..<mark)
        let name = before.extracting(before.trimmed)
        guard !name.isEmpty else { return }
        var weight: Int16 = 1_000
        if mark < element.count {
            let parameter = element.extracting((mark + 1)..<element.count)
            guard let q = AcceptEncoding.weight(parameter.extracting(parameter.trimmed)) else { return }
            weight = q
        }
        if name.count == 1, name[0] == UInt8(ascii: "*") {
            others = weight
        } else if let coding = ContentCoding(name) {
            weights[AcceptEncoding.index(coding)] = weight
        } else if name.isSame(as: ContentCodingList.identity) {
            identity = weight
        }
    }

    /// `q=0.5` in thousandths (RFC 9110 §12.4.2).
    private static func weight(_ text: Span<UInt8>) -> Int16? {
        guard text.count >= 3, text.count <= 7, text[0] | 0x20 == UInt8(ascii: "q"), text[1] == UInt8(ascii: "=") else {
            return nil
        }
        guard text[2] == UInt8(ascii: "0") || text[2] == UInt8(ascii: "1") else { return nil }
        var result = Int16(text[2] - 48) * 1_000
        if text.count > 3 {
            guard text[3] == UInt8(ascii: ".") else { return nil }
            var unit: Int16 = 100
            for i in 4..<text.count {
                guard (0x30...0x39).contains(text[i]) else { return nil }
                result += Int16(text[i] - 48) * unit
                unit /= 10
            }
        }
        return result <= 1_000 ? result : nil
    }

    /// The one of `codings` that the client likes best, the first of them among equals; `nil`: as it is.
    package func choose(_ codings: [ContentCoding]) -> ContentCoding? {
        var best: (coding: ContentCoding, weight: Int16)?
        for coding in codings {
            let given = weights[AcceptEncoding.index(coding)]
            let weight = given >= 0 ? given : others
            if weight > 0, weight > best?.weight ?? 0 { best = (coding, weight) }
        }
        // A client that would rather have it as it is says so; one that is silent takes it so at any rate.
        if let best, best.weight >= identity { return best.coding }
        return nil
    }
}

/// The codings of one body, in the order in which they were applied (RFC 9110 §8.4).
package enum ContentCodingList {
    /// More than that on one body serves no purpose but to hide something.
    package static let most = 3

    fileprivate static let identity = Array("identity".utf8)

    /// Adds the codings of one `Content-Encoding` field. False: one that the gateway does not know, or too many.
    package static func add(_ value: Span<UInt8>, to list: inout [ContentCoding]) -> Bool {
        var at = 0
        while at <= value.count {
            var end = at
            while end < value.count, value[end] != UInt8(ascii: ",") { end += 1 }
            let element = value.extracting(at..<end)
            let name = element.extracting(element.trimmed)
            if !name.isEmpty && !name.isSame(as: identity) {
                guard let coding = ContentCoding(name), list.count < most else { return false }
                list.append(coding)
            }
            at = end + 1
        }
        return true
    }
}
