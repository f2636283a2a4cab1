// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

extension SlowStartSettings {
    static var kind: Kind<Self> {
        let bare = Kind<Duration>.duration(.milliseconds(100) ... .seconds(3600)).map(
            { window in
                var settings = Self()
                settings.window = window
                return settings
            }, back: { $0.window })
        let full = Table<Self>(
            name: "Slow start", documentation: "How an endpoint that is new or back comes to its full share.",
            fields: [
                Field(
                    "window", \.window, .duration(.milliseconds(100) ... .seconds(3600)),
                    "From its first request to the full share."),
                Field(
                    "aggression", \.aggression, .number(0.1...10),
                    "The share grows with (time / window)^(1 / aggression): 1 is a straight line, more is steeper at the beginning."
                ),
                Field("floor", \.floor, .share(1...10_000), "The share that it begins with."),
            ]
        ).kind(Self())
        return bare.or(mapping: full)
    }
}

extension OutlierSettings {
    static var table: Table<Self> {
        Table(
            name: "Outlier detection",
            documentation:
                "Compares the endpoints of an upstream by how the clients' own requests fare there. One that is set aside is taken back by one request that succeeds, and then by slow start; a passed health check does not take it back.",
            fields: detectors + ejection)
    }

    private static var detectors: [Field<Self>] {
        [
            Field("enforce", \.enforce, .boolean, "Whether a finding takes an endpoint out, or is only logged and counted."),
            Field(
                "interval", \.interval, .duration(.milliseconds(100) ... .seconds(3600)),
                "How often shares and percentiles are judged."),
            Field(
                "consecutive_failures", \.consecutiveFailures, Kind.integer(1...100_000).orOff(),
                "Failures in a row, of whatever kind, that take it out at once."),
            Field(
                "consecutive_local_origin", \.consecutiveLocalOrigin, Kind.integer(1...100_000).orOff(),
                "Connections in a row that could not be made or broke and take it out at once."),
            Field(
                "failure_percentage", \.failureShare, Kind.share(1...10_000).orOff(),
                "Share of failures in an interval that takes it out, while its peers fare better."),
            Field(
                "success_rate_distance", \.successRateDistance, Kind.share(1...10_000).orOff(),
                "How far its success rate must lie below the median of all, at least; beside that, three deviations (MAD)."),
            Field(
                "latency_factor", \.latencyFactor, Kind.number(1.1...1_000).orOff(),
                "Its 90th percentile beyond this multiple of its peers' median takes it out."),
            Field(
                "latency_distance", \.latencyDistance, .duration(.zero ... .seconds(60)),
                "And at least so far beyond that median."),
            Field("latency_intervals", \.latencyIntervals, .integer(1...100), "For so many intervals in a row."),
            Field(
                "minimum_volume", \.minimumVolume, .integer(1...1_000_000),
                "Outcomes in an interval without which nothing is compared."),
            Field(
                "minimum_hosts", \.minimumHosts, .integer(2...1_000), "Endpoints of that volume without which nothing is compared."),
        ]
    }

    private static var ejection: [Field<Self>] {
        [
            Field(
                "base_time", \.baseTime, .duration(.milliseconds(100) ... .seconds(3600)),
                "How long it is out the first time; the n-th time in a row n times as long."),
            Field(
                "max_time", \.maximumTime, .duration(.milliseconds(100) ... .seconds(86_400)), "The longest time, before jitter."),
            Field("jitter", \.jitter, .share(0...10_000), "It is out up to this much longer, drawn each time."),
            Field(
                "max_ejected", \.maximumEjected, .share(0...10_000),
                "Share of the endpoints that may be out at once; one always may, the last never."),
            Field(
                "probe_wait", \.probeWait, .duration(.milliseconds(10) ... .seconds(600)),
                "A request that is to show whether it is well again and has no end for this long gives way to another."),
        ]
    }
}

extension Kind where Value == Configuration.HashKey {
    static var hashKey: Kind {
        let expected = "client_address, path, header:NAME or cookie:NAME"
        return .scalar(
            .scalar(
                .string, pattern: "^(client_address|path|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
                meaning: "`client_address`, `path`, `header:NAME` or `cookie:NAME`"),
            expected: expected, text: { $0.text }
        ) { text throws(ScalarProblem) in
            if let key = Configuration.HashKey(text) { return key }
            throw ScalarProblem("is no key")
        }
    }
}

extension Configuration.HashKey {
    fileprivate init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        switch (parts[0], parts.count) {
        case ("client_address", 1): self = .clientAddress
        case ("path", 1): self = .path
        case ("header", 2) where Words.isToken(parts[1]): self = .header(parts[1].lowercased())
        case ("cookie", 2) where Words.isToken(parts[1]): self = .cookie(parts[1])
        default: return nil
        }
    }

    fileprivate var text: String {
        switch self {
        case .clientAddress: "client_address"
        case .path: "path"
        case .header(let name): "header:\(name)"
        case .cookie(let name): "cookie:\(name)"
        }
    }
}
