// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Reactor
import Synchronization
import Testing

/// Turns, queues and identity of a reactor, on both networks.
@Suite struct ReactorTests {
    /// Two accepted connections whose clients have written before the reactor looked again: one batch.
    func withTwoReady(
        _ lab: Lab, _ body: @escaping @Sendable (Stage, _ servers: [Peer], _ clients: [Peer]) -> Void
    ) throws -> [String] {
        try lab.run { stage in
            let door = try Door(stage)
            var servers: [Peer] = []
            var clients: [Peer] = []
            let alarm = Alarm(stage.reactor)
            stage.keep(alarm)
            door.onAccept = { descriptor, _ in
                let server = Peer(accepted: descriptor, stage.reactor)
                servers.append(server)
                // All are up and idle before anything is sent.
                if servers.count == 2 { alarm.ring(after: .milliseconds(20)) { body(stage, servers, clients) } }
            }
            for _ in 0..<2 { clients.append(try Peer(to: door.address, stage.reactor)) }
        }
    }

    @Test(arguments: Lab.allCases)
    func flagsAreSetBeforeAnyChannelRuns(lab: Lab) throws {
        let told = try withTwoReady(lab) { stage, servers, clients in
            var ran = 0
            for i in 0...1 {
                servers[i].onReady = { _ in
                    ran += 1
                    // Both flags, already in the first call.
                    if ran == 1 { stage.tell("both \(servers[0].isReadable && servers[1].isReadable)") }
                    if ran == 2 { stage.finish() }
                }
            }
            for client in clients { client.write("x") }
        }
        #expect(told == ["both true"])
    }

