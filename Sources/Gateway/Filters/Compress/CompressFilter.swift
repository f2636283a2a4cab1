// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Compression
import Configuration
import Core
import HTTP

/// Compresses answers for clients that take it (RFC 9110 §8.4, §12.5.3), the gateway's own as well.
///
/// What has a content coding already, is a part of something (206), may not be changed (`no-transform`, or a digest of it is told), or has no body is left
/// alone. The entity tag of what is changed becomes a weak one (§8.8.1), and every answer that could have been says that it varies.
final class CompressFilter: Filter {
    private let types: [TypePattern]
    private let minimumSize: UInt64
    private let codings: [ContentCoding]
    private let level: CompressionLevel

    private enum TypePattern {
        case exact([UInt8])
        case prefix([UInt8])
        case suffix([UInt8])
    }

    init(_ settings: Configuration.CompressFilter) {
        types = settings.types.map { type in
            if type.hasPrefix("*+") { return .suffix(Array(type.utf8.dropFirst(1))) }
            if type.hasSuffix("/*") { return .prefix(Array(type.utf8.dropLast(1))) }
            return .exact(Array(type.utf8))
        }
        minimumSize = UInt64(settings.minimumSize)
        codings = settings.codings.map { coding in
            switch coding {
            case .brotli: .brotli
            case .zstd: .zstd
            case .gzip: .gzip
            case .deflate: .deflate
            }
        }
        level =
            switch settings.level {
            case .fast: .fast
            case .balanced: .balanced
            case .small: .small
            }
    }

    /// Bytes in, compressed bytes out.
    private final class Stage: ResponseStage {
        private let compressor: Compressor
        init(_ compressor: Compressor) { self.compressor = compressor }
        func body(_ bytes: Span<UInt8>, into out: inout ByteBuffer) { compressor.write(bytes, into: &out) }
        func end(into out: inout ByteBuffer) { compressor.finish(into: &out) }
    }

    /// What the client takes: read before other filters change the request.
    private final class Wish {
        let coding: ContentCoding?
        init(_ coding: ContentCoding?) { self.coding = coding }
    }

    func request(_ pass: FilterPass) -> FilterStep {
        var accepted = AcceptEncoding()
        let fields = pass.head.fields.count
        let name = CompressFilter.acceptEncoding
        for i in 0..<fields where pass.head.fields.isLive(i, named: name.span) {
            pass.head.fields.withValue(i) { accepted.add($0) }
        }
        var coding = accepted.choose(codings)
        // RFC 9111 §5.2.1.6: a client may ask for it as it is.
        if coding != nil, pass.head.fields.hasNoTransform { coding = nil }
        pass.state = Wish(coding)
        return .next
    }

    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        let wish = (pass.state as? Wish)?.coding
        if head.status == 304 {
            // The tag that the client has of it: a weak one if it was compressed.
            if pass.head.fields.ifNoneMatchHasWeak(head.fields) { head.fields.weakenTag() }
            return .next
        }
        guard isEligible(head, isHEAD: pass.head.method == .head, hasBody: pass.answerHasBody) else { return .next }
        head.fields.addVary(CompressFilter.acceptEncoding)
        guard let wish else { return .next }
        if pass.answerHasBody {
            guard let compressor = Compressor(wish, level: level) else { return .next }
            change(head, wish)
            return .stage(Stage(compressor))
        }
        change(head, wish)
        return .next
    }

    private func isEligible(_ head: ResponseHead, isHEAD: Bool, hasBody: Bool) -> Bool {
        guard hasBody || isHEAD, head.status >= 200, head.status != 204, head.status != 205, head.status != 206 else {
            return false
        }
        if case .length(let n) = head.framing, n < max(minimumSize, 1) { return false }
        if head.framing == .none && !isHEAD { return false }
        let fields = head.fields.count
        for name in CompressFilter.untouchable {
            for i in 0..<fields where head.fields.isLive(i, named: name.span) { return false }
        }
        if let i = head.fields.first(.contentEncoding), !head.fields.withValue(i, { $0.isEmpty }) { return false }
        if head.fields.hasNoTransform { return false }
        guard let i = head.fields.first(.contentType) else { return false }
        return head.fields.withValue(i) { matches($0) }
    }

    private func matches(_ value: Span<UInt8>) -> Bool {
        var end = 0
        while end < value.count, value[end] != UInt8(ascii: ";"), value[end] != 32, value[end] != 9 { end += 1 }
        let type = value.extracting(0..<end)
        for pattern in types {
            switch pattern {
            case .exact(let text): if type.count == text.count, type.isSame(as: text, from: 0) { return true }
            case .prefix(let text): if type.count > text.count, type.isSame(as: text, from: 0) { return true }
            case .suffix(let text): if type.count > text.count, type.isSame(as: text, from: type.count - text.count) { return true }
            }
        }
        return false
    }

    private func change(_ head: ResponseHead, _ coding: ContentCoding) {
        head.fields.removeAll(.contentEncoding)
        head.fields.removeAll(.contentLength)
        head.fields.append(.contentEncoding, Array(coding.rawValue.utf8).span)
        let ranges = CompressFilter.acceptRanges
        head.fields.removeAll(named: ranges.span)
        head.fields.weakenTag()
        head.framing = .stream
    }

    private static let acceptEncoding = Array("accept-encoding".utf8)
    private static let acceptRanges = Array("accept-ranges".utf8)
    /// Answers with one of these are a part, or tell a digest of just these bytes (RFC 9530, RFC 3230).
    private static let untouchable = ["content-range", "content-digest", "repr-digest", "digest", "content-md5"].map {
        Array($0.utf8)
    }
}

