// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
package import HTTP

/// Writes `Via` and finds requests that came here before (RFC 9110 §7.6.3).
package struct ViaField: Equatable, Sendable {
    private let pseudonym: [UInt8]

    /// The name that stands for this gateway. Gateways in a row need names of their own, or the second takes the first's
    /// requests for a loop. Default: `holdfast`. Throws unless it is a token.
    package init(pseudonym: String = "holdfast") throws(PatternError) {
        let bytes = Array(pseudonym.utf8)
        guard !bytes.isEmpty, bytes.count <= 255, bytes.allSatisfy({ $0.isTokenCharacter }) else {
            throw PatternError(message: "“\(pseudonym)” cannot stand in Via: letters, digits and “-._” only")
        }
        self.pseudonym = bytes
    }

    /// Whether this gateway is among the last 32 that the message passed: 508 `request.loop`.
    package func isLoop(_ fields: borrowing FieldSection) -> Bool {
        guard fields.contains(.via) else { return false }
        let list = FieldList(.via, in: fields)
        for i in 0..<list.count where fields.withBytes(list.fromEnd(i), { isOwn($0) }) { return true }
        return false
    }

    /// `received-protocol RWS received-by [ RWS comment ]`
    private func isOwn(_ element: Span<UInt8>) -> Bool {
        var i = 0
        while i < element.count && !element[i].isFieldSpace { i += 1 }
        while i < element.count && element[i].isFieldSpace { i += 1 }
        let start = i
        while i < element.count && !element[i].isFieldSpace && element[i] != UInt8(ascii: "(") { i += 1 }
        if i - start != pseudonym.count { return false }
        for j in 0..<(i - start) where element[start + j].asciiLowercased != pseudonym[j].asciiLowercased { return false }
        return true
    }

    /// Adds the field with the version in which the message was *received*.
    package func append(to fields: inout FieldSection, received version: HTTPVersion) {
        fields.append(.via) { out in
            switch version {
            case .http10: out.append("1.0 ")
            case .http11: out.append("1.1 ")
            case .http2: out.append("2 ")
            }
            out.append(pseudonym)
        }
    }
}
