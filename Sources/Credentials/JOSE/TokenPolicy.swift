// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What a token's claims must say (RFC 7519 §4.1, RFC 8725 §3.8–3.11).
package struct TokenPolicy: Equatable, Sendable {
    /// One of these must be `iss`; nil: whatever.
    package var issuers: [[UInt8]]?
    /// One of these must be in `aud`; nil: whatever.
    package var audiences: [[UInt8]]?
    /// Between the issuer's clock and ours, in nanoseconds.
    package var skew: Int64 = 30_000_000_000
    /// Members that must be there.
    package var required = ["exp"]
    /// Longest time since `iat`, in nanoseconds; nil: no matter.
    package var maximumAge: Int64?
    /// What `typ` must be; nil: no matter.
    package var type: [UInt8]?
    /// Of these one value must be there, or be in the list that is there; else it is forbidden, and not wrong.
    package var rules: [(claim: ClaimPath, values: [[UInt8]])] = []
    package var scopes: [[UInt8]] = []

    package init() {}

    package static func == (left: TokenPolicy, right: TokenPolicy) -> Bool {
        left.issuers == right.issuers && left.audiences == right.audiences && left.skew == right.skew
            && left.required == right.required
            && left.maximumAge == right.maximumAge && left.type == right.type && left.scopes == right.scopes
            && left.rules.map(\.claim) == right.rules.map(\.claim) && left.rules.map(\.values) == right.rules.map(\.values)
    }

    /// The times between which a token counts, skew included, and whether it may do what is asked; nil if a claim is not what it must be.
    func judge(_ claims: ClaimObject) -> (window: TokenWindow, isPermitted: Bool)? {
        for name in required where claims[name] == nil { return nil }
        if let issuers {
            guard case .string(let issuer)? = claims["iss"], issuers.contains(issuer) else { return nil }
        }
        if let audiences, !TokenPolicy.audience(of: claims, isOneOf: audiences) { return nil }
        // Registered claims have their form also where nobody asks for their value.
        for name in ["iss", "sub", "jti"] {
            if let value = claims[name] { guard case .string = value else { return nil } }
        }
        guard let window = window(claims) else { return nil }
        return (window, permits(claims))
    }

    private static func audience(of claims: ClaimObject, isOneOf wanted: [[UInt8]]) -> Bool {
        switch claims["aud"] {
        case .string(let one)?: return wanted.contains(one)
        case .list(let many)?:
            guard many.count <= 64 else { return false }
            var found = false
            for entry in many {
                guard case .string(let one) = entry else { return false }
                found = found || wanted.contains(one)
            }
            return found
        default: return false
        }
    }

    private func window(_ claims: ClaimObject) -> TokenWindow? {
        var window = TokenWindow()
        if let value = claims["exp"] {
            guard let date = TokenPolicy.date(value) else { return nil }
            window.end = min(window.end, date.adding(skew))
        }
        if let value = claims["nbf"] {
            guard let date = TokenPolicy.date(value) else { return nil }
            window.begin = max(window.begin, date.adding(-skew))
        }
        if let value = claims["iat"] {
            guard let date = TokenPolicy.date(value) else { return nil }
            window.begin = max(window.begin, date.adding(-skew))
            if let maximumAge { window.end = min(window.end, date.adding(maximumAge).saturatingAdd(skew)) }
        } else if maximumAge != nil {
            return nil
        }
        return window
    }

    private static func date(_ value: ClaimValue) -> NumericDate? {
        guard case .number(let text) = value else { return nil }
        return NumericDate(text.span)
    }

    private func permits(_ claims: ClaimObject) -> Bool {
        for rule in rules {
            guard let value = claims.value(at: rule.claim) else { return false }
            let has =
                switch value {
                case .string(let text), .number(let text): rule.values.contains(text)
                case .boolean(let flag): rule.values.contains(Array((flag ? "true" : "false").utf8))
                case .list(let entries):
                    entries.contains { entry in
                        if case .string(let text) = entry { rule.values.contains(text) } else { false }
                    }
                case .object, .null: false
                }
            if !has { return false }
        }
        return scopes.isEmpty || scopes.allSatisfy(TokenPolicy.scopes(of: claims).contains)
    }

    /// `scope` is one text with spaces (RFC 8693 §4.2); `scp` is that or a list.
    private static func scopes(of claims: ClaimObject) -> [[UInt8]] {
        switch claims["scope"] ?? claims["scp"] {
        case .string(let text)?: text.split(separator: UInt8(ascii: " ")).map(Array.init)
        case .list(let entries)?:
            entries.compactMap { if case .string(let text) = $0 { text } else { nil } }
        default: []
        }
    }
}

/// When a token counts, in Unix nanoseconds: from `begin` on and before `end`.
package struct TokenWindow: Equatable, Sendable {
    package var begin = Int64.min
    package var end = Int64.max

    package func contains(_ now: Int64) -> Bool { now >= begin && now < end }
}

extension NumericDate {
    fileprivate func adding(_ more: Int64) -> Int64 { nanoseconds.saturatingAdd(more) }
}

extension Int64 {
    fileprivate func saturatingAdd(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other > 0 ? .max : .min) : sum
    }
}
