// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Credentials
import HTTP
import Reactor
import Telemetry

/// Lets in who shows a token that is right in every point. Tokens that were found right are remembered by their SHA-256 until they expire
/// or the keys change, since a signature costs 25 to 160 µs (RSA-2048, P-256, Ed25519: 24, 87, 160; 2026-12, OpenSSL 3.0) and a client
/// shows its token with each request.
final class JWTFilter: Filter {
    /// A token that was found right under one version of the keys.
    private final class Remembered: Sendable {
        let token: VerifiedToken
        let version: UInt64

        init(_ token: VerifiedToken, version: UInt64) {
            self.token = token
            self.version = version
        }
    }

    private let settings: Configuration.JWTFilter
    /// The upstream that has the keys, where it is one.
    private let upstream: Int?
    private let source: KeySource
    private let shards: Int
    private let remembered: VerifiedTable<Remembered>?
    private let verifier: TokenVerifier
    private let header: [UInt8]
    private let isBearer: Bool
    private let claimHeaders: [(name: [UInt8], claim: ClaimPath)]
    private let consumer: ClaimPath
    private let consumerHeader: [UInt8]?
    private let refusal: AuthenticationRefusal

    /// - Parameter others: filters that are there already, in this configuration and in the one before. One that has the same keys shares them, so that an
    ///   issuer is asked once for all routes, and a reload while it is down locks nobody out; one that is the same in all shares what it remembers.
    init(
        _ settings: Configuration.JWTFilter, upstream: Int?, shards: Int, among others: [JWTFilter]
    ) throws(FilterComplaint) {
        self.settings = settings
        self.upstream = upstream
        if let other = others.first(where: { $0.settings.hasSameKeys(as: settings) && $0.shards == shards }) {
            source = other.source
        } else {
            source = try KeySource(settings, shards: shards)
        }
        remembered =
            others.first { $0.settings == settings }?.remembered
            ?? (settings.remember > 0 ? VerifiedTable(capacity: settings.remember) : nil)
        self.shards = shards
        var policy = TokenPolicy()
        policy.issuers = settings.issuers.map { $0.map { Array($0.utf8) } }
        policy.audiences = settings.audiences.map { $0.map { Array($0.utf8) } }
        policy.skew = settings.skew.wholeNanoseconds
        policy.required = settings.required
        policy.maximumAge = settings.maximumAge?.wholeNanoseconds
        policy.type = settings.type.map { Array($0.utf8) }
        policy.rules = settings.rules.map { (ClaimPath($0.claim), $0.values.map { Array($0.utf8) }) }
        policy.scopes = settings.scopes.map { Array($0.utf8) }
        verifier = TokenVerifier(policy: policy, tokenBytes: settings.tokenBytes)
        header = Array(settings.header.utf8)
        isBearer = settings.header == "authorization"
        claimHeaders = settings.claimHeaders.map { (Array($0.header.utf8), ClaimPath($0.claim)) }
        consumer = ClaimPath(settings.consumer)
        consumerHeader = settings.consumerHeader.map { Array($0.utf8) }
        // RFC 6750 §3.1; the same for everything that is wrong with a token.
        let scope = settings.scopes.isEmpty ? "" : ", scope=\"\(settings.scopes.joined(separator: " "))\""
        refusal = AuthenticationRefusal(
            "Bearer realm=\"holdfast\"", invalid: ", error=\"invalid_token\"", scope: ", error=\"insufficient_scope\"" + scope)
    }

    func everySecond(_ home: GatewayReactor) { source.look(at: home.reactor.now, home.filterLog) }

    func request(_ pass: FilterPass) -> FilterStep {
        var token: [UInt8]?
        var isPresent = false
        switch pass.head.fields.single(named: header) {
        case .none: break
        case .several: isPresent = true
        case .one(let i):
            isPresent = true
            token = pass.head.fields.withValue(i) { value in
                if !isBearer { return value.count <= settings.tokenBytes ? Array(copying: value) : nil }
                guard let range = AuthorizationField.credentials(of: "bearer", in: value), range.count <= settings.tokenBytes else {
                    return nil
                }
                return Array(copying: value.extracting(range))
            }
        }
        if settings.strip { pass.head.fields.removeAll(named: header) }
        guard let token else { return isPresent ? refusal.invalid : refusal.missing }
        switch source {
        case .file(let file): return decide(token, file.content.current, pass, mayFetch: false)
        case .fixed(let keys): return decide(token, keys.current, pass, mayFetch: false)
        case .remote(let remote): return follow(need(remote, token, pass, missing: false), token, pass)
        }
    }

    // MARK: Keys

    private func need(_ remote: RemoteKeySet, _ token: [UInt8], _ pass: FilterPass, missing: Bool) -> RemoteKeySet.Need {
        guard let upstream else { return .unavailable(until: pass.home.reactor.now) }
        return remote.need(pass, from: upstream, missing: missing) { [weak pass] in
            guard let pass, !pass.isOver else { return }
            switch remote.afterFetch(at: pass.home.reactor.now) {
            case .ready(let current): pass.resume(self.decide(token, current, pass, mayFetch: false))
            case .unavailable(let until): pass.resume(self.unavailable(until: until, pass))
            case .wait: break
            }
        }
    }

    private func follow(_ need: RemoteKeySet.Need, _ token: [UInt8], _ pass: FilterPass) -> FilterStep {
        switch need {
        case .ready(let current): decide(token, current, pass, mayFetch: true)
        case .wait: .wait
        case .unavailable(let until): unavailable(until: until, pass)
        }
    }

    private func unavailable(until: Instant, _ pass: FilterPass) -> FilterStep {
        AuthenticationRefusal.unavailable(retryAfterNanoseconds: max(1, until.nanoseconds(since: pass.home.reactor.now)))
    }

    // MARK: The token

    private func decide(_ token: [UInt8], _ current: RemoteKeySet.Current, _ pass: FilterPass, mayFetch: Bool) -> FilterStep {
        let now = pass.home.reactor.unixNanoseconds
        let fingerprint = remembered == nil ? nil : Digest256.sha256(token)
        if let remembered, let fingerprint, let known = remembered.find(fingerprint) {
            if known.version == current.version && known.token.window.contains(now) { return admit(known.token, pass) }
            remembered.remove(fingerprint)
        }
        switch verifier.verify(token.span, with: current.keys, unixNanoseconds: now) {
        case .valid(let verified):
            if let remembered, let fingerprint {
                remembered.insert(Remembered(verified, version: current.version), for: fingerprint)
            }
            return admit(verified, pass)
        case .invalid: return refusal.invalid
        case .unknownKey:
            guard mayFetch, case .remote(let remote) = source else { return refusal.invalid }
            switch need(remote, token, pass, missing: true) {
            case .ready: return refusal.invalid
            case .wait: return .wait
            case .unavailable(let until): return unavailable(until: until, pass)
            }
        }
    }

    private func admit(_ token: VerifiedToken, _ pass: FilterPass) -> FilterStep {
        guard token.isPermitted else { return refusal.forbidden }
        pass.claims = token.claims
        if let name = token.claims.value(at: consumer)?.fieldValue { pass.identify(as: name, telling: consumerHeader) }
        for (name, claim) in claimHeaders {
            guard let value = token.claims.value(at: claim)?.fieldValue else { continue }
            pass.tell(name, value)
        }
        return .next
    }
}

extension Configuration.JWTFilter {
    fileprivate func hasSameKeys(as other: Self) -> Bool {
        keys == other.keys && algorithms == other.algorithms && reload == other.reload
    }
}
