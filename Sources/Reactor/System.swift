// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// The wall clock, for threads that are no reactor: the operational log's.
package enum WallClock {
    /// Since 1970.
    package static var nanoseconds: Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}

/// The processors that this process may use.
package enum Processors {
    /// Lets other threads have the processor; for a control thread that waits for a reactor.
    package static func yield() { sched_yield() }

    /// At least 1; honours an affinity mask (`taskset`, a container's cpuset).
    package static var available: Int {
        var set = cpu_set_t()
        guard unsafe sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0 else { return 1 }
        return max(1, unsafe withUnsafeBytes(of: set) { bytes in unsafe bytes.reduce(0) { $0 + $1.nonzeroBitCount } })
    }
}

/// How many descriptors this process may have open.
package enum DescriptorLimit {
    /// Raises the soft limit to the hard one: a shell's default of 1,024 is a limit for programs that use `select`, not for an
    /// edge. Returns what is in force now.
    @discardableResult
    package static func raise() -> UInt64 {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        if limit.rlim_cur < limit.rlim_max {
            var wanted = limit
            wanted.rlim_cur = limit.rlim_max
            if unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &wanted) == 0 { limit = wanted }
        }
        return UInt64(limit.rlim_cur)
    }
}

/// The memory of this process.
package enum ProcessMemory {
    /// Gives pages that were freed back to the kernel, which the allocator does of its own accord only at the end of its heaps. It takes
    /// milliseconds for each gigabyte.
    package static func giveBackFree() { malloc_trim(0) }
}
