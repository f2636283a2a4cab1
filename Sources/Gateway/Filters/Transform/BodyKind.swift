// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// What a message's fields say of its body, for those who want to read it.
enum BodyKind: Equatable {
    /// JSON that can be read as it is.
    case json
    /// Something else, or nothing is said.
    case other
    /// Under a content coding, or only a range of the whole: its bytes mean nothing by themselves.
    case encoded

    /// `application/json` or a type that ends in `+json` (RFC 6839 §3.1), of which the one charset is UTF-8 (RFC 8259 §8.1).
    init(of fields: borrowing FieldSection) {
        if let i = fields.first(.contentEncoding) {
            let isIdentity =
                fields.withValue(i) { $0.equalsIgnoringCase("identity") } && fields.first(.contentEncoding, from: i + 1) == nil
            if !isIdentity {
                self = .encoded
                return
            }
        }
        if fields.first(named: BodyKind.contentRange) != nil {
            self = .encoded
            return
        }
        guard let i = fields.first(.contentType), fields.first(.contentType, from: i + 1) == nil else {
            self = .other
            return
        }
        self = fields.withValue(i) { BodyKind.isJSON($0) } ? .json : .other
    }

    static let contentRange = Array("content-range".utf8)

    static func isJSON(_ value: Span<UInt8>) -> Bool {
        var end = 0
        while end < value.count, value[end] != UInt8(ascii: ";") { end += 1 }
        var type = value.extracting(0..<end)
        while let last = type.indices.last, type[last].isFieldSpace { type = type.extracting(0..<last) }
        let isJSON =
            type.equalsIgnoringCase("application/json")
            || (type.count > 5 && type.extracting(type.count - 5..<type.count).equalsIgnoringCase("+json"))
        return isJSON && hasNoOtherCharset(value.extracting(end..<value.count))
    }

    /// `charset` is no parameter of JSON's (RFC 8259 §11), but where somebody gives one, it is believed.
    private static func hasNoOtherCharset(_ parameters: Span<UInt8>) -> Bool {
        var at = 0
        while at < parameters.count {
            var end = at + 1
            while end < parameters.count, parameters[end] != UInt8(ascii: ";") { end += 1 }
            var start = at + 1
            while start < end, parameters[start].isFieldSpace { start += 1 }
            while end > start, parameters[end - 1].isFieldSpace { end -= 1 }
            if end - start > 8, parameters.extracting(start..<start + 8).equalsIgnoringCase("charset=") {
                let charset = parameters.extracting(start + 8..<end)
                return charset.equalsIgnoringCase("utf-8") || charset.equalsIgnoringCase("\"utf-8\"")
            }
            while end < parameters.count, parameters[end] != UInt8(ascii: ";") { end += 1 }
            at = end
        }
        return true
    }
}

extension FieldSection {
    /// Removes what was said of exactly the bytes that a body had (RFC 9530, RFC 3230, RFC 1864, RFC 9110 §14.3).
    mutating func removeDigests() {
        for name in FieldSection.digestNames { removeAll(named: name) }
    }

    private static let digestNames = ["content-md5", "digest", "content-digest", "repr-digest"].map { Array($0.utf8) }

    /// Makes a strong entity tag a weak one: the body means the same as the upstream's, but has other bytes (RFC 9110 §8.8.1).
    mutating func weakenETag() {
        guard let i = first(.etag) else { return }
        let weak = withValue(i) { value -> [UInt8]? in
            if value.count >= 2, value[0] == UInt8(ascii: "W"), value[1] == UInt8(ascii: "/") { return nil }
            var bytes = Array("W/".utf8)
            for i in value.indices { bytes.append(value[i]) }
            return bytes
        }
        guard let weak else { return }
        removeAll(.etag)
        append(.etag, weak.span)
    }
}
