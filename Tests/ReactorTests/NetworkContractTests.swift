// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Reactor
import Testing

/// What both networks promise, each row on the kernel and in the simulated world.
@Suite struct NetworkContractTests {
    @Test(arguments: Lab.allCases, ["127.0.0.1:0", "unix"])
    func echoes(lab: Lab, place: String) throws {
        let path = "unix:/tmp/holdfast-\(getpid())-\(lab.rawValue).sock"
        let told = try lab.run { stage in
            let door = try Door(stage, at: place == "unix" ? path : place)
            door.onAccept = { descriptor, peer in
                stage.tell("accepted")
                let server = Peer(accepted: descriptor, stage.reactor)
                server.on = { server, event in
                    switch event {
                    case .data:
                        server.write(server.text)
                        server.received = []
                    case .end:
                        stage.tell("server saw the end")
                        server.close()
                        stage.finish()
                    default: break
                    }
                }
            }
            let client = try Peer(to: door.address, stage.reactor)
            client.on = { client, event in
                switch event {
                case .connected: client.write("hello")
                case .data:
                    stage.tell(client.text)
                    client.close()
                default: break
                }
            }
        }
        if place == "unix" { _ = unsafe unlink(String(path.dropFirst(5))) }
        #expect(told == ["accepted", "hello", "server saw the end"])
    }

    @Test(arguments: Lab.allCases)
    func halfClosesAndStillReceives(lab: Lab) throws {
        let told = try lab.run { stage in
            let door = try Door(stage)
            door.onAccept = { descriptor, _ in
                let server = Peer(accepted: descriptor, stage.reactor)
                server.on = { server, event in
                    if event == .end {
                        stage.tell("server: \(server.text), hang-up \(server.sawHangUp)")
                        server.write("answer")
                    }
                    if event == .drained { server.close() }
                }
            }
            let client = try Peer(to: door.address, stage.reactor)
            client.on = { client, event in
                switch event {
                case .connected: client.write("question")
                case .drained: client.shutdownWrite()
                case .end:
                    stage.tell("client: \(client.text)")
                    stage.finish()
                default: break
                }
            }
        }
        #expect(told == ["server: question, hang-up true", "client: answer"])
    }

    @Test(arguments: Lab.allCases)
    func resets(lab: Lab) throws {
        let told = try lab.run { stage in
            let door = try Door(stage)
            door.onAccept = { descriptor, _ in
                let server = Peer(accepted: descriptor, stage.reactor)
                server.on = { server, event in if event == .data { server.reset() } }
            }
            let client = try Peer(to: door.address, stage.reactor)
            client.on = { client, event in
                switch event {
                case .connected: client.write("x")
                case .failed(let errno):
                    stage.tell("reset \(errno == ECONNRESET), hang-up \(client.sawHangUp)")
                    stage.finish()
                default: break
                }
            }
        }
        #expect(told == ["reset true, hang-up true"])
    }

    @Test(arguments: Lab.allCases)
    func closingWithUnreadBytesResets(lab: Lab) throws {
        let told = try lab.run { stage in
            let door = try Door(stage)
            door.onAccept = { descriptor, _ in
                let server = Peer(accepted: descriptor, stage.reactor)
                server.isReading = false
                server.onReady = { server in if server.isReadable { server.close() } }
            }
            let client = try Peer(to: door.address, stage.reactor)
            client.on = { client, event in
                if event == .connected { client.write("unread") }
                if case .failed(let errno) = event {
                    stage.tell("reset \(errno == ECONNRESET)")
                    stage.finish()
                }
            }
        }
        #expect(told == ["reset true"])
    }

    @Test(arguments: Lab.allCases)
    func isRefusedWhereNobodyListens(lab: Lab) throws {
        let told = try lab.run { stage in
            let door = try Door(stage)
            let address = door.address
            door.close()
            do {
                let client = try Peer(to: address, stage.reactor)
                client.on = { _, event in
                    if case .failed(let errno) = event { stage.tell("refused \(errno == ECONNREFUSED)") }
                    stage.finish()
                }
            } catch let error as NetworkError {  // the kernel may know at once
                stage.tell("refused \(error.errno == ECONNREFUSED)")
                stage.finish()
            }
        }
        #expect(told == ["refused true"])
    }

