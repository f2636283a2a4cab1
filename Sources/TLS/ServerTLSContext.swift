// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core
import Synchronization

/// What all TLS connections of a listener share: certificates by name, versions and suites, ALPN, ticket keys.
///
/// Immutable but for the wall time, so that a reload swaps it whole; connections under way keep the one they began with.
/// One `SSL_CTX` serves each distinct set of certificates: for one name at most one of each key type, among which OpenSSL
/// takes what the client can verify (RFC 8446 §4.2.3).
package final class ServerTLSContext: Sendable {
    package let settings: ServerTLSSettings
    /// The certificates served, in the order of the settings.
    package let certificates: [CertificateDescription]

    let defaultContext: ContextHandle
    let contexts: [ContextHandle]
    /// Lower-case name to index in `contexts`.
    let names: ServerNameTable
    let applicationProtocols: ALPNList
    private let wallSeconds: Atomic<Int64>

    /// Reads the files and makes the contexts. `wallTime`: see the property.
    package init(settings: ServerTLSSettings, wallTime: Int64? = nil) throws(TLSConfigurationError) {
        guard !settings.certificates.isEmpty else { throw TLSConfigurationError("a TLS listener needs at least one certificate") }
        var identities: [Identity] = []
        for source in settings.certificates { identities.append(try Identity(source)) }
        let descriptions = identities.map { unsafe CertificateDescription(of: $0.leaf.raw) }
        let plan = CertificatePlan(descriptions)
        let list = try ALPNList(served: settings.applicationProtocols)

        // Other authorities are another policy: a session under an old one must not outlive it.
        var clients = ""
        if let source = settings.clientAuthorities {
            let authorities = try PEM.certificates(from: source).map {
                unsafe CertificateDescription(of: $0.raw).fingerprint
            }
            clients = "client \(settings.requiresClientCertificate) " + authorities.sorted().joined(separator: ",")
        }

        var contexts: [ContextHandle] = []
        for set in plan.sets {
            var scope = "\(settings.sessionScope)\n\(clients)"
            for index in set { scope += "\n" + descriptions[index].names.sorted().joined(separator: ",") }
            let context = try ServerTLSContext.makeContext(settings, scope: scope)
            for index in set { try context.use(identities[index]) }
            contexts.append(context)
        }
        self.settings = settings
        certificates = descriptions
        self.contexts = contexts
        defaultContext = contexts[0]
        names = ServerNameTable(plan.names)
        applicationProtocols = list
        wallSeconds = Atomic(wallTime ?? .min)
    }

    /// Seconds since 1970 by which certificates and sessions are judged, for a world whose time is virtual; nil: OpenSSL
    /// reads the real clock.
    package var wallTime: Int64? {
        let seconds = wallSeconds.load(ordering: .relaxed)  // alone: it orders nothing else
        return seconds == .min ? nil : seconds
    }

    var sessionSeconds: Int { settings.sessionSeconds }

    package func setWallTime(_ seconds: Int64) { wallSeconds.store(seconds, ordering: .relaxed) }

    /// What deserves a line in the log although it prevents nothing: certificates not valid at `wallTime` (seconds since
    /// 1970) or within the next `soon`, or without names.
    package func warnings(at wallTime: Int64, soon: Duration = .seconds(7 * 86_400)) -> [String] {
        var warnings: [String] = []
        for (source, certificate) in zip(settings.certificates, certificates) {
            let file = source.chain.name
            if certificate.notAfter < wallTime {
                warnings.append("\(file): the certificate has expired (\(certificate.subject))")
            } else if certificate.notAfter - wallTime < soon.components.seconds {
                warnings.append(
                    "\(file): the certificate expires in \((certificate.notAfter - wallTime) / 3600) hours (\(certificate.subject))"
                )
            }
            if certificate.notBefore > wallTime {
                warnings.append("\(file): the certificate is not valid yet (\(certificate.subject))")
            }
            if certificate.names.isEmpty {
                warnings.append("\(file): the certificate has no subject alternative name, so that no client will accept it")
            }
        }
        return warnings
    }

    /// The context whose certificates cover `name` (lower case); nil when none does.
    func context(for name: Span<UInt8>) -> ContextHandle? {
        guard let index = names.value(for: name) else { return nil }
        return contexts[index]
    }

    private static func makeContext(_ settings: ServerTLSSettings, scope: String) throws(TLSConfigurationError) -> ContextHandle {
        let context = try ContextHandle(
            .server, minimum: settings.minimumVersion, maximum: settings.maximumVersion,
            suites12: settings.cipherSuites12, suites13: settings.cipherSuites13, groups: settings.groups)
        let raw = unsafe context.raw
        // Sessions live in tickets alone: no table to share, to lock, or to fill.
        unsafe holdfast_SSL_CTX_set_session_cache_mode(raw, Int(SSL_SESS_CACHE_OFF))
        unsafe SSL_CTX_set_timeout(raw, settings.sessionSeconds)
        if settings.ticketKeys == nil {
            unsafe SSL_CTX_set_options(raw, holdfast_SSL_OP_NO_TICKET)
            unsafe SSL_CTX_set_num_tickets(raw, 0)
        } else {
            unsafe SSL_CTX_set_num_tickets(raw, 1)
            unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(raw, ServerCallbacks.ticketKey)
            unsafe SSL_CTX_set_session_ticket_cb(raw, ServerCallbacks.ticketMade, ServerCallbacks.ticketOpened, nil)
        }
        // A session never crosses into another set of certificates or another policy about clients (RFC 8446 §4.6.1).
        var digest = [UInt8](repeating: 0, count: 32)
        let text = Array(scope.utf8)
        unsafe SHA256(text, text.count, &digest)
        unsafe SSL_CTX_set_session_id_context(raw, digest, 32)

        unsafe SSL_CTX_set_client_hello_cb(raw, ServerCallbacks.clientHello, nil)
        unsafe holdfast_SSL_CTX_set_servername_callback(raw, ServerCallbacks.serverName)
        if !settings.applicationProtocols.isEmpty { unsafe SSL_CTX_set_alpn_select_cb(raw, ServerCallbacks.alpn, nil) }
        if let authorities = settings.clientAuthorities {
            try context.trust(authorities, askingClients: true)
            let mode = settings.requiresClientCertificate ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER
            unsafe SSL_CTX_set_verify(raw, mode, Verification.callback)
        }
        return context
    }
}

