// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Reactor
import Resilience

/// Sends a share of a route's clients to another upstream, each client always the same way.
///
/// A client's place on a line from 0 to 10,000 is a hash of what it is known by; below the share, it goes to the canary. So a greater share
/// takes more clients along and gives none back, on every reactor and host alike, with nothing kept.
final class CanaryFilter: Filter {
    private let upstream: Int
    private let share: Int
    private let sticky: Configuration.CanaryFilter.Sticky
    private let header: [UInt8]?
    private let cookie: [UInt8]
    private let cookieMaxAge: Int64
    /// Different filters choose different clients.
    private let salt: UInt64

    /// The cookie that the answer is to set.
    private final class NewCookie {
        let isCanary: Bool
        init(isCanary: Bool) { self.isCanary = isCanary }
    }

    init(_ settings: Configuration.CanaryFilter, to upstream: Int, scope: FilterScope) {
        self.upstream = upstream
        share = settings.share.tenThousandths
        sticky = settings.sticky
        header = settings.header.map { Array($0.utf8) }
        cookie = Array(settings.cookie.utf8)
        cookieMaxAge = settings.cookieMaxAge.components.seconds
        var hash = StableHash()
        for byte in scope.description.utf8 { hash.combine(byte) }
        salt = hash.finalize()
    }

    func request(_ pass: FilterPass) -> FilterStep {
        if isCanary(pass) { pass.target = upstream }
        return .next
    }

    private func isCanary(_ pass: FilterPass) -> Bool {
        if let header, let i = pass.head.fields.first(named: header) {
            let word = pass.head.fields.string(i)
            pass.head.fields.removeAll(named: header)
            if word == "always" { return true }
            if word == "never" { return false }
        }
        let address = pass.clientAddress
        switch sticky {
        case .cookie:
            if let slice = pass.head.fields.cookie(named: cookie) {
                let side = pass.head.string(slice)
                if side == "canary" { return true }
                if side == "stable" { return false }
            }
            if share == 0 { return false }
            let side = pass.home.reactor.draw.below(10_000, request: pass.key, .canary) < share
            pass.state = NewCookie(isCanary: side)
            return side
        case .clientAddress:
            return isBelow {
                $0.combine(UInt64(truncatingIfNeeded: address >> 64)); $0.combine(UInt64(truncatingIfNeeded: address))
            }
        case .consumer:
            guard let consumer = pass.consumer else { return false }
            return isBelow { for byte in consumer.name { $0.combine(byte) } }
        case .header(let name):
            let bytes = Array(name.utf8)
            guard let i = pass.head.fields.first(named: bytes) else { return false }
            return isBelow { hash in pass.head.fields.withValue(i) { value in for k in value.indices { hash.combine(value[k]) } } }
        case .none: return pass.home.reactor.draw.below(10_000, request: pass.key, .canary) < share
        }
    }

    private func isBelow(_ feed: (inout StableHash) -> Void) -> Bool {
        var hash = StableHash()
        hash.combine(salt)
        feed(&hash)
        return hash.finalize() % 10_000 < UInt64(share)
    }

    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        guard let new = pass.state as? NewCookie, !pass.isLocalAnswer else { return .next }
        head.fields.append(.setCookie) { out in
            out.append(cookie)
            out.append(new.isCanary ? "=canary" : "=stable" as StaticString)
            out.append("; Path=/; HttpOnly; SameSite=Lax; Max-Age=")
            out.append(decimal: Int(clamping: cookieMaxAge))
            if pass.isSecure { out.append("; Secure") }
        }
        return .next
    }
}
