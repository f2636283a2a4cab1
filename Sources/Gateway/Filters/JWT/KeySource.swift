// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Credentials
import Telemetry

/// Where a filter's keys come from: a file of our own, looked at again, or a service.
enum KeySource: Sendable {
    final class Local: Sendable {
        let current: RemoteKeySet.Current
        init(_ keys: KeySet, version: UInt64) { current = RemoteKeySet.Current(keys: keys, version: version) }
    }

    case file(WatchedFile<Local>)
    /// A secret of the environment: the same for good.
    case fixed(Local)
    case remote(RemoteKeySet)

    init(_ settings: Configuration.JWTFilter, shards: Int) throws(FilterComplaint) {
        let allowed = settings.algorithms.compactMap { TokenAlgorithm(rawValue: $0.rawValue) }
        do throws(WatchedFileProblem) {
            switch settings.keys {
            case .remote(let remote): self = .remote(RemoteKeySet(remote, allowed: allowed, shards: shards))
            case .file(let path):
                self = try KeySource.watch(path, settings) { bytes throws(KeySetProblem) in
                    try JSONWebKeySet(allowed: allowed, acceptsSecrets: true).read(bytes.span)
                }
            case .publicKey(let path):
                self = try KeySource.watch(path, settings) { bytes throws(KeySetProblem) in try KeySet.pem(bytes, allowed: allowed)
                }
            case .secret(let secret):
                let read: @Sendable ([UInt8]) throws(KeySetProblem) -> KeySet = { bytes throws(KeySetProblem) in
                    try KeySet.secret(KeySource.withoutLineEnd(bytes), allowed: allowed)
                }
                if case .file(let path) = secret.source {
                    self = try KeySource.watch(path, settings, read)
                } else {
                    self = .fixed(Local(try KeySource.reveal(secret, read), version: 1))
                }
            }
        } catch { throw FilterComplaint(error.words) }
    }

    private static func watch(
        _ path: String, _ settings: Configuration.JWTFilter, _ read: @escaping @Sendable ([UInt8]) throws(KeySetProblem) -> KeySet
    ) throws(WatchedFileProblem) -> KeySource {
        let versions = GuardLock<UInt64>(0)
        return .file(
            try WatchedFile(path: path, every: settings.reload) { path throws(WatchedFileProblem) in
                let keys = try reveal(Secret(.file(path)), read)
                return Local(
                    keys,
                    version: versions.withLock {
                        $0 &+= 1
                        return $0
                    })
            })
    }

    private static func reveal(
        _ secret: Secret, _ read: ([UInt8]) throws(KeySetProblem) -> KeySet
    ) throws(WatchedFileProblem) -> KeySet {
        let bytes: [UInt8]
        do throws(SecretError) { bytes = try secret.reveal() } catch { throw WatchedFileProblem(words: error.description) }
        do throws(KeySetProblem) { return try read(bytes) } catch {
            throw WatchedFileProblem(words: "\(secret): \(error.words)")
        }
    }

    /// A secret without the line's end that an editor leaves.
    private static func withoutLineEnd(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        while let last = bytes.last, last == 10 || last == 13 { bytes.removeLast() }
        return bytes
    }

    func look(at now: Instant, _ log: OperationalLog?) {
        if case .file(let file) = self { file.look(at: now, log) }
    }
}
