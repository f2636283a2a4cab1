// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import TLS
import Testing

@Suite struct CloseTests {
    @Test(arguments: [TLSVersion.tls12, .tls13], [1, Int.max])
    func aCleanCloseIsToldFromATruncatedOne(version: TLSVersion, chunk: Int) throws {
        let server = try TestIdentities.serverContext { $0.maximumVersion = version }
        let client = try TestIdentities.clientContext()
        let clean = EnginePair(server, client)
        clean.settle()
        #expect(clean.client.endOfStream() == .truncated)  // so far
        #expect(clean.sendFromServer(Array("bye".utf8)) == nil)
        clean.server.close(into: &clean.toClient)
        clean.server.close(into: &clean.toClient)  // once only
        clean.settle(chunk: chunk)
        #expect(clean.clientStatus == .closed)
        #expect(clean.takeClientPlain() == Array("bye".utf8))
        #expect(clean.client.endOfStream() == .clean)
        #expect(clean.stepClient() == .closed)

        // Half closed: the client may still speak (RFC 8446 §6.1), then closes too.
        #expect(clean.sendFromClient(Array("thanks".utf8)) == nil)
        clean.client.close(into: &clean.toServer)
        clean.settle(chunk: chunk)
        #expect(clean.serverStatus == .closed)
        #expect(clean.takeServerPlain() == Array("thanks".utf8))
        #expect(clean.server.endOfStream() == .clean)
    }

    @Test func cutAtEachPositionOfTheLastRecordsItIsTruncated() throws {
        let server = try TestIdentities.serverContext()
        let client = try TestIdentities.clientContext()
        var cut = 0
        while true {
            let pair = EnginePair(server, client)
            pair.settle()
            #expect(pair.sendFromServer(Array("bye".utf8)) == nil)
            pair.server.close(into: &pair.toClient)
            let length = pair.toClient.count
            pair.stepClient(chunk: cut)
            #expect(pair.client.endOfStream() == (cut < length ? .truncated : .clean), "cut at \(cut) of \(length)")
            if cut == length { break }
            cut += 1
        }
    }

    @Test func anEndDuringTheHandshakeIsTruncated() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.stepClient()
        pair.stepServer()
        #expect(pair.server.endOfStream() == .truncated)
        pair.server.close(into: &pair.toClient)  // says nothing yet, and does no harm
        pair.settle()
        #expect(pair.isComplete)
    }

    /// A fatal alert ends the stream, but not cleanly.
    @Test func anAlertIsNoCleanEnd() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.settle()
        pair.toServer.append([23, 3, 3, 0, 20] + [UInt8](repeating: 7, count: 20))  // not decryptable
        pair.settle()
        #expect(pair.serverStatus.failure?.detail == "decryption failed or bad record mac")
        #expect(pair.clientStatus.failure?.detail == "the peer sent the alert \"bad record mac\"")
        #expect(pair.client.endOfStream() == .truncated)
    }

    @Test func sendingAfterTheOwnCloseIsAFailureAndNoTrap() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.settle()
        pair.server.close(into: &pair.toClient)
        #expect(pair.sendFromServer([1]) != nil)
    }
}