extension Span<UInt8> {
    /// Whether `text`, in lower case, stands at `start`, in any case.
    fileprivate func isSame(as text: [UInt8], from start: Int) -> Bool {
        guard start >= 0, start + text.count <= count else { return false }
        for i in text.indices {
            let byte = self[start + i]
            if (byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) != text[i] { return false }
        }
        return true
    }

    /// Whether `word`, in lower case, is one of the elements of this list.
    fileprivate func lists(_ word: [UInt8]) -> Bool {
        var at = 0
        while at < count {
            var end = at
            while end < count, self[end] != UInt8(ascii: ",") { end += 1 }
            var start = at
            var stop = end
            while start < stop, self[start] == 32 || self[start] == 9 { start += 1 }
            while stop > start, self[stop - 1] == 32 || self[stop - 1] == 9 { stop -= 1 }
            if stop - start == word.count, isSame(as: word, from: start) { return true }
            at = end + 1
        }
        return false
    }
}

extension FieldSection {
    fileprivate static let noTransform = Array("no-transform".utf8)
    private static let vary = Array("vary".utf8)
    private static let ifNoneMatch = Array("if-none-match".utf8)

    fileprivate var hasNoTransform: Bool {
        var i = first(.cacheControl)
        let word = FieldSection.noTransform
        while let at = i {
            if withValue(at, { $0.lists(word) }) { return true }
            i = first(.cacheControl, from: at + 1)
        }
        return false
    }

    /// Says that the answer depends on this field of the request, if it does not say so already.
    fileprivate mutating func addVary(_ name: [UInt8]) {
        let vary = FieldSection.vary
        let any: [UInt8] = [UInt8(ascii: "*")]
        for i in 0..<count where isLive(i, named: vary.span) {
            if withValue(i, { $0.lists(name) || $0.lists(any) }) { return }
        }
        append(name: vary, value: name)
    }

    /// A strong tag promises the same bytes (RFC 9110 §8.8.1), which another coding does not have.
    fileprivate mutating func weakenTag() {
        guard let i = first(.etag) else { return }
        let tag = withValue(i) { span in span.indices.map { span[$0] } }
        guard tag.first == UInt8(ascii: "\"") else { return }
        removeAll(.etag)
        append(.etag) { out in
            out.append("W/")
            out.append(tag)
        }
    }

    /// Whether the request asks whether it has the weak form of the answer's strong tag.
    fileprivate func ifNoneMatchHasWeak(_ answer: borrowing FieldSection) -> Bool {
        guard let i = answer.first(.etag) else { return false }
        let tag = answer.withValue(i) { span in span.indices.map { span[$0] } }
        guard tag.first == UInt8(ascii: "\"") else { return false }
        let weak = Array("W/".utf8) + tag
        let name = FieldSection.ifNoneMatch
        for i in 0..<count where isLive(i, named: name.span) {
            let found = withValue(i) { value in
                var at = 0
                while at + weak.count <= value.count {
                    var j = 0
                    while j < weak.count, value[at + j] == weak[j] { j += 1 }
                    if j == weak.count { return true }
                    at += 1
                }
                return false
            }
            if found { return true }
        }
        return false
    }
}
