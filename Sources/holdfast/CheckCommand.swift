// Holdfast
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Configuration
import Gateway
import Glibc

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say what is wrong with a configuration, and what will not hold.",
        discussion: """
            Reads the file as `run` would, certificates included, and opens nothing. Errors are `file:line:column: what is \
            wrong, what was expected`; warnings show the arithmetic. Exit code 1 if there is an error.

            EXAMPLE
              holdfast check config/edge.yaml
            """)

    @Argument(help: "The configuration, a YAML file.") var file: String
    @Flag(help: "Warnings count as errors.") var strict = false

    func run() throws {
        let loaded = try Complain.load(file)
        for warning in loaded.warnings { print("\(warning)") }
        let further = try Complain.about(file) { try GatewayServer.validate(loaded.configuration) }
        for warning in further { print("\(file): \(warning)") }
        let warnings = loaded.warnings.count + further.count
        let configuration = loaded.configuration
        print(
            "\(file): \(configuration.listeners.count) listeners, \(configuration.upstreams.count) upstreams, "
                + "\(configuration.routes.count) routes; \(warnings) warnings")
        if strict && warnings > 0 { throw ExitCode(1) }
    }
}

struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema",
        abstract: "Print the JSON Schema of the configuration, for editors.",
        discussion: """
            EXAMPLE
              holdfast schema > schema.json
              # first line of a configuration, for the YAML language server:
              # yaml-language-server: $schema=schema.json
            """)

    func run() { print(Configuration.jsonSchema(), terminator: "") }
}

/// Turns what is wrong into lines on standard error and an exit code.
enum Complain {
    static func load(_ file: String) throws -> Configuration.Loaded {
        do throws(ConfigurationErrors) {
            return try Configuration.load(path: file)
        } catch {
            for complaint in error.complaints { standardError("\(complaint)") }
            throw ExitCode(1)
        }
    }

    static func about<Result>(_ file: String, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch {
            for line in "\(error)".split(separator: "\n") { standardError("\(file): \(line)") }
            throw ExitCode(1)
        }
    }

    static func standardError(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = unsafe write(2, bytes, bytes.count)
    }
}
