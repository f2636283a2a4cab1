// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Resilience

extension Configuration {
    /// How short of something the whole gateway may be before requests are turned away: `bulk` from half of a limit on, `normal` from
    /// 75 %, `high` from 90 %, all at the limit (semantics, section 10).
    public struct Overload: Equatable, Sendable {
        /// How late an event loop may stay, 10 ms to 60 s. Default 500 ms: by then clients give up. `nil` is `off`.
        public var lag: Duration? = .milliseconds(500)
        /// Share of `memoryLimit` that may be resident, 10 to 100 %. Default 85 %: the kernel's buffers count for the limit and not for
        /// what is resident. `nil` is `off`.
        public var memory: Share? = Share(tenThousandths: 8_500)
        /// 16 MiB to 64 TiB. Default (`nil`): the least limit of the process's control groups, else the machine's memory.
        public var memoryLimit: Int?
        /// Share of RLIMIT_NOFILE that may be open, 10 to 100 %. Default 85 %: a request that is served takes another one or two. `nil` is `off`.
        public var descriptors: Share? = Share(tenThousandths: 8_500)

        public init() {}
    }
}
