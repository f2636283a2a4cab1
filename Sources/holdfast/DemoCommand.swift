// Holdfast
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "demo", abstract: "Show the gateway at work, with nothing to set up.")

    func run() throws {}
}
