// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
@testable import Reactor
import Testing

@Suite struct TokenTests {
    /// A late event of a closed channel must not reach the one that took its place, nor trap.
    @Test func eventsOfAClosedChannelReachNobody() throws {
        let world = SimulatedWorld(seed: 1)
        let stage = Stage(world.makeReactor())
        let door = try Door(stage, at: "127.0.0.1:80")
        let first = try Peer(to: door.address, stage.reactor)
        let stale = first.token
        first.close()
        let second = try Peer(to: door.address, stage.reactor)
        #expect(second.token & 0xFFFF_FFFF == stale & 0xFFFF_FFFF)
        for token in [stale, .max, 0x7FFF_FFFF, stale | 0xFFFF_0000_0000_0000] {
            stage.reactor.note(token, [.readable, .writable, .hangUp])
        }
        #expect(!second.isReadable && !second.isWritable && !second.sawHangUp && !second.isReadyQueued)
        stage.reactor.note(second.token, .writable)
        #expect(second.isWritable && second.isReadyQueued)
        world.runUntilIdle()
    }

    @Test func generationsWrapAround() throws {
        let world = SimulatedWorld(seed: 1)
        let stage = Stage(world.makeReactor())
        let address = SocketAddress.loopback(port: 80)
        for _ in 0..<1000 { try Peer(to: address, stage.reactor).close() }
        #expect(stage.reactor.channelCount == 0)
        world.runUntilIdle()
    }
}
