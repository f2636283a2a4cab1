// Holdfast
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Reactor
import TLS

/// The folder with the demo's files.
struct DemoFolder {
    /// Absolute, so that printed lines work from anywhere.
    let path: String

    init(_ given: String?) throws {
        if let given {
            guard unsafe (mkdir(given, 0o755) == 0 || errno == EEXIST), let resolved = unsafe realpath(given, nil) else {
                throw DemoFolder.failure("cannot make the folder \(given)")
            }
            defer { unsafe free(resolved) }
            path = unsafe String(cString: resolved)
            return
        }
        var template = Array("/tmp/holdfast-demo-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw DemoFolder.failure("cannot make a folder in /tmp") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Writes a file that only its owner can read. Returns its path.
    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        let file = "\(path)/\(name)"
        let descriptor = unsafe open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        let bytes = Array(text.utf8)
        guard descriptor >= 0, unsafe Glibc.write(descriptor, bytes, bytes.count) == bytes.count, close(descriptor) == 0 else {
            throw DemoFolder.failure("cannot write \(file)")
        }
        return file
    }

    /// An authority for thirty days, whose key is forgotten, and what it signed for localhost.
    func writeCertificates() throws {
        let now = WallClock.nanoseconds / 1_000_000_000
        let (from, to) = (now - 3_600, now + 30 * 86_400)
        let authority = try CertificateAuthority(commonName: "Holdfast demo authority", notBefore: from, notAfter: to)
        let edge = try authority.issue(
            CertificateAuthority.Request(names: ["localhost", "127.0.0.1"], notBefore: from, notAfter: to))
        try write("ca.pem", authority.rootPEM)
        try write("edge.pem", edge.chain)
        try write("edge.key", edge.key)
    }

    private static func failure(_ what: String) -> ExitCode {
        Complain.standardError("demo: \(what)")
        return ExitCode(1)
    }
}
