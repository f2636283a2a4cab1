// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The decision of `RateLimiter.decide` as a script that Redis runs as one step, by Redis's own clock: so all gateways share one count and none
/// brings a clock of its own.
///
/// Whole microseconds, and numbers below 2^53, which Lua holds exactly. A clock of Redis that goes back gives nothing, and does not hold anybody up: time
/// counts on from where it is then.
package enum RateLimitScript {
    package static let text = """
        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
        local all, limits = true, {}
        for i = 1, #KEYS do
          local a = (i - 1) * 5
          local s = { amount = tonumber(ARGV[a + 2]), period = tonumber(ARGV[a + 3]), burst = tonumber(ARGV[a + 4]) }
          if ARGV[a + 1] == 'bucket' then
            -- u: what has been used, a token being `period` of it; t: when that was so.
            local h = redis.call('HMGET', KEYS[i], 'u', 't')
            local used, at = tonumber(h[1]) or 0, tonumber(h[2]) or now
            if now > at then used = math.max(0, used - (now - at) * s.amount) end
            s.back = now < at
            s.used, s.ok = used, used + s.period <= s.burst * s.period
          else
            -- s: the latest slot; 0 to 6: what came in it and in the six before it.
            s.width = math.ceil(s.period / 6)
            s.slot = math.floor(now / s.width)
            local h = redis.call('HMGET', KEYS[i], 's', '0', '1', '2', '3', '4', '5', '6')
            local shift = s.slot - (tonumber(h[1]) or s.slot)
            s.back = shift < 0
            if s.back then shift = 0 end
            s.counts, s.sum = {}, 0
            for j = 0, 6 do
              s.counts[j] = j >= shift and tonumber(h[j - shift + 2]) or 0
              s.sum = s.sum + s.counts[j]
            end
            s.ok = s.sum < s.amount
          end
          if not s.ok and ARGV[a + 5] ~= 'shadow' then all = false end
          limits[i] = s
        end
        local result = { all and 1 or 0 }
        for i, s in ipairs(limits) do
          local left, reset, retry = 0, 0, 0
          local take = all and s.ok
          if s.width then
            if take then s.counts[0], s.sum = s.counts[0] + 1, s.sum + 1 end
            if take or s.back then
              redis.call('HSET', KEYS[i], 's', s.slot, '0', s.counts[0], '1', s.counts[1], '2', s.counts[2], '3', s.counts[3],
                '4', s.counts[4], '5', s.counts[5], '6', s.counts[6])
              redis.call('PEXPIRE', KEYS[i], math.ceil(s.width * 7 / 1000) + 1)
            end
            local into = now - s.slot * s.width
            left = math.max(0, s.amount - s.sum)
            for j = 0, 6 do
              if s.counts[j] > 0 then reset = (7 - j) * s.width - into break end
            end
            if not s.ok then
              local rest = s.sum
              for j = 6, 0, -1 do
                rest = rest - s.counts[j]
                if rest < s.amount then retry = (7 - j) * s.width - into break end
              end
            end
          else
            if take then s.used = s.used + s.period end
            if take or s.back then
              redis.call('HSET', KEYS[i], 'u', string.format('%.0f', s.used), 't', string.format('%.0f', now))
              redis.call('PEXPIRE', KEYS[i], math.ceil(s.used / s.amount / 1000) + 1)
            end
            left = math.floor((s.burst * s.period - s.used) / s.period)
            reset = math.ceil(s.used / s.amount)
            if not s.ok then retry = math.ceil((s.used + s.period - s.burst * s.period) / s.amount) end
          end
          result[#result + 1] = s.ok and 1 or 0
          result[#result + 1] = left
          result[#result + 1] = reset
          result[#result + 1] = retry
        end
        return result
        """

    /// One key of one limit.
    package struct Claim: Sendable {
        package var key: [UInt8]
        package var rule: RateLimitRule
        package var isShadow: Bool

        package init(key: [UInt8], rule: RateLimitRule, isShadow: Bool) {
            self.key = key
            self.rule = rule
            self.isShadow = isShadow
        }
    }

    /// The arguments behind the script or its name: the number of keys, the keys, and five words for each.
    package static func arguments(_ claims: [Claim]) -> [[UInt8]] {
        [Array(String(claims.count).utf8)] + claims.map(\.key)
            + claims.flatMap { claim in
                [
                    claim.rule.algorithm == .tokenBucket ? "bucket" : "window", String(claim.rule.amount),
                    String(claim.rule.period / 1_000),
                    String(claim.rule.burst), claim.isShadow ? "shadow" : "",
                ].map { Array($0.utf8) }
            }
    }

    /// What the script said of `count` claims; `nil` if that is not what it says.
    package static func verdicts(_ value: RESPValue, count: Int) -> (isAdmitted: Bool, verdicts: [RateLimitVerdict])? {
        guard case .array(let items) = value, items.count == 1 + 4 * count else { return nil }
        let numbers = items.compactMap { if case .integer(let n) = $0 { n } else { nil } }
        guard numbers.count == items.count else { return nil }
        let verdicts = (0..<count).map { i in
            RateLimitVerdict(
                isAdmitted: numbers[1 + 4 * i] == 1, remaining: Int(clamping: max(0, numbers[2 + 4 * i])),
                resetNanoseconds: nanoseconds(numbers[3 + 4 * i]), retryNanoseconds: nanoseconds(numbers[4 + 4 * i]))
        }
        return (numbers[0] == 1, verdicts)
    }

    private static func nanoseconds(_ microseconds: Int64) -> Int64 {
        let (product, overflow) = max(0, microseconds).multipliedReportingOverflow(by: 1_000)
        return overflow ? .max : product
    }
}

