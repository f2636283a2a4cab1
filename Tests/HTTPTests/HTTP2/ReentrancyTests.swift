// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// Everything that may be called from inside the session's calls, is.
@Suite struct HTTP2ReentrancyTests {
    /// What is done to a stream, and to its neighbour, inside one of the calls.
    enum Deed: CaseIterable, Sendable {
        case nothing, respondWhole, respondAndReset, reset, resetNoError, write, end, consume, release, ping, drain, goAway, lose,
            inform

        func perform(_ stream: RecordingStream, on peer: Peer) {
            let session = peer.session!
            switch self {
            case .nothing: break
            case .respondWhole: peer.respond(stream, body: "whole")
            case .respondAndReset:
                peer.respond(stream, body: "whole")
                session.reset(stream, code: .noError)
            case .reset:
                session.reset(stream, code: .cancel)
                session.reset(stream, code: .internalError)
            case .resetNoError: session.reset(stream, code: .noError)
            case .write: peer.write(stream, Array(repeating: 1, count: 100_000))
            case .end: peer.write(stream, [], end: true)
            case .consume: session.consumed(stream, bytes: .max)
            case .release: session.release(stream)
            case .ping: session.ping()
            case .drain:
                session.beginDrain()
                session.finishDrain()
            case .goAway: session.goAway(.internalError)
            case .lose:
                session.connectionClosed()
                peer.forgetStreams()
            case .inform: session.inform(stream, head: responseHead(102))
            }
        }
    }

    enum Moment: CaseIterable { case head, data, end, drained, closed }

    static func hook(_ peer: Peer, _ moment: Moment, _ body: @escaping (RecordingStream) -> Void) {
        switch moment {
        case .head: peer.onHead = { stream, _ in body(stream) }
        case .data: peer.onData = { stream, _ in body(stream) }
        case .end: peer.onEnd = body
        case .drained: peer.onDrained = body
        case .closed:
            peer.onClosed = { [unowned peer] stream in
                body(stream)
                peer.session.release(stream)
            }
        }
    }

    @Test(arguments: Deed.allCases)
    func deedsInServerCalls(deed: Deed) throws {
        for moment in Moment.allCases {
            for toNeighbour in [false, true] {
                try run(deed, moment, toNeighbour: toNeighbour, inServer: true)
                try run(deed, moment, toNeighbour: toNeighbour, inServer: false)
            }
        }
    }

    private func run(_ deed: Deed, _ moment: Moment, toNeighbour: Bool, inServer: Bool) throws {
        let census: Census
        do {
            let wire = Wire()
            census = wire.census
            if !inServer || moment != .end {
                wire.server.onEnd = { wire.server.respond($0, body: String(repeating: "a", count: 150_000)) }
            }
            let peer = inServer ? wire.server : wire.client
            HTTP2ReentrancyTests.hook(peer, moment) { stream in
                let target = toNeighbour ? peer.streams.first { $0 !== stream && !$0.isClosed } ?? stream : stream
                deed.perform(target, on: peer)
            }
            for _ in 0..<3 {
                guard let stream = wire.client.open("POST", "/", endStream: false) else { continue }
                wire.client.write(stream, Array(repeating: 1, count: 100_000), end: true)
            }
            for _ in 0..<3 {
                wire.pump(piece: 10_000, limit: 20_000)
            }
            #expect(
                deed == .goAway || wire.server.session.failure == nil && wire.client.session.failure == nil, "\(deed) \(moment)")
            // The closures hold the peers.
            for peer in [wire.server, wire.client] {
                peer.session.connectionClosed()
                #expect(peer.session.openStreams == 0)
                peer.onHead = nil
                peer.onData = nil
                peer.onEnd = nil
                peer.onDrained = nil
                peer.onClosed = nil
                peer.forgetStreams()
            }
        }
        #expect(census.living == 0, "\(deed) \(moment)")
    }

    /// `produce` from a callback says that there is more, and does nothing.
    @Test func produceInsideReceive() throws {
        let wire = Wire()
        var results: [Bool] = []
        wire.server.onHead = { stream, _ in
            wire.server.respond(stream)
            results.append(wire.server.produce1())
        }
        _ = try #require(wire.client.open())
        wire.pump()
        #expect(results == [true])
        #expect(wire.client.streams[0].isRemoteEnded)
    }

    /// A stream that its owner lets go of in the middle of its own call.
    @Test func streamLetGoInsideItsCall() throws {
        let wire = Wire()
        wire.server.onData = { stream, _ in
            wire.server.forgetStreams()
            wire.server.session.reset(stream, code: .cancel)
            wire.server.session.release(stream)
        }
        let stream = try #require(wire.client.open("POST", "/", endStream: false))
        wire.client.write(stream, Array(repeating: 1, count: 50_000), end: true)
        wire.pump()
        #expect(stream.end?.code == .cancel)
        wire.client.forgetStreams()
        #expect(wire.census.living == 1)  // the local one
    }
}

extension Peer {
    fileprivate func produce1() -> Bool {
        var output = ByteBuffer()
        let more = session.produce(into: &output, limit: 1_000)
        precondition(output.isEmpty)
        return more
    }
}
