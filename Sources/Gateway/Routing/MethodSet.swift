// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

/// A set of methods: one bit for each that `Method` names and for each further one that a table's rules name.
package struct MethodSet: Equatable, Sendable {
    var bits: UInt64

    static let all = MethodSet(bits: .max)
    static let none = MethodSet(bits: 0)
    /// Bits from here on are the table's own extension methods.
    static let firstExtension = UInt64(Method.other.rawValue) + 1
    static let maximumExtensions = 64 - Int(MethodSet.firstExtension)

    package var isEmpty: Bool { bits == 0 }
}

extension RouteTable {
    /// The set with the request's method alone. A method that no rule names has `Method.other`'s bit, which only rules for
    /// every method have.
    func methodSet(of parts: RequestHead.Parts, in bytes: Span<UInt8>) -> MethodSet {
        guard case .other = parts.method else { return MethodSet(bits: 1 << UInt64(parts.method.rawValue)) }
        for i in extensionMethods.indices {
            let known = extensionMethods[i]
            if bytes.extracting(parts.methodText.bounds).equals(known.span) {
                return MethodSet(bits: 1 << (MethodSet.firstExtension + UInt64(i)))
            }
        }
        return MethodSet(bits: 1 << UInt64(Method.other.rawValue))
    }

    /// Adds the `Allow` field of a 405 (RFC 9110 §10.2.1, §15.5.6).
    package func writeAllow(_ allowed: MethodSet, into fields: inout FieldSection) {
        let name = fields.store("allow")
        let start = fields.arena.count
        for method in Method.allCases where method != .other && allowed.bits >> UInt64(method.rawValue) & 1 == 1 {
            if fields.arena.count > start { fields.arena.append(", ") }
            fields.arena.append(method.text)
        }
        for i in extensionMethods.indices where allowed.bits >> (MethodSet.firstExtension + UInt64(i)) & 1 == 1 {
            if fields.arena.count > start { fields.arena.append(", ") }
            fields.arena.append(extensionMethods[i])
        }
        fields.append(name: name, value: Slice(offset: start, length: fields.arena.count - start), known: .other)
    }
}
