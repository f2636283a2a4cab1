// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The seam between the gateway and the domain name system, beside `Network`: `AresResolver` asks real servers, `SimulatedResolver` a
/// script on virtual time.
///
/// One question, one answer; what the answers mean is decided above. All calls come on the reactor that the resolver belongs to.
package protocol Resolver: AnyObject {
    /// Asks, and calls `answer` once, on the reactor, later and never from within this call.
    func ask(_ question: NameQuestion, _ settings: ResolverSettings, answer: @escaping (NameAnswer) -> Void)

    /// Lets go of all questions: none is answered any more.
    func close()
}

/// One question to the domain name system, in class IN.
package struct NameQuestion: Hashable, Sendable, CustomStringConvertible {
    package enum Record: UInt16, Sendable {
        case a = 1
        case aaaa = 28
        case srv = 33
    }

    /// Fully qualified: no search list is applied.
    package var name: String
    package var record: Record

    package init(_ name: String, _ record: Record) {
        self.name = name
        self.record = record
    }

    package var description: String {
        switch record {
        case .a: "A \(name)"
        case .aaaa: "AAAA \(name)"
        case .srv: "SRV \(name)"
        }
    }
}

/// Who is asked, and how patiently.
package struct ResolverSettings: Hashable, Sendable {
    /// Empty: the system's (`/etc/resolv.conf`).
    package var servers: [SocketAddress]
    /// What one server gets for an answer in the first round; each further round doubles it.
    package var timeout: Duration
    /// Rounds over all servers.
    package var attempts: Int

    package init(servers: [SocketAddress] = [], timeout: Duration = .seconds(2), attempts: Int = 2) {
        self.servers = servers
        self.timeout = timeout
        self.attempts = attempts
    }
}

package enum NameRecord: Hashable, Sendable {
    /// Its port is 0.
    case address(SocketAddress)
    /// RFC 2782. The target is in lower case, without a dot at its end; empty: the service is decidedly not there.
    case service(target: String, port: UInt16, priority: UInt16, weight: UInt16)
}

package enum NameAnswer: Equatable, Sendable {
    /// At least one record of the kind that was asked for. The time to live is the least of all that the answer rests on.
    case records([NameRecord], timeToLive: Duration)
    case failed(NameFailure)
}

/// Why a question has no answer. A word in logs and metrics: never renamed.
package enum NameFailure: String, CaseIterable, Sendable {
    /// The name does not exist.
    case nxdomain
    /// The name exists, without such a record.
    case empty
    /// The server could not find out.
    case servfail
    /// The server does not answer such questions, or not ours.
    case refused
    case timeout
    /// No server could be reached.
    case unreachable
    /// What came is no answer to the question.
    case malformed
    /// This machine could not ask.
    case local

    /// Says nothing about the name: another time, or another server, would perhaps have an answer.
    package var isTransient: Bool {
        switch self {
        case .nxdomain, .empty: false
        case .servfail, .refused, .timeout, .unreachable, .malformed, .local: true
        }
    }
}
