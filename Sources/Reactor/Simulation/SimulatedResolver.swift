// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// The domain name system as a script on virtual time: what a name has, what fails, and how long an answer takes.
package final class SimulatedResolver: Resolver {
    private let reactor: Reactor
    /// What is answered; a question without an entry gets NXDOMAIN if its name has none at all, else "empty".
    package var answers: [NameQuestion: NameAnswer] = [:]
    /// For every question, before `answers`.
    package var failure: NameFailure?
    /// From question to answer.
    package var latency: Duration = .milliseconds(5)
    /// What was asked, and when.
    package private(set) var asked: [(question: NameQuestion, at: Instant)] = []
    private var pending: [PendingAnswer] = []

    package init(reactor: Reactor) { self.reactor = reactor }

    /// Addresses as A and AAAA records of a name.
    package func set(_ name: String, _ addresses: [String], timeToLive: Duration) {
        var records: [NameQuestion.Record: [NameRecord]] = [:]
        for text in addresses {
            guard let address = SocketAddress.parse(host: text, port: 0) else { preconditionFailure("\(text) is no address") }
            records[address.isIPv4 ? .a : .aaaa, default: []].append(.address(address))
        }
        for record in [NameQuestion.Record.a, .aaaa] {
            answers[NameQuestion(name, record)] =
                records[record].map { .records($0, timeToLive: timeToLive) } ?? .failed(addresses.isEmpty ? .nxdomain : .empty)
        }
    }

    package func ask(_ question: NameQuestion, _ settings: ResolverSettings, answer: @escaping (NameAnswer) -> Void) {
        asked.append((question, reactor.now))
        let waiting = PendingAnswer(question, self, answer)
        pending.append(waiting)
        reactor.schedule(waiting.timer, at: reactor.now.advanced(by: latency))
    }

    package func close() { pending = [] }

    fileprivate func answer(_ waiting: PendingAnswer) {
        pending.removeAll { $0 === waiting }
        waiting.answer(failure.map { .failed($0) } ?? answers[waiting.question] ?? .failed(.nxdomain))
    }
}

private final class PendingAnswer: TimerOwner {
    let question: NameQuestion
    let answer: (NameAnswer) -> Void
    let timer = Timer()
    private unowned let resolver: SimulatedResolver

    init(_ question: NameQuestion, _ resolver: SimulatedResolver, _ answer: @escaping (NameAnswer) -> Void) {
        self.question = question
        self.resolver = resolver
        self.answer = answer
        timer.owner = self
    }

    func timerFired(_ timer: Timer, now: Instant) { resolver.answer(self) }
}
