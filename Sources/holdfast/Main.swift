// Holdfast
// SPDX-License-Identifier: Apache-2.0

@main struct Main {
    nonisolated static func main() {}
}
