// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Configuration

/// Whatever stands in a file, it is loaded or complained about: nothing traps, nothing takes long (promise P1).
struct FuzzTests {
    private static let seed = ProcessInfo.processInfo.environment["HOLDFAST_SEED"].flatMap { UInt64($0) } ?? 20_261_125

    /// Pieces that mean something to YAML or to us.
    private static let pieces: [String] = [
        "*", "&a ", "*a", "<<: ", "[", "]", "{", "}", ": ", ", ", "- ", "\n", "\n  ", "\t", "\"", "'", "|", ">", "#", "%", "!t ",
        "? ", "---\n", "...\n", "\u{0}", "\u{E000}",
        "\u{FEFF}", "é", "\u{2028}", "99999999999999999999", "-1", "1e9", "0x10", "18446744073709551615h", "0.0000000001s", "%%",
        "off", "null", "~", "present", "/*", "{id}",
        "%2F", "[::1]:1", "unix:/", "10.0.0.0/8", "listeners", "to", "filters",
    ]

    @Test func mutationsOfTheExample() throws {
        let draw = Draw(seed: FuzzTests.seed)
        let edge = Array(try Checkout.text("config/edge.yaml").utf8)
        var loaded = 0
        for round in 0..<200 as Range<UInt64> {
            var text = edge
            var step: UInt64 = 0
            func next(_ bound: Int) -> Int {
                step += 1
                return draw.below(bound, request: round, .fault, step)
            }
            for _ in 0...next(3) {
                let place = next(text.count)
                switch next(5) {
                case 0: text[place] = UInt8(truncatingIfNeeded: next(256))
                case 1: text.removeSubrange(place..<min(text.count, place + 1 + next(20)))
                case 2: text.insert(contentsOf: Array(FuzzTests.pieces[next(FuzzTests.pieces.count)].utf8), at: place)
                case 3: text.insert(contentsOf: text[place..<min(text.count, place + 1 + next(200))], at: next(text.count))
                default: text.removeSubrange(place...)
                }
                if text.isEmpty { text = [0x0A] }
            }
            do throws(ConfigurationErrors) {
                _ = try Configuration.parse(text: String(decoding: text, as: UTF8.self), file: "x.yaml", surroundings: .assumed)
                loaded += 1
            } catch {
                #expect(!error.complaints.isEmpty, "HOLDFAST_SEED=\(FuzzTests.seed), round \(round)")
                let lines = text.split(separator: 0x0A, omittingEmptySubsequences: false).count + text.count
                for complaint in error.complaints {
                    #expect(
                        complaint.position.map { $0.line >= 1 && $0.column >= 1 && $0.line <= lines } ?? true,
                        "HOLDFAST_SEED=\(FuzzTests.seed), round \(round): \(complaint)")
                    #expect(!complaint.description.contains("\n"), "HOLDFAST_SEED=\(FuzzTests.seed), round \(round): \(complaint)")
                }
            }
        }
        // Comments and values of little weight: some mutants still load, so the walk goes deep.
        #expect(loaded > 0)
    }

    /// Every scalar of the example replaced by every piece: each key meets each kind of nonsense.
    @Test func nonsenseForEveryValue() throws {
        let text = try Checkout.text("config/edge.yaml")
        var places: [Position] = []
        func visit(_ node: YAML) {
            switch node.content {
            case .scalar: places.append(node.position)
            case .sequence(let items): items.forEach(visit)
            case .mapping(let entries): entries.map(\.value).forEach(visit)
            }
        }
        visit(try tree(of: text))
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let draw = Draw(seed: FuzzTests.seed)
        for (index, place) in places.enumerated() {
            var changed = lines
            let line = changed[place.line - 1]
            let start = line.index(line.startIndex, offsetBy: place.column - 1)
            let end = line[start...].firstIndex { ",]} ".contains($0) } ?? line.endIndex
            let nonsense = FuzzTests.pieces[draw.below(FuzzTests.pieces.count, request: UInt64(index), .fault)]
            changed[place.line - 1] = line[..<start] + "'\(nonsense.filter { $0 != "'" })'" + line[end...]
            do throws(ConfigurationErrors) {
                _ = try Configuration.parse(text: changed.joined(separator: "\n"), file: "x.yaml", surroundings: .assumed)
            } catch {
                #expect(!error.complaints.isEmpty)
            }
        }
        #expect(places.count > 150)
    }
}
