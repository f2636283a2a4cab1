// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import TLS
import Testing

@Suite struct TransferTests {
    /// From the environment to run a failure again, else fixed.
    private var seed: UInt64 { unsafe getenv("HOLDFAST_SEED").flatMap { unsafe UInt64(String(cString: $0)) } ?? 77 }

    /// Megabytes both ways at once, in chunks, limits and pauses drawn from a seed: every byte arrives, in order.
    @Test(arguments: [TLSVersion.tls12, .tls13], 0..<3 as Range<UInt64>)
    func everyByteArrives(version: TLSVersion, round: UInt64) throws {
        let draw = Draw(seed: seed &+ round)
        var n: UInt64 = 0
        func below(_ bound: Int) -> Int {
            n += 1
            return draw.below(bound, request: 0, .network, n)
        }
        let pair = EnginePair(
            try TestIdentities.serverContext {
                $0.maximumVersion = version
                $0.ticketKeys = TicketKeys()
            }, try TestIdentities.clientContext())
        pair.settle(chunk: 1 + below(2000))
        #expect(pair.isComplete)

        let total = 1 << 20
        let up = (0..<total).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 13) }
        let down = (0..<total).map { UInt8(truncatingIfNeeded: ($0 &* 40_503) >> 7) }
        var upSent = 0
        var downSent = 0
        var upReceived: [UInt8] = []
        var downReceived: [UInt8] = []
        let mark = Comment(rawValue: "HOLDFAST_SEED=\(seed), round \(round)")
        while upReceived.count < total || downReceived.count < total {
            if upSent < total && below(3) > 0 {
                let end = min(total, upSent + 1 + below(60_000))
                #expect(pair.sendFromClient(Array(up[upSent..<end])) == nil, mark)
                upSent = end
            }
            if downSent < total && below(3) > 0 {
                let end = min(total, downSent + 1 + below(60_000))
                #expect(pair.sendFromServer(Array(down[downSent..<end])) == nil, mark)
                downSent = end
            }
            pair.stepServer(chunk: below(40_000), maximumPlain: 1 + below(20_000))
            pair.stepClient(chunk: below(40_000), maximumPlain: 1 + below(20_000))
            upReceived += pair.takeServerPlain()
            downReceived += pair.takeClientPlain()
            guard pair.serverStatus.failure == nil, pair.clientStatus.failure == nil else {
                Issue.record("failed: \(pair.serverStatus) \(pair.clientStatus)")
                return
            }
        }
        #expect(upReceived == up, mark)
        #expect(downReceived == down, mark)
    }

    @Test func theLimitOfPlainBytesIsKept() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.settle()
        #expect(pair.sendFromClient([UInt8](repeating: 5, count: 40_000)) == nil)
        var sizes: [Int] = []
        var last = EnginePair.Outcome.plainLimit
        while last == .plainLimit {
            last = pair.stepServer(maximumPlain: 7_000)
            sizes.append(pair.takeServerPlain().count)
        }
        #expect(last == .needMoreInput)
        #expect(sizes == [7_000, 7_000, 7_000, 7_000, 7_000, 5_000])
        #expect(pair.stepServer(maximumPlain: 0) == .needMoreInput)
        #expect(pair.sendFromClient([1]) == nil)
        #expect(pair.stepServer(maximumPlain: 0) == .plainLimit)
        #expect(pair.stepServer() == .needMoreInput)
        #expect(pair.takeServerPlain() == [1])
    }

    /// A fresh connection's first 16 KiB leave in records of one segment, then full ones.
    @Test func recordsGrow() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.settle()
        #expect(pair.sendFromServer([UInt8](repeating: 1, count: 500)) == nil)
        #expect(pair.sendFromServer([UInt8](repeating: 1, count: 100_000)) == nil)
        let sizes = records(in: take(&pair.toClient)).map { $0.length - 17 }  // type and tag
        let small = sizes.prefix { $0 <= 1_300 }
        #expect(sizes.first == 500)
        #expect(small.count == 14)
        #expect(small.reduce(0, +) >= 16_384)
        #expect(sizes.dropFirst(small.count).dropLast().allSatisfy { $0 == 16_384 })
        #expect(sizes.reduce(0, +) == 100_500)
        #expect(pair.sendFromServer([UInt8](repeating: 1, count: 16_384)) == nil)
        #expect(records(in: take(&pair.toClient)).count == 1)
        // Towards an upstream there is nobody waiting to parse a first segment.
        #expect(pair.sendFromClient([UInt8](repeating: 1, count: 16_384)) == nil)
        #expect(records(in: take(&pair.toServer)).count == 1)
    }

    @Test func anEmptySendIsNothing() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.settle()
        #expect(pair.sendFromServer([]) == nil)
        let sent = pair.toClient.count
        #expect(sent == 0)
    }

    @Test func sendingABufferConsumesIt() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        pair.settle()
        var plain = ByteBuffer()
        plain.append([1, 2, 3, 4])
        plain.consume(1)
        #expect(pair.server.send(plain: &plain, into: &pair.toClient) == nil)
        let left = plain.count
        #expect(left == 0)
        pair.settle()
        #expect(pair.takeClientPlain() == [2, 3, 4])
    }

    /// The client's first request may arrive with its Finished, in one piece.
    @Test func dataRightBehindTheHandshakeIsDelivered() throws {
        let pair = EnginePair(
            try TestIdentities.serverContext { $0.ticketKeys = TicketKeys() }, try TestIdentities.clientContext())
        pair.stepClient()
        pair.stepServer()
        pair.stepClient()
        #expect(pair.client.isHandshakeComplete && !pair.server.isHandshakeComplete)
        #expect(pair.sendFromClient(Array("GET".utf8)) == nil)
        pair.client.close(into: &pair.toServer)
        #expect(pair.stepServer() == .closed)
        #expect(pair.takeServerPlain() == Array("GET".utf8))
        let tickets = pair.toClient.count
        #expect(tickets > 0)
    }

    /// The status says that something is to be sent.
    @Test func outputPendingIsTold() throws {
        let pair = EnginePair(try TestIdentities.serverContext(), try TestIdentities.clientContext())
        #expect(pair.stepClient() == .outputPending)
        #expect(pair.stepServer() == .outputPending)
        #expect(pair.stepServer() == .needMoreInput)
    }
}
