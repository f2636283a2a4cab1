// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Credentials
import HTTP
import Reactor
import Telemetry

/// Lets in who knows a user's password. A pair that was right is remembered under its own hash for a while, one that was wrong for a
/// shorter while, so that a client pays for the slow hash once; a changed file makes all of that void.
final class BasicFilter: Filter {
    private final class Users: Sendable {
        let file: PasswordFile
        init(_ file: PasswordFile) { self.file = file }
    }

    /// What was found out about a pair, under one version of the file.
    private final class Finding: Sendable {
        let users: Users
        let isRight: Bool
        let until: Instant

        init(_ users: Users, isRight: Bool, until: Instant) {
            self.users = users
            self.isRight = isRight
            self.until = until
        }
    }

    /// Of one reactor, touched there alone.
    private final class Queue: @unchecked Sendable {
        var queue: PasswordQueue?
    }

    private static let wrongFor: Duration = .seconds(10)

    private let file: WatchedFile<Users>
    private let right = VerifiedTable<Finding>(capacity: 4_096)
    /// Apart, so that wrong ones cannot push right ones out.
    private let wrong = VerifiedTable<Finding>(capacity: 1_024)
    private let queues: [Queue]
    private let limit: Int
    private let remember: Duration
    private let pepper: [UInt8]
    private let strips: Bool
    private let consumerHeader: [UInt8]?
    private let refusal: AuthenticationRefusal

    init(_ settings: Configuration.BasicFilter, shards: Int) throws(FilterComplaint) {
        do throws(WatchedFileProblem) {
            file = try WatchedFile(path: settings.usersFile, every: settings.reload, load: BasicFilter.load)
        } catch { throw FilterComplaint(error.words) }
        guard let pepper = SecretBytes.random(32) else { throw FilterComplaint("the system has no random numbers to give") }
        self.pepper = pepper
        queues = (0..<shards).map { _ in Queue() }
        limit = settings.concurrent
        remember = settings.remember
        strips = settings.strip
        consumerHeader = settings.consumerHeader.map { Array($0.utf8) }
        refusal = AuthenticationRefusal("Basic realm=\"\(settings.realm)\", charset=\"UTF-8\"")
    }

    private static func load(_ path: String) throws(WatchedFileProblem) -> Users {
        let read: UsersFile
        do throws(ConfigurationErrors) { read = try UsersFile.load(path: path) } catch {
            throw WatchedFileProblem(words: error.description)
        }
        var users: [(name: String, hash: PasswordHash)] = []
        for user in read.users {
            do throws(PasswordHash.Problem) { users.append((user.name, try PasswordHash(parsing: user.password))) } catch {
                throw WatchedFileProblem(words: "\(path): the hash of the user \(user.name) \(error.words)")
            }
        }
        return Users(PasswordFile(users))
    }

    func everySecond(_ home: GatewayReactor) { file.look(at: home.reactor.now, home.filterLog) }

    func request(_ pass: FilterPass) -> FilterStep {
        let name = Array("authorization".utf8)
        var credential: BasicCredential?
        var isPresent = false
        switch pass.head.fields.single(named: name) {
        case .none: break
        case .several: isPresent = true
        case .one(let i):
            isPresent = true
            credential = pass.head.fields.withValue(i) { value in
                AuthorizationField.credentials(of: "basic", in: value).flatMap { BasicCredential(value.extracting($0)) }
            }
        }
        if strips { pass.head.fields.removeAll(.authorization) }
        guard let credential else { return isPresent ? refusal.invalid : refusal.missing }
        let users = file.content
        let fingerprint = credential.fingerprint(pepper)
        let now = pass.home.reactor.now
        if let known = right.find(fingerprint), known.users === users, now < known.until { return admit(credential, pass) }
        if let known = wrong.find(fingerprint), known.users === users, now < known.until { return refusal.invalid }
        return check(credential, fingerprint, users, pass)
    }

    private func check(_ credential: BasicCredential, _ fingerprint: Digest256, _ users: Users, _ pass: FilterPass) -> FilterStep {
        let (hash, isKnown) = users.file.hash(of: credential.user)
        let home = pass.home
        let queue = queues[home.shard].queue ?? PasswordQueue(reactor: home.reactor, limit: limit)
        queues[home.shard].queue = queue
        let isTaken = queue.check(credential, fingerprint: fingerprint, against: hash, isKnown: isKnown) { [weak pass] isRight in
            let now = home.reactor.now
            let finding = Finding(users, isRight: isRight, until: now.advanced(by: isRight ? self.remember : BasicFilter.wrongFor))
            if isRight { self.right.insert(finding, for: fingerprint) } else { self.wrong.insert(finding, for: fingerprint) }
            guard let pass, !pass.isOver else { return }
            pass.resume(isRight ? self.admit(credential, pass) : self.refusal.invalid)
        }
        return isTaken ? .wait : AuthenticationRefusal.unavailable(retryAfterNanoseconds: 1_000_000_000)
    }

    private func admit(_ credential: BasicCredential, _ pass: FilterPass) -> FilterStep {
        pass.identify(as: credential.user, telling: consumerHeader)
        return .next
    }
}
