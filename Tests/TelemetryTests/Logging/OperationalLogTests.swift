// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Telemetry

@Suite struct OperationalLogTests {
    private func lines(_ level: OperationalLog.Level, _ write: (OperationalLog) -> Void) throws -> String {
        let sink = try LogSink(.memory)
        write(OperationalLog(sink: sink, level: level, wallNanoseconds: { 1_795_579_380_123_000_000 }))
        return text { sink.collect(into: &$0) }
    }

    @Test func goldenLines() throws {
        let told = try lines(.info) { log in
            log.debug("reactor", "left out")
            log.info("listener", "ready", [("address", "0.0.0.0:8443"), ("name", "public edge"), ("note", "")])
            log.warning("upstream", "breaker opened", [("upstream", "users"), ("share", "50%")])
            log.error("config", "cannot load \"edge.yaml\"\nline 2", [("a b\n", "x=\"y\"\u{1B}")])
        }
        #expect(
            told == """
                2026-11-25T04:03:00.123Z info listener ready address=0.0.0.0:8443 name="public edge" note=""
                2026-11-25T04:03:00.123Z warning upstream breaker opened upstream=users share=50%
                2026-11-25T04:03:00.123Z error config cannot load \\x22edge.yaml\\x22\\x0aline 2 a\\x20b\\x0a="x=\\x22y\\x22\\x1b"

                """)
    }

    @Test(arguments: OperationalLog.Level.allCases)
    func levels(level: OperationalLog.Level) throws {
        let told = try lines(level) { log in
            log.debug("c", "1")
            log.info("c", "2")
            log.warning("c", "3")
            log.error("c", "4")
        }
        let rank = OperationalLog.Level.allCases.firstIndex(of: level) ?? 0
        #expect(told.split(separator: "\n").map { $0.last } == ["1", "2", "3", "4"].suffix(4 - rank).map { $0.last })
    }

    @Test func longValuesAreCut() throws {
        let told = try lines(.info) {
            $0.info("c", String(repeating: "m", count: 5_000), [("k", String(repeating: "v", count: 5_000))])
        }
        #expect(told.utf8.count < 4_300 && told.contains("m… k=v") && told.hasSuffix("v…\n"))
    }
}
