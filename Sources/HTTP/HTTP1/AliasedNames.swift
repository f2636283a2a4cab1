// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension FieldSection {
    /// Removes fields whose name becomes one that the gateway knows if its underscores are read as hyphens, as CGI and its heirs
    /// do (RFC 3875 §4.1.18; case A18): `X_Forwarded_For` must not pass where `X-Forwarded-For` is replaced, nor
    /// `Transfer_Encoding` at all. Other names with underscores are an application's own and stay.
    package mutating func dropAliasedNames() {
        var folded = InlineArray<32, UInt8>(repeating: 0)  // no known name is as long
        for i in 0..<count where !entries[i].isRemoved && entries[i].known == .other {
            let length = Int(entries[i].name.length)
            if length > folded.count { continue }
            var hasUnderscore = false
            withBytes(entries[i].name) { name in
                for k in 0..<length {
                    let isUnderscore = name[k] == UInt8(ascii: "_")
                    hasUnderscore = hasUnderscore || isUnderscore
                    folded[k] = isUnderscore ? UInt8(ascii: "-") : name[k]
                }
            }
            if hasUnderscore && FieldName.recognise(lowercased: folded.span.extracting(first: length)) != .other { remove(at: i) }
        }
    }
}
