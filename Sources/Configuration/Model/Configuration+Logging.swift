// Holdfast
// SPDX-License-Identifier: Apache-2.0
public import Resilience

extension Configuration {
    /// One line a request: where it goes and how many are written.
    public struct AccessLog: Equatable, Sendable {
        public enum Format: String, CaseIterable, Sendable { case json, text }

        /// Where the lines go.
        public enum Destination: Equatable, Sendable {
            /// Written `-` or `stdout`.
            case standardOutput
            /// Written `stderr`.
            case standardError
            /// A path, a relative one resolved against the configuration's folder; appended to, made if it is missing.
            case file(String)
        }

        /// Default `json`: a machine reads most of them.
        public var format = Format.json
        /// Default: standard output.
        public var destination = Destination.standardOutput
        /// Share of the requests that are written, drawn by request; an answer of 500 or above is always written.
        /// 0 % to 100 %. Default 100 %.
        public var sampling = Share(tenThousandths: 10_000)

        public init() {}
    }

    /// The name under which one request is known in every log: the field `x-request-id`.
    public struct RequestID: Equatable, Sendable {
        /// Whose request id is kept.
        public enum Keep: String, CaseIterable, Sendable {
            /// Anybody's, if it is 1 to 128 letters, digits and `-._~:+/=@`.
            case always
            /// Only that of a peer in `trusted_networks`.
            case trusted
            /// Nobody's: one is made for each request.
            case never
        }

        /// Default `always`.
        public var keep = Keep.always
        /// Whether the answer carries it too. Default true: a client can quote it in a complaint.
        public var answer = true

        public init() {}
    }
}
