// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import TLS

/// A client and a server joined in memory. Bytes move when told to, in pieces as small as wanted.
final class EnginePair {
    let client: TLSEngine
    let server: TLSEngine
    /// Under way to the server and to the client.
    var toServer = ByteBuffer()
    var toClient = ByteBuffer()
    /// Arrived, and not yet taken by the engine.
    private var serverInput = ByteBuffer()
    private var clientInput = ByteBuffer()
    /// Decrypted.
    var serverPlain = ByteBuffer()
    var clientPlain = ByteBuffer()
    private(set) var serverStatus = Outcome.needMoreInput
    private(set) var clientStatus = Outcome.needMoreInput
    /// All cipher bytes that ever left either side, as a string of "c"/"s" records of the order they left in.
    private(set) var transcript: [UInt8] = []
    var recordsTranscript = false

    enum Outcome: Equatable {
        case needMoreInput, outputPending, closed, plainLimit
        case failed(TLSFailure)

        init(_ status: TLSEngine.Status) {
            switch status {
            case .needMoreInput: self = .needMoreInput
            case .outputPending: self = .outputPending
            case .closed: self = .closed
            case .plainLimit: self = .plainLimit
            case .failed(let failure): self = .failed(failure)
            }
        }

        var failure: TLSFailure? {
            if case .failed(let failure) = self { return failure }
            return nil
        }
    }

    init(server: TLSEngine, client: TLSEngine) {
        self.server = server
        self.client = client
    }

    convenience init(
        _ serverContext: ServerTLSContext, _ clientContext: ClientTLSContext, name: String = "edge.example", key: String = ""
    ) {
        self.init(
            server: TLSEngine(server: serverContext), client: TLSEngine(client: clientContext, serverName: name, sessionKey: key))
    }

    /// Lets at most `chunk` bytes arrive at the server and be worked on.
    @discardableResult
    func stepServer(chunk: Int = .max, maximumPlain: Int = 1 << 20) -> Outcome {
        let n = move(&toServer, &serverInput, chunk)
        _ = n
        let before = toClient.count
        serverStatus = Outcome(
            server.receive(from: &serverInput, into: &serverPlain, maximumPlain: maximumPlain, output: &toClient))
        record(toClient, from: before)
        return serverStatus
    }

    @discardableResult
    func stepClient(chunk: Int = .max, maximumPlain: Int = 1 << 20) -> Outcome {
        _ = move(&toClient, &clientInput, chunk)
        let before = toServer.count
        clientStatus = Outcome(
            client.receive(from: &clientInput, into: &clientPlain, maximumPlain: maximumPlain, output: &toServer))
        record(toServer, from: before)
        return clientStatus
    }

    /// Runs both sides until nothing is under way.
    func settle(chunk: Int = .max) {
        stepClient(chunk: chunk)
        while !toServer.isEmpty || !toClient.isEmpty {
            if serverStatus.failure != nil && !toServer.isEmpty { toServer.removeAll() }
            if clientStatus.failure != nil && !toClient.isEmpty { toClient.removeAll() }
            if !toServer.isEmpty { stepServer(chunk: chunk) }
            if !toClient.isEmpty { stepClient(chunk: chunk) }
        }
    }

    var isComplete: Bool { client.isHandshakeComplete && server.isHandshakeComplete }

    func sendFromServer(_ bytes: [UInt8]) -> TLSFailure? {
        unsafe bytes.withUnsafeBytes { unsafe server.send($0, into: &toClient) }
    }

    func sendFromClient(_ bytes: [UInt8]) -> TLSFailure? {
        unsafe bytes.withUnsafeBytes { unsafe client.send($0, into: &toServer) }
    }

    func takeServerPlain() -> [UInt8] { take(&serverPlain) }
    func takeClientPlain() -> [UInt8] { take(&clientPlain) }

    private func move(_ from: inout ByteBuffer, _ to: inout ByteBuffer, _ most: Int) -> Int {
        let n = min(most, from.count)
        unsafe from.withUnsafeReadable { unsafe to.append(UnsafeRawBufferPointer(rebasing: $0[..<n])) }
        from.consume(n)
        return n
    }

    private func record(_ buffer: borrowing ByteBuffer, from start: Int) {
        guard recordsTranscript else { return }
        unsafe buffer.withUnsafeReadable { unsafe transcript.append(contentsOf: $0[start...]) }
    }
}

/// The bytes of `buffer`, which is empty afterwards.
func take(_ buffer: inout ByteBuffer) -> [UInt8] {
    let bytes = unsafe buffer.withUnsafeReadable { unsafe Array($0) }
    buffer.removeAll()
    return bytes
}

/// The lengths of the TLS records in `bytes`, header not counted, and their content types.
func records(in bytes: [UInt8]) -> [(type: UInt8, length: Int)] {
    var found: [(UInt8, Int)] = []
    var i = 0
    while i + 5 <= bytes.count {
        let length = Int(bytes[i + 3]) << 8 | Int(bytes[i + 4])
        found.append((bytes[i], length))
        i += 5 + length
    }
    return found
}
