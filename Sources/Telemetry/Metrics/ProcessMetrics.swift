// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

extension MetricsRegistry {
    /// `holdfast_build_info` (always 1, what is running is in the labels) and what the registry says of itself.
    package func registerBuild(version: String, revision: String) {
        gauge(
            "holdfast_build_info", help: "What is running, in the labels.",
            labels: [("version", version), ("revision", revision)], read: { 1 })
        gauge("holdfast_metric_series", help: "Series in this scrape that count against the limit.") { [weak self] in
            self.map { Double($0.seriesCount) } ?? .nan
        }
        counter("holdfast_metric_series_refused_total", help: "Series refused because of the limit.") { [weak self] in
            self?.refusedSeries ?? 0
        }
    }

    /// The process metrics that every Prometheus client has, by their usual names; read from /proc at each scrape
    /// (about 40 µs). Not for simulated gateways, whose answers must repeat.
    package func registerProcess() {
        gauge("process_resident_memory_bytes", help: "Resident memory in bytes.") {
            ProcessStatus.read()?.residentBytes ?? .nan
        }
        gauge("process_virtual_memory_bytes", help: "Virtual memory in bytes.") {
            ProcessStatus.read()?.virtualBytes ?? .nan
        }
        counter(
            "process_cpu_seconds_total", help: "CPU time spent, user and system, in seconds.",
            seconds: {
                ProcessStatus.read()?.cpuSeconds ?? .nan
            })
        gauge("process_threads", help: "Threads of the process.") { ProcessStatus.read()?.threads ?? .nan }
        gauge("process_open_fds", help: "Open file descriptors.") { ProcessStatus.openDescriptors() ?? .nan }
        gauge("process_max_fds", help: "Limit on open file descriptors.") { ProcessStatus.descriptorLimit() ?? .nan }
        // Constant, so it is read once.
        let start = ProcessStatus.startSeconds() ?? .nan
        gauge("process_start_time_seconds", help: "When the process started, in seconds since 1970.") { start }
    }
}

/// What /proc tells about this process (proc(5)).
struct ProcessStatus {
    var residentBytes: Double
    var virtualBytes: Double
    var cpuSeconds: Double
    var threads: Double
    var startTicks: Double

    static func read() -> ProcessStatus? { contents(of: "/proc/self/stat").flatMap(ProcessStatus.init(stat:)) }

    /// From a line of /proc/PID/stat. The second field is the name in parentheses and may hold blanks and parentheses.
    init?(stat: [UInt8]) {
        guard let close = stat.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        // fields[0] is the third field, the state.
        let fields = stat[(close + 1)...].split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
        guard fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]),
            let threads = Double(fields[17]), let start = Double(fields[19]), let virtual = Double(fields[20]),
            let pages = Double(fields[21])
        else { return nil }
        residentBytes = pages * Double(sysconf(Int32(_SC_PAGESIZE)))
        virtualBytes = virtual
        cpuSeconds = (user + system) / ProcessStatus.ticksPerSecond
        self.threads = threads
        startTicks = start
    }

    static var ticksPerSecond: Double { Double(max(sysconf(Int32(_SC_CLK_TCK)), 1)) }

    /// Start of the process in seconds since 1970: boot time plus the ticks since then.
    static func startSeconds() -> Double? {
        guard let ticks = read()?.startTicks, let stat = contents(of: "/proc/stat") else { return nil }
        for line in stat.split(separator: UInt8(ascii: "\n")) where line.starts(with: "btime ".utf8) {
            guard let boot = Double(String(decoding: line.dropFirst(6), as: UTF8.self)) else { return nil }
            return boot + ticks / ticksPerSecond
        }
        return nil
    }

    /// Linux 6.2 and later give the number as the directory's size; before, the entries are counted.
    static func openDescriptors() -> Double? {
        var status = stat()
        if unsafe stat("/proc/self/fd", &status) == 0 && status.st_size > 0 { return Double(status.st_size) }
        guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
        defer { unsafe closedir(directory) }
        var count = 0.0
        while let _ = unsafe readdir(directory) { count += 1 }
        return max(count - 3, 0)  // ".", ".." and the directory's own
    }

    static func descriptorLimit() -> Double? {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return limit.rlim_cur == UInt(bitPattern: -1) ? .infinity : Double(limit.rlim_cur)
    }

    /// A small file of /proc, up to 64 KiB of it. /proc/stat has `btime` after one line a core, so on very large machines
    /// it could lie beyond; then the start time is left out.
    static func contents(of path: String) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 8_192)
        while bytes.count < 65_536 {
            let n = unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if n <= 0 { break }
            bytes += chunk[0..<n]
        }
        return bytes.isEmpty ? nil : bytes
    }
}
