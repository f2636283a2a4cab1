// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Lets in who showed a certificate that the listener's `client_ca` signed, or chosen ones of these.
    public struct ClientCertificateFilter: Equatable, Sendable {
        /// What the consumer is called.
        public enum Name: String, CaseIterable, Sendable {
            /// The whole subject.
            case subject
            /// Its common name, or the first alternative name.
            case commonName = "common_name"
            /// The first alternative name.
            case san
            case fingerprint
        }

        /// Whole subjects, as `CN=orders,O=Example`. Default: any.
        public var subjects: [String] = []
        /// Alternative names: DNS names, `*.example.com`, addresses, URIs. Default: any.
        public var names: [String] = []
        /// SHA-256 of the certificate, 64 hexadecimal digits in lower case. Default: any.
        public var fingerprints: [String] = []
        public var consumer = Name.commonName
        public var consumerHeader: String? = "x-consumer"
        public var subjectHeader: String?
        public var namesHeader: String?
        public var fingerprintHeader: String?

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Client certificate filter",
                documentation:
                    "Lets in who showed a certificate that the listener's `tls.client_ca` signed; with lists, one that is in any of them. Others get 403 `auth.forbidden`. The listener must ask for certificates: `client_certificates: optional` or `required`.",
                fields: [
                    Field(
                        "subjects", \.subjects,
                        Kind<String>.text(meaning: "subject", expected: "a subject such as CN=orders,O=Example").list(),
                        "Whole subjects as RFC 2253 writes them, most specific part first."),
                    Field(
                        "names", \.names,
                        Kind<String>.text(meaning: "alternative name", expected: "a DNS name, *.example.com, an address or a URI")
                            .list(),
                        "Subject alternative names: a DNS name, `*.example.com` for one label before it, an address, or a URI such as `spiffe://example.com/orders`."
                    ),
                    Field(
                        "fingerprints", \.fingerprints, Kind<String>.fingerprint.list(),
                        "SHA-256 of whole certificates, with or without colons."),
                    Field(
                        "consumer", \.consumer, .choice,
                        "What the consumer is called: `subject`; `common_name`, else the first alternative name; `san`, the first alternative name; or `fingerprint`."
                    ),
                    Field(
                        "consumer_header", \.consumerHeader, Kind<String>.identityField.orOff(),
                        "The field that tells the upstream who it is."),
                    Field(
                        "subject_header", \.subjectHeader, Kind<String>.identityField.orOff(),
                        "The field that tells it the whole subject."),
                    Field(
                        "names_header", \.namesHeader, Kind<String>.identityField.orOff(),
                        "The field that tells it the alternative names, with commas between."),
                    Field(
                        "fingerprint_header", \.fingerprintHeader, Kind<String>.identityField.orOff(),
                        "The field that tells it the fingerprint."),
                ]
            ).kind(Self())
        }
    }
}

extension Kind where Value == String {
    /// Given back in lower case without colons.
    fileprivate static var fingerprint: Kind {
        Kind.text(
            pattern: "^[0-9A-Fa-f:]{64,95}$", meaning: "SHA-256 fingerprint",
            expected: "64 hexadecimal digits, perhaps with colons",
            problem: { text in
                let digits = text.filter { $0 != ":" }
                return digits.utf8.count == 64 && digits.utf8.allSatisfy(isHexadecimal) ? nil : "is no SHA-256 fingerprint"
            }
        ).map({ $0.filter { $0 != ":" }.lowercased() }, back: { $0 })
    }
}

/// Whether a byte is a hexadecimal digit.
func isHexadecimal(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
    default: false
    }
}
