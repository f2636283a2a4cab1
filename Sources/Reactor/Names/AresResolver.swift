// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// Asks real name servers, by c-ares on the sockets and timers of one reactor.
package final class AresResolver: Resolver {
    private let reactor: Reactor
    private var lookups: [ObjectIdentifier: Lookup] = [:]

    package init(reactor: Reactor) { self.reactor = reactor }

    package func ask(_ question: NameQuestion, _ settings: ResolverSettings, answer: @escaping (NameAnswer) -> Void) {
        let lookup = Lookup(question, settings, reactor: reactor) { [weak self] lookup, result in
            self?.lookups[ObjectIdentifier(lookup)] = nil
            answer(result)
        }
        lookups[ObjectIdentifier(lookup)] = lookup
        lookup.begin()
    }

    package func close() {
        let left = lookups
        lookups = [:]
        for lookup in left.values { lookup.end() }
    }

    package var questionsUnderWay: Int { lookups.count }
}

/// One question: its sockets, its timer, its end.
private final class Lookup: TimerOwner {
    private let question: NameQuestion
    private let settings: ResolverSettings
    /// What a server said that failed or refused, once the others are asked too.
    private var passedOver: NameFailure?
    private let reactor: Reactor
    private let done: (Lookup, NameAnswer) -> Void
    private var query: AresQuery?
    private var sockets: [Descriptor: LookupSocket] = [:]
    private let timer = Timer()

    init(
        _ question: NameQuestion, _ settings: ResolverSettings, reactor: Reactor, done: @escaping (Lookup, NameAnswer) -> Void
    ) {
        self.question = question
        self.settings = settings
        self.reactor = reactor
        self.done = done
        timer.owner = self
    }

    deinit { end() }

    /// The first answer tells what is wrong, if anything is; where there are other servers they are asked then, one after the other.
    func begin() {
        query = AresQuery(question, settings, passesOver: passedOver != nil) { [unowned self] in
            watch($0, readable: $1, writable: $2)
        }
        // Even what is over at once is told in a later turn.
        if query?.answer != nil { reactor.schedule(timer, at: reactor.now) } else { arm() }
    }

    func end() {
        timer.cancel()
        for socket in sockets.values { socket.forget() }
        sockets = [:]
        query?.end()
        query = nil
    }

    private func watch(_ descriptor: Descriptor, readable: Bool, writable: Bool) {
        guard readable || writable else {
            sockets[descriptor]?.forget()
            sockets[descriptor] = nil
            return
        }
        let socket = sockets[descriptor] ?? LookupSocket(descriptor, of: self, reactor: reactor)
        sockets[descriptor] = socket
        socket.wantsWritable = writable
        // The socket may have become writable before that was asked for, and there is no second edge.
        if writable && socket.isWritable { socket.requestReady() }
    }

    func ready(_ socket: LookupSocket) {
        let descriptor = socket.descriptor
        let isReadable = socket.isReadable
        let isWritable = socket.isWritable && socket.wantsWritable
        socket.isReadable = false
        query?.process(readable: isReadable ? descriptor : nil, writable: isWritable ? descriptor : nil)
        if !socket.isClosed && AresQuery.hasMore(descriptor) {
            socket.isReadable = true
            socket.requestReady()
        }
        proceed()
    }

    func timerFired(_ timer: Timer, now: Instant) {
        query?.process(readable: nil, writable: nil)
        proceed()
    }

    private func proceed() {
        guard let query, let answer = query.answer else { return arm() }
        let hasOthers = query.serverCount > 1
        end()
        switch answer {
        case .failed(let failure) where hasOthers && passedOver == nil && (failure == .servfail || failure == .refused):
            passedOver = failure
            begin()
        case .failed(.unreachable): done(self, .failed(passedOver ?? .unreachable))
        default: done(self, reachable(answer))
        }
    }

    private func arm() {
        // c-ares has a clock of its own: rounded up, so that it finds its time has come.
        let wait = query?.wait ?? 1_000_000_000
        reactor.schedule(timer, at: reactor.now.advanced(byNanoseconds: wait + 1_000_000))
    }

    /// IPv6 addresses to which there is no route are left out, as getaddrinfo's order would (RFC 6724 §6, rule 1), unless that leaves
    /// none.
    private func reachable(_ answer: NameAnswer) -> NameAnswer {
        guard question.record == .aaaa, case .records(let records, let timeToLive) = answer else { return answer }
        let kept = records.filter { record in
            guard case .address(let address) = record else { return true }
            return AresQuery.hasRoute(to: address)
        }
        return kept.isEmpty ? .failed(.empty) : .records(kept, timeToLive: timeToLive)
    }
}

/// A socket of c-ares's, which opens and closes it: here it is only watched.
private final class LookupSocket: Channel {
    private unowned let lookup: Lookup
    var wantsWritable = false

    init(_ descriptor: Descriptor, of lookup: Lookup, reactor: Reactor) {
        self.lookup = lookup
        super.init(descriptor: descriptor, reactor: reactor)
    }

    override func ready() { lookup.ready(self) }

    /// The reactor stops: c-ares closes its sockets when its channel goes.
    override func close() { forget() }
    override func reset() { forget() }

    func forget() {
        if isClosed { return }
        reactor.dismiss(self)
        abandon()
    }
}
