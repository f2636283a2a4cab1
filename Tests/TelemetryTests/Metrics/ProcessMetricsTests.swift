// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Telemetry

@Suite struct ProcessMetricsTests {
    @Test func theScrapeTellsAboutThisProcess() throws {
        let registry = MetricsRegistry(shards: 1)
        registry.registerBuild(version: "1.2.3", revision: "abc\"def")
        registry.registerProcess()
        let checker = try PrometheusChecker(text { registry.write(into: &$0) })
        #expect(checker.value("holdfast_build_info", ["version": "1.2.3", "revision": "abc\"def"]) == 1)
        #expect(checker.value("holdfast_metric_series") == Double(registry.seriesCount))
        #expect(checker.value("holdfast_metric_series_refused_total") == 0)
        #expect(checker.types["process_cpu_seconds_total"] == "counter")
        let resident = try #require(checker.value("process_resident_memory_bytes"))
        #expect(resident > 1e6 && resident < 1e12)
        #expect(try #require(checker.value("process_virtual_memory_bytes")) >= resident)
        #expect(try #require(checker.value("process_threads")) >= 1)
        #expect(try #require(checker.value("process_open_fds")) >= 3)
        #expect(try #require(checker.value("process_max_fds")) >= 3)
        // 2020 or later, and not after now.
        let start = try #require(checker.value("process_start_time_seconds"))
        #expect(start > 1_577_836_800 && start <= Date().timeIntervalSince1970 + 1)
    }

    @Test func openDescriptorsFollowAnOpenAndAClose() throws {
        // Other tests open descriptors at the same time, so many are opened and the bounds are wide.
        let before = try #require(ProcessStatus.openDescriptors())
        let descriptors = (0..<200).map { _ in unsafe open("/dev/null", O_RDONLY) }
        let during = try #require(ProcessStatus.openDescriptors())
        for descriptor in descriptors { close(descriptor) }
        #expect(during > before + 100 && during < before + 300)
    }

    @Test func aNameWithBlanksAndParenthesesIsPassedOver() throws {
        let tail = (3...52).map { "\($0)" }.joined(separator: " ")
        let status = try #require(ProcessStatus(stat: Array("42 (a) b (c)) S \(tail.dropFirst(2))".utf8)))
        // Numbers name their field in proc(5): 14 utime, 15 stime, 20 threads, 22 start, 23 virtual, 24 resident.
        #expect(status.cpuSeconds == 29 / ProcessStatus.ticksPerSecond)
        #expect(status.threads == 20 && status.startTicks == 22 && status.virtualBytes == 23)
        #expect(status.residentBytes == Double(24 * sysconf(Int32(_SC_PAGESIZE))))
        for bad in ["", "1 (x", "1 (x) S 1 2", "1 (x) S " + (4...52).map { _ in "y" }.joined(separator: " ")] {
            #expect(ProcessStatus(stat: Array(bad.utf8)) == nil)
        }
    }
}