extension ServerTLSSettings {
    fileprivate var sessionSeconds: Int { Int(min(max(sessionLifetime.components.seconds, 1), 86_400)) }
}

/// Which certificates serve which names.
struct CertificatePlan {
    /// Distinct sets of certificates (indices), one of each key type; the first is the default.
    private(set) var sets: [[Int]] = []
    /// Each name with the index of its set.
    private(set) var names: [(name: String, value: Int)] = []

    init(_ certificates: [CertificateDescription]) {
        var setIndex: [[Int]: Int] = [:]
        var done: Set<String> = []
        func index(of set: [Int], in plan: inout CertificatePlan) -> Int {
            if let known = setIndex[set] { return known }
            setIndex[set] = plan.sets.count
            plan.sets.append(set)
            return plan.sets.count - 1
        }
        // The default: the first certificate, with those of other key types for its first name.
        _ = index(of: certificates[0].names.first.map { CertificatePlan.set(for: $0, certificates) } ?? [0], in: &self)
        for certificate in certificates {
            for name in certificate.names where done.insert(name).inserted {
                names.append((name, index(of: CertificatePlan.set(for: name, certificates), in: &self)))
            }
        }
    }

    /// The first certificate of each key type that has `name`.
    private static func set(for name: String, _ certificates: [CertificateDescription]) -> [Int] {
        var types: Set<String> = []
        return certificates.indices.filter {
            certificates[$0].names.contains(name) && types.insert(certificates[$0].keyType).inserted
        }
    }
}
