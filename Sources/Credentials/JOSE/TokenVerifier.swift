// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Decides whether a token counts (RFC 7519 §7.2, RFC 8725). Pure: the time and the keys come in.
///
/// The order is: form, key, signature, claims; nothing of the payload is read before the signature is right, and all failures are one
/// to whoever sent it.
package struct TokenVerifier: Sendable {
    package let policy: TokenPolicy
    package let tokenBytes: Int

    package enum Verdict: Sendable {
        case valid(VerifiedToken)
        case invalid(Flaw)
        /// The token names a key that the set does not have, perhaps yet.
        case unknownKey
    }

    /// Why a token does not count: for metrics and the operational log, never for the client.
    package enum Flaw: String, CaseIterable, Sendable {
        case malformed, key, signature, claims, time
    }

    package init(policy: TokenPolicy, tokenBytes: Int) {
        self.policy = policy
        self.tokenBytes = tokenBytes
    }

    /// `unixNanoseconds`: the wall clock.
    package func verify(_ token: Span<UInt8>, with keys: KeySet, unixNanoseconds now: Int64) -> Verdict {
        guard let parts = CompactToken(token, limit: tokenBytes) else { return .invalid(.malformed) }
        let candidates = keys.candidates(for: parts.algorithm, identifier: parts.identifier)
        if candidates.isEmpty {
            if let identifier = parts.identifier, !keys.has(identifier) { return .unknownKey }
            return .invalid(.key)
        }
        let signed = token.extracting(0..<parts.signedCount)
        var isSigned = false
        for key in candidates where key.verifies(parts.signature, of: signed) {
            isSigned = true
            break
        }
        guard isSigned else { return .invalid(.signature) }
        if let type = policy.type, parts.type != CompactToken.normalised(type) { return .invalid(.claims) }
        guard let claims = ClaimObject(parts.payload.span, depth: 32), let judgement = policy.judge(claims) else {
            return .invalid(.claims)
        }
        guard judgement.window.contains(now) else { return .invalid(.time) }
        return .valid(VerifiedToken(claims: claims, window: judgement.window, isPermitted: judgement.isPermitted))
    }
}

/// A token whose signature and claims were found right; counts within its window.
package final class VerifiedToken: Sendable {
    package let claims: ClaimObject
    package let window: TokenWindow
    /// Whether rules and scopes hold.
    package let isPermitted: Bool

    init(claims: ClaimObject, window: TokenWindow, isPermitted: Bool) {
        self.claims = claims
        self.window = window
        self.isPermitted = isPermitted
    }
}
