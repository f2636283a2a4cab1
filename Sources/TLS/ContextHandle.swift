// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// Owns one `SSL_CTX` and frees it exactly once.
///
/// Sendable: it is configured while one thread holds it, then only used by `SSL_new` and handshakes, which OpenSSL allows
/// on several threads at once (its counts are atomic, its stores locked).
@safe final class ContextHandle: @unchecked Sendable {
    enum Side { case server, client }

    let raw: OpaquePointer

    /// A context with what both sides share: versions, suites, groups, and what is never wanted.
    init(
        _ side: Side, minimum: TLSVersion, maximum: TLSVersion, suites12: [String], suites13: [String], groups: [String]
    ) throws(TLSConfigurationError) {
        guard minimum <= maximum else {
            throw TLSConfigurationError(
                "the minimum TLS version \(minimum.rawValue) is above the maximum \(maximum.rawValue)")
        }
        let list12 = try CipherSuites.list12(suites12)
        let list13 = try CipherSuites.list13(suites13)
        let groupList = try CipherSuites.groupList(groups)
        ErrorQueue.clear()
        guard let raw = unsafe SSL_CTX_new(side == .server ? TLS_server_method() : TLS_client_method()) else {
            throw TLSConfigurationError("OpenSSL could not make a context: \(ErrorQueue.take())")
        }
        unsafe self.raw = raw
        guard unsafe holdfast_SSL_CTX_set_min_proto_version(raw, minimum.wireValue) == 1,
            unsafe holdfast_SSL_CTX_set_max_proto_version(raw, maximum.wireValue) == 1,
            unsafe SSL_CTX_set_cipher_list(raw, list12) == 1,
            unsafe SSL_CTX_set_ciphersuites(raw, list13) == 1,
            unsafe holdfast_SSL_CTX_set1_groups_list(raw, groupList) == 1
        else { throw TLSConfigurationError("OpenSSL refused the TLS settings: \(ErrorQueue.take())") }
        // SSL_OP_IGNORE_UNEXPECTED_EOF stays off: a truncated stream is told from a closed one.
        unsafe SSL_CTX_set_options(raw, holdfast_SSL_OPTIONS)
        // An idle connection gives its record buffers back, 34 KiB of them. A chain is sent as it is configured: OpenSSL
        // would else look for one in the trust store at each handshake of a leaf that comes alone.
        unsafe holdfast_SSL_CTX_set_mode(raw, Int(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY | SSL_MODE_NO_AUTO_CHAIN))
        unsafe SSL_CTX_set_security_level(raw, 2)  // 112 bits: RSA from 2048, whatever the distribution's default is
        unsafe SSL_CTX_set_max_early_data(raw, 0)
        unsafe SSL_CTX_set_recv_max_early_data(raw, 0)
    }

    deinit { unsafe SSL_CTX_free(raw) }

    /// Makes `authorities` the ones that this side trusts. Returns how many there are.
    @discardableResult
    func trust(_ authorities: PEMSource, askingClients: Bool) throws(TLSConfigurationError) -> Int {
        let certificates = try PEM.certificates(from: authorities)
        let store = unsafe SSL_CTX_get_cert_store(raw)
        for certificate in certificates {
            ErrorQueue.clear()
            guard unsafe X509_STORE_add_cert(store, certificate.raw) == 1 else {
                throw TLSConfigurationError(
                    file: authorities.name, "\(authorities.name): OpenSSL refused a certificate: \(ErrorQueue.take())")
            }
            if askingClients { unsafe holdfast_SSL_CTX_add0_client_CA(raw, certificate.raw) }
        }
        return certificates.count
    }

    /// Serves, or as a client shows, this chain with this key, beside those of other key types.
    func use(_ identity: Identity) throws(TLSConfigurationError) {
        ErrorQueue.clear()
        let stack = unsafe holdfast_sk_X509_new()
        defer { unsafe holdfast_sk_X509_free(stack) }
        for certificate in identity.chain.dropFirst() { _ = unsafe holdfast_sk_X509_push(stack, certificate.raw) }
        guard unsafe SSL_CTX_use_cert_and_key(raw, identity.leaf.raw, identity.key.raw, stack, 1) == 1 else {
            let name = identity.source.chain.name
            throw TLSConfigurationError(file: name, "\(name): OpenSSL refused the certificate: \(ErrorQueue.take())")
        }
    }
}

extension TLSVersion {
    var wireValue: Int32 {
        switch self {
        case .tls12: TLS1_2_VERSION
        case .tls13: TLS1_3_VERSION
        }
    }
}
