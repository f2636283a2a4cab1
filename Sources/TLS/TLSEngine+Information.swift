// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// What a log line or a test wants to know of a connection. Each is looked up when asked, none costs anything before.
extension TLSEngine {
    /// "TLSv1.2" or "TLSv1.3"; before the handshake the highest we offer.
    package var version: String { unsafe text(SSL_get_version(ssl)) }

    /// OpenSSL's name of the cipher suite, such as "TLS_AES_128_GCM_SHA256"; empty before there is one.
    package var cipherName: String {
        guard let cipher = unsafe SSL_get_current_cipher(ssl) else { return "" }
        return unsafe text(SSL_CIPHER_get_name(cipher))
    }

    /// The key exchange group, such as "x25519"; nil before there is one.
    package var groupName: String? {
        // Before that OpenSSL 3.0 follows a null pointer to the session.
        guard isHandshakeComplete, let name = unsafe holdfast_SSL_group_name(ssl) else { return nil }
        return unsafe String(cString: name)
    }

    /// Whether an earlier session was resumed.
    package var isResumed: Bool { unsafe ssl != nil && SSL_session_reused(ssl) == 1 }

    /// Whether the peer showed a certificate: a server's view of an optional client certificate.
    package var hasPeerCertificate: Bool { unsafe ssl != nil && SSL_get0_peer_certificate(ssl) != nil }

    /// The peer's certificate, described for a log.
    package var peerCertificate: CertificateDescription? {
        guard unsafe ssl != nil, let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return nil }
        return unsafe CertificateDescription(of: certificate)
    }

    package var peerCertificateSubject: String? { peerCertificate?.subject }

    /// OpenSSL's words for why the peer's certificate is not trusted; nil when it is.
    package var verifyErrorText: String? {
        guard unsafe ssl != nil else { return nil }
        let result = unsafe SSL_get_verify_result(ssl)
        return result == Int(X509_V_OK) ? nil : unsafe String(cString: X509_verify_cert_error_string(result))
    }

    private func text(_ characters: UnsafePointer<CChar>?) -> String {
        guard let characters = unsafe characters else { return "" }
        return unsafe String(cString: characters)
    }
}
