// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core

/// A box, so that the usual connection, which has none, pays one word for it.
final class RejectedCertificate {
    let description: CertificateDescription
    init(_ description: CertificateDescription) { self.description = description }
}

/// OpenSSL's verification, watched: it decides, and we note which certificate it stumbled over.
enum Verification {
    static let callback: @convention(c) (Int32, OpaquePointer?) -> Int32 = { isGood, store in
        if isGood == 1 { return 1 }
        let slot = SSL_get_ex_data_X509_STORE_CTX_idx()
        let ssl = unsafe X509_STORE_CTX_get_ex_data(store, slot).map { OpaquePointer($0) }
        if let engine = unsafe Wire.engine(of: ssl), let certificate = unsafe X509_STORE_CTX_get_current_cert(store) {
            unsafe engine.rejectedCertificate = RejectedCertificate(CertificateDescription(of: certificate))
        }
        return 0
    }
}

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
            let number = reason - SSL_AD_REASON_OFFSET
            var alert = unsafe String(cString: SSL_alert_desc_string_long(number))
            if number == SSL_AD_CERTIFICATE_REQUIRED { alert = "certificate required" }  // which OpenSSL 3.0 does not know here
            ErrorQueue.clear()
            return failure(of: "the peer sent the alert \"\(alert)\"")
        }
        return failure(of: ErrorQueue.take())
    }

    private func verificationFailure() -> TLSFailure {
        let result = unsafe SSL_get_verify_result(ssl)
        var detail = verifyErrorText ?? "certificate verify failed"
        let certificate = rejectedCertificate?.description
        rejectedCertificate = nil
        if result == Int(X509_V_ERR_HOSTNAME_MISMATCH) || result == Int(X509_V_ERR_IP_ADDRESS_MISMATCH) {
            detail += ": wanted \(serverName ?? "")"
            if let names = certificate?.names, !names.isEmpty {
                detail += ", the certificate is for \(names.prefix(8).joined(separator: ", "))"
            }
        } else if let subject = certificate?.subject {
            detail += " (\(subject))"
        }
        if isServer { return TLSFailure(reason: .clientTLSFailed, detail: "client certificate: \(detail)") }
        return TLSFailure(reason: .tlsVerify, detail: detail)
    }
}
