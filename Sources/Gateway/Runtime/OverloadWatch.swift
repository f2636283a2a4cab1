// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import Resilience
import Telemetry

/// Probes how late one reactor's loop is, fifty times a second, and closes connections that do nothing while descriptors or
/// memory are short.
final class OverloadWatch: TimerOwner {
    private unowned let home: GatewayReactor
    private let log: OverloadLog
    private var lag = LagReading()
    private var due = Instant.never
    private var trimmedAt = Instant.origin
    private lazy var timer = Timer(owner: self)

    static let probeInterval: Duration = .milliseconds(20)
    /// Where loops are not probed.
    static let lookInterval: Duration = .milliseconds(250)
    /// In place of `keep_alive_timeout` while there is no room, and how often idle connections are looked for then.
    static let shortKeepAlive: Duration = .seconds(1)

    init(home: GatewayReactor, log: OverloadLog) {
        self.home = home
        self.log = log
        arm()
    }

    private func arm() {
        due = home.reactor.now.advanced(
            by: home.overload.watchesLag ? OverloadWatch.probeInterval : OverloadWatch.lookInterval)
        home.reactor.schedule(timer, at: due)
    }

    func timerFired(_ timer: Timer, now: Instant) {
        if let reading = lag.probed(due: due, now: now) {
            log.say(home.overload.note(lag: reading, shard: home.shard, now: now), home.overload)
        }
        if home.overload.isShortOfRoom, now >= trimmedAt.advanced(by: OverloadWatch.shortKeepAlive) {
            trimmedAt = now
            home.endConnections(idleSince: now.advanced(byNanoseconds: -OverloadWatch.shortKeepAlive.wholeNanoseconds))
        }
        arm()
    }
}

/// Reads what the process uses of memory and descriptors, on one reactor: once a second, and five times a second from half of a limit on.
final class ResourceWatch: TimerOwner {
    /// What is read; replaced in tests.
    struct Source {
        var residentBytes: () -> Int? = { ProcessResources.residentBytes }
        var openDescriptors: () -> Int? = { ProcessResources.openDescriptors }
        var descriptorLimit: () -> Int? = { ProcessResources.descriptorLimit }
        var giveBackMemory: () -> Void = { ProcessMemory.giveBackFree() }
    }

    private unowned let home: GatewayReactor
    private let log: OverloadLog
    private let source: Source
    private var gaveBackAt: Instant?
    private lazy var timer = Timer(owner: self)

    static let interval: Duration = .seconds(1)
    static let closeInterval: Duration = .milliseconds(200)
    /// How often free memory is given back to the kernel while memory is short: looking for it takes milliseconds.
    static let giveBackInterval: Duration = .seconds(5)

    init(home: GatewayReactor, log: OverloadLog, source: Source) {
        self.home = home
        self.log = log
        self.source = source
        look(now: home.reactor.now)
    }

    func timerFired(_ timer: Timer, now: Instant) { look(now: now) }

    private func look(now: Instant) {
        let overload = home.overload
        if let bytes = source.residentBytes() { log.say(overload.note(residentBytes: bytes, now: now), overload) }
        if let open = source.openDescriptors(), let limit = source.descriptorLimit() {
            log.say(overload.note(openDescriptors: open, of: limit, now: now), overload)
        }
        let report = overload.report
        // The allocator keeps what was freed, and what is kept counts as used: without this the level would never fall.
        if report.contains(where: { $0.signal == .memory && $0.level > 0 }),
            now >= gaveBackAt?.advanced(by: ResourceWatch.giveBackInterval) ?? .origin
        {
            gaveBackAt = now
            source.giveBackMemory()
        }
        let isClose = report.contains { $0.signal != .lag && ($0.level > 0 || $0.reading.tenThousandths >= 4_000) }
        home.reactor.schedule(
            timer, at: now.advanced(by: isClose ? ResourceWatch.closeInterval : ResourceWatch.interval))
    }
}

/// Says in the operational log that a level has moved.
struct OverloadLog: Sendable {
    let log: OperationalLog

    func say(_ change: OverloadLevels.Change?, _ overload: Overload) {
        guard let change else { return }
        let reading = overload.report[change.signal.rawValue].reading
        let values = [
            ("signal", change.signal.name), ("from", "\(change.from)"), ("to", "\(change.to)"),
            ("reading", "\(reading.tenThousandths / 100)%"),
        ]
        if change.to > change.from {
            log.warning("overload", "more classes of requests are turned away", values)
        } else {
            log.info("overload", "fewer classes of requests are turned away", values)
        }
    }
}
