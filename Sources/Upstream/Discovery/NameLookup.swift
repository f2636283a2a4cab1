// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Reactor

/// One look at a name: which questions it takes, and what their answers come to.
///
///     address:  A and AAAA of the name
///     service:  SRV of the name ──► A and AAAA of each target of the lowest priority value
///
/// Pure. Answers may come in any order; the result does not depend on it.
package struct NameLookup: Sendable {
    package enum Step: Equatable, Sendable {
        case ask([NameQuestion])
        /// Other answers are still to come.
        case wait
        case done(Result)
    }

    package struct Result: Equatable, Sendable {
        /// In order of address, each once.
        package var targets: [NameTarget]
        package var timeToLive: Duration
        /// Why there are no targets; `nil` if there are.
        package var failure: NameFailure?
        /// Questions that could not be answered now: what they were answered before is not refuted.
        package var unanswered: Set<NameQuestion>
        /// Targets beyond the most that are taken.
        package var surplus: Int
    }

    /// Endpoints of one upstream at most, and hosts that one service names.
    package static let targetLimit = 64

    private struct Service: Hashable, Sendable {
        var port: UInt16
        var weight: Int
    }

    private let settings: NameSettings
    private var open: [NameQuestion] = []
    private var answers: [(question: NameQuestion, answer: NameAnswer)] = []
    /// By target, in order of names.
    private var services: [(host: String, at: [Service])] = []
    private var surplusHosts = 0
    private var timeToLive: Duration

    package init(_ settings: NameSettings) {
        self.settings = settings
        timeToLive = settings.maximumTimeToLive
    }

    package mutating func begin() -> Step {
        switch settings.record {
        case .address: ask([NameQuestion(settings.name, .a), NameQuestion(settings.name, .aaaa)])
        case .service: ask([NameQuestion(settings.name, .srv)])
        }
    }

    private mutating func ask(_ questions: [NameQuestion]) -> Step {
        open = questions
        return .ask(questions)
    }

    package mutating func answered(_ question: NameQuestion, _ answer: NameAnswer) -> Step {
        guard let place = open.firstIndex(of: question) else { return .wait }
        open.remove(at: place)
        if case .records(_, let least) = answer { timeToLive = min(timeToLive, least) }
        if question.record == .srv { return servicesAnswered(question, answer) }
        answers.append((question, answer))
        return open.isEmpty ? .done(result()) : .wait
    }

    // MARK: Services

    private mutating func servicesAnswered(_ question: NameQuestion, _ answer: NameAnswer) -> Step {
        guard case .records(let records, _) = answer else {
            answers.append((question, answer))
            return .done(result())
        }
        var first = UInt16.max
        for case .service(_, _, let priority, _) in records { first = min(first, priority) }
        var byHost: [String: [Service]] = [:]
        for case .service(let target, let port, first, let weight) in records where !target.isEmpty && port != 0 {
            byHost[target, default: []].append(Service(port: port, weight: max(1, Int(weight))))
        }
        services = byHost.sorted { $0.key < $1.key }.map { host, at in
            (host, at.sorted { ($0.port, $0.weight) < ($1.port, $1.weight) })
        }
        if services.isEmpty {
            answers.append((question, .failed(.empty)))
            return .done(result())
        }
        surplusHosts = max(0, services.count - NameLookup.targetLimit)
        services = Array(services.prefix(NameLookup.targetLimit))
        return ask(services.flatMap { [NameQuestion($0.host, .a), NameQuestion($0.host, .aaaa)] })
    }

    // MARK: The result

    private func result() -> Result {
        var targets: [NameTarget] = []
        var unanswered: Set<NameQuestion> = []
        // In the order of the questions, whatever the order of the answers.
        let ordered = answers.sorted {
            ($0.question.name, $0.question.record.rawValue) < ($1.question.name, $1.question.record.rawValue)
        }
        for (question, answer) in ordered {
            switch answer {
            case .records(let records, _):
                for case .address(let address) in records { targets += self.targets(at: address, question) }
            case .failed(let failure):
                if failure.isTransient { unanswered.insert(question) }
            }
        }
        let found = NameLookup.unique(targets)
        return Result(
            targets: found.targets, timeToLive: timeToLive, failure: found.targets.isEmpty ? failure(ordered.map(\.answer)) : nil,
            unanswered: unanswered, surplus: found.surplus + surplusHosts)
    }

    private func targets(at address: SocketAddress, _ question: NameQuestion) -> [NameTarget] {
        var address = address.folded
        guard settings.record == .service else {
            address.port = settings.port
            return [NameTarget(address: address, host: settings.name, weight: 1, source: question)]
        }
        return (services.first { $0.host == question.name }?.at ?? []).map { service in
            address.port = service.port
            return NameTarget(address: address, host: question.name, weight: service.weight, source: question)
        }
    }

    /// What says most: that it could not be asked, then that there is no such name, then that it has no address.
    private func failure(_ answers: [NameAnswer]) -> NameFailure {
        let failures = answers.compactMap { answer -> NameFailure? in
            if case .failed(let failure) = answer { failure } else { nil }
        }
        return failures.first { $0.isTransient } ?? failures.first { $0 == .nxdomain } ?? .empty
    }

    /// Each address once, in an order that does not depend on the answer's: servers turn theirs round with each.
    static func unique(_ targets: [NameTarget]) -> (targets: [NameTarget], surplus: Int) {
        let sorted = targets.sorted { one, other in
            let (left, right) = (one.address.hostBits ?? 0, other.address.hostBits ?? 0)
            return (left, one.address.port, one.host, one.weight) < (right, other.address.port, other.host, other.weight)
        }
        var kept: [NameTarget] = []
        for target in sorted {
            if let last = kept.last, last.address == target.address {
                // One address under two names of a service has the shares of both.
                if last.host != target.host { kept[kept.count - 1].weight += target.weight }
            } else {
                kept.append(target)
            }
        }
        return (Array(kept.prefix(targetLimit)), max(0, kept.count - targetLimit))
    }
}
