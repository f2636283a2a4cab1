// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// A small reader of Prometheus text 0.0.4 that is strict about what a scraper relies on.
struct PrometheusChecker {
    struct Sample: Equatable {
        var name: String
        var labels: [String: String]
        var value: Double
    }

    struct Complaint: Error { var text: String }

    private(set) var samples: [Sample] = []
    private(set) var types: [String: String] = [:]
    private(set) var helps: [String: String] = [:]
    private(set) var familyOrder: [String] = []

    init(_ text: String) throws(Complaint) {
        guard text.isEmpty || text.hasSuffix("\n") else { throw Complaint(text: "no line feed at the end") }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if line.hasPrefix("# HELP ") {
                let parts = line.dropFirst(7).split(separator: " ", maxSplits: 1).map(String.init)
                guard helps[parts[0]] == nil else { throw Complaint(text: "second HELP: \(line)") }
                helps[parts[0]] = parts.count > 1 ? parts[1] : ""
                familyOrder.append(parts[0])
            } else if line.hasPrefix("# TYPE ") {
                let parts = line.dropFirst(7).split(separator: " ").map(String.init)
                guard parts.count == 2, familyOrder.last == parts[0], types[parts[0]] == nil else {
                    throw Complaint(text: "TYPE out of place: \(line)")
                }
                types[parts[0]] = parts[1]
            } else {
                let sample = try PrometheusChecker.sample(line)
                guard let family = familyOrder.last, let type = types[family] else { throw Complaint(text: "no TYPE: \(line)") }
                let suffixes = type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
                guard suffixes.contains(where: { sample.name == family + $0 }) else {
                    throw Complaint(text: "outside its family: \(line)")
                }
                guard !samples.contains(where: { $0.name == sample.name && $0.labels == sample.labels }) else {
                    throw Complaint(text: "twice: \(line)")
                }
                samples.append(sample)
            }
        }
        try checkHistograms()
    }

    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        samples.first { $0.name == name && $0.labels == labels }?.value
    }

    private static func sample(_ line: Substring) throws(Complaint) -> Sample {
        var rest = line
        let name = String(rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") })
        rest = rest.dropFirst(name.count)
        guard !name.isEmpty else { throw Complaint(text: "no name: \(line)") }
        var labels: [String: String] = [:]
        if rest.first == "{" {
            rest = rest.dropFirst()
            while rest.first != "}" {
                let label = String(rest.prefix { $0 != "=" })
                rest = rest.dropFirst(label.count)
                guard !label.isEmpty, rest.hasPrefix("=\""), labels[label] == nil else { throw Complaint(text: "label: \(line)") }
                rest = rest.dropFirst(2)
                var value = ""
                while let c = rest.first, c != "\"" {
                    rest = rest.dropFirst()
                    guard c == "\\" else {
                        value.append(c)
                        continue
                    }
                    switch rest.first {
                    case "n": value.append("\n")
                    case "\\": value.append("\\")
                    case "\"": value.append("\"")
                    default: throw Complaint(text: "escape: \(line)")
                    }
                    rest = rest.dropFirst()
                }
                guard rest.first == "\"" else { throw Complaint(text: "open value: \(line)") }
                rest = rest.dropFirst()
                labels[label] = value
                if rest.first == "," { rest = rest.dropFirst() }
            }
            rest = rest.dropFirst()
        }
        let number = rest.dropFirst() == "+Inf" ? "inf" : rest.dropFirst()
        guard rest.first == " ", let value = Double(number) else { throw Complaint(text: "value: \(line)") }
        return Sample(name: name, labels: labels, value: value)
    }

    private func checkHistograms() throws(Complaint) {
        for (family, type) in types where type == "histogram" {
            for count in samples where count.name == family + "_count" {
                let buckets = samples.filter { sample in
                    var labels = sample.labels
                    labels["le"] = nil
                    return sample.name == family + "_bucket" && labels == count.labels
                }
                let bounds = buckets.map { $0.labels["le"] == "+Inf" ? Double.infinity : Double($0.labels["le"] ?? "") ?? .nan }
                guard bounds == bounds.sorted(), bounds.last == .infinity else { throw Complaint(text: "bounds of \(family)") }
                guard buckets.map(\.value) == buckets.map(\.value).sorted(), buckets.last?.value == count.value else {
                    throw Complaint(text: "counts of \(family)")
                }
                guard samples.contains(where: { $0.name == family + "_sum" && $0.labels == count.labels }) else {
                    throw Complaint(text: "no sum of \(family)")
                }
            }
        }
    }
}
