// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core
import DequeModule
import Glibc
import Synchronization

/// One thread's world: its sockets, its timers, its mailbox, and the Swift executor of every task and actor that lives on it.
///
///     one turn:  flags of all ready channels → timers → mailbox, jobs → ready channels → jobs → turn ends → wait
///
/// What belongs to a reactor is used on its thread only and needs no lock. From other threads: `post`, `stop`, `enqueue`.
/// A `Reactor` is `Sendable` for those three (the mailbox and the atomics order them); everything else is confined.
package final class Reactor: @unchecked Sendable {
    package let index: Int
    package let network: Network
    /// Random draws of this process, or of the simulated world.
    package let draw: Draw

    /// The instant at which this turn began. The clock is read nowhere else.
    package internal(set) var now = Instant.origin
    /// Turns so far.
    package private(set) var turns: UInt64 = 0
    /// How late the latest due timer ran, in nanoseconds: what the loop makes everybody wait.
    package private(set) var lag: Int64 = 0
    /// Memory for receives, lent for the length of one call, so that an idle connection owns none. 64 KiB.
    package var scratch = ByteBuffer(capacity: Reactor.scratchSize)
    package static let scratchSize = 64 * 1024
    /// Channels that are open on this reactor.
    package private(set) var channelCount = 0

    let wheel = TimingWheel()
    var readyQueue: ContiguousArray<Channel> = []
    var turnEndQueue: ContiguousArray<Channel> = []
    private var peakLag: Int64 = 0
    private var readyNow: ContiguousArray<Channel> = []
    private var jobs = Deque<UnownedJob>()
    private let mailbox = Mailbox()
    private var slots: ContiguousArray<Slot> = []
    private var freeSlots: ContiguousArray<UInt32> = []
    private var wallOffset: Int64 = 0
    private var wallMeasuredAt: Instant?
    /// Set when it has stopped or its simulated process has died: it never turns again.
    private(set) var hasEnded = false
    /// Thread that runs this reactor, 0 for none. Relaxed: only the thread itself finds its own number here.
    private let thread = Atomic<UInt>(0)
    private let stopRequested = Atomic<Bool>(false)

    /// Jobs that one phase of a turn runs before sockets get their chance again.
    private static let jobsPerPhase = 1024
    /// The wall clock may step: it is compared with the monotonic one this often (nanoseconds).
    private static let wallInterval: Int64 = 1_000_000_000

    private struct Slot {
        var channel: Channel?
        var generation: UInt32
    }

    package init(index: Int, network: Network, draw: Draw) {
        self.index = index
        self.network = network
        self.draw = draw
        now = network.clock()
    }

    // MARK: Time

    /// Arms `timer` for `deadline`, wherever it was before; `never` cancels. A few nanoseconds if it moves later.
    @inline(__always)
    package func schedule(_ timer: Timer, at deadline: Instant) {
        assert(isOnReactor, "a timer is armed on its reactor's thread only")
        unsafe wheel.schedule(timer.node, at: deadline.nanoseconds)
    }

    /// Nanoseconds since 1970, as of this turn: for `Date` fields, logs and certificate times, never for durations.
    package var unixNanoseconds: Int64 {
        if let wallMeasuredAt, now.nanoseconds(since: wallMeasuredAt) < Reactor.wallInterval {
            return now.nanoseconds &+ wallOffset
        }
        wallMeasuredAt = now
        wallOffset = network.wallClock() &- network.clock().nanoseconds
        return now.nanoseconds &+ wallOffset
    }

    /// The greatest lag since the last call, in nanoseconds.
    package func takePeakLag() -> Int64 {
        let peak = peakLag
        peakLag = 0
        return peak
    }

    // MARK: From any thread

    /// Runs `message` on the reactor, in order of each sender's calls. Costs a system call only if the reactor sleeps.
    package func post(_ message: sending @escaping () -> Void) { deliver(Mailbox.Message(.closure(message))) }

    private func deliver(_ message: Mailbox.Message) {
        if mailbox.push(message) { network.wake() }
    }

    /// Ends `run` after the turn under way. What is open then is closed.
    package func stop() {
        stopRequested.store(true, ordering: .releasing)
        post {}
    }

    /// Whether the caller is on this reactor's thread.
    package var isOnReactor: Bool { thread.load(ordering: .relaxed) == Reactor.callingThread }

    /// The reactor whose turn the calling thread is in, if any.
    package static var current: Reactor? { CurrentReactor.value }

    static var callingThread: UInt { UInt(pthread_self()) }

    // MARK: Running

    /// Serves until `stop`, on the caller's thread, which is then this reactor's.
    package func run() {
        precondition(thread.load(ordering: .relaxed) == 0, "a reactor runs once")
        bindToCallingThread()
        CurrentReactor.value = self
        now = network.clock()
        while !isStopRequested {
            turn()
            var deadline = Instant(nanoseconds: wheel.wakeAt)
            if hasWork || !mailbox.beginSleep() { deadline = .origin }
            network.wait(self, until: deadline)
            now = network.clock()
        }
        shutDown()
        CurrentReactor.value = nil
    }

    /// Says that the calling thread is the one that runs this reactor, from now on.
    func bindToCallingThread() { thread.store(Reactor.callingThread, ordering: .relaxed) }

    /// Whether a turn would find something to do before any event or timer.
    var hasWork: Bool { !jobs.isEmpty || !readyQueue.isEmpty || !turnEndQueue.isEmpty || !mailbox.isEmpty }

    /// One turn at `now`; the flags of ready channels have been noted.
    func turn() {
        turns &+= 1
        fireTimers()
        takeMail()
        runJobs()
        if !readyQueue.isEmpty { runReady() }
        runJobs()
        if !turnEndQueue.isEmpty { runTurnEnds() }
    }

    private func fireTimers() {
        wheel.collectDue(at: now.nanoseconds)
        var worst: Int64 = -1
        while let (timer, deadline) = wheel.popDue() {
            worst = max(worst, now.nanoseconds(since: Instant(nanoseconds: deadline)))
            timer.owner?.timerFired(timer, now: now)
        }
        if worst >= 0 {
            lag = worst
            peakLag = max(peakLag, worst)
        }
    }

    private func takeMail() {
        mailbox.takeAll { content in
            switch content {
            case .closure(let body): body()
            case .job(let job): jobs.append(job)
            }
        }
    }

    private func runJobs() {
        var budget = Reactor.jobsPerPhase
        while budget > 0, let job = jobs.popFirst() {
            budget -= 1
            // As the task executor: default actors that the job awaits then run here too instead of on the global pool.
            unsafe job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }

    private func runReady() {
        swap(&readyNow, &readyQueue)
        for i in 0..<readyNow.count {
            let channel = readyNow[i]
            channel.isReadyQueued = false
            // One that an earlier channel of the batch has closed does not run.
            if !channel.isClosed { channel.ready() }
        }
        readyNow.removeAll(keepingCapacity: true)
    }

    private func runTurnEnds() {
        // The queue grows while it is worked off: what a channel asks for in another's `turnEnded` still leaves in this turn.
        var i = 0
        var postponed: ContiguousArray<Channel> = []
        while i < turnEndQueue.count {
            let channel = turnEndQueue[i]
            i += 1
            if channel.lastTurnEnd == turns {
                postponed.append(channel)
                continue
            }
            channel.isTurnEndQueued = false
            channel.lastTurnEnd = turns
            if !channel.isClosed { channel.turnEnded() }
        }
        turnEndQueue.removeAll(keepingCapacity: true)
        if !postponed.isEmpty { turnEndQueue.append(contentsOf: postponed) }
    }

    var isStopRequested: Bool { stopRequested.load(ordering: .acquiring) }

    /// Closes every channel, in order of their slots, and runs what mail and jobs are left.
    func shutDown() {
        hasEnded = true
        for i in slots.indices { slots[i].channel?.close() }
        // A subclass may have put its close off; nothing can follow, so the socket goes now.
        for i in slots.indices {
            if let channel = slots[i].channel {
                network.close(channel.descriptor)
                dismiss(channel)
            }
        }
        readyQueue.removeAll()
        turnEndQueue.removeAll()
        // Tasks get to see that their connections are gone; one that goes on for ever does not keep the thread.
        var rounds = 0
        repeat {
            takeMail()
            runJobs()
            rounds += 1
        } while rounds < 100 && (!jobs.isEmpty || !mailbox.isEmpty)
    }

    /// Drops everything without a word, as the end of a process does. For the simulated world.
    func abandon() {
        hasEnded = true
        for i in slots.indices { slots[i].channel?.abandon() }
        slots.removeAll()
        freeSlots.removeAll()
        readyQueue.removeAll()
        turnEndQueue.removeAll()
        channelCount = 0
    }

    // MARK: Channels

    func adopt(_ channel: Channel) {
        let slot: UInt32
        if let free = freeSlots.popLast() {
            slot = free
            slots[Int(slot)].channel = channel
        } else {
            slot = UInt32(truncatingIfNeeded: slots.count)
            slots.append(Slot(channel: channel, generation: 0))
        }
        channelCount += 1
        channel.token = UInt64(slots[Int(slot)].generation) << 32 | UInt64(slot)
        if network.register(channel.descriptor, token: channel.token, reactor: self) != 0 {
            channel.isReadable = true
            channel.isWritable = true
            channel.sawHangUp = true
            channel.requestReady()
        }
    }

    /// Forgets a channel: no event of its token reaches anyone any more.
    func dismiss(_ channel: Channel) {
        let slot = Int(channel.token & 0xFFFF_FFFF)
        guard slots.indices.contains(slot), slots[slot].channel === channel else { return }
        slots[slot].channel = nil
        slots[slot].generation &+= 1
        freeSlots.append(UInt32(truncatingIfNeeded: slot))
        channelCount -= 1
    }

    /// First pass over a batch: sets the flags of one channel and queues it. A token of a closed channel is ignored.
    func note(_ token: UInt64, _ readiness: Readiness) {
        let slot = Int(token & 0xFFFF_FFFF)
        guard slot < slots.count, slots[slot].generation == UInt32(truncatingIfNeeded: token >> 32),
            let channel = slots[slot].channel
        else { return }
        if readiness.contains(.readable) { channel.isReadable = true }
        if readiness.contains(.writable) { channel.isWritable = true }
        if readiness.contains(.hangUp) { channel.sawHangUp = true }
        channel.requestReady()
    }
}

extension Reactor: SerialExecutor, TaskExecutor {
    package func enqueue(_ job: consuming ExecutorJob) {
        let unowned = UnownedJob(job)
        if isOnReactor { jobs.append(unowned) } else { deliver(Mailbox.Message(.job(unowned))) }
    }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor { unsafe UnownedSerialExecutor(ordinary: self) }

    package func asUnownedTaskExecutor() -> UnownedTaskExecutor { unsafe UnownedTaskExecutor(ordinary: self) }

    /// Lets `assumeIsolated` hold in a timer's or a channel's callback, which runs outside any job.
    package func checkIsolated() { precondition(isOnReactor, "not on the thread of this reactor") }

    package func isIsolatingCurrentContext() -> Bool? { isOnReactor }
}
