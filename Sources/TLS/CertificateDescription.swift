// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Glibc

/// A certificate in words, for logs, the admin interface and messages.
package struct CertificateDescription: Sendable, Equatable {
    /// As RFC 2253 writes it: "CN=edge.example,O=Example".
    package var subject: String
    package var issuer: String
    /// The subject's common name, if it has exactly one.
    package var commonName: String?
    /// SHA-256 of the whole certificate, 64 digits in lower case.
    package var fingerprint: String
    /// The subject alternative names: DNS names in lower case, IP addresses as text, URIs as they are.
    package var names: [String]
    /// Hexadecimal, without leading zeros.
    package var serial: String
    /// Seconds since 1970 UTC.
    package var notBefore: Int64
    package var notAfter: Int64
    /// "RSA", "EC", "ED25519", …
    package var keyType: String

    init(of certificate: OpaquePointer) {
        unsafe subject = CertificateDescription.text(of: X509_get_subject_name(certificate))
        unsafe issuer = CertificateDescription.text(of: X509_get_issuer_name(certificate))
        unsafe commonName = CertificateDescription.commonName(of: certificate)
        unsafe fingerprint = CertificateDescription.fingerprint(of: certificate)
        unsafe names = CertificateDescription.alternativeNames(of: certificate)
        unsafe serial = CertificateDescription.hexadecimal(of: X509_get0_serialNumber(certificate))
        unsafe notBefore = CertificateDescription.seconds(of: X509_get0_notBefore(certificate))
        unsafe notAfter = CertificateDescription.seconds(of: X509_get0_notAfter(certificate))
        if let key = unsafe X509_get0_pubkey(certificate), let name = unsafe EVP_PKEY_get0_type_name(key) {
            unsafe keyType = String(cString: name)
        } else {
            keyType = "unknown"
        }
        ErrorQueue.clear()
    }

    private static func text(of name: OpaquePointer?) -> String {
        let bio = unsafe BIO_new(BIO_s_mem())
        defer { unsafe BIO_free_all(bio) }
        guard unsafe X509_NAME_print_ex(bio, name, 0, holdfast_XN_FLAG_RFC2253) >= 0 else { return "" }
        return unsafe memoryText(of: bio)
    }

    /// Copies what a memory BIO holds.
    static func memoryText(of bio: OpaquePointer?) -> String {
        var data: UnsafeMutablePointer<CChar>?
        let length = unsafe holdfast_BIO_get_mem_data(bio, &data)
        guard length > 0, let data = unsafe data else { return "" }
        return unsafe String(decoding: UnsafeRawBufferPointer(start: data, count: length), as: UTF8.self)
    }

    private static func alternativeNames(of certificate: OpaquePointer) -> [String] {
        guard let raw = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return [] }
        let list = OpaquePointer(raw)
        defer { unsafe GENERAL_NAMES_free(list) }
        var names: [String] = []
        for i in unsafe 0..<holdfast_GENERAL_NAMES_num(list) {
            var start: UnsafePointer<UInt8>?
            var length: Int32 = 0
            let type = unsafe holdfast_GENERAL_NAMES_get(list, i, &start, &length)
            let bytes = unsafe UnsafeBufferPointer(start: start, count: max(0, Int(length)))
            if type == GEN_DNS {
                // A peer's certificate may hold anything here, and what is made of it goes into logs.
                let printable = unsafe bytes.map { $0 > 0x20 && $0 < 0x7F ? asciiLowercase($0) : UInt8(ascii: "?") }
                names.append(String(decoding: printable, as: UTF8.self))
            } else if type == GEN_IPADD, let address = unsafe IPAddressText.text(ofNetworkBytes: Array(bytes)) {
                names.append(address)
            } else if type == GEN_URI {
                let printable = unsafe bytes.map { $0 > 0x20 && $0 < 0x7F ? $0 : UInt8(ascii: "?") }
                names.append(String(decoding: printable, as: UTF8.self))
            }
        }
        return names
    }

    private static func commonName(of certificate: OpaquePointer) -> String? {
        let subject = unsafe X509_get_subject_name(certificate)
        let place = unsafe X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
        guard place >= 0, unsafe X509_NAME_get_index_by_NID(subject, NID_commonName, place) < 0 else { return nil }
        guard let entry = unsafe X509_NAME_get_entry(subject, place), let value = unsafe X509_NAME_ENTRY_get_data(entry) else {
            return nil
        }
        var text: UnsafeMutablePointer<UInt8>?
        let length = unsafe ASN1_STRING_to_UTF8(&text, value)
        guard length > 0, let text = unsafe text else { return nil }
        defer { unsafe CRYPTO_free(text, "", 0) }
        return unsafe String(decoding: UnsafeBufferPointer(start: text, count: Int(length)), as: UTF8.self)
    }

    private static func fingerprint(of certificate: OpaquePointer) -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        var length: UInt32 = 0
        guard unsafe X509_digest(certificate, EVP_sha256(), &digest, &length) == 1 else { return "" }
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private static func hexadecimal(of serial: UnsafePointer<ASN1_INTEGER>?) -> String {
        guard let number = unsafe ASN1_INTEGER_to_BN(serial, nil) else { return "" }
        defer { unsafe BN_free(number) }
        guard let digits = unsafe BN_bn2hex(number) else { return "" }
        defer { unsafe CRYPTO_free(digits, "", 0) }
        let text = unsafe String(cString: digits).lowercased()
        let short = text.drop { $0 == "0" }
        return short.isEmpty ? "0" : String(short)
    }

    private static func seconds(of time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var parts = unsafe tm()
        guard unsafe ASN1_TIME_to_tm(time, &parts) == 1 else { return 0 }
        return unsafe Int64(timegm(&parts))
    }
}

@inline(__always)
func asciiLowercase(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
}
