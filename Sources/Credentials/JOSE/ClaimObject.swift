// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import JSON

/// A JSON object that decides about rights: a token's header or claims, a key. Read strictly: whatever two parsers could read in two
/// ways, a member that stands twice above all, is no such object (RFC 7515 §4, RFC 7519 §4; case E12).
package struct ClaimObject: Sendable, Equatable {
    package let value: JSONValue

    /// nil if `bytes` are not one JSON object of at most `depth` levels.
    init?(_ bytes: Span<UInt8>, depth: Int) {
        let limits = JSONLimits(bytes: 262_144, depth: depth, nodes: 16_384, duplicates: .refuse)
        do throws(JSONError) {
            let document = try JSONDocument.parse(bytes, limits: limits)
            guard document.root.kind == .object else { return nil }
            value = document.root
        } catch { return nil }
    }

    fileprivate init(_ value: JSONValue) { self.value = value }

    subscript(name: String) -> ClaimValue? { value[bytes: Array(name.utf8)].map { ClaimValue($0) } }

    /// The claim that has the whole text as its name, else the one that the path leads to.
    package func value(at path: ClaimPath) -> ClaimValue? {
        (value[bytes: path.whole] ?? path.steps.flatMap { value[$0] }).map { ClaimValue($0) }
    }

    /// Two objects of one text are equal.
    package static func == (left: ClaimObject, right: ClaimObject) -> Bool { left.value.text == right.value.text }
}

/// A value of such an object. Numbers stay as they were written.
package indirect enum ClaimValue: Sendable, Equatable {
    case string([UInt8])
    case number([UInt8])
    case boolean(Bool)
    case list([ClaimValue])
    case object(ClaimObject)
    case null

    init(_ value: JSONValue) {
        switch value.kind {
        case .string: self = .string(value.withString { Array(copying: $0) })
        case .number: self = .number(value.withText { Array(copying: $0) })
        case .bool: self = .boolean(value.bool ?? false)
        case .array: self = .list(value.elements.map { ClaimValue($0) })
        case .object: self = .object(ClaimObject(value))
        case .null: self = .null
        }
    }

    /// As a field carries it: texts, numbers and truth values as they are, lists of these with commas; nil for others, and for what
    /// cannot stand in a field as it is (RFC 9110 §5.5), so that no claim breaks out of it or means another list.
    package var fieldValue: [UInt8]? {
        switch self {
        case .string(let text):
            guard !text.isEmpty, text.count <= 4_096, text.first != 32, text.last != 32,
                text.allSatisfy({ $0 >= 32 && $0 != 127 })
            else { return nil }
            return text
        case .number(let text): return text
        case .boolean(let flag): return Array((flag ? "true" : "false").utf8)
        case .list(let entries):
            var all: [UInt8] = []
            for entry in entries {
                switch entry {
                case .list, .object, .null: return nil
                case .string, .number, .boolean: break
                }
                guard let text = entry.fieldValue, !text.contains(UInt8(ascii: ",")) else { return nil }
                if !all.isEmpty { all.append(UInt8(ascii: ",")) }
                all += text
            }
            return all.isEmpty || all.count > 4_096 ? nil : all
        case .object, .null: return nil
        }
    }
}

/// The way to a claim: `sub`, `realm_access.roles`, `groups[0]`, or the whole name of one, such as `https://example.com/roles`.
package struct ClaimPath: Hashable, Sendable {
    let whole: [UInt8]
    let steps: JSONPath?

    package init(_ text: String) {
        whole = Array(text.utf8)
        do throws(JSONPath.Mistake) { steps = try JSONPath(parsing: text) } catch { steps = nil }
    }
}

extension Array where Element == UInt8 {
    package init(copying span: Span<UInt8>) {
        self = []
        reserveCapacity(span.count)
        // The elements are copied before the borrow ends.
        unsafe span.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
