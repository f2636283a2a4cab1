// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core
import Synchronization

/// How an upstream is spoken to over TLS.
package struct ClientTLSSettings: Sendable, Equatable {
    /// Who is trusted; nil: the system's authorities.
    package var authorities: PEMSource?
    /// Whether the server's chain and name are verified. Default true.
    package var verifiesPeer = true
    /// Shown to a server that asks for it.
    package var clientCertificate: CertificateSource?
    package var minimumVersion = TLSVersion.tls12
    package var maximumVersion = TLSVersion.tls13
    package var cipherSuites12 = CipherSuites.default12
    package var cipherSuites13 = CipherSuites.default13
    package var groups = CipherSuites.defaultGroups
    /// What may sign the server's handshake, in OpenSSL's words ("ecdsa_secp256r1_sha256"); empty: OpenSSL's default.
    package var signatureAlgorithms: [String] = []
    /// Offered by ALPN, best first; empty: ALPN is not spoken.
    package var applicationProtocols = ["http/1.1"]
    /// Whether sessions are kept and resumed.
    package var reusesSessions = true

    package init() {}
}

/// What all TLS connections to an upstream share. Immutable but for the wall time and the sessions it keeps.
package final class ClientTLSContext: Sendable {
    package let settings: ClientTLSSettings
    let handle: ContextHandle
    let sessions: ClientSessionCache?
    private let wallSeconds: Atomic<Int64>

    package init(settings: ClientTLSSettings, wallTime: Int64? = nil) throws(TLSConfigurationError) {
        let list = try ALPNList(settings.applicationProtocols)
        handle = try ContextHandle(
            .client, minimum: settings.minimumVersion, maximum: settings.maximumVersion,
            suites12: settings.cipherSuites12, suites13: settings.cipherSuites13, groups: settings.groups)
        let raw = unsafe handle.raw
        if let authorities = settings.authorities {
            try handle.trust(authorities, askingClients: false)
        } else if settings.verifiesPeer {
            ErrorQueue.clear()
            guard unsafe SSL_CTX_set_default_verify_paths(raw) == 1 else {
                throw TLSConfigurationError("the system's certificate authorities cannot be read: \(ErrorQueue.take())")
            }
        }
        unsafe SSL_CTX_set_verify(
            raw, settings.verifiesPeer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, settings.verifiesPeer ? Verification.callback : nil)
        if let source = settings.clientCertificate { try handle.use(try Identity(source)) }
        if !settings.signatureAlgorithms.isEmpty {
            let list = settings.signatureAlgorithms.joined(separator: ":")
            guard unsafe holdfast_SSL_CTX_set1_sigalgs_list(raw, list) == 1 else {
                throw TLSConfigurationError("OpenSSL knows no such list of signature algorithms: \(list)")
            }
        }
        // Zero is success, for this one function.
        if !list.wire.isEmpty, unsafe SSL_CTX_set_alpn_protos(raw, list.wire, UInt32(list.wire.count)) != 0 {
            throw TLSConfigurationError("OpenSSL refused the application protocols: \(ErrorQueue.take())")
        }
        if settings.reusesSessions {
            // Ours is the only store: OpenSSL's own finds a session by its id, which a client has no use for.
            unsafe holdfast_SSL_CTX_set_session_cache_mode(raw, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
            unsafe SSL_CTX_sess_set_new_cb(raw) { ssl, session in
                guard let engine = unsafe Wire.engine(of: ssl), let cache = engine.clientContext?.sessions,
                    let key = engine.sessionKey, let session = unsafe session
                else { return 0 }
                cache.store(unsafe Session(owning: session), for: key)
                return 1  // the reference is ours now
            }
            sessions = ClientSessionCache()
        } else {
            unsafe holdfast_SSL_CTX_set_session_cache_mode(raw, Int(SSL_SESS_CACHE_OFF))
            unsafe SSL_CTX_set_options(raw, holdfast_SSL_OP_NO_TICKET)
            sessions = nil
        }
        self.settings = settings
        wallSeconds = Atomic(wallTime ?? .min)
    }

    /// As `ServerTLSContext.wallTime`.
    package var wallTime: Int64? {
        let seconds = wallSeconds.load(ordering: .relaxed)  // alone: it orders nothing else
        return seconds == .min ? nil : seconds
    }

    package func setWallTime(_ seconds: Int64) { wallSeconds.store(seconds, ordering: .relaxed) }

    /// Tells `ssl` whom to ask for and whom to accept. False when `name` cannot be the name of a server.
    func expect(_ name: String, on ssl: OpaquePointer?) -> Bool {
        guard !name.isEmpty, name.utf8.count <= 253, !name.utf8.contains(0) else { return false }
        let parameters = unsafe SSL_get0_param(ssl)
        if let address = IPAddressText.networkBytes(of: name) {
            return unsafe !settings.verifiesPeer || X509_VERIFY_PARAM_set1_ip(parameters, address, address.count) == 1
        }
        guard unsafe holdfast_SSL_set_tlsext_host_name(ssl, name) == 1 else { return false }
        guard settings.verifiesPeer else { return true }
        // The name must be among the alternative names (RFC 9525 §6.1: never the common name), and a wildcard is a whole label.
        unsafe X509_VERIFY_PARAM_set_hostflags(
            parameters, UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
        return unsafe X509_VERIFY_PARAM_set1_host(parameters, name, name.utf8.count) == 1
    }
}
