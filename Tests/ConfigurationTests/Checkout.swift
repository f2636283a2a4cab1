// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Files of the checkout that this test was compiled from.
enum Checkout {
    /// The folder above `Tests`; links to it are followed.
    static let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    static func text(_ path: String) throws -> String { try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8) }

    /// Whether files that are made from code are to be written anew.
    static var isUpdating: Bool { ProcessInfo.processInfo.environment["HOLDFAST_UPDATE"] == "1" }

    static func write(_ text: String, to path: String) throws {
        let file = root.appendingPathComponent(path)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try text.write(to: file, atomically: true, encoding: .utf8)
    }
}
