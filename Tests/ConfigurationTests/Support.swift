// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

/// Reads a text as if every file that it names could be read.
func read(_ text: String, surroundings: Surroundings = .assumed) throws(ConfigurationErrors) -> Configuration.Loaded {
    try Configuration.parse(text: text, file: "x.yaml", surroundings: surroundings)
}

/// The complaints about a text, one a line; empty if there are none.
func complaints(_ text: String, surroundings: Surroundings = .assumed) -> String {
    do throws(ConfigurationErrors) {
        _ = try read(text, surroundings: surroundings)
        return ""
    } catch {
        return error.description
    }
}

/// The least that loads.
func minimal(top: String = "", listener: String = "", upstream: String = "", route: String = "to: a") -> String {
    """
    \(top)
    listeners:
      - { name: l, address: 127.0.0.1:8080\(listener.isEmpty ? "" : ", " + listener) }
    upstreams:
      a: { endpoints: ["127.0.0.1:9001"]\(upstream.isEmpty ? "" : ", " + upstream) }
    routes:
      - { match: { path: "/*" }, \(route) }
    """
}
