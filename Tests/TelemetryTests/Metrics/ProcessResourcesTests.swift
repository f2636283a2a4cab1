// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Telemetry

@Suite struct ProcessResourcesTests {
    private static let machine = "MemTotal:        8000 kB\nMemFree: 10 kB\n"

    @Test(arguments: [
        (
            ["/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "5000\n"],
            5_000
        ),
        (["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "7000\n"], 7_000),
        (["/proc/self/cgroup": "4:cpu,memory:/x\n0::/\n", "/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "6000\n"], 6_000),
        (["/proc/self/cgroup": "4:memory:/\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"], 8_192_000),
        (["/proc/self/cgroup": "nonsense\n:::\n4:memory:/x:y\n"], 8_192_000),
        ([:], 8_192_000),
    ])
    func theLeastLimitOfAllGroupsAndTheMachine(files: [String: String], limit: Int) {
        var files = files
        files["/proc/meminfo"] = Self.machine
        #expect(ProcessResources.memoryLimit { files[$0] } == limit)
    }

    @Test func withoutAnyFileThereIsNoLimit() {
        #expect(ProcessResources.memoryLimit { _ in nil } == nil)
        #expect(ProcessResources.memoryLimit { $0 == "/proc/meminfo" ? "MemTotal: 9223372036854775807 kB\n" : nil } == nil)
    }

    @Test func thisProcessHasSome() throws {
        #expect(try #require(ProcessResources.residentBytes) > 1 << 20)
        #expect(try #require(ProcessResources.openDescriptors) >= 3)
        #expect(try #require(ProcessResources.memoryLimit) > 1 << 20)
    }
}
