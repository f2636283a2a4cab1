// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// The fields in which a client is told of its limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), lists of
/// structured strings (RFC 9651 §3.3.3) with parameters.
///
///     ratelimit-policy: "per-client";q=100;w=60
///     ratelimit: "per-client";r=37;t=12
package enum RateLimitFields {
    /// Of the limit itself: quota `q`, and `w`, the seconds in which it comes back.
    package static func appendPolicy(name: String, _ rule: RateLimitRule, to out: inout ByteBuffer) {
        appendName(name, to: &out)
        out.append(";q=")
        out.append(decimal: max(0, rule.quota))
        out.append(";w=")
        out.append(decimal: seconds(rule.quotaNanoseconds))
    }

    /// Of this client: what is left, `r`, and the seconds until all of it is there again, `t`.
    package static func appendState(name: String, _ verdict: RateLimitVerdict, to out: inout ByteBuffer) {
        appendName(name, to: &out)
        out.append(";r=")
        out.append(decimal: max(0, verdict.remaining))
        out.append(";t=")
        out.append(decimal: seconds(verdict.resetNanoseconds))
    }

    /// Rounded up: who comes then is not too early.
    package static func seconds(_ nanoseconds: Int64) -> UInt64 {
        UInt64(max(0, nanoseconds).dividedRoundingUp(by: 1_000_000_000))
    }

    private static func appendName(_ name: String, to out: inout ByteBuffer) {
        out.append(UInt8(ascii: "\""))
        for byte in name.utf8 where byte >= 0x20 && byte < 0x7F {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { out.append(UInt8(ascii: "\\")) }
            out.append(byte)
        }
        out.append(UInt8(ascii: "\""))
    }
}
