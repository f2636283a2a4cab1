// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// By key: requests of one key go to one endpoint while it can take them.
///
/// Rule: the key's own endpoint in the table, unless it is out, was tried, or has more exchanges under way than 1.25 times the
/// mean of those that could be asked (each for its weight); then the next ones that the table has for the key, the same for every
/// request of it. Some endpoint is never above the mean, so that one is always found. Source: Mirrokni, Thorup,
/// Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018.
extension EndpointPicker {
    /// How far above the mean an endpoint's exchanges may be, in hundredths.
    public static let loadBoundHundredths = 125

    /// The endpoint for an attempt of a request with this key, or `nil` if there is none (`lb.no_healthy`).
    ///
    /// Takes no lock and does not allocate. Reads each endpoint's load once, unless the key's own is idle.
    ///
    /// - Parameters:
    ///   - key: a hash whose high bits are good, such as ``StableHash/key(_:)``.
    ///   - table: of the same endpoints in the same order.
    ///   - load: exchanges under way at an endpoint.
    public func pick(key: UInt64, table: MaglevTable, tried: TriedEndpoints, load: (Int) -> Int) -> Int? {
        if table.endpointCount != count { return nil }
        let all = ignoresAvailability
        let own = walk(key, 0, table)
        if isEligible(own, all: all, tried: tried), load(own) <= 0 { return own }
        return bounded(key: key, table: table, all: all, tried: tried, load: load)
            ?? bounded(key: key, table: table, all: all, tried: TriedEndpoints(), load: load)
    }

    /// The first endpoint on the key's way that is eligible and within the bound.
    private func bounded(key: UInt64, table: MaglevTable, all: Bool, tried: TriedEndpoints, load: (Int) -> Int) -> Int? {
        var total = 0
        var weight = 0
        for index in 0..<count where isEligible(index, all: all, tried: tried) {
            total += clamped(load(index))
            weight += weightOf(index)
        }
        if weight == 0 { return nil }
        func takes(_ index: Int) -> Bool {
            guard isEligible(index, all: all, tried: tried) else { return false }
            // load / weight ≤ 1.25 · total / weights, in integers that do not overflow.
            let most = (total * Self.loadBoundHundredths).multipliedFullWidth(by: weightOf(index))
            return (clamped(load(index)) * 100).multipliedFullWidth(by: weight) <= most
        }
        // Long enough that an endpoint with a fair share of the places is hardly missed.
        for n in 0..<(8 * min(count, 128)) {
            let index = walk(key, n, table)
            if takes(index) { return index }
        }
        // All but few are out or too busy: whoever comes next by index, from the key's own on.
        let own = walk(key, 0, table)
        var least: Int?
        for offset in 0..<count {
            let index = (own + offset) % count
            if takes(index) { return index }
            if least == nil && isEligible(index, all: all, tried: tried) { least = index }
        }
        return least  // loads moved under our eyes
    }

    private var ignoresAvailability: Bool { availableCount == count || isPanicking }
    private func walk(_ key: UInt64, _ n: Int, _ table: MaglevTable) -> Int { table.endpoint(n, for: key) ?? -1 }
    /// No more than there can be, so that sums do not overflow.
    private func clamped(_ load: Int) -> Int { min(max(0, load), 1 << 31) }
    private func weightOf(_ index: Int) -> Int { weights.map { $0[index] } ?? 1 }

    private func isEligible(_ index: Int, all: Bool, tried: TriedEndpoints) -> Bool {
        index >= 0 && index < count && (all || isAvailable(index)) && (tried.isEmpty || !tried.contains(index))
    }
}
