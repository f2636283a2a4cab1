// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// A certificate authority in memory: for `holdfast demo`, and for tests that need a certificate to be right or wrong in
/// one particular way. It reads no clock: validity is given in seconds since 1970.
package final class CertificateAuthority {
    package enum KeyType: Sendable { case ecdsaP256, rsa2048 }

    /// What a certificate should say.
    package struct Request: Sendable {
        package var commonName: String
        /// DNS names, and IP addresses as text.
        package var names: [String]
        package var keyType: KeyType
        package var notBefore: Int64
        package var notAfter: Int64
        /// Nil: a random one.
        package var serial: UInt64?
        /// Signed by its own key instead of the authority's.
        package var isSelfSigned = false

        package init(
            commonName: String? = nil, names: [String], keyType: KeyType = .ecdsaP256, notBefore: Int64, notAfter: Int64,
            serial: UInt64? = nil
        ) {
            self.commonName = commonName ?? names.first ?? "holdfast"
            self.names = names
            self.keyType = keyType
            self.notBefore = notBefore
            self.notAfter = notAfter
            self.serial = serial
        }
    }

    /// A leaf certificate (with the intermediate ones after it) and its key, in PEM.
    package struct Issued: Sendable {
        package var chain: String
        package var key: String

        package var source: CertificateSource {
            CertificateSource(chain: .text(chain, name: "issued chain"), key: .text(key, name: "issued key"))
        }
    }

    /// The root certificate that clients must trust, in PEM.
    package let rootPEM: String
    private let certificate: Certificate
    private let key: PrivateKey
    /// What follows a leaf in its chain: nothing for a root.
    private let intermediatesPEM: String

    /// A root.
    package init(
        commonName: String = "Holdfast local authority", keyType: KeyType = .ecdsaP256, notBefore: Int64, notAfter: Int64
    ) throws(TLSConfigurationError) {
        let request = Request(
            commonName: commonName, names: [], keyType: keyType, notBefore: notBefore, notAfter: notAfter)
        key = try CertificateAuthority.makeKey(keyType)
        certificate = try CertificateAuthority.makeCertificate(request, key: key, issuer: nil, isAuthority: true)
        rootPEM = try CertificateAuthority.pem(of: certificate)
        intermediatesPEM = ""
    }

    private init(intermediateOf parent: CertificateAuthority, _ request: Request) throws(TLSConfigurationError) {
        key = try CertificateAuthority.makeKey(request.keyType)
        certificate = try CertificateAuthority.makeCertificate(
            request, key: key, issuer: (parent.certificate, parent.key), isAuthority: true)
        rootPEM = parent.rootPEM
        intermediatesPEM = try CertificateAuthority.pem(of: certificate) + parent.intermediatesPEM
    }

    /// An authority under this one, whose leaves carry it in their chain.
    package func intermediate(
        commonName: String = "Holdfast intermediate authority", keyType: KeyType = .ecdsaP256, notBefore: Int64, notAfter: Int64
    ) throws(TLSConfigurationError) -> CertificateAuthority {
        try CertificateAuthority(
            intermediateOf: self,
            Request(commonName: commonName, names: [], keyType: keyType, notBefore: notBefore, notAfter: notAfter))
    }

    package func issue(_ request: Request) throws(TLSConfigurationError) -> Issued {
        let leafKey = try CertificateAuthority.makeKey(request.keyType)
        let leaf = try CertificateAuthority.makeCertificate(
            request, key: leafKey, issuer: request.isSelfSigned ? nil : (certificate, key), isAuthority: false)
        let chain = try CertificateAuthority.pem(of: leaf) + (request.isSelfSigned ? "" : intermediatesPEM)
        return Issued(chain: chain, key: try CertificateAuthority.pem(of: leafKey))
    }

    // MARK: Making

    private static func makeKey(_ type: KeyType) throws(TLSConfigurationError) -> PrivateKey {
        ErrorQueue.clear()
        let raw =
            switch type {
            case .ecdsaP256: unsafe holdfast_EVP_EC_gen("P-256")
            case .rsa2048: unsafe holdfast_EVP_RSA_gen(2048)
            }
        guard let raw = unsafe raw else { throw failed("make a key") }
        return unsafe PrivateKey(owning: raw)
    }

    private static func makeCertificate(
        _ request: Request, key: PrivateKey, issuer: (certificate: Certificate, key: PrivateKey)?, isAuthority: Bool
    ) throws(TLSConfigurationError) -> Certificate {
        ErrorQueue.clear()
        guard let raw = unsafe X509_new() else { throw failed("make a certificate") }
        let made = unsafe Certificate(owning: raw)
        var serial = request.serial ?? 0
        if request.serial == nil {
            let drawn = unsafe withUnsafeMutableBytes(of: &serial) {
                unsafe RAND_bytes($0.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32($0.count))
            }
            guard drawn == 1 else { throw failed("draw a serial number") }
            serial &= UInt64.max >> 1  // positive (RFC 5280 §4.1.2.2)
        }
        let common = Array(request.commonName.utf8)
        guard unsafe X509_set_version(raw, 2) == 1,  // version 3
            unsafe ASN1_INTEGER_set_uint64(X509_get_serialNumber(raw), serial) == 1,
            unsafe ASN1_TIME_set(X509_getm_notBefore(raw), Int(request.notBefore)) != nil,
            unsafe ASN1_TIME_set(X509_getm_notAfter(raw), Int(request.notAfter)) != nil,
            unsafe X509_set_pubkey(raw, key.raw) == 1,
            unsafe X509_NAME_add_entry_by_NID(
                X509_get_subject_name(raw), NID_commonName, MBSTRING_UTF8, common, Int32(clamping: common.count), -1, 0) == 1,
            unsafe X509_set_issuer_name(raw, X509_get_subject_name(issuer?.certificate.raw ?? raw)) == 1
        else { throw failed("fill in the certificate for \(request.commonName)") }

        var extensions: [(Int32, String)] = [
            (NID_basic_constraints, isAuthority ? "critical,CA:TRUE" : "critical,CA:FALSE"),
            (NID_key_usage, isAuthority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature"),
            (NID_subject_key_identifier, "hash"),
        ]
        if issuer != nil { extensions.append((NID_authority_key_identifier, "keyid")) }
        if !isAuthority { extensions.append((NID_ext_key_usage, "serverAuth,clientAuth")) }
        if !request.names.isEmpty {
            let list = request.names.map { (IPAddressText.networkBytes(of: $0) == nil ? "DNS:" : "IP:") + $0 }
            extensions.append((NID_subject_alt_name, list.joined(separator: ",")))
        }
        for (identifier, value) in extensions {
            guard unsafe holdfast_X509_add_extension(raw, issuer?.certificate.raw ?? raw, identifier, value) == 1 else {
                throw failed("write \"\(value)\" into the certificate for \(request.commonName)")
            }
        }
        guard unsafe X509_sign(raw, (issuer?.key ?? key).raw, EVP_sha256()) > 0 else {
            throw failed("sign the certificate for \(request.commonName)")
        }
        return made
    }

    private static func pem(of certificate: Certificate) throws(TLSConfigurationError) -> String {
        let bio = unsafe BIO_new(BIO_s_mem())
        defer { unsafe BIO_free_all(bio) }
        guard unsafe PEM_write_bio_X509(bio, certificate.raw) == 1 else { throw failed("write a certificate") }
        return unsafe CertificateDescription.memoryText(of: bio)
    }

    private static func pem(of key: PrivateKey) throws(TLSConfigurationError) -> String {
        let bio = unsafe BIO_new(BIO_s_mem())
        defer { unsafe BIO_free_all(bio) }
        guard unsafe PEM_write_bio_PrivateKey(bio, key.raw, nil, nil, 0, nil, nil) == 1 else { throw failed("write a key") }
        return unsafe CertificateDescription.memoryText(of: bio)
    }

    private static func failed(_ what: String) -> TLSConfigurationError {
        TLSConfigurationError("the certificate authority could not \(what): \(ErrorQueue.take())")
    }
}
