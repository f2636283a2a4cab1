// Holdfast
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Gateway

/// The command line. Not top-level code: that would put everything on the main actor, where reactors cannot be.
@main
struct Holdfast: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast",
        abstract: "An edge gateway that holds when its upstreams do not.",
        discussion: """
            Terminates TLS, speaks HTTP/1.1 and HTTP/2, and puts every upstream behind a guard: circuit breaker, retry budget, \
            timeouts and a bulkhead.

            TRY IT
              holdfast demo                      a local CA, three services, the gateway before them over TLS

            USE IT
              holdfast check edge.yaml           what is wrong with a configuration, and what will not hold
              holdfast run edge.yaml             serve; SIGHUP reloads, SIGTERM drains
              holdfast schema > schema.json      the configuration's JSON Schema, for editors
              holdfast hash key                  an API key and what its file keeps of it
            """,
        version: HoldfastVersion.text,
        subcommands: [RunCommand.self, CheckCommand.self, DemoCommand.self, SchemaCommand.self, HashCommand.self])
}
