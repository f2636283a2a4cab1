// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc
import Reactor
import Testing

/// Where a test of the network's contract runs: on the kernel, or in the simulated world.
enum Lab: String, CaseIterable, CustomTestStringConvertible {
    case epoll, simulated
    var testDescription: String { rawValue }

    /// Runs `script` on a reactor until it calls `finish`, and returns what it told.
    func run(
        sourceLocation: SourceLocation = #_sourceLocation, _ script: @escaping @Sendable (Stage) throws -> Void
    ) throws -> [String] {
        switch self {
        case .epoll:
            let reactor = Reactor(index: 0, network: try EpollNetwork(), draw: Draw(seed: 1))
            let stage = Stage(reactor)
            let thread = try ReactorThread(reactor)
            reactor.post {
                stage.armGuard()
                stage.attempt { try script(stage) }
            }
            thread.join()
            return stage.finalTranscript(sourceLocation)
        case .simulated:
            let world = SimulatedWorld(seed: 1)
            let stage = Stage(world.makeReactor())
            world.at(.origin) { stage.attempt { try script(stage) } }
            world.run(while: { !stage.isFinished })
            return stage.finalTranscript(sourceLocation)
        }
    }
}

/// One reactor and what is told on it. Used on that reactor's thread, and after it has ended.
final class Stage: TimerOwner, @unchecked Sendable {
    let reactor: Reactor
    private(set) var transcript: [String] = []
    private(set) var isFinished = false
    private(set) var keptObjects: [AnyObject] = []
    private lazy var guardTimer = Timer(owner: self)

    init(_ reactor: Reactor) { self.reactor = reactor }

    var now: Instant { reactor.now }

    func tell(_ text: String) { transcript.append(text) }

    func keep(_ object: AnyObject) { keptObjects.append(object) }

    func finish() {
        if isFinished { return }
        isFinished = true
        reactor.stop()
    }

    func attempt(_ body: () throws -> Void) {
        do {
            try body()
        } catch {
            tell("threw \(error)")
            finish()
        }
    }

    /// A test that hangs on real sockets ends all the same.
    func armGuard() { reactor.schedule(guardTimer, at: now.advanced(by: .seconds(20))) }

    func timerFired(_ timer: Timer, now: Instant) {
        tell("gave up after 20 s")
        finish()
    }

    func finalTranscript(_ location: SourceLocation) -> [String] {
        #expect(isFinished, "the script did not finish", sourceLocation: location)
        return transcript
    }
}

/// A listener that hands connections to a closure.
final class Door: Listener {
    var onAccept: (Descriptor, SocketAddress) -> Void = { _, _ in }

    init(_ stage: Stage, at text: String = "127.0.0.1:0", options: ListenOptions = ListenOptions()) throws {
        guard let address = SocketAddress.parse(text) else { throw NetworkError(.listen, nil, errno: EINVAL) }
        try super.init(on: address, reactor: stage.reactor, options: options)
    }

    override func accepted(_ descriptor: Descriptor, peer: SocketAddress) { onAccept(descriptor, peer) }
}

/// One end of a connection that a test drives.
final class Peer: Channel {
    enum Event: Equatable { case connected, data, end, failed(Int32), drained }

    var received: [UInt8] = []
    var output = ByteBuffer()
    var sent = 0
    var isReading = true
    var sawEnd = false
    var readyCalls = 0
    var turnEnds = 0
    var isConnecting: Bool
    var on: (Peer, Event) -> Void = { _, _ in }
    var onReady: ((Peer) -> Void)?
    var onTurnEnd: ((Peer) -> Void)?

    init(accepted descriptor: Descriptor, _ reactor: Reactor) {
        isConnecting = false
        super.init(descriptor: descriptor, reactor: reactor)
    }

    init(to address: SocketAddress, _ reactor: Reactor, options: ConnectOptions = ConnectOptions()) throws {
        isConnecting = true
        super.init(descriptor: try reactor.network.connect(to: address, options: options), reactor: reactor)
    }

    var text: String { String(decoding: received, as: UTF8.self) }

    func write(_ text: String) {
        output.append(utf8: text)
        pump()
    }

    override func ready() {
        readyCalls += 1
        onReady?(self)
        if isClosed { return }
        if isConnecting {
            guard isWritable || sawHangUp else { return }
            isConnecting = false
            let errno = connectResult()
            if errno != 0 {
                on(self, .failed(errno))
                close()
                return
            }
            on(self, .connected)
        }
        if isReading { read() }
        if !isClosed { pump() }
    }

    override func turnEnded() {
        turnEnds += 1
        onTurnEnd?(self)
    }

    func read() {
        while isReadable && isReading && !isClosed {
            var result = IOResult.wouldBlock
            unsafe reactor.scratch.withUnsafeWritable(minimum: Reactor.scratchSize) { memory in
                result = unsafe receive(into: memory)
                if case .bytes(let n) = result { return n }
                return 0
            }
            unsafe reactor.scratch.withUnsafeReadable { unsafe received.append(contentsOf: $0) }
            reactor.scratch.removeAll()
            switch result {
            case .bytes: on(self, .data)
            case .wouldBlock: isReadable = false
            case .endOfStream:
                isReadable = false
                // Later edges, such as room to send, say "readable" again: an ended stream stays so.
                if !sawEnd {
                    sawEnd = true
                    on(self, .end)
                }
                return
            case .failed(let errno):
                isReadable = false
                on(self, .failed(errno))
                close()
                return
            }
        }
    }

    func pump() {
        guard !isConnecting else { return }
        let hadOutput = !output.isEmpty
        while isWritable && !output.isEmpty && !isClosed {
            let held = output.count
            switch unsafe output.withUnsafeReadable({ unsafe send($0) }) {
            case .bytes(let n):
                output.consume(n)
                sent += n
                if n < held { isWritable = false }
            case .wouldBlock, .endOfStream: isWritable = false
            case .failed(let errno):
                on(self, .failed(errno))
                close()
                return
            }
        }
        if hadOutput && output.isEmpty { on(self, .drained) }
    }
}

/// FNV-1a of bytes: tells two long streams apart in one number.
func fingerprint(_ bytes: some Sequence<UInt8>) -> UInt64 {
    bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}

/// Calls a closure later.
final class Alarm: TimerOwner {
    private let reactor: Reactor
    private lazy var timer = Timer(owner: self)
    private var body: () -> Void = {}

    init(_ reactor: Reactor) { self.reactor = reactor }

    func ring(after delay: Duration, _ body: @escaping () -> Void) {
        self.body = body
        reactor.schedule(timer, at: reactor.now.advanced(by: delay))
    }

    func timerFired(_ timer: Timer, now: Instant) { body() }
}
