// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core

extension TLSEngine {
    /// A failure that we found ourselves.
    func failure(of detail: String) -> TLSFailure {
        TLSFailure(reason: isServer ? .clientTLSFailed : .tlsHandshake, detail: detail)
    }

    /// The failure that OpenSSL's error queue tells of; empties the queue.
    func failureFromQueue() -> TLSFailure {
        let (library, reason) = ErrorQueue.first
        guard library == ERR_LIB_SSL else { return failure(of: ErrorQueue.take()) }
        if reason == SSL_R_CERTIFICATE_VERIFY_FAILED {
            ErrorQueue.clear()
            return verificationFailure()
        }
        if reason >= SSL_AD_REASON_OFFSET {
            // OpenSSL's own words for these name the version that first had the alert ("sslv3 alert …"), which misleads.
            ErrorQueue.clear()
            let alert = unsafe String(cString: SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET))
            return failure(of: "the peer sent the alert \"\(alert)\"")
        }
        return failure(of: ErrorQueue.take())
    }

    private func verificationFailure() -> TLSFailure {
        let result = unsafe SSL_get_verify_result(ssl)
        let text = verifyErrorText ?? "certificate verify failed"
        if isServer { return TLSFailure(reason: .clientTLSFailed, detail: "client certificate: \(text)") }
        var detail = text
        if result == Int(X509_V_ERR_HOSTNAME_MISMATCH) || result == Int(X509_V_ERR_IP_ADDRESS_MISMATCH) {
            detail += ": wanted \(serverName ?? "")"
            if let names = peerCertificate?.names, !names.isEmpty {
                detail += ", the certificate is for \(names.joined(separator: ", "))"
            }
        } else if let subject = peerCertificate?.subject {
            detail += " (\(subject))"
        }
        return TLSFailure(reason: .tlsVerify, detail: detail)
    }
}
