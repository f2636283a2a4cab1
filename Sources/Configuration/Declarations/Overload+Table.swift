// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

extension Configuration.Overload {
    static var table: Table<Self> {
        let share = Kind.share(1_000...10_000).orOff()
        return Table(
            name: "Overload",
            documentation:
                "How short of something the whole gateway may be before it turns requests away (503 `shed.lag`, `shed.memory`, `shed.descriptors`). Each value is where even `priority: critical` is turned away; `bulk` goes from half of it on, `normal` from 75%, `high` from 90%.",
            fields: [
                Field(
                    "lag", \.lag, Kind.duration(.milliseconds(10) ... .seconds(60)).orOff(),
                    "How late an event loop stays; a single stall does not count."),
                Field("memory", \.memory, share, "Share of `memory_limit` that is resident."),
                Field(
                    "memory_limit", \.memoryLimit,
                    Kind.size(16 << 20...64 << 40).optional(none: "the control group's, else the machine's memory"),
                    "The memory that the gateway may use."),
                Field("descriptors", \.descriptors, share, "Share of the descriptors that the process may have open."),
            ])
    }
}

extension ThrottleSettings {
    static var table: Table<Self> {
        Table(
            name: "Throttle",
            documentation:
                "Turns a share of the requests away (503 `shed.throttle`) while the upstream accepts too few: (requests − K · accepted) / (requests + 1), clients as a whole, others each second. `{}` turns it on.",
            fields: [
                Field(
                    "multiplier", \.multiplierThousandths, .decimal(1...100),
                    "K: requests let through for each that is accepted. With 2, half of them may fail before anybody is turned away."
                ),
                Field(
                    "maximum", \.maximum, .share(1...10_000),
                    "Most that is turned away; the rest shows when the upstream is well again."),
                Field(
                    "minimum_requests", \.minimumRequests, .integer(1...1_000_000),
                    "Requests in the window before anybody is turned away."),
                Field("window", \.window, .duration(.seconds(1) ... .seconds(600)), "How long a request counts."),
            ])
    }
}