    @Test(arguments: Lab.allCases)
    func aChannelClosedInTheBatchDoesNotRunNorDoesWhoeverTakesItsNumber(lab: Lab) throws {
        let told = try withTwoReady(lab) { stage, servers, clients in
            var calls = 0
            for i in 0...1 {
                servers[i].onReady = { mine in
                    calls += 1
                    guard calls == 1 else { return }
                    let other = servers[1 - i]
                    let number = other.descriptor
                    let turn = stage.reactor.turns
                    other.close()
                    stage.attempt {
                        let door = try Door(stage)
                        stage.keep(door)
                        let fresh = try Peer(to: door.address, stage.reactor)
                        stage.tell("number used again \(fresh.descriptor == number || door.descriptor == number)")
                        fresh.onReady = { _ in stage.tell("fresh ran in the batch \(stage.reactor.turns == turn)") }
                        fresh.on = { _, event in
                            if event == .connected {
                                stage.tell("calls \(calls)")
                                stage.finish()
                            }
                        }
                    }
                }
            }
            for client in clients { client.write("x") }
        }
        // On the kernel another test's thread may have taken it meanwhile.
        if lab == .simulated { #expect(told.first == "number used again true") }
        #expect(told.last == "calls 1")
        #expect(!told.contains("fresh ran in the batch true"))
    }

    @Test(arguments: Lab.allCases)
    func turnEndsComeOnceATurnAndNested(lab: Lab) throws {
        let told = try withTwoReady(lab) { stage, servers, _ in
            let (a, b) = (servers[0], servers[1])
            let turn = stage.reactor.turns
            a.onTurnEnd = { a in
                stage.tell("a \(stage.reactor.turns - turn)")
                if a.turnEnds == 1 {
                    b.requestTurnEnd()  // still in this turn
                    a.requestTurnEnd()  // in the next
                } else {
                    stage.finish()
                }
            }
            b.onTurnEnd = { _ in stage.tell("b \(stage.reactor.turns - turn)") }
            a.requestTurnEnd()
            a.requestTurnEnd()
        }
        #expect(told == ["a 0", "b 0", "a 1"])
    }

    @Test(arguments: Lab.allCases)
    func requestedReadinessComesInTheNextTurn(lab: Lab) throws {
        let told = try withTwoReady(lab) { stage, servers, _ in
            var first: UInt64?
            servers[0].onReady = { server in
                if let first {
                    stage.tell("next turn \(stage.reactor.turns == first + 1)")
                    stage.finish()
                } else {
                    first = stage.reactor.turns
                    server.requestReady()
                    server.requestReady()
                }
            }
            servers[0].requestReady()
        }
        #expect(told == ["next turn true"])
    }

    @Test(arguments: Lab.allCases)
    func timersFireInOrderAndNeverEarly(lab: Lab) throws {
        let told = try lab.run { stage in
            let start = stage.now
            let delays = [5, 1, 3, 1, 0, 8]
            var fired = 0
            for (i, delay) in delays.enumerated() {
                let alarm = Alarm(stage.reactor)
                stage.keep(alarm)
                alarm.ring(after: .milliseconds(delay)) {
                    let early = stage.now.nanoseconds(since: start) < Int64(delay) * 1_000_000
                    stage.tell("\(i)\(early ? " early" : "")")
                    fired += 1
                    if fired == delays.count { stage.finish() }
                }
            }
        }
        #expect(told == ["4", "1", "3", "2", "0", "5"])
    }

    @Test(arguments: Lab.allCases)
    func tasksAndActorsStayOnTheReactor(lab: Lab) throws {
        let told = try lab.run { stage in
            let reactor = stage.reactor
            let own = OnReactor(reactor)
            let plain = Plain()
            let synchronous = Flag()
            Task.immediate(executorPreference: reactor) {
                synchronous.isSet = true
                var away = 0
                for _ in 0..<200 {
                    if await !plain.isOn(reactor) { away += 1 }
                    if await !own.isOn() { away += 1 }
                    if !reactor.isOnReactor { away += 1 }
                    await Task.yield()
                }
                let sum = await withTaskGroup(of: Int.self) { group in
                    for i in 0..<10 { group.addTask { reactor.isOnReactor ? i : 1000 } }
                    return await group.reduce(0, +)
                }
                await own.assumeFromTask()
                stage.tell("away \(away), sum \(sum), current \(Reactor.current === reactor)")
                stage.finish()
            }
            stage.tell("began at once \(synchronous.isSet)")
            own.assumeIsolated { $0.count += 1 }  // from a callback, outside any job
        }
        #expect(told == ["began at once true", "away 0, sum 45, current true"])
    }

    @Test func mailFromManyThreadsComesInEachSendersOrder() throws {
        let senders = 8
        let each = 5000
        let target = Reactor(index: 100, network: try EpollNetwork(), draw: Draw(seed: 1))
        let group = try ReactorGroup(count: senders, draw: Draw(seed: 1))
        let tally = Tally(senders: senders)
        let thread = try ReactorThread(target)
        for reactor in group.reactors {
            reactor.post {
                for n in 0..<each {
                    target.post {
                        if tally.take(from: reactor.index, n) == senders * each { target.stop() }
                    }
                }
            }
        }
        thread.join()
        group.stop()
        group.join()
        #expect(tally.total == senders * each)
        #expect(tally.outOfOrder == 0)
    }

    @Test func aSleepingReactorWakesForEachMessage() throws {
        // Two reactors hand a message to and fro: each is asleep whenever it comes.
        let group = try ReactorGroup(count: 2, draw: Draw(seed: 1))
        let rally = Rally(group.reactors)
        rally.hit(2000)
        group.join()
        #expect(rally.left == 0)
    }

    @Test func stoppingClosesWhatIsOpenAndJoins() throws {
        let group = try ReactorGroup(count: 1, draw: Draw.seededByKernel())
        let reactor = group.reactors[0]
        let box = Box()
        reactor.post {
            let stage = Stage(reactor)
            box.stage = stage
            stage.attempt {
                let door = try Door(stage)
                box.door = door
                stage.tell("open \(reactor.channelCount)")
            }
            reactor.stop()
        }
        group.join()
        #expect(box.stage?.transcript == ["open 1"])
        #expect(box.door?.isClosed == true)
        #expect(reactor.channelCount == 0)
    }

    final class Flag: @unchecked Sendable { var isSet = false }

    final class Box: @unchecked Sendable {
        var stage: Stage?
        var door: Door?
    }

    final class Tally: @unchecked Sendable {  // used on the target's thread, read after it has ended
        private var next: [Int]
        var total = 0
        var outOfOrder = 0
        init(senders: Int) { next = Array(repeating: 0, count: senders) }

        func take(from sender: Int, _ n: Int) -> Int {
            if next[sender] != n { outOfOrder += 1 }
            next[sender] = n + 1
            total += 1
            return total
        }
    }

    final class Rally: @unchecked Sendable {  // handed to and fro, never held by two
        let reactors: [Reactor]
        var left = 0
        init(_ reactors: [Reactor]) { self.reactors = reactors }

        func hit(_ count: Int) {
            left = count
            if count == 0 {
                for reactor in reactors { reactor.stop() }
            } else {
                reactors[count & 1].post { self.hit(count - 1) }
            }
        }
    }

    actor Plain {
        func isOn(_ reactor: Reactor) -> Bool { reactor.isOnReactor }
    }

    actor OnReactor {
        let reactor: Reactor
        var count = 0
        nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe reactor.asUnownedSerialExecutor() }
        init(_ reactor: Reactor) { self.reactor = reactor }
        func isOn() async -> Bool {
            await Task.yield()
            return reactor.isOnReactor
        }
        func assumeFromTask() { reactor.preconditionIsolated() }
    }
}
