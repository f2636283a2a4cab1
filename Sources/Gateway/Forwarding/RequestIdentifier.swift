// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
package import HTTP

/// Gives each request the one `x-request-id` that stands in the log, in the answer and in what the upstream gets.
package enum RequestIdentifier {
    /// Longer ones are not kept.
    package static let maximumLength = 128

    /// Keeps the id of a trusted peer if it is one field of 1 to 128 harmless characters; otherwise drops it and makes one of
    /// 32 hexadecimal digits from the draw, the same for the same seed and request. Not a secret. Returns where in the
    /// head's arena it is.
    package static func settle(_ head: RequestHead, isTrusted: Bool, draw: Draw, request: UInt64) -> Slice {
        settle(&head.fields, isTrusted: isTrusted, draw: draw, request: request)
    }

    private static func settle(_ fields: inout FieldSection, isTrusted: Bool, draw: Draw, request: UInt64) -> Slice {
        if isTrusted, let position = fields.first(.xRequestID), fields.first(.xRequestID, from: position + 1) == nil,
            fields.withValue(position, { isWellFormed($0) })
        {
            return fields.entries[position].value
        }
        fields.removeAll(.xRequestID)
        let high = draw.bits(request: request, .requestIdentifier, 0)
        let low = draw.bits(request: request, .requestIdentifier, 1)
        fields.append(.xRequestID) { out in
            out.append(hexadecimalPadded: high)
            out.append(hexadecimalPadded: low)
        }
        return fields.entries[fields.count - 1].value
    }

    /// Letters, digits and `-_.:+/=~@`: nothing that means something to a log, a shell or a terminal.
    static func isWellFormed(_ value: Span<UInt8>) -> Bool {
        if value.isEmpty || value.count > maximumLength { return false }
        for i in value.indices {
            let c = value[i]
            let isHarmless =
                c.isUnreserved || c == UInt8(ascii: ":") || c == UInt8(ascii: "+") || c == UInt8(ascii: "/")
                || c == UInt8(ascii: "=") || c == UInt8(ascii: "@")
            if !isHarmless { return false }
        }
        return true
    }
}
