// Holdfast
// SPDX-License-Identifier: Apache-2.0

package import Core

/// Prometheus text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
package enum PrometheusText {
    package static var contentType: StaticString { "text/plain; version=0.0.4; charset=utf-8" }

    /// `name="value",…` with backslash, quote and line feed escaped.
    static func labels(_ names: [String], _ values: [String]) -> [UInt8] {
        var text: [UInt8] = []
        for (name, value) in zip(names, values) {
            if !text.isEmpty { text.append(UInt8(ascii: ",")) }
            text += name.utf8
            text += Array("=\"".utf8)
            text += escaped(value, quote: true)
            text.append(UInt8(ascii: "\""))
        }
        return text
    }

    /// In HELP text a quote stands as it is. A carriage return is no line end there, but some parsers take it for one.
    static func escaped(_ text: String, quote: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): bytes += Array("\\\\".utf8)
            case UInt8(ascii: "\n"): bytes += Array("\\n".utf8)
            case UInt8(ascii: "\r"): bytes.append(UInt8(ascii: " "))
            case UInt8(ascii: "\"") where quote: bytes += Array("\\\"".utf8)
            default: bytes.append(byte)
            }
        }
        return bytes
    }
}

extension MetricsRegistry {
    /// Writes all families in the order of their names, their series in the order of their labels.
    ///
    /// Runs on the scraping thread while reactors go on counting. For each histogram `_count` is the sum of the buckets
    /// that were read, so that the two always agree.
    package func write(into output: inout ByteBuffer) {
        for family in familiesInOrder() {
            let series = family.series.values.filter { !$0.isRetired }
                .sorted { $0.labelText.lexicographicallyPrecedes($1.labelText) }
            var hasHead = false
            for one in series {
                guard let source = one.source else { continue }
                let value = PrometheusSample(source)
                if case .absent = value { continue }
                if !hasHead {
                    output.writeHead(of: family)
                    hasHead = true
                }
                output.writeSeries(family.name, one.labelText, value)
            }
        }
    }
}

/// What a series says at this scrape.
private enum PrometheusSample {
    case count(UInt64)
    case level(Int64)
    case number(Double)
    case buckets([UInt64], sumNanoseconds: UInt64)
    case absent

    init(_ source: MetricSeries.Source) {
        switch source {
        case .counter(let counter): self = .count(counter.value)
        case .gauge(let gauge): self = .level(gauge.value)
        case .readCount(let read): self = .count(read())
        case .histogram(let histogram):
            self = .buckets(histogram.coarseCounts(), sumNanoseconds: histogram.sumNanoseconds)
        case .read(let read):
            let value = read()
            self = value.isNaN ? .absent : .number(value)
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func writeHead(of family: MetricFamily) {
        append("# HELP ")
        append(utf8: family.name)
        append(UInt8(ascii: " "))
        append(PrometheusText.escaped(family.help, quote: false))
        append("\n# TYPE ")
        append(utf8: family.name)
        append(UInt8(ascii: " "))
        append(utf8: family.kind.rawValue)
        append(UInt8(ascii: "\n"))
    }

    fileprivate mutating func writeSeries(_ name: String, _ labels: [UInt8], _ sample: PrometheusSample) {
        switch sample {
        case .absent: break
        case .count(let n):
            writeName(name, "", labels)
            append(decimal: n)
        case .level(let n):
            writeName(name, "", labels)
            append(decimal: Int(n))
        case .number(let x):
            writeName(name, "", labels)
            append(number: x)
        case .buckets(let counts, let sum):
            var total: UInt64 = 0
            for i in counts.indices {
                total &+= counts[i]
                writeName(name, "_bucket", labels, bound: i < LatencyBuckets.bounds.count ? LatencyBuckets.bounds[i].label : "+Inf")
                append(decimal: total)
                append(UInt8(ascii: "\n"))
            }
            writeName(name, "_sum", labels)
            append(number: Double(sum) / 1e9)
            append(UInt8(ascii: "\n"))
            writeName(name, "_count", labels)
            append(decimal: total)
        }
        append(UInt8(ascii: "\n"))
    }

    private mutating func writeName(_ name: String, _ suffix: StaticString, _ labels: [UInt8], bound: StaticString? = nil) {
        append(utf8: name)
        append(suffix)
        if !labels.isEmpty || bound != nil {
            append(UInt8(ascii: "{"))
            append(labels)
            if let bound {
                if !labels.isEmpty { append(UInt8(ascii: ",")) }
                append("le=\"")
                append(bound)
                append(UInt8(ascii: "\""))
            }
            append(UInt8(ascii: "}"))
        }
        append(UInt8(ascii: " "))
    }

    /// A whole number without a fraction, any other in the shortest digits that read back the same.
    private mutating func append(number: Double) {
        if number == .infinity {
            append("+Inf")
        } else if number == -.infinity {
            append("-Inf")
        } else if let whole = Int(exactly: number), whole.magnitude < 1 << 53 {
            append(decimal: whole)
        } else {
            append(utf8: number.description)
        }
    }
}
