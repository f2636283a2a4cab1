// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

struct Missing: Error, CustomStringConvertible {
    var description: String
}

/// The binary under test.
func binary() throws -> String {
    guard let path = ProcessInfo.processInfo.environment["HOLDFAST"], FileManager.default.isExecutableFile(atPath: path) else {
        throw Missing(description: "HOLDFAST names no binary: run these tests by `make test` or `make e2e`")
    }
    return path
}

func temporaryFolder() throws -> String {
    let folder = NSTemporaryDirectory() + "holdfast-e2e-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    return folder
}

/// Runs a program to its end.
func run(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    let folder = try temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // Files and not pipes: a child that is not read must not block.
    for name in ["out", "err"] { _ = FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: nil) }
    process.standardOutput = FileHandle(forWritingAtPath: "\(folder)/out")
    process.standardError = FileHandle(forWritingAtPath: "\(folder)/err")
    process.standardInput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    func text(_ name: String) -> String {
        String(decoding: FileManager.default.contents(atPath: "\(folder)/\(name)") ?? Data(), as: UTF8.self)
    }
    return (process.terminationStatus, text("out"), text("err"))
}

/// `holdfast demo` on free ports.
final class Demo {
    let folder: String
    let port: Int
    let adminPort: Int
    private let process = Process()

    init() throws {
        folder = try temporaryFolder()
        port = try Demo.freePort()
        adminPort = try Demo.freePort()
        process.executableURL = URL(fileURLWithPath: try binary())
        process.arguments = [
            "demo", "--port", "\(port)", "--clear-port", "0", "--admin-port", "\(adminPort)", "--directory", folder,
        ]
        _ = FileManager.default.createFile(atPath: folder + "/log", contents: nil)
        process.standardOutput = FileHandle(forWritingAtPath: folder + "/log")
        process.standardError = FileHandle(forWritingAtPath: folder + "/log")
        process.standardInput = FileHandle.nullDevice
        try process.run()
        for _ in 0..<200 {
            let ready = try run("/usr/bin/curl", ["-s", "-m", "2", "http://127.0.0.1:\(adminPort)/readyz"]).output
            if ready == "ready\n" { return }
            usleep(50_000)
        }
        throw Missing(description: "the demo did not come up: \(log)")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    var log: String { String(decoding: FileManager.default.contents(atPath: folder + "/log") ?? Data(), as: UTF8.self) }

    func url(_ path: String) -> String { "https://localhost:\(port)\(path)" }

    func curl(_ arguments: [String]) throws -> String {
        try run("/usr/bin/curl", ["-s", "-m", "20", "--cacert", folder + "/ca.pem"] + arguments).output
    }

    /// Drains; its exit code.
    func stop() throws -> Int32 {
        process.terminate()
        process.waitUntilExit()
        return process.terminationStatus
    }

    func kill() {
        if process.isRunning { Glibc.kill(process.processIdentifier, SIGKILL) }
    }

    /// A port that was free a moment ago.
    private static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                unsafe bind(descriptor, raw, length) == 0 && getsockname(descriptor, raw, &length) == 0
            }
        }
        guard bound else { throw Missing(description: "no port is free") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
