// Holdfast
// SPDX-License-Identifier: Apache-2.0

public import Resilience

extension Configuration {
    /// Sends a copy of a share of the requests to another upstream through its own guard. Nothing of it reaches the client.
    public struct MirrorFilter: Equatable, Sendable {
        public var upstream = ""
        /// Default: all.
        public var share = Share(tenThousandths: 10_000)
        /// A request with a longer body is not copied. Default 64 KiB.
        public var bodyBytes = 65_536
        /// Copies under way at once on one reactor; more are dropped and counted. Default 64.
        public var concurrent = 64

        public init() {}

        static var kind: Kind<Self> {
            Table<Self>(
                name: "Mirror filter",
                documentation:
                    "Sends a copy of a share of the requests to another upstream, through that one's own guard, with `x-holdfast-mirror: 1`. Its answers are dropped; it can neither delay nor fail the request.",
                fields: [
                    Field("to", \.upstream, .upstream, required: true, "The upstream that gets copies."),
                    Field("share", \.share, .share(1...10_000), "How many of the requests."),
                    Field("body_bytes", \.bodyBytes, .size(0...(1 << 24)), "A request with a longer body is not copied."),
                    Field(
                        "concurrent", \.concurrent, .integer(1...10_000),
                        "Copies under way at once on one reactor; more are dropped and counted."),
                ]
            ).kind(Self())
        }
    }
}
