// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Resilience

extension Kind where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> Kind {
        let expected = "an integer from \(range.lowerBound) to \(range.upperBound)"
        return .scalar(
            .scalar(
                .integer, minimum: range.lowerBound, maximum: range.upperBound,
                meaning: "integer, \(range.lowerBound) to \(range.upperBound)"),
            expected: expected, text: { String($0) }
        ) { text throws(ScalarProblem) in
            guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }), let value = Int(text) else {
                throw ScalarProblem("is no integer")
            }
            guard range.contains(value) else { throw ScalarProblem("is out of range") }
            return value
        }
    }

    /// In thousandths, with whole bounds: `1...100` is 1 to 100.
    static func decimal(_ range: ClosedRange<Int>) -> Kind {
        .scalar(
            .scalar(
                .number, minimum: range.lowerBound, maximum: range.upperBound,
                meaning: "number, \(range.lowerBound) to \(range.upperBound)"),
            expected: "a number such as 13.8, from \(range.lowerBound) to \(range.upperBound)",
            text: { Units.decimal($0, places: 3) }
        ) { text throws(ScalarProblem) in
            let value = try Units.thousandths(text)
            guard (range.lowerBound * 1_000...range.upperBound * 1_000).contains(value) else {
                throw ScalarProblem("is out of range")
            }
            return value
        }
    }

    /// Bytes, with a unit: `64KiB`.
    static func size(_ range: ClosedRange<Int>) -> Kind {
        let bounds = "\(Units.size(range.lowerBound)) to \(Units.size(range.upperBound))"
        return .scalar(
            .scalar(.string, pattern: #"^[0-9]+(\.[0-9]+)?([KMGT]i?)?B$"#, meaning: "size, \(bounds)"),
            expected: "a size such as 64KiB, from \(bounds)", text: Units.size
        ) { text throws(ScalarProblem) in
            let value = try Units.bytes(text)
            guard range.contains(value) else { throw ScalarProblem("is out of range") }
            return value
        }
    }

    /// Bytes a second: `500B/second`.
    static func sizePerSecond(_ range: ClosedRange<Int>) -> Kind {
        let bounds = "\(Units.size(range.lowerBound))/second to \(Units.size(range.upperBound))/second"
        return .scalar(
            .scalar(.string, pattern: #"^[0-9]+(\.[0-9]+)?([KMGT]i?)?B/second$"#, meaning: "size a second, \(bounds)"),
            expected: "a size a second such as 500B/second, from \(bounds)", text: { Units.size($0) + "/second" }
        ) { text throws(ScalarProblem) in
            guard text.hasSuffix("/second") else { throw ScalarProblem("does not end in /second") }
            let value = try Units.bytes(String(text.dropLast("/second".count)))
            guard range.contains(value) else { throw ScalarProblem("is out of range") }
            return value
        }
    }

    /// Thousandths a second: `3/second`, `5/minute`.
    static func rate(_ range: ClosedRange<Int>) -> Kind {
        let bounds = "\(Units.rate(range.lowerBound)) to \(Units.rate(range.upperBound))"
        return .scalar(
            .scalar(.string, pattern: #"^[0-9]+(\.[0-9]+)?/(second|minute|hour)$"#, meaning: "rate, \(bounds)"),
            expected: "a rate such as 3/second or 5/minute, from \(bounds)", text: Units.rate
        ) { text throws(ScalarProblem) in
            let value = try Units.thousandthsPerSecond(text)
            guard range.contains(value) else { throw ScalarProblem("is out of range") }
            return value
        }
    }

    /// A whole number a second: `20/second`, `120/minute`.
    static func wholeRate(_ range: ClosedRange<Int>) -> Kind {
        Kind.rate(range.lowerBound * 1_000...range.upperBound * 1_000).checked { thousandths, node, reader in
            if thousandths % 1_000 != 0 {
                reader.complain(at: node.position, "is no whole number a second; expected a rate such as 20/second")
            }
        }.map({ $0 / 1_000 }, back: { $0 * 1_000 })
    }
}

extension Kind where Value == ClosedRange<Int> {
    /// A status of a final answer, or a range of them: `204`, `200-399`.
    static var statuses: Kind {
        .scalar(
            .either([
                .scalar(.integer, minimum: 200, maximum: 599, meaning: "status"),
                .scalar(.string, pattern: "^[2-5][0-9]{2}-[2-5][0-9]{2}$", meaning: "range as `200-399`"),
            ]),
            expected: "a status from 200 to 599, or a range such as 200-399",
            text: { $0.count == 1 ? String($0.lowerBound) : "\($0.lowerBound)-\($0.upperBound)" }
        ) { text throws(ScalarProblem) in
            let parts = text.split(separator: "-", omittingEmptySubsequences: false)
            let ends = parts.compactMap { $0.utf8.count == 3 ? UInt16($0).map(Int.init) : nil }
            guard parts.count <= 2, ends.count == parts.count, let first = ends.first, let last = ends.last else {
                throw ScalarProblem("is no status")
            }
            guard (200...599).contains(first), (200...599).contains(last) else { throw ScalarProblem("is out of range") }
            guard first <= last else { throw ScalarProblem("ends before it begins") }
            return first...last
        }
    }
}

extension Kind where Value == Double {
    /// A number with or without a fraction: `3`, `1.5`.
    static func number(_ range: ClosedRange<Double>) -> Kind {
        func text(_ value: Double) -> String { value == value.rounded() ? String(Int(value)) : String(value) }
        let bounds = "\(text(range.lowerBound)) to \(text(range.upperBound))"
        return .scalar(
            .scalar(.number, meaning: "number, \(bounds)"), expected: "a number from \(bounds)", text: text
        ) { written throws(ScalarProblem) in
            let isPlain = written.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }
            guard isPlain, let value = Double(written) else { throw ScalarProblem("is no number") }
            guard range.contains(value) else { throw ScalarProblem("is out of range") }
            return value
        }
    }
}

extension Kind where Value == UInt64 {
    static var seed: Kind {
        .scalar(
            .scalar(.integer, minimum: 0, meaning: "integer, 0 to \(UInt64.max)"), expected: "an integer from 0 to \(UInt64.max)",
            text: { String($0) }
        ) {
            text throws(ScalarProblem) in
            guard !text.hasPrefix("+"), let value = UInt64(text) else { throw ScalarProblem("is no such integer") }
            return value
        }
    }
}

extension Kind where Value == Duration {
    /// A number and its unit: `250ms`, `1.5s`. `multipleOf`: the finest step that has a meaning.
    static func duration(_ range: ClosedRange<Duration>, multipleOf step: Duration = .nanoseconds(1)) -> Kind {
        let bounds = "\(Units.duration(range.lowerBound)) to \(Units.duration(range.upperBound))"
        let whole = step == .seconds(1) ? "whole seconds, " : ""
        return .scalar(
            .scalar(.string, pattern: #"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$"#, meaning: "duration, \(whole)\(bounds)"),
            expected: "a duration such as 250ms, 5s or 1m, \(whole)from \(bounds)", text: Units.duration
        ) { text throws(ScalarProblem) in
            let nanoseconds = try Units.nanoseconds(text)
            let value = Duration.nanoseconds(nanoseconds)
            guard range.contains(value) else { throw ScalarProblem("is out of range") }
            guard nanoseconds % Int(step.wholeNanoseconds) == 0 else { throw ScalarProblem("is not in whole seconds") }
            return value
        }
    }
}

extension Kind where Value == Share {
    /// In ten-thousandths: `1...10_000` is above 0 % to 100 %.
    static func share(_ range: ClosedRange<Int>) -> Kind {
        let bounds = "\(Units.share(range.lowerBound)) to \(Units.share(range.upperBound))"
        return .scalar(
            .scalar(.string, pattern: #"^[0-9]+(\.[0-9]{1,2})?%$"#, meaning: "share, \(bounds)"),
            expected: "a share such as 20%, from \(bounds)", text: { Units.share($0.tenThousandths) }
        ) { text throws(ScalarProblem) in
            let value = try Units.tenThousandths(text)
            guard range.contains(value) else { throw ScalarProblem("is out of range") }
            return Share(tenThousandths: value)
        }
    }
}