/// Keys as Redis has them.
///
///     holdfast:{route /users/* per-client}:b1:203.0.113.9
///
/// What comes from clients is escaped, so that it cannot be another key's, and a long or a secret value is there by its hash alone.
package enum RedisKey {
    /// The same in every gateway: what is long is shortened, and nobody who reads keys in Redis reads credentials.
    private static let hasher = KeyHasher(key0: 0x686f_6c64_6661_7374, key1: 0x7261_7465_6c69_6d69)

    /// - Parameter tag: what in a cluster has to be on one server: the limits of one decision. With a single limit the value is part of it, so that
    ///   its keys are spread over all servers.
    package static func key(
        prefix: String, scope: String, limit: String, _ rule: RateLimitRule, value: Span<UInt8>, isSecret: Bool, isAlone: Bool
    ) -> [UInt8] {
        var out = Array(prefix.utf8)
        out.append(UInt8(ascii: "{"))
        escape(Array(scope.utf8).span, into: &out)
        if !isAlone { out.append(UInt8(ascii: "}")) }
        out.append(UInt8(ascii: ":"))
        escape(Array(limit.utf8).span, into: &out)
        out.append(UInt8(ascii: ":"))
        // Numbers of one way of counting mean nothing to another.
        out.append(rule.algorithm == .tokenBucket ? UInt8(ascii: "b") : UInt8(ascii: "w"))
        out += Array(String(rule.period / 1_000_000_000).utf8)
        out.append(UInt8(ascii: ":"))
        if value.count > 64 || isSecret {
            let hash = hasher.hash(value)
            out.append(UInt8(ascii: "#"))
            for word in [hash.high, hash.low] { out += (0..<16).map { digit(word >> UInt64(60 - 4 * $0)) } }
        } else {
            escape(value, into: &out)
        }
        if isAlone { out.append(UInt8(ascii: "}")) }
        return out
    }

    private static func escape(_ bytes: Span<UInt8>, into out: inout [UInt8]) {
        for i in bytes.indices {
            let byte = bytes[i]
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "/"),
                UInt8(ascii: "*"):
                out.append(byte)
            default:
                out.append(UInt8(ascii: "%"))
                out.append(digit(UInt64(byte >> 4)))
                out.append(digit(UInt64(byte)))
            }
        }
    }

    private static func digit(_ value: UInt64) -> UInt8 {
        let nibble = UInt8(truncatingIfNeeded: value & 15)
        return nibble < 10 ? 48 + nibble : 87 + nibble
    }
}
