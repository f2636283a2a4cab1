// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import TLS
import Testing

/// What cannot be configured, each in one sentence that names the file or the word.
@Suite struct SettingsTests {
    private func serverError(_ settings: ServerTLSSettings) -> String? {
        do throws(TLSConfigurationError) {
            _ = try ServerTLSContext(settings: settings)
            return nil
        } catch {
            return error.message
        }
    }

    private func clientError(_ change: (inout ClientTLSSettings) -> Void) -> String? {
        var settings = ClientTLSSettings()
        settings.verifiesPeer = false
        change(&settings)
        do throws(TLSConfigurationError) {
            _ = try ClientTLSContext(settings: settings)
            return nil
        } catch {
            return error.message
        }
    }

    private func settings(_ chain: PEMSource, _ key: PEMSource) -> ServerTLSSettings {
        ServerTLSSettings(certificates: [CertificateSource(chain: chain, key: key)])
    }

    @Test func files() throws {
        let set = try TestIdentities.all.get()
        let chain = PEMSource.text(set.ecdsa.chain, name: "edge.pem")
        let key = PEMSource.text(set.ecdsa.key, name: "edge.key")
        #expect(serverError(settings(chain, key)) == nil)
        #expect(serverError(ServerTLSSettings(certificates: [])) == "a TLS listener needs at least one certificate")
        #expect(
            serverError(settings(.file("/nowhere/edge.pem"), key)) == "/nowhere/edge.pem: cannot be read: No such file or directory"
        )
        #expect(serverError(settings(.file("/"), key)) == "/: cannot be read: Is a directory")
        #expect(
            serverError(settings(chain, .text(set.rsa.key, name: "other.key")))
                == "other.key: the private key does not belong to the first certificate in edge.pem")
        #expect(
            serverError(settings(.text("garbage", name: "edge.pem"), key)) == "edge.pem: there is no certificate in PEM form in it")
        #expect(
            serverError(settings(.text("", name: "edge.pem"), key)) == "edge.pem: there is no certificate in PEM form in it")
        #expect(
            serverError(settings(chain, .text("garbage", name: "edge.key")))
                == "edge.key: there is no usable private key in PEM form in it")
        #expect(
            serverError(
                settings(
                    chain,
                    .text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", name: "edge.key")))
                == "edge.key: the private key is encrypted with a passphrase, which is not supported")
        let damaged = set.ecdsa.chain + set.root.replacing("MII", with: "AAA")
        #expect(
            serverError(settings(.text(damaged, name: "edge.pem"), key))?.hasPrefix("edge.pem: certificate 2 is damaged: ") == true)
        let cut = String(set.ecdsa.chain.prefix(set.ecdsa.chain.count / 2))
        #expect(serverError(settings(.text(cut, name: "edge.pem"), key))?.hasPrefix("edge.pem: certificate 1 is damaged: ") == true)
    }

    @Test func filesAreReadFromDisk() throws {
        let set = try TestIdentities.all.get()
        let directory = "/tmp/holdfast-tls-\(getpid())"
        unsafe mkdir(directory, 0o700)
        func write(_ name: String, _ text: String) -> String {
            let path = "\(directory)/\(name)"
            let file = unsafe fopen(path, "w")
            unsafe fputs(text, file)
            unsafe fclose(file)
            return path
        }
        let chain = write("edge.pem", set.chained.chain)
        let key = write("edge.key", set.chained.key)
        let root = write("ca.pem", set.root)
        defer {
            for path in [chain, key, root] { unsafe unlink(path) }
            unsafe rmdir(directory)
        }
        var client = ClientTLSSettings()
        client.authorities = .file(root)
        let pair = EnginePair(
            try ServerTLSContext(settings: settings(.file(chain), .file(key))), try ClientTLSContext(settings: client))
        pair.settle()
        #expect(pair.isComplete)
    }

    @Test func words() throws {
        let set = try TestIdentities.all.get()
        func complaint(_ change: (inout ServerTLSSettings) -> Void) -> String? {
            var settings = ServerTLSSettings(certificates: [set.ecdsa.source])
            change(&settings)
            return serverError(settings)
        }
        for weak in [
            "AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256", "ALL", "RC4-MD5",
            "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA",
        ] {
            let text = complaint { $0.cipherSuites12 = ["ECDHE-RSA-AES128-GCM-SHA256", weak] }
            #expect(
                text?.hasPrefix("the TLS 1.2 cipher suite \"\(weak)\" is not allowed: only forward-secret AEAD suites are") == true)
        }
        #expect(complaint { $0.cipherSuites12 = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"] } == nil)
        #expect(complaint { $0.cipherSuites12 = [] } == "the list of TLS 1.2 cipher suites is empty")
        #expect(
            complaint { $0.cipherSuites13 = ["TLS_AES_128_CCM_8_SHA256"] }?.hasPrefix(
                "the TLS 1.3 cipher suite \"TLS_AES_128_CCM_8_SHA256\" is not allowed") == true)
        #expect(complaint { $0.cipherSuites13 = [] } == "the list of TLS 1.3 cipher suites is empty")
        #expect(
            complaint { $0.groups = ["sect163k1"] }
                == "the key exchange group \"sect163k1\" is not known: possible are X25519, P-256, P-384, P-521, X448")
        #expect(complaint { $0.groups = [] } == "the list of key exchange groups is empty")
        #expect(complaint { $0.groups = ["X448", "P-521", "P-384", "P-256", "X25519"] } == nil)
        #expect(
            complaint { $0.applicationProtocols = ["h3"] }
                == "the application protocol \"h3\" is not known: possible are h2, http/1.1")
        #expect(
            complaint {
                $0.minimumVersion = .tls13
                $0.maximumVersion = .tls12
            } == "the minimum TLS version 1.3 is above the maximum 1.2")
        #expect(
            complaint { $0.clientAuthorities = .file("/nowhere/ca.pem") }
                == "/nowhere/ca.pem: cannot be read: No such file or directory")
    }

    @Test func clientSettings() throws {
        #expect(clientError { _ in } == nil)
        #expect(clientError { $0.authorities = .text("", name: "ca.pem") } == "ca.pem: there is no certificate in PEM form in it")
        #expect(
            clientError { $0.applicationProtocols = [""] } == "the application protocol \"\" is not between 1 and 255 bytes long")
        #expect(
            clientError { $0.signatureAlgorithms = ["nonsense"] } == "OpenSSL knows no such list of signature algorithms: nonsense")
        #expect(clientError { $0.verifiesPeer = true } == nil)  // the system's authorities
        let set = try TestIdentities.all.get()
        #expect(
            clientError {
                $0.clientCertificate = CertificateSource(chain: set.client.source.chain, key: .text(set.rsa.key, name: "c.key"))
            }
                == "c.key: the private key does not belong to the first certificate in issued chain")
    }

    @Test func descriptionsAndWarnings() throws {
        let context = try TestIdentities.serverContext(\.ecdsa, \.rsa, \.expired, \.address)
        let first = context.certificates[0]
        #expect(first.subject == "CN=edge.example")
        #expect(first.issuer == "CN=Holdfast local authority")
        #expect(first.names == ["edge.example", "www.edge.example"])
        #expect(first.notBefore == TestIdentities.longAgo)
        #expect(first.notAfter == TestIdentities.farAhead)
        #expect(context.certificates.map(\.keyType) == ["EC", "RSA", "EC", "EC"])
        #expect(context.certificates[3].names == ["127.0.0.1", "::1"])
        let end = TestIdentities.longAgo + 86_400
        #expect(context.warnings(at: end - 3_600) == ["issued chain: the certificate expires in 1 hours (CN=edge.example)"])
        #expect(context.warnings(at: end + 1) == ["issued chain: the certificate has expired (CN=edge.example)"])
        #expect(context.warnings(at: TestIdentities.longAgo - 8 * 86_400).count == 4)
    }
}
