// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import TLS

extension MeasuredBody {
    /// Plain bytes through one engine into records and through another one back, TLS 1.3 with AES-128-GCM; and whole handshakes.
    static func records() throws -> [MeasuredBody] {
        let authority = try CertificateAuthority(notBefore: 1_600_000_000, notAfter: 4_000_000_000)
        let leaf = try authority.issue(
            CertificateAuthority.Request(names: ["edge.example"], notBefore: 1_600_000_000, notAfter: 4_000_000_000))
        let server = try ServerTLSContext(settings: ServerTLSSettings(certificates: [leaf.source]))
        var settings = ClientTLSSettings()
        settings.authorities = .text(authority.rootPEM)
        settings.reusesSessions = false
        let client = try ClientTLSContext(settings: settings)
        let pair = try TLSPair(server, client)
        return [
            MeasuredBody("TLS records: 1 KiB there and back") { pair.transfer(1_024, $0) },
            MeasuredBody("TLS records: 256 KiB there and back", isLong: true) { pair.transfer(262_144, $0) },
            MeasuredBody("TLS 1.3 handshake: full, ECDSA P-256, both sides", isLong: true) { times in
                var done = 0
                for _ in 0..<times where (try? TLSPair(server, client)) != nil { done += 1 }
                return done
            },
        ]
    }
}

/// Two engines that talk in memory.
private final class TLSPair {
    private let server: TLSEngine
    private let client: TLSEngine
    private var toServer = ByteBuffer()
    private var toClient = ByteBuffer()
    private var plain = ByteBuffer()

    private static let most = 1 << 20

    init(_ serverContext: ServerTLSContext, _ clientContext: ClientTLSContext) throws {
        server = TLSEngine(server: serverContext)
        client = TLSEngine(client: clientContext, serverName: "edge.example")
        _ = client.receive(from: &toClient, into: &plain, maximumPlain: TLSPair.most, output: &toServer)
        while !toServer.isEmpty || !toClient.isEmpty {
            let heard = server.receive(from: &toServer, into: &plain, maximumPlain: TLSPair.most, output: &toClient)
            if case .failed(let failure) = heard { throw TLSConfigurationError("\(failure)") }
            let answered = client.receive(from: &toClient, into: &plain, maximumPlain: TLSPair.most, output: &toServer)
            if case .failed(let failure) = answered { throw TLSConfigurationError("\(failure)") }
        }
    }

    func transfer(_ count: Int, _ times: Int) -> Int {
        let bytes = [UInt8](repeating: 0x61, count: count)
        var sum = 0
        for _ in 0..<times {
            _ = unsafe bytes.withUnsafeBytes { unsafe server.send($0, into: &toClient) }
            _ = client.receive(from: &toClient, into: &plain, maximumPlain: TLSPair.most, output: &toServer)
            sum &+= plain.count
            plain.removeAll()
        }
        return sum
    }
}
