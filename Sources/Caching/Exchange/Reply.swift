// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP

/// What of a stored answer a client gets.
package enum Reply: Equatable, Sendable {
    case whole
    case notModified
    case part(Range<Int>)
    case unsatisfiable

    /// For a request that the stored answer may be served to.
    package init(to request: RequestTerms, _ head: borrowing FieldSection, _ stored: StoredAnswer) {
        self = .whole
        guard stored.status == 200 else { return }
        if request.isConditional, Conditions.isNotModified(request, head, stored) {
            self = .notModified
            return
        }
        guard request.method == .get, let i = request.range, Conditions.allowsRange(request, head, stored) else { return }
        switch head.withValue(i, { ByteRange($0, length: stored.body.count) }) {
        case .whole: break
        case .part(let range): self = .part(range)
        case .unsatisfiable: self = .unsatisfiable
        }
    }

    /// The bytes of the stored body that belong to it; a HEAD's answer has none.
    package func body(of stored: StoredAnswer, for method: Method) -> Range<Int> {
        if method == .head { return 0..<0 }
        return switch self {
        case .whole: 0..<stored.body.count
        case .part(let range): range
        case .notModified, .unsatisfiable: 0..<0
        }
    }

    package func status(of stored: StoredAnswer) -> Int {
        switch self {
        case .whole: stored.status
        case .notModified: 304
        case .part: 206
        case .unsatisfiable: 416
        }
    }

    /// Writes the head: the stored fields, with Age (§5.1). Content-Length is the encoder's, from `framing`.
    package func write(_ stored: StoredAnswer, for method: Method, now: Instant, into head: ResponseHead) {
        head.reset()
        head.status = status(of: stored)
        switch self {
        case .whole:
            head.fields.append(contentsOf: stored.fields)
            head.framing = Reply.hasNoBody(stored.status) ? .none : .length(UInt64(stored.body.count))
        case .notModified:
            // RFC 9110 §15.4.5: what guides caches, and no representation metadata beside.
            stored.fields.forEachLive { i in
                if Reply.belongsInNotModified(stored.fields, i) { head.fields.copy(i, of: stored.fields) }
            }
            head.framing = .none
        case .part(let range):
            head.fields.append(contentsOf: stored.fields)
            head.fields.append(
                name: Reply.contentRange.span,
                value: Reply.text("bytes \(range.lowerBound)-\(range.upperBound - 1)/\(stored.body.count)").span)
            head.framing = .length(UInt64(range.count))
        case .unsatisfiable:
            head.fields.append(name: Reply.contentRange.span, value: Reply.text("bytes */\(stored.body.count)").span)
            head.framing = .length(0)
        }
        head.fields.append(.age, decimal: UInt64(max(0, stored.freshness.age(at: now)) / 1_000_000_000))
    }

    private static func hasNoBody(_ status: Int) -> Bool { status == 204 || status == 304 }

    private static func belongsInNotModified(_ fields: borrowing FieldSection, _ i: Int) -> Bool {
        switch fields.entries[i].known {
        case .cacheControl, .date, .etag, .via: true
        case .other:
            fields.withBytes(fields.entries[i].name) { name in
                name.equals("vary") || name.equals("expires") || name.equals("content-location") || name.equals("last-modified")
                    || name.equals("cdn-cache-control") || name.equals("cache-status")
            }
        default: false
        }
    }

    private static let contentRange = Array("content-range".utf8)
    private static func text(_ value: String) -> [UInt8] { Array(value.utf8) }
}

extension FieldSection {
    /// Calls `body` with the position of each field that is there.
    func forEachLive(_ body: (Int) -> Void) {
        for i in entries.indices where !entries[i].isRemoved { body(i) }
    }

    mutating func copy(_ i: Int, of other: borrowing FieldSection) {
        let name = [UInt8](copying: other.arena.readable.extracting(other.entries[i].name.range))
        let value = [UInt8](copying: other.arena.readable.extracting(other.entries[i].value.range))
        append(name: name.span, value: value.span)
    }
}
