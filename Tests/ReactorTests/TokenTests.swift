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

    /// Open connections, bytes under way and armed timers keep neither a world nor its reactors alive.
    @Test func aWorldThatIsDroppedIsGone() throws {
        weak var world: SimulatedWorld?
        weak var reactor: Reactor?
        weak var socket: SimulatedSocket?
        weak var peer: Peer?
        do {
            let running = SimulatedWorld(seed: 1)
            let stage = Stage(running.makeReactor())
            stage.armGuard()
            let door = try Door(stage, at: "127.0.0.1:80")
            door.onAccept = { [unowned stage] descriptor, _ in _ = Peer(accepted: descriptor, stage.reactor) }
            let client = try Peer(to: door.address, stage.reactor)
            running.run(for: .milliseconds(1))
            client.write("under way")
            reactor = stage.reactor
            world = running
            socket = running.socket(client.descriptor)?.peer
            peer = client
            let channels = stage.reactor.channelCount
            #expect(socket != nil && channels == 3)
            withExtendedLifetime((running, stage, door, client)) {}
        }
        // Names, since a failed expectation would look into the objects, at references that are gone.
        let left = [("world", world == nil), ("socket", socket == nil), ("peer", peer == nil), ("reactor", reactor == nil)]
        #expect(left.filter { !$0.1 }.map(\.0) == [])
    }

    @Test func aReactorThatHasStoppedIsGone() throws {
        weak var reactor: Reactor?
        do {
            let group = try ReactorGroup(count: 1, draw: Draw(seed: 1))
            let only = group.reactors[0]
            reactor = only
            only.post {
                let stage = Stage(only)
                stage.attempt {
                    let door = try Door(stage)
                    _ = try Peer(to: door.address, only)
                    _ = try Peer(to: door.address, only)
                }
                only.stop()
            }
            group.join()
        }
        #expect(reactor == nil)
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
