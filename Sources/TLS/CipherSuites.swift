// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Which suites and groups can be set at all: forward secret and AEAD (RFC 9325 §4.2), so that no configuration is weak.
package enum CipherSuites {
    /// TLS 1.2: OpenSSL's name and the IANA one; either is accepted.
    private static let suites12: [(openSSL: String, iana: String)] = [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ]

    package static let default12 = suites12.map(\.openSSL)
    package static let default13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    package static let defaultGroups = ["X25519", "P-256"]
    static let allGroups = ["X25519", "P-256", "P-384", "P-521", "X448"]

    /// OpenSSL's cipher list for TLS 1.2.
    static func list12(_ names: [String]) throws(TLSConfigurationError) -> String {
        var list: [String] = []
        for name in names {
            guard let suite = suites12.first(where: { $0.openSSL == name || $0.iana == name }) else {
                throw TLSConfigurationError(
                    "the TLS 1.2 cipher suite \"\(name)\" is not allowed: only forward-secret AEAD suites are, which are "
                        + default12.joined(separator: ", "))
            }
            list.append(suite.openSSL)
        }
        guard !list.isEmpty else { throw TLSConfigurationError("the list of TLS 1.2 cipher suites is empty") }
        return list.joined(separator: ":")
    }

    static func list13(_ names: [String]) throws(TLSConfigurationError) -> String {
        for name in names where !default13.contains(name) {
            throw TLSConfigurationError(
                "the TLS 1.3 cipher suite \"\(name)\" is not allowed: possible are \(default13.joined(separator: ", "))")
        }
        guard !names.isEmpty else { throw TLSConfigurationError("the list of TLS 1.3 cipher suites is empty") }
        return names.joined(separator: ":")
    }

    static func groupList(_ names: [String]) throws(TLSConfigurationError) -> String {
        for name in names where !allGroups.contains(name) {
            throw TLSConfigurationError(
                "the key exchange group \"\(name)\" is not known: possible are \(allGroups.joined(separator: ", "))")
        }
        guard !names.isEmpty else { throw TLSConfigurationError("the list of key exchange groups is empty") }
        return names.joined(separator: ":")
    }
}
