// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The name that was probably meant: the one with the fewest edits, if they are few for its length.
///
/// An edit adds, drops or changes a character or swaps two neighbours (optimal string alignment).
func nearestName(to name: String, among known: [String]) -> String? {
    let written = Array(name.utf8.prefix(64))
    var best: (name: String, edits: Int)?
    for candidate in known {
        let edits = editDistance(written, Array(candidate.utf8.prefix(64)))
        if edits <= max(1, min(written.count, candidate.utf8.count) / 3), edits < best?.edits ?? .max { best = (candidate, edits) }
    }
    return best?.name
}

private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in a.indices {
        var row = [i + 1]
        for j in b.indices {
            var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (lowered(a[i]) == lowered(b[j]) ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
            row.append(cost)
        }
        (beforeLast, last) = (last, row)
    }
    return last[b.count]
}

/// Case and the choice of `-` or `_` are no edits: both are easily mixed up.
private func lowered(_ byte: UInt8) -> UInt8 {
    switch byte {
    case 0x41...0x5A: byte + 0x20
    case UInt8(ascii: "-"): UInt8(ascii: "_")
    default: byte
    }
}
