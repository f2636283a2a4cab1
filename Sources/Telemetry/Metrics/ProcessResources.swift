// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What this process uses of memory and descriptors, and how much it may use. Each call reads /proc or asks the kernel: once a second
/// and not once a request.
package enum ProcessResources {
    /// Resident memory (proc(5)).
    package static var residentBytes: Int? { ProcessStatus.read().flatMap { Int(exactly: $0.residentBytes) } }

    package static var openDescriptors: Int? { ProcessStatus.openDescriptors().flatMap { Int(exactly: $0) } }

    /// RLIMIT_NOFILE; `nil`: there is none.
    package static var descriptorLimit: Int? { ProcessStatus.descriptorLimit().flatMap { Int(exactly: $0) } }

    /// The memory at which the kernel would end this process: the least limit of its control groups, else the machine's memory.
    package static var memoryLimit: Int? {
        memoryLimit { path in ProcessStatus.contents(of: path).map { String(decoding: $0, as: UTF8.self) } }
    }

    /// By the files that `read` has. Version 2 (one hierarchy, `0::/path`) and version 1 (`N:memory:/path`); a group is bound by those
    /// above it, too (Linux, admin-guide/cgroup-v2).
    static func memoryLimit(read: (String) -> String?) -> Int? {
        var limits: [Int] = []
        for line in read("/proc/self/cgroup")?.split(separator: "\n") ?? [] {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let isUnified = parts[0] == "0" && parts[1].isEmpty
            guard isUnified || parts[1].split(separator: ",").contains("memory") else { continue }
            let root = isUnified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
            let file = isUnified ? "memory.max" : "memory.limit_in_bytes"
            var names = parts[2].split(separator: "/").map(String.init)
            while true {
                let path = ([root] + names + [file]).joined(separator: "/")
                if let text = read(path), let bytes = Int(text.filter { !$0.isWhitespace }), bytes > 0 { limits.append(bytes) }
                if names.isEmpty { break }
                names.removeLast()
            }
        }
        for line in read("/proc/meminfo")?.split(separator: "\n") ?? [] where line.hasPrefix("MemTotal:") {
            let number = line.dropFirst("MemTotal:".count).split(separator: " ").first
            if let kibibytes = number.flatMap({ Int($0) }), kibibytes > 0 {
                limits.append(kibibytes.multipliedReportingOverflow(by: 1_024).partialValue)
            }
        }
        return limits.filter { $0 > 0 }.min()
    }
}