    @Test(arguments: Lab.allCases)
    func pushesBackUntilThePeerReads(lab: Lab) throws {
        let told = try lab.run { stage in
            // More than the buffers of both ends hold: those of the loopback grow to about 10 MiB.
            let total = lab == .epoll ? 16 << 20 : 1 << 20
            let door = try Door(stage)
            door.onAccept = { descriptor, _ in
                let server = Peer(accepted: descriptor, stage.reactor)
                server.isReading = false
                stage.keep(server)
                server.on = { server, event in
                    if event == .end {
                        stage.tell("all there \(server.received.count == total)")
                        stage.finish()
                    }
                }
            }
            let client = try Peer(to: door.address, stage.reactor)
            let alarm = Alarm(stage.reactor)
            stage.keep(alarm)
            client.on = { client, event in
                switch event {
                case .connected:
                    client.write(String(repeating: "x", count: total))
                    alarm.ring(after: .milliseconds(50)) {
                        stage.tell("blocked \(!client.isWritable && client.sent > 0 && client.sent < total)")
                        for case let server as Peer in stage.keptObjects where server !== client {
                            server.isReading = true
                            server.requestReady()
                        }
                    }
                case .drained:
                    stage.tell("drained")
                    client.close()
                default: break
                }
            }
        }
        #expect(told == ["blocked true", "drained", "all there true"])
    }

    @Test(arguments: Lab.allCases)
    func carriesMegabytesBothWaysUnchanged(lab: Lab) throws {
        let told = try lab.run { stage in
            // A prime period, so that no shifted or doubled block passes for the right one.
            let pattern = (0..<65_521).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
            let payload = Array(repeatElement(pattern, count: 48).joined())
            var open = 2
            func drive(_ peer: Peer, _ name: String) {
                peer.output.append(payload)
                peer.on = { peer, event in
                    if event == .connected || event == .data { peer.pump() }
                    if event == .drained { peer.shutdownWrite() }
                    if event == .end {
                        stage.tell("\(name) \(peer.received == payload)")
                        open -= 1
                        if open == 0 { stage.finish() }
                    }
                }
            }
            let door = try Door(stage)
            door.onAccept = { descriptor, _ in
                let server = Peer(accepted: descriptor, stage.reactor)
                stage.keep(server)
                drive(server, "whole")
            }
            drive(try Peer(to: door.address, stage.reactor), "whole")
        }
        #expect(told == ["whole true", "whole true"])
    }

    @Test(arguments: Lab.allCases)
    func tellsAnAddressInUse(lab: Lab) throws {
        let told = try lab.run { stage in
            var alone = ListenOptions()
            alone.reusePort = false
            let door = try Door(stage, options: alone)
            do {
                _ = try Door(stage, at: door.address.description, options: alone)
            } catch let error as NetworkError {
                stage.tell(error.description.replacing("\(door.address.port)", with: "PORT"))
            }
            let first = try Door(stage)
            let second = try Door(stage, at: first.address.description)
            do {
                try stage.reactor.network.checkFree(first.address)
            } catch let error as NetworkError {
                stage.tell("not free \(error.errno == EADDRINUSE)")
            }
            first.close()
            second.close()
            try stage.reactor.network.checkFree(first.address)
            stage.tell("shared \(first.address == second.address && first.address.port != 0)")
            do {
                _ = try Door(stage, at: "203.0.113.77:80")
            } catch let error as NetworkError {
                stage.tell(error.description)
            }
            stage.finish()
        }
        #expect(
            told == [
                "cannot listen on 127.0.0.1:PORT: the address is in use by another process", "not free true", "shared true",
                "cannot listen on 203.0.113.77:80: this machine does not have that address",
            ])
    }

    @Test(arguments: Lab.allCases)
    func acceptsABurstInPortions(lab: Lab) throws {
        let told = try lab.run { stage in
            let door = try Door(stage)
            var accepted = 0
            var mostInATurn = 0
            var turn: UInt64 = 0
            var inThisTurn = 0
            door.onAccept = { descriptor, peer in
                accepted += 1
                inThisTurn = stage.reactor.turns == turn ? inThisTurn + 1 : 1
                turn = stage.reactor.turns
                mostInATurn = max(mostInATurn, inThisTurn)
                stage.reactor.network.close(descriptor)
                if accepted == 200 {
                    stage.tell("portions \(mostInATurn <= 64), port \(peer.port != 0)")
                    stage.finish()
                }
            }
            door.pause()
            var connected = 0
            for _ in 0..<200 {
                let client = try Peer(to: door.address, stage.reactor)
                client.on = { _, event in
                    if event == .connected { connected += 1 }
                    if connected == 200 {
                        stage.tell("waiting \(accepted == 0)")
                        connected = 0
                        door.resume()
                    }
                }
            }
        }
        #expect(told == ["waiting true", "portions true, port true"])
    }

    @Test(arguments: Lab.allCases)
    func dropsAWaitingConnectionWithTheReserve(lab: Lab) throws {
        let told = try lab.run { stage in
            let door = try Door(stage)
            door.pause()
            let client = try Peer(to: door.address, stage.reactor)
            client.on = { client, event in
                switch event {
                case .connected:
                    let dropped = stage.reactor.network.acceptAndDrop(door.descriptor)
                    let again = stage.reactor.network.acceptAndDrop(door.descriptor)
                    stage.tell("dropped \(dropped) \(again)")
                case .end:
                    stage.tell("client saw the end")
                    stage.finish()
                default: break
                }
            }
        }
        #expect(told == ["dropped true false", "client saw the end"])
    }
}
