// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Why a file could not be read.
struct FileProblem: Error, CustomStringConvertible {
    var description: String
}

/// Whole small files, read through the C library.
enum FileReading {
    /// Why a file cannot be read; `nil`: it can. Asks without opening it, which a pipe's writer would notice.
    static func problem(of path: String) -> String? {
        var status = stat()
        guard unsafe stat(path, &status) == 0, unsafe faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0 else {
            return message(errno)
        }
        return status.st_mode & S_IFMT == S_IFDIR ? message(EISDIR) : nil
    }

    /// The first `limit` bytes of a file that is not a folder: a caller that asks for one too many can tell a longer one.
    static func contents(of path: String, atMost limit: Int) throws(FileProblem) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileProblem(description: message(errno)) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw FileProblem(description: message(errno)) }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw FileProblem(description: message(EISDIR)) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count < limit {
            // The buffer is lent for the call, and the kernel writes no more than the count it is given.
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileProblem(description: message(errno))
            }
            if count == 0 { break }
            bytes += chunk.prefix(min(count, limit - bytes.count))
        }
        return bytes
    }

    /// `strerror`'s words: a constant string that the C library owns.
    private static func message(_ code: Int32) -> String {
        guard let text = unsafe strerror(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }
}

/// Why a secret is not to be had; it never holds what was read.
public struct SecretError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
}

extension Secret {
    /// A secret is a key or a word, not a data file.
    static let maximumBytes = 1 << 20

    /// Reads the secret, from where it is now: a rotated file counts at the next reload.
    public func reveal() throws(SecretError) -> [UInt8] {
        switch source {
        case .file(let path):
            do throws(FileProblem) {
                let bytes = try FileReading.contents(of: path, atMost: Secret.maximumBytes + 1)
                if bytes.count <= Secret.maximumBytes { return bytes }
            } catch {
                throw SecretError(description: "\(self): \(error)")
            }
            throw SecretError(description: "\(self): longer than \(Secret.maximumBytes) bytes")
        case .environment(let name):
            // The value is copied before anything can change the environment.
            guard let value = unsafe getenv(name) else { throw SecretError(description: "\(self): not set") }
            return unsafe Array(String(cString: value).utf8)
        }
    }
}
