// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Reactor
import TLS

/// Lets in who showed a certificate of the listener's authorities, or chosen ones. The handshake has verified the chain; what is
/// looked at here is who it is, and that the certificate still counts: a resumed session may be a day old.
final class ClientCertificateFilter: Filter {
    private let settings: Configuration.ClientCertificateFilter
    private let consumerHeader: [UInt8]?

    init(_ settings: Configuration.ClientCertificateFilter) {
        self.settings = settings
        consumerHeader = settings.consumerHeader.map { Array($0.utf8) }
    }

    func request(_ pass: FilterPass) -> FilterStep {
        // 403 and not 401: there is no scheme by which a client could answer on this connection.
        guard let certificate = pass.tls?.clientCertificate else {
            return .refuse(FilterRefusal(.authForbidden, detail: "a client certificate is needed"))
        }
        let now = pass.home.reactor.unixNanoseconds / 1_000_000_000
        guard now >= certificate.notBefore, now <= certificate.notAfter, admits(certificate), let name = consumer(certificate)
        else {
            return .refuse(FilterRefusal(.authForbidden))
        }
        pass.identify(as: name, telling: consumerHeader)
        tell(settings.subjectHeader, certificate.subject, pass)
        tell(settings.namesHeader, certificate.names.filter { !$0.contains(",") }.joined(separator: ","), pass)
        tell(settings.fingerprintHeader, certificate.fingerprint, pass)
        return .next
    }

    private func tell(_ field: String?, _ value: String, _ pass: FilterPass) {
        guard let field, let value = ClientCertificateFilter.fieldValue(value) else { return }
        pass.tell(Array(field.utf8), value)
    }

    func admits(_ certificate: CertificateDescription) -> Bool {
        if settings.subjects.isEmpty && settings.names.isEmpty && settings.fingerprints.isEmpty { return true }
        return settings.subjects.contains(certificate.subject) || settings.fingerprints.contains(certificate.fingerprint)
            || certificate.names.contains { name in settings.names.contains { ClientCertificateFilter.matches($0, name) } }
    }

    /// `*.example.com` stands for one label before it (RFC 6125 §6.4.3).
    private static func matches(_ pattern: String, _ name: String) -> Bool {
        guard pattern.hasPrefix("*.") else { return pattern == name }
        guard let point = name.firstIndex(of: "."), point > name.startIndex else { return false }
        return name[point...] == pattern.dropFirst()
    }

    /// Nil where the certificate does not have what the consumer is to be called by.
    private func consumer(_ certificate: CertificateDescription) -> [UInt8]? {
        let name: String? =
            switch settings.consumer {
            case .subject: certificate.subject
            case .commonName: certificate.commonName ?? certificate.names.first
            case .san: certificate.names.first
            case .fingerprint: certificate.fingerprint
            }
        return name.flatMap { ClientCertificateFilter.fieldValue($0) }
    }

    /// What a certificate says, if it can stand in a field as it is.
    private static func fieldValue(_ text: String) -> [UInt8]? {
        let bytes = Array(text.utf8)
        guard (1...1_024).contains(bytes.count), bytes.first != 32, bytes.last != 32, bytes.allSatisfy({ $0 >= 32 && $0 != 127 })
        else {
            return nil
        }
        return bytes
    }
}
