// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension FieldSection {
    /// Removes what may not come in trailers: fields that frame, route, authenticate or control a message, or say how its
    /// content is to be processed (RFC 9110 §6.5.1, case B13). A later recipient might merge trailers into the head.
    package mutating func dropFieldsNotAllowedInTrailers() {
        for i in 0..<count where !entries[i].isRemoved {
            let isAllowed =
                switch entries[i].known {
                case .grpcStatus, .grpcRetryPushback, .etag: true
                case .other: !withBytes(entries[i].name) { FieldSection.isHeadOnly($0) }
                default: false
                }
            if !isAllowed { remove(at: i) }
        }
    }

    /// Names that the gateway does not otherwise know.
    private static func isHeadOnly(_ name: Span<UInt8>) -> Bool {
        switch name.count {
        case 4: name.equals("vary")
        case 5: name.equals("range") || name.equals("allow")
        case 6: name.equals("pragma")
        case 7: name.equals("expires") || name.equals("warning")
        case 8: name.equals("if-match") || name.equals("if-range")
        case 12: name.equals("max-forwards")
        case 13: name.equals("content-range") || name.equals("if-none-match") || name.equals("accept-ranges")
        case 16: name.equals("www-authenticate")
        case 17: name.equals("if-modified-since")
        case 18: name.equals("proxy-authenticate")
        case 19: name.equals("if-unmodified-since")
        case 22: name.equals("x-http-method-override")
        case 25: name.equals("strict-transport-security") || name.equals("proxy-authentication-info")
        default: false
        }
    }
}
